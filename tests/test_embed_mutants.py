"""Damaged files: every one ends in a scan or a refusal by name, and soon. What mutants found once has its own test below."""

import os
from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, JPEGLSLossless, RLELossless

from embed.dicom import decode_frame, header_of, items_of, require_pixels
from embed.luts import apply_modality_lut, apply_voi_lut
from embed.read import read_scan_bytes
from embed.sandbox import IsolatedWorkers
from embed.scan import DamagedScan, ScanError, UnsupportedScan
from tests.films import dicom_bytes, dicom_dataset, phantom, to_bytes
from tests.mutants import Mutant, Outcome, batches, iter_mutants, originals, read_all, read_one

SEED = 2026
# Ten thousand in all, about 35 s of two cores. They are cut into quarters, so that pytest's two processes share them, and
# of which only the first runs at a desk; with CI set, all do. `python -m tests.fuzz` goes on from there.
QUARTER = 2500
SECONDS = 10.0  # for a batch of 25, which takes a tenth of one
SLOWEST_SECONDS = 5.0  # for one file, on a machine that does other things as well; 0.1 s on a quiet one
WRECKS = ("decoder-crashed", "decoder-timeout", "too-much-memory")


@pytest.mark.slow
@pytest.mark.parametrize("quarter", range(4) if os.environ.get("CI") else range(1))
def test_every_mutant_ends_in_a_scan_or_a_named_refusal(quarter: int) -> None:
    outcomes = list(outcomes_of(iter_mutants(originals(), QUARTER, SEED, first=quarter * QUARTER)))
    faults = [told(mutant, outcome) for mutant, outcome in outcomes if is_fault(outcome)]
    assert not faults, f"{len(faults)} faults; the first:\n" + "\n".join(faults[:3])
    slowest = max(outcomes, key=lambda pair: pair[1].seconds)
    assert slowest[1].seconds < SLOWEST_SECONDS, told(*slowest)
    counts = Counter(outcome.reason for _, outcome in outcomes)
    assert len(outcomes) == QUARTER and counts["scan"] > QUARTER / 10, counts  # the damage is not always fatal
    assert len(counts) > 12, counts  # and gets far into the code when it is


def outcomes_of(mutants: Iterator[Mutant]) -> Iterator[tuple[Mutant, Outcome]]:
    """Each mutant with what became of it; where a process was lost, its batch goes again one by one."""
    given = list(batches(mutants, 25))
    with IsolatedWorkers(read_all, workers=2, seconds=SECONDS, memory_bytes=2 * 2**30) as workers:
        for batch, answers in zip(given, workers.map([m.data for m in batch] for batch in given), strict=True):
            if not isinstance(answers, ScanError):
                yield from zip(batch, answers, strict=True)
                continue
            for mutant, answer in zip(batch, workers.map([m.data] for m in batch), strict=True):
                lost = isinstance(answer, ScanError)
                yield mutant, Outcome(answer.reason, 0.0, str(answer)) if isinstance(answer, ScanError) else answer[0]
                assert not lost or answer.reason in WRECKS  # type: ignore[union-attr]


def is_fault(outcome: Outcome) -> bool:
    return bool(outcome.fault)


def told(mutant: Mutant, outcome: Outcome) -> str:
    name = f"seed {SEED}, mutant {mutant.number} ({mutant.original}, {mutant.damage})"
    return f"{name}: {outcome.reason} after {outcome.seconds:.2f} s {outcome.fault}"


def test_the_originals_are_scans() -> None:
    outcomes = {one.name: read_one(one.wrap(one.inner)) for one in originals()}
    refused = {name: outcome.reason for name, outcome in outcomes.items() if outcome.reason != "scan"}
    assert set(refused) == {"zip"}, refused  # four slices are no series of the lungs


def test_number_and_seed_alone_make_the_mutant() -> None:
    (one,) = iter_mutants(originals(), 1, 7, first=1234)
    assert one == list(iter_mutants(originals(), 1235, 7))[-1]
    assert one != next(iter_mutants(originals(), 1, 8, first=1234))


def refusal_of(ds: Any) -> ScanError:
    with pytest.raises(ScanError) as caught:
        read_scan_bytes(to_bytes(ds) if isinstance(ds, FileDataset) else ds, side=64)
    return caught.value


def film(**attributes: Any) -> Any:
    return dicom_dataset(phantom(40, 32), **attributes)


def with_element(ds: Any, keyword: str, vr: str, value: Any) -> Any:
    """`ds` with an element of another VR than the dictionary gives."""
    ds[keyword] = pydicom.DataElement(pydicom.tag.Tag(keyword), vr, value)
    return ds


def test_a_transfer_syntax_that_is_none_is_refused_by_name() -> None:
    data = dicom_bytes(phantom(40, 32))
    other = data.replace(ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.1.2.7\0", 1)
    assert refusal_of(other).reason == "transfer-syntax"
    video = data.replace(ExplicitVRLittleEndian.encode() + b"\0", b"1.2.840.10008.1.2.4.102\0"[-20:], 1)
    assert isinstance(refusal_of(video), UnsupportedScan)


def test_a_transfer_syntax_of_another_vr_is_refused_by_name() -> None:
    data = dicom_bytes(phantom(40, 32)).replace(b"\x02\x00\x10\x00UI", b"\x02\x00\x10\x00LO", 1)
    assert refusal_of(data).reason in ("damaged-header", "transfer-syntax")


@pytest.mark.parametrize("keyword", ["Rows", "SamplesPerPixel", "BitsStored", "HighBit", "PixelRepresentation"])
@pytest.mark.parametrize(("vr", "value"), [("LO", "Doe^Jane"), ("US", [8, 8]), ("DS", "1.5"), ("OB", b"\1\2")])
def test_a_number_that_is_none_is_refused_without_telling_what_it_holds(keyword: str, vr: str, value: Any) -> None:
    refusal = refusal_of(with_element(film(), keyword, vr, value))
    assert refusal.reason == "damaged-header" and keyword in str(refusal) and "Doe" not in str(refusal)


@pytest.mark.parametrize("keyword", ["ModalityLUTSequence", "VOILUTSequence", "ViewCodeSequence"])
def test_a_sequence_that_is_none_is_refused(keyword: str) -> None:
    ds = with_element(film(ViewPosition=None), keyword, "IS", "7")
    assert refusal_of(ds).reason == "damaged-header"
    assert items_of(film(), keyword) == ()


def test_pixel_data_that_is_a_list_is_refused() -> None:
    ds = film()
    with_element(ds, "PixelData", "US", [1, 2, 3])
    with pytest.raises(DamagedScan, match="expected bytes"):
        require_pixels(ds)


@pytest.mark.parametrize("samples", [1, 3])
def test_samples_that_do_not_fit_the_colour_are_refused(samples: int) -> None:
    photometric = "RGB" if samples == 1 else "MONOCHROME2"
    ds = film(SamplesPerPixel=samples, PhotometricInterpretation=photometric, PlanarConfiguration=0, Rows=8, Columns=8)
    assert refusal_of(ds).reason == "no-size"


def test_a_panicking_rust_decoder_costs_the_file_not_the_process() -> None:
    ds = film()
    ds.compress(RLELossless)
    data = bytearray(ds.PixelData)
    data[28] = 0xFF  # the second segment lies elsewhere: pylibjpeg-rle reads beyond its buffer, and Rust panics
    ds.PixelData = bytes(data)
    require_pixels(ds)
    with pytest.raises(DamagedScan, match="PanicException") as caught:
        decode_frame(ds)
    assert caught.value.reason == "undecodable-pixels"


@pytest.mark.parametrize("syntax", [JPEGLSLossless, JPEG2000Lossless])
def test_a_codestream_of_another_size_is_refused_before_a_decoder_sees_it(syntax: pydicom.uid.UID) -> None:
    ds = film()
    ds.compress(syntax)
    ds.Rows = 12589  # GDCM aborted the process
    refusal = refusal_of(ds)
    assert refusal.reason == "no-size" and "the codestream states 40×32" in str(refusal)


def test_a_codestream_of_too_many_components_does_not_end_the_process() -> None:
    ds = film()
    ds.compress(JPEG2000Lossless)
    data = bytearray(ds.PixelData)
    at = data.find(b"\xff\x4f\xff\x51") + 41  # Csiz, then depth and subsampling: GDCM aborted the process
    data[at : at + 4] = b"\x7f\xff\xff\xff"
    ds.PixelData = bytes(data)
    assert refusal_of(ds).reason == "no-size"


def test_values_beyond_what_float32_holds_are_refused_not_shown_as_zeros() -> None:
    stored = phantom(16, 16).astype(np.float32)
    ds = film(RescaleSlope="1e300", RescaleIntercept=0)
    with pytest.raises(DamagedScan, match="beyond"):
        apply_modality_lut(stored, ds)
    for centre, width in (("1e39", "1"), ("0", "1e300"), ("-1e300", "1e300")):
        grey, _, flags = apply_voi_lut(stored, film(WindowCenter=centre, WindowWidth=width))
        assert np.isfinite(grey).all() and grey.any() and flags[0].code == "window-unusable"


def test_an_age_of_a_thousand_digits_is_none() -> None:
    assert header_of(with_element(film(), "PatientAge", "LT", "9" * 5000)).age_years is None


def test_lut_entries_that_are_words_are_refused() -> None:
    item = Dataset()
    item.LUTDescriptor = [2, 0, 8]
    with_element(item, "LUTData", "LO", ["a", "b"])
    assert refusal_of(film(VOILUTSequence=[item])).reason == "damaged-lut"


@pytest.mark.parametrize("written", [b"x.y ", b"nan ", b"inf "])
def test_a_rescale_that_is_no_number_is_refused_not_taken_as_one(written: bytes) -> None:
    data = dicom_bytes(phantom(40, 32), RescaleSlope="1.25", RescaleIntercept="0")
    assert b"1.25" in data and refusal_of(data.replace(b"1.25", written)).reason in ("damaged-lut", "damaged-header")
