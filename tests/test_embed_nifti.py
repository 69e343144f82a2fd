"""NIfTI volumes: the same volume as DICOM whichever way its axes run, and what is not one is refused."""

import gzip
from typing import Any

import nibabel
import numpy as np
import pytest

from embed import nifti as nifti_module
from embed.nifti import is_nifti, read_nifti, read_nifti_full
from embed.scan import DamagedScan, Scan, UnsupportedScan
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


def placed(directions: Any, *, unit: int = 2, mm_per_unit: float = 1.0) -> Scan:
    """Noise whose affine has `directions` (patient's right, front, head; stored axes) times 1.25, 1.5 and 2.5 mm."""
    affine = np.eye(4)
    affine[:3, :3] = np.asarray(directions) * (1.25, 1.5, 2.5) / mm_per_unit
    image = nibabel.Nifti1Image(noise().transpose(2, 1, 0), affine)
    image.header["xyzt_units"] = unit | 8  # and seconds, which must not matter
    return read_nifti_full(image.to_bytes())


def turned(degrees: float) -> Any:
    """About the axis from right to left, as a patient on a wedge."""
    sine, cosine = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    return [[1, 0, 0], [0, cosine, -sine], [0, sine, cosine]]


def flags_of(scan: Scan) -> dict[str, str]:
    return {flag.code: flag.message for flag in scan.provenance.flags}


def test_a_volume_off_the_patients_axes_is_flagged_and_its_values_left_alone() -> None:
    askew = placed(turned(20))
    assert list(flags_of(askew)) == ["oblique"] and "lies 20° off" in flags_of(askew)["oblique"]
    np.testing.assert_array_equal(askew.pixels, placed(np.eye(3)).pixels)
    assert askew.spacing_mm == pytest.approx((2.5, 1.5, 1.25))
    assert flags_of(placed(turned(8))) == {} and flags_of(placed(turned(-98))) == {}  # 8° off other axes
    assert list(flags_of(placed(turned(70)))) == ["oblique"]


def test_axes_that_are_not_at_right_angles_are_flagged() -> None:
    lean = np.tan(np.radians(5))
    sheared = placed([[1, 0, 0], [0, 1, -lean], [0, 0, 1]])  # a gantry tilted by 5°
    assert list(flags_of(sheared)) == ["sheared"] and "5.0° from" in flags_of(sheared)["sheared"]
    assert flags_of(placed([[1, 0, 0], [0, 1, lean / 10], [0, 0, 1]])) == {}


@pytest.mark.parametrize(("unit", "mm_per_unit"), [(1, 1000.0), (2, 1.0), (3, 0.001), (0, 1.0)])
def test_voxel_sizes_are_read_in_their_unit(unit: int, mm_per_unit: float) -> None:
    scan = placed(np.eye(3), unit=unit, mm_per_unit=mm_per_unit)
    assert scan.spacing_mm == pytest.approx((2.5, 1.5, 1.25)) and flags_of(scan) == {}


@pytest.mark.parametrize(
    ("unit", "words"), [(0, "of no stated unit, taken as millimetres"), (2, "given in millimetres")]
)
def test_voxel_sizes_no_chest_has_are_flagged(unit: int, words: str) -> None:
    scan = placed(np.eye(3), unit=unit, mm_per_unit=1000)  # in metres, which is not said
    assert list(flags_of(scan)) == ["voxel-size-doubtful"] and words in flags_of(scan)["voxel-size-doubtful"]
    assert scan.spacing_mm == pytest.approx((0.0025, 0.0015, 0.00125))


def chest() -> Any:
    """A fifth air at −1000 HU, three tenths lung at −800, the rest soft tissue at 40, some bone; (slices, rows, columns)."""
    volume = np.full((20, 20, 20), 40, np.int16)
    volume[:, :4], volume[:, 4:10], volume[:, -1] = -1000, -800, 700
    return volume


def test_air_and_soft_tissue_in_hounsfield_units_are_ct_without_doubt() -> None:
    scan = read_nifti_full(nifti_bytes(chest()))
    assert scan.kind == "ct" and flags_of(scan) == {}
    assert "taken as CT: 50% of the values near air, 45% near soft tissue in Hounsfield units" in scan.provenance.steps
    padded = chest()
    padded[:, :, :17] = -3024  # outside the field of view; it must not drown the rest
    assert read_nifti_full(nifti_bytes(padded)).kind == "ct"


def test_other_values_are_mr_and_told_to_be_a_guess() -> None:
    scan = read_nifti(nifti_bytes(np.maximum(noise(), 0)), side=16)
    assert scan.kind == "mri" and scan.pixels.min() == 0 and scan.pixels.max() == 1
    assert list(flags_of(scan)) == ["kind-guessed"] and "the lowest value is 0" in flags_of(scan)["kind-guessed"]
    ringing = noise() * np.int16(10)
    ringing[ringing < 0] = -610  # as resampling an MR leaves behind: low, but neither air nor soft tissue
    scan = read_nifti_full(nifti_bytes(ringing))
    assert scan.kind == "mri" and "the lowest value is -610" in flags_of(scan)["kind-guessed"]


def test_ct_stored_with_an_offset_is_said_and_not_converted() -> None:
    scan = read_nifti_full(nifti_bytes(np.maximum(chest() + np.int16(1024), 0)))
    assert scan.kind == "mri" and list(flags_of(scan)) == ["kind-guessed", "ct-offset"]
    assert "1024 added" in flags_of(scan)["ct-offset"]
    declared = nibabel.Nifti1Image((chest() + np.int16(1024)).transpose(2, 1, 0), np.diag([-1, -1, 1, 1.0]))
    declared.header.set_slope_inter(1, -1024)
    data = bytearray(declared.to_bytes())
    data[112:120] = np.array([1, -1024], "<f4").tobytes()  # scl_slope, scl_inter: nibabel resets them when writing
    stated = read_nifti_full(bytes(data))
    assert stated.kind == "ct" and flags_of(stated) == {} and set(np.unique(stated.pixels)) == {-1000, -800, 40, 700}


def test_an_affine_that_spans_no_space_is_refused() -> None:
    for directions in ([[1, 0, 1], [0, 1, 0], [0, 0, 0]], np.diag([1, 0, 1]), np.diag([1, np.nan, 1])):
        affine = np.eye(4)
        affine[:3, :3] = directions
        data = bytearray(nibabel.Nifti1Image(chest(), np.eye(4)).to_bytes())
        data[280:328] = affine[:3].astype("<f4").tobytes()  # srow_x, srow_y, srow_z
        with pytest.raises(DamagedScan) as why:
            read_nifti(bytes(data), side=16)
        assert why.value.reason == "damaged-orientation"


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
