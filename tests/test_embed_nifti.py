"""NIfTI volumes: the same volume as DICOM whichever way its axes run, and what is not one is refused."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from embed import nifti as nifti_module
from embed.nifti import is_nifti, read_nifti, read_nifti_full
from embed.scan import DamagedScan, UnsupportedScan
from embed.series import read_full_volume
from tests.test_embed_series import files_of, found, noise


def nifti_bytes(volume: Any, axes: str = "LPS", *, spacing: tuple[float, float, float] = (1.25, 1.5, 2.5)) -> bytes:
    """`volume` (slices, rows, columns) as `Scan` has it, stored with the axes running as the letters say."""
    lps = np.asarray(volume).transpose(2, 1, 0)
    image = nibabel.Nifti1Image(lps, np.diag([-spacing[0], -spacing[1], spacing[2], 1.0]))
    ours, wanted = nibabel.io_orientation(image.affine), nibabel.orientations.axcodes2ornt(axes)
    return image.as_reoriented(nibabel.orientations.ornt_transform(ours, wanted)).to_bytes()


@pytest.mark.parametrize("axes", ["LPS", "RAS", "LAS", "PSR", "SAL", "IRP"])
def test_a_nifti_volume_equals_the_dicom_series_of_it(axes: str) -> None:
    dicom = read_full_volume(found(files_of(noise())))
    scan = read_nifti_full(nifti_bytes(noise(), axes))
    np.testing.assert_array_equal(scan.pixels, dicom.pixels)
    assert scan.spacing_mm == pytest.approx(dicom.spacing_mm)
    assert scan.kind == "ct" and scan.provenance.format == "nifti"


def test_gzip_changes_nothing_but_the_hash_and_slices_are_few() -> None:
    plain = nifti_bytes(noise())
    one, other = read_nifti(plain, side=16), read_nifti(gzip.compress(plain), side=16)
    np.testing.assert_array_equal(one.pixels, other.pixels)
    assert one.pixels.shape == (12, 16, 22) and is_nifti(plain) and is_nifti(gzip.compress(plain))


def test_values_that_are_not_hounsfield_units_are_mr() -> None:
    scan = read_nifti(nifti_bytes(np.maximum(noise(), 0)), side=16)
    assert scan.kind == "mri" and scan.pixels.min() == 0 and scan.pixels.max() == 1


def test_what_is_no_volume_is_refused_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    data = nifti_bytes(noise())
    flat = nibabel.Nifti1Image(noise()[0], np.eye(4)).to_bytes()
    series = nibabel.Nifti1Image(np.stack([noise()] * 2, axis=-1), np.eye(4)).to_bytes()
    broken = np.full(noise().shape, np.nan, np.float32)
    pair = bytearray(data)
    pair[344:348] = b"ni1\0"
    refused = {
        "not-a-volume": [flat, series],
        "nifti-pair": [bytes(pair)],
        "too-short": [data[:-10]],
        "damaged-zip": [gzip.compress(data)[:-20]],
        "not-finite": [nifti_bytes(broken)],
    }
    for reason, files in refused.items():
        for file in files:
            with pytest.raises((UnsupportedScan, DamagedScan)) as why:
                read_nifti(file, side=16)
            assert why.value.reason == reason
    monkeypatch.setattr(nifti_module, "MAX_INFLATED_BYTES", 1000)
    with pytest.raises(UnsupportedScan, match="unpacks to more than"):
        read_nifti(gzip.compress(data), side=16)
    assert not is_nifti(b"") and not is_nifti(b"\x1f\x8bno") and not is_nifti(gzip.compress(b"x" * 999))
