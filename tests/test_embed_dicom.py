"""DICOM radiographs: each step of the pixel pipeline, worked out by hand."""

import io
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_modality_lut as pydicom_modality_lut
from pydicom.pixels.processing import apply_voi_lut as pydicom_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

from embed.dicom import decode_frame
from embed.prepare import shrink
from embed.read import read_scan, read_scan_bytes
from embed.scan import DamagedScan, Scan, ScanError, UnsupportedScan, View
from tests.films import dicom_bytes, dicom_dataset, phantom, to_bytes

RAMP = np.random.default_rng(0).permutation(np.arange(0, 4096, 16, dtype=np.uint16)).reshape(16, 16)  # 0, 16, … 4080


def read(pixels: npt.NDArray[Any], **attributes: Any) -> Scan:
    return read_scan_bytes(dicom_bytes(pixels, **attributes), side=4096)


def codes(scan: Scan) -> set[str]:
    return {flag.code for flag in scan.provenance.flags}


def lut_item(table: list[int], first: int, bits: int) -> Dataset:
    item = Dataset()
    item.LUTDescriptor = [len(table), first, bits]
    item.LUTData = np.array(table, "<u2").tobytes()
    return item


def test_a_linear_window_follows_the_formula_of_the_standard() -> None:
    scan = read(RAMP, WindowCenter=2048, WindowWidth=1024)
    expected = np.clip((RAMP - (2048 - 0.5)) / (1024 - 1) + 0.5, 0, 1)
    np.testing.assert_allclose(scan.pixels[0], expected, atol=1e-6)
    assert any("centre 2048 width 1024 LINEAR" in step for step in scan.provenance.steps)


def test_a_linear_exact_window_has_no_half_pixel() -> None:
    scan = read(RAMP, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="LINEAR_EXACT")
    np.testing.assert_allclose(scan.pixels[0], np.clip((RAMP - 2048.0) / 1024 + 0.5, 0, 1), atol=1e-6)


def test_a_sigmoid_window_follows_the_formula_of_the_standard() -> None:
    scan = read(RAMP, WindowCenter=2048, WindowWidth=1024, VOILUTFunction="SIGMOID")
    np.testing.assert_allclose(scan.pixels[0], 1 / (1 + np.exp(-4 * (RAMP - 2048.0) / 1024)), atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_windows_agree_with_pydicom(function: str) -> None:
    ds = dicom_dataset(
        RAMP, WindowCenter=1500, WindowWidth=900, VOILUTFunction=function, RescaleSlope=2, RescaleIntercept=-300
    )
    theirs = pydicom_voi_lut(pydicom_modality_lut(RAMP, ds), ds)
    theirs = (theirs - theirs.min()) / (theirs.max() - theirs.min())
    ours = read_scan_bytes(to_bytes(ds), side=4096).pixels[0]
    np.testing.assert_allclose(ours, theirs, atol=2e-3)


def test_monochrome1_is_inverted_once_after_the_window() -> None:
    bright_low = read(RAMP, PhotometricInterpretation="MONOCHROME1", WindowCenter=1000, WindowWidth=500)
    bright_high = read(RAMP, PhotometricInterpretation="MONOCHROME2", WindowCenter=1000, WindowWidth=500)
    np.testing.assert_allclose(bright_low.pixels, 1 - bright_high.pixels, atol=1e-6)
    assert sum("inverted once" in step for step in bright_low.provenance.steps) == 1


def test_a_polarity_conflict_follows_the_photometric_interpretation_and_is_flagged() -> None:
    scan = read(RAMP, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="IDENTITY")
    assert scan.pixels[0][RAMP == 0] == 1
    assert "polarity-conflict" in codes(scan)


def test_rescale_is_applied_before_the_window() -> None:
    scan = read(RAMP, RescaleSlope=2, RescaleIntercept=-1000, WindowCenter=0, WindowWidth=4001)
    np.testing.assert_allclose(scan.pixels[0], np.clip((2.0 * RAMP - 1000 + 0.5) / 4000 + 0.5, 0, 1), atol=1e-6)


def test_a_modality_lut_sequence_is_looked_up() -> None:
    table = [4095 - 3 * value if value < 1365 else 0 for value in range(4096)]
    scan = read(RAMP, ModalityLUTSequence=[lut_item(table, 0, 16)], WindowCenter=2048, WindowWidth=4096)
    expected = np.clip((np.array(table)[RAMP] - 2047.5) / 4095 + 0.5, 0, 1)
    np.testing.assert_allclose(scan.pixels[0], expected, atol=1e-6)


def test_a_voi_lut_sequence_wins_over_a_window() -> None:
    table = [min(value * value // 4096, 4095) for value in range(4096)]
    scan = read(RAMP, VOILUTSequence=[lut_item(table, 0, 12)])
    np.testing.assert_allclose(scan.pixels[0], np.array(table)[RAMP] / 4095, atol=1e-6)


def test_a_voi_lut_maps_values_outside_its_range_to_its_ends() -> None:
    scan = read(RAMP, VOILUTSequence=[lut_item(list(range(256)), 1000, 8)])
    np.testing.assert_allclose(scan.pixels[0], np.clip(RAMP.astype(float) - 1000, 0, 255) / 255, atol=1e-6)


def test_of_several_windows_the_first_is_used_and_flagged() -> None:
    scan = read(RAMP, WindowCenter=[1000, 3000], WindowWidth=[500, 100])
    np.testing.assert_allclose(scan.pixels[0], np.clip((RAMP - 999.5) / 499 + 0.5, 0, 1), atol=1e-6)
    assert "several-windows" in codes(scan)


@pytest.mark.parametrize(
    "attributes",
    [
        {"WindowCenter": None, "WindowWidth": None},
        {"WindowCenter": 60000, "WindowWidth": 10},
        {"WindowCenter": 100, "WindowWidth": 0},
        {"VOILUTFunction": "CUBIC"},
    ],
    ids=["no window", "window off the data", "width zero", "a function that the standard does not know"],
)
def test_without_a_usable_window_percentiles_are_used_and_flagged(attributes: dict[str, Any]) -> None:
    scan = read(RAMP, **attributes)
    low, high = np.percentile(RAMP, (0.5, 99.5))
    np.testing.assert_allclose(scan.pixels[0], np.clip((RAMP - low) / (high - low), 0, 1), atol=1e-5)
    assert codes(scan) & {"no-window", "window-unusable"}


def test_signed_pixels_keep_their_sign() -> None:
    signed = RAMP.astype(np.int16) - 2048
    scan = read(signed, WindowCenter=0, WindowWidth=4096)
    np.testing.assert_allclose(scan.pixels[0], np.clip((signed + 0.5) / 4095 + 0.5, 0, 1), atol=1e-6)


def test_padding_becomes_air_and_does_not_bleed_into_the_picture() -> None:
    pixels = np.full((64, 64), 3000, np.uint16)
    pixels[:, 32:] = 1000
    pixels[:, :9] = 4095
    scan = read_scan_bytes(dicom_bytes(pixels, PixelPaddingValue=4095, WindowCenter=2000, WindowWidth=4000), side=16)
    inside = (3000 - 1999.5) / 3999 + 0.5
    np.testing.assert_allclose(scan.pixels[0, :, :6], inside, atol=1e-5)  # the column that is a quarter padding too
    assert scan.pixels.shape == (1, 16, 14)  # two columns of air were cropped as border
    assert any("padding set to air" in step for step in scan.provenance.steps)


def test_shrinking_before_the_luts_is_within_a_grey_level_of_shrinking_after() -> None:
    pixels = phantom(1200, 1000)
    attributes: dict[str, Any] = {"VOILUTFunction": "SIGMOID", "WindowCenter": 2000, "WindowWidth": 2500}
    before = read_scan_bytes(dicom_bytes(pixels, **attributes), side=300).pixels[0]
    after = shrink(read(pixels, **attributes).pixels[0], side=300)
    assert before.shape == after.shape == (360, 300)
    assert np.abs(before - after).mean() * 255 < 1


def test_spacing_grows_with_shrinking() -> None:
    scan = read_scan_bytes(dicom_bytes(phantom(240, 200), ImagerPixelSpacing=[0.1, 0.2]), side=100)
    assert scan.spacing_mm == pytest.approx((0, 0.2, 0.4))


def test_what_the_header_says_of_patient_and_acquisition_is_kept_and_not_printed() -> None:
    scan = read(RAMP, Manufacturer="Acme", ManufacturerModelName="X1", AcquisitionDate="20200402")
    header = scan.header
    assert (header.patient_id, header.age_years, header.sex, header.manufacturer) == ("Covid77", 67, "F", "Acme")
    assert str(header.scan_date) == "2020-04-02"
    assert "Covid77" not in repr(scan)


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ViewPosition": "AP"}, View.AP),
        ({"ViewPosition": "LL"}, View.LATERAL),
        ({"ViewPosition": None, "SeriesDescription": "CHEST AP PORTABLE"}, View.AP),
        ({"ViewPosition": "", "ProtocolName": "Thorax_PA"}, View.PA),
        ({"ViewPosition": None, "SeriesDescription": "CHEST PA AND LATERAL"}, None),
        ({"ViewPosition": None}, None),
    ],
)
def test_the_view_comes_from_the_position_else_from_words(attributes: dict[str, Any], view: View | None) -> None:
    assert read(RAMP, **attributes).view == view


def test_the_view_comes_from_the_view_code() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399348003", "SCT", "antero-posterior"
    assert read(RAMP, ViewPosition=None, ViewCodeSequence=[code]).view == View.AP


def test_a_file_without_preamble_is_read() -> None:
    assert np.array_equal(read_scan_bytes(dicom_bytes(RAMP)[132:], side=4096).pixels, read(RAMP).pixels)


@pytest.mark.parametrize(
    ("attributes", "kind", "reason"),
    [
        ({"Modality": "US"}, UnsupportedScan, "unsupported-modality"),
        ({"PixelData": None}, UnsupportedScan, "no-pixels"),
        ({"Rows": 0, "Columns": 0}, DamagedScan, "no-size"),
        ({"NumberOfFrames": 3}, DamagedScan, "too-short"),
        ({"PhotometricInterpretation": "CMYK"}, UnsupportedScan, "unsupported-colour"),
        ({"RescaleSlope": 0}, DamagedScan, "damaged-lut"),
        ({"Rows": 60000, "Columns": 60000}, UnsupportedScan, "too-large"),
        ({"BitsStored": 17}, DamagedScan, "no-size"),
    ],
)
def test_what_is_not_a_radiograph_is_refused_by_name(
    attributes: dict[str, Any], kind: type[ScanError], reason: str
) -> None:
    with pytest.raises(kind) as caught:
        read(RAMP, **attributes)
    assert caught.value.reason == reason


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.9])
def test_a_truncated_file_is_refused_not_filled_with_zeros(kept: float) -> None:
    whole = dicom_bytes(phantom())
    with pytest.raises(ScanError):
        read_scan_bytes(whole[: int(len(whole) * kept)], side=64)


def test_a_blank_film_is_refused() -> None:
    with pytest.raises(DamagedScan, match="nothing to see"):
        read(np.full((16, 16), 7, np.uint16))


def test_a_missing_file_and_other_bytes_are_refused_by_name(tmp_path: Any) -> None:
    with pytest.raises(ScanError, match="no such file"):
        read_scan(tmp_path / "none.dcm", side=64)
    (tmp_path / "note.txt").write_text("not a scan at all")
    with pytest.raises(UnsupportedScan, match="neither DICOM nor PNG"):
        read_scan(tmp_path / "note.txt", side=64)
    (tmp_path / "empty.dcm").touch()
    with pytest.raises(UnsupportedScan, match="empty"):
        read_scan(tmp_path / "empty.dcm", side=64)


def test_a_published_warehouse_radiograph_is_read(shared_data: Any) -> None:
    path = next((shared_data / "nccid").glob("1.3.6*.dcm"))
    scan = read_scan(path, side=448)
    assert scan.kind == "xray" and min(scan.pixels.shape[1:]) == 448
    assert 0.2 < scan.pixels.mean() < 0.8 and scan.pixels.std() > 0.1
    assert pydicom.dcmread(path).PatientID not in repr(scan)


def test_of_several_frames_the_first_is_used_and_flagged() -> None:
    frames = np.stack([RAMP, RAMP[::-1], RAMP.T])
    scan = read(frames, NumberOfFrames=3)
    np.testing.assert_array_equal(scan.pixels, read(RAMP).pixels)
    assert "multi-frame" in codes(scan)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_colour_is_reduced_to_luma_and_flagged(photometric: str) -> None:
    grey = (RAMP >> 4).astype(np.uint8)
    flat = np.full_like(grey, 128)
    colour = np.dstack([grey, flat, flat] if photometric == "YBR_FULL" else [grey, grey, grey])
    ds = dicom_dataset(grey, PhotometricInterpretation=photometric, SamplesPerPixel=3, PlanarConfiguration=0)
    ds.PixelData = colour.tobytes()
    scan = read_scan_bytes(to_bytes(ds), side=4096)
    np.testing.assert_allclose(scan.pixels[0], grey / 255, atol=1.5 / 255)
    assert "colour" in codes(scan)


def test_bits_above_those_stored_are_ignored() -> None:
    garbage = RAMP | 0x3000
    np.testing.assert_array_equal(read(garbage).pixels, read(RAMP).pixels)
    negative = RAMP.astype(np.int16) - 2048
    overlaid = (negative & 0x0FFF).astype(np.int16) | np.int16(0x2000)
    expected = read(negative, WindowCenter=0).pixels
    np.testing.assert_array_equal(read(overlaid, WindowCenter=0).pixels, expected)


def test_bits_stored_high_up_are_shifted_down() -> None:
    np.testing.assert_array_equal(read(RAMP << 4, HighBit=15).pixels, read(RAMP).pixels)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian])
def test_every_way_of_writing_the_same_values_gives_the_same_scan(syntax: pydicom.uid.UID) -> None:
    ds = dicom_dataset(RAMP)
    if syntax == ExplicitVRBigEndian:
        ds.PixelData = RAMP.astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = syntax
    buffer = io.BytesIO()
    pydicom.dcmwrite(
        buffer,
        ds,
        enforce_file_format=True,
        little_endian=syntax != ExplicitVRBigEndian,
        implicit_vr=syntax == ImplicitVRLittleEndian,
    )
    scan, original = read_scan_bytes(buffer.getvalue(), side=4096), read(RAMP)
    np.testing.assert_array_equal(scan.pixels, original.pixels)
    assert scan.identity == original.identity


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
def test_lossless_compression_changes_no_pixel(syntax: pydicom.uid.UID) -> None:
    ds = dicom_dataset(phantom())
    ds.compress(syntax)
    scan, original = read_scan_bytes(to_bytes(ds), side=4096), read(phantom())
    np.testing.assert_array_equal(scan.pixels, original.pixels)
    assert scan.identity == original.identity


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, JPEGLSLossless])
@pytest.mark.parametrize("kept", [0.3, 0.7, 0.97])
def test_a_truncated_codestream_is_refused_not_decoded_to_black(syntax: pydicom.uid.UID, kept: float) -> None:
    ds = dicom_dataset(phantom())
    ds.compress(syntax)
    (codestream,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([codestream[: int(len(codestream) * kept)]])
    with pytest.raises(DamagedScan, match="end marker"):
        read_scan_bytes(to_bytes(ds), side=4096)


def test_how_the_patient_was_placed_is_told() -> None:
    scan = read(RAMP, ViewPosition="AP", SeriesDescription="Chest portable, semi-erect")
    assert any("portable, erect, sitting" in step or "portable, sitting" in step for step in scan.provenance.steps)


def test_a_view_inferred_from_a_bedside_film_says_so() -> None:
    scan = read(RAMP, ViewPosition=None, SeriesDescription="MOBILE CHEST")
    assert scan.view == View.AP and "view-inferred" in codes(scan)


def test_a_collimated_border_is_cropped() -> None:
    framed = np.full((160, 140), 4095, np.uint16)
    framed[20:140, 25:125] = phantom()
    scan = read(framed)
    assert scan.pixels.shape == (1, 120, 100)
    assert any(step.startswith("border cropped: 20 rows above") for step in scan.provenance.steps)


@pytest.mark.parametrize(
    ("level", "broad", "cut"), [(0, 40, True), (0, 48, False), (2000, 40, True), (4095, 20, True), (4095, 40, False)]
)
def test_flat_strips_are_cut_up_to_a_limit_and_flagged_beyond(level: int, broad: int, cut: bool) -> None:
    framed = phantom(100, 100)
    framed[:, :broad] = level
    scan = read(framed, WindowCenter=None, WindowWidth=None)
    assert scan.pixels.shape == (1, 100, 100 - broad * cut)
    assert ("border-not-cropped" in codes(scan)) is not cut


def test_each_end_is_judged_on_its_own() -> None:
    framed = phantom(100, 100)
    framed[:, :48] = 0  # too broad
    framed[90:] = 0
    assert read(framed).pixels.shape == (1, 90, 100)


def test_a_lung_filled_with_fluid_at_the_edge_is_not_cut_off() -> None:
    film = phantom(200, 100)
    film[:, :45] = 4000 + np.random.default_rng(0).integers(0, 95, (200, 45))
    assert read(film).pixels.shape == (1, 200, 100)


def test_a_lung_filled_with_fluid_beside_a_black_border_is_not_cut_off() -> None:
    film = phantom(200, 100)
    film[:, :10], film[:, 10:40] = 0, 4095
    scan = read(film)
    assert scan.pixels.shape == (1, 200, 90) and "border-not-cropped" in codes(scan)


def test_a_lung_that_its_lut_shows_as_one_light_grey_is_not_cut_off() -> None:
    film = phantom(200, 100)
    film[:, :33] = 3800
    scan = read(film)
    assert scan.pixels.shape == (1, 200, 100) and "border-not-cropped" in codes(scan)


def field(kind: str, left: int, right: int, top: int, bottom: int) -> dict[str, Any]:
    places = {"LeftVertical": left, "RightVertical": right, "UpperHorizontal": top, "LowerHorizontal": bottom}
    return {f"{kind}{edge}Edge": place for edge, place in places.items()}


@pytest.mark.parametrize("edges", [(0, 101, 0, 121), (-40, 140, -9, 300)])
def test_a_collimator_opened_wider_than_the_film_is_no_doubt(edges: tuple[int, int, int, int]) -> None:
    scan = read(phantom(), **field("Collimator", *edges))
    assert scan.pixels.shape == (1, 120, 100) and "field-ignored" not in codes(scan)


def test_edges_of_a_rectangle_do_not_count_where_the_shutter_is_a_circle() -> None:
    edges = field("Shutter", 1, 50, 1, 120)
    assert read(phantom(), ShutterShape="CIRCULAR", **edges).pixels.shape == (1, 120, 100)
    assert read(phantom(), ShutterShape=["CIRCULAR", "RECTANGULAR"], **edges).pixels.shape == (1, 120, 50)


@pytest.mark.parametrize("words", ["CT CHEST", "Chest_MRI", "THORACIC SPINE", "CT thorax dose report"])
def test_a_screenshot_of_another_study_of_the_chest_is_no_film(words: str) -> None:
    with pytest.raises(UnsupportedScan, match="no other kind of study") as caught:
        read(RAMP, Modality="OT", BodyPartExamined="CHEST", StudyDescription=words)
    assert caught.value.reason == "unsupported-modality"


@pytest.mark.parametrize(
    ("attributes", "view"),
    [
        ({"ViewPosition": "LLD"}, None),
        ({"ViewPosition": None, "SeriesDescription": "CHEST LEFT LATERAL DECUBITUS"}, None),
        ({"ViewPosition": None, "SeriesDescription": "Chest AP, R lat. decub."}, View.AP),
        ({"ViewPosition": "AP", "SeriesDescription": "chest decubitus"}, View.AP),
    ],
)
def test_a_decubitus_film_is_flagged_and_not_taken_for_a_lateral(attributes: dict[str, Any], view: View | None) -> None:
    scan = read(RAMP, **attributes)
    assert scan.view == view and {"decubitus"} <= codes(scan) and "lateral" not in codes(scan)


@pytest.mark.parametrize("kind", ["Shutter", "Collimator"])
def test_the_stated_field_is_cropped_to(kind: str) -> None:
    edges = {"LeftVerticalEdge": 11, "RightVerticalEdge": 90, "UpperHorizontalEdge": 21, "LowerHorizontalEdge": 100}
    film = phantom()
    scan = read(film, **{f"{kind}{edge}": place for edge, place in edges.items()})
    np.testing.assert_array_equal(scan.pixels[0], read(film).pixels[0, 20:100, 10:90])
    assert any("columns 11–90, rows 21–100" in step for step in scan.provenance.steps)


def test_a_polygonal_field_is_cropped_to_its_box() -> None:
    scan = read(phantom(), VerticesOfThePolygonalShutter=[21, 11, 21, 90, 100, 80, 100, 12])  # row, column, row, column
    assert scan.pixels.shape == (1, 80, 80)


@pytest.mark.parametrize("right", [500, 12])
def test_a_field_that_cannot_be_is_ignored_and_flagged(right: int) -> None:
    edges = {"Left": 11, "Right": right}
    scan = read(
        phantom(),
        **{f"Shutter{name}VerticalEdge": place for name, place in edges.items()},
        ShutterUpperHorizontalEdge=1,
        ShutterLowerHorizontalEdge=120,
    )
    assert scan.pixels.shape == (1, 120, 100) and "field-ignored" in codes(scan)


@pytest.mark.parametrize("modality", ["OT", "SC", None])
def test_a_chest_film_sent_on_as_a_secondary_capture_is_read_and_flagged(modality: str | None) -> None:
    scan = read(RAMP, Modality=modality, BodyPartExamined="CHEST")
    assert scan.kind == "xray" and scan.modality == modality and "secondary-capture" in codes(scan)
    with pytest.raises(UnsupportedScan, match="Modality"):
        read(RAMP, Modality=modality, BodyPartExamined="KNEE")


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_a_jpeg_that_lost_its_middle_is_refused_though_its_end_is_there(kept: float) -> None:
    grey = cv2.GaussianBlur((phantom(400, 300) >> 4).astype(np.uint8), (0, 0), 2)
    whole = cv2.imencode(".jpg", grey)[1].tobytes()
    start = whole.index(b"\xff\xda")
    cut = whole[: start + int((len(whole) - start) * kept)] + b"\xff\xd9"
    for data, refused in ((whole, False), (cut, True)):
        ds = dicom_dataset(grey, BitsStored=8, WindowCenter=None, WindowWidth=None)
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        ds.PixelData = pydicom.encaps.encapsulate([data])
        for upload in (to_bytes(ds), data):  # DICOM, and the bare JPEG
            if refused:
                with pytest.raises(DamagedScan, match="missing") as caught:
                    read_scan_bytes(upload, side=4096)
                assert caught.value.reason == "too-short"
            else:
                assert read_scan_bytes(upload, side=4096).kind == "xray"


def with_holes(whole: bytes, share: float) -> bytes:
    """A JPEG without `share` of its coded data, from a third on."""
    first = whole.index(b"\xff\xda") + (len(whole) - whole.index(b"\xff\xda")) // 3
    return whole[:first] + whole[first + int(len(whole) * share) :]


@pytest.mark.parametrize("share", [0.02, 0.1])
def test_a_jpeg_that_lost_whole_restart_intervals_is_refused(share: float) -> None:
    buffer = io.BytesIO()
    Image.fromarray((phantom(400, 300) >> 4).astype(np.uint8)).save(buffer, format="JPEG", restart_marker_rows=1)
    assert read_scan_bytes(buffer.getvalue(), side=4096).kind == "xray"
    with pytest.raises(DamagedScan, match="missing"):
        read_scan_bytes(with_holes(buffer.getvalue(), share), side=4096)


def lossless_jpeg(pixels: npt.NDArray[np.uint8]) -> bytes:
    """A lossless JPEG (process 14, selection value 1) whose one Huffman table gives each category of difference 4 bits (T.81 H.1.2)."""
    values = pixels.astype(int)
    predicted = np.roll(values, 1, axis=1)
    predicted[1:, 0], predicted[0, 0] = values[:-1, 0], 128
    bits = []
    for difference in (values - predicted).ravel():
        size = int(abs(difference)).bit_length()
        extra = difference if difference > 0 else difference + 2**size - 1
        bits.append(f"{size:04b}" + (f"{extra:0{size}b}" if size else ""))
    text = "".join(bits)
    text += "1" * (-len(text) % 8)
    data = int(text, 2).to_bytes(len(text) // 8, "big").replace(b"\xff", b"\xff\x00")
    rows, columns = (length.to_bytes(2, "big") for length in pixels.shape)
    frame = b"\xff\xc3\0\x0b\x08" + rows + columns + b"\x01\x01\x11\0"
    table = b"\xff\xc4\0\x1c\0" + b"\0\0\0\x09" + bytes(12) + bytes(range(9))
    return b"\xff\xd8" + frame + table + b"\xff\xda\0\x08\x01\x01\0\x01\0\0" + data + b"\xff\xd9"


@pytest.mark.parametrize("kept", [0.3, 0.5, 0.9])
def test_a_lossless_jpeg_that_lost_its_middle_is_refused_and_one_that_ends_in_mid_grey_is_not(kept: float) -> None:
    grey = (phantom(60, 50) >> 4).astype(np.uint8)
    grey[50:] = 128  # as a decoder would fill it
    whole = lossless_jpeg(grey)
    ds = dicom_dataset(grey, WindowCenter=127.5, WindowWidth=256)
    ds.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    ds.PixelData = pydicom.encaps.encapsulate([whole])
    np.testing.assert_array_equal(decode_frame(ds), grey)
    start = whole.index(b"\xff\xda")
    cut = whole[: start + int((len(whole) - start) * kept * 0.8)].removesuffix(b"\xff") + b"\xff\xd9"
    ds.PixelData = pydicom.encaps.encapsulate([cut])
    with pytest.raises(DamagedScan, match="missing") as caught:
        decode_frame(ds)
    assert caught.value.reason == "too-short"


def tile_parts(data: bytes) -> tuple[bytes, list[bytes]]:
    """(the main header, the tile-parts) of a JPEG 2000 codestream."""
    at = first = data.index(b"\xff\x90")
    parts = []
    while data[at : at + 2] == b"\xff\x90":
        length = int.from_bytes(data[at + 6 : at + 10], "big") or len(data) - 2 - at
        parts.append(data[at : at + length])
        at += length
    return data[:first], parts


def jpeg_2000_film(codestream: bytes, grey: npt.NDArray[Any], **attributes: Any) -> bytes:
    ds = dicom_dataset(grey, **({"WindowCenter": None, "WindowWidth": None} | attributes))
    ds.file_meta.TransferSyntaxUID = JPEG2000Lossless
    ds.PixelData = pydicom.encaps.encapsulate([codestream])
    return to_bytes(ds)


@pytest.mark.parametrize("lost", [range(2, 4), range(1), range(3, 4)])
def test_a_jpeg_2000_without_some_of_its_tiles_is_refused_not_decoded_to_black(lost: range) -> None:
    grey = (phantom(128, 128) >> 4).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(grey).save(buffer, format="JPEG2000", tile_size=(64, 64), no_jp2=True)
    header, parts = tile_parts(buffer.getvalue())
    assert len(parts) == 4
    whole = jpeg_2000_film(header + b"".join(parts) + b"\xff\xd9", grey, BitsStored=8)
    assert read_scan_bytes(whole, side=4096).kind == "xray"
    kept = b"".join(part for number, part in enumerate(parts) if number not in lost)
    with pytest.raises(DamagedScan, match="tiles") as caught:
        read_scan_bytes(jpeg_2000_film(header + kept + b"\xff\xd9", grey, BitsStored=8), side=4096)
    assert caught.value.reason == "too-short"


def compressed(grey: npt.NDArray[Any], syntax: pydicom.uid.UID, **attributes: Any) -> bytes:
    """The codestream of a film."""
    ds = dicom_dataset(grey, **attributes)
    ds.compress(syntax)
    return next(pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1))


@pytest.mark.parametrize("stored", [{"BitsStored": 10}, {"BitsStored": 8, "BitsAllocated": 8}])
def test_a_codestream_of_more_bits_than_declared_is_refused_not_wrapped(stored: dict[str, int]) -> None:
    data = jpeg_2000_film(compressed(phantom(), JPEG2000Lossless), phantom(), **stored)
    with pytest.raises(DamagedScan, match="12 bits") as caught:
        read_scan_bytes(data, side=4096)
    assert caught.value.reason == "no-size"


def test_a_signed_codestream_declared_unsigned_is_refused() -> None:
    signed = phantom().astype(np.int16) - 2048
    data = jpeg_2000_film(compressed(signed, JPEG2000Lossless), signed, PixelRepresentation=0)
    with pytest.raises(DamagedScan, match="signed"):
        read_scan_bytes(data, side=4096)


def test_a_colour_codestream_declared_grey_and_one_of_another_kind_are_refused() -> None:
    grey = (phantom() >> 4).astype(np.uint8)
    colour = cv2.imencode(".jpg", np.dstack([grey] * 3))[1].tobytes()
    for codestream, words in ((colour, "3 components"), (compressed(grey, JPEG2000Lossless), "is JPEG 2000")):
        ds = dicom_dataset(grey, BitsStored=8)
        ds.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        ds.PixelData = pydicom.encaps.encapsulate([codestream])
        with pytest.raises(DamagedScan, match=words):
            read_scan_bytes(to_bytes(ds), side=4096)


def test_padding_beyond_the_bits_stored_becomes_air() -> None:
    pixels = phantom()
    pixels[:40, :40] = 63536
    scan = read(pixels, PixelPaddingValue=63536, WindowCenter=2048, WindowWidth=4096)
    assert (scan.pixels[0, 5:35, 5:35] == 0).all() and scan.pixels[0, 60, 50] > 0
    assert any("padding set to air" in step for step in scan.provenance.steps)


@pytest.mark.parametrize(
    ("attributes", "code"),
    [
        ({"Columns": 99}, "longer-than-declared"),
        ({"Rows": 60}, "longer-than-declared"),
        ({"BodyPartExamined": "HAND"}, "other-body-part"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for-processing"),
        ({"WindowWidth": 65536}, "faint"),
    ],
)
def test_what_the_header_says_against_a_film_is_told(attributes: dict[str, Any], code: str) -> None:
    assert code in codes(read(phantom(), **attributes))
    assert code not in codes(read(phantom(), BodyPartExamined="CHEST", PresentationIntentType="FOR PRESENTATION"))


def test_a_faint_film_is_not_cropped_as_if_it_were_border() -> None:
    assert read(phantom(), WindowCenter=32768, WindowWidth=65536).pixels.shape == (1, 120, 100)


def test_the_frame_that_is_used_must_end_though_the_last_one_does() -> None:
    ds = dicom_dataset(phantom())
    ds.compress(JPEG2000Lossless)
    (codestream,) = pydicom.encaps.generate_frames(ds.PixelData, number_of_frames=1)
    ds.PixelData = pydicom.encaps.encapsulate([codestream[: len(codestream) // 2 * 2 - 200], codestream])
    ds.NumberOfFrames = 2
    with pytest.raises(DamagedScan, match="end marker"):
        read_scan_bytes(to_bytes(ds), side=4096)


def test_small_saturated_and_other_pictures_are_doubted() -> None:
    assert "tiny" in codes(read(phantom()))
    assert "saturated" in codes(read(phantom(600, 500), WindowCenter=2500, WindowWidth=200))
    down, right = np.mgrid[:600, :500]
    stripes = np.rint(2048 + 2000 * np.sin((down + right) / 40)).astype(np.uint16)
    assert "no-lungs" in codes(read(stripes))


def test_a_lateral_film_says_so() -> None:
    assert "lateral" in codes(read(RAMP, ViewPosition="LL")) and "lateral" not in codes(read(RAMP))


def test_coded_views_that_disagree_are_flagged() -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "399348003", "SCT", "antero-posterior"
    scan = read(RAMP, ViewPosition="PA", ViewCodeSequence=[code])
    assert scan.view == View.PA and "view-conflict" in codes(scan)


@pytest.mark.parametrize(
    ("attributes", "conflict"),
    [
        ({"SeriesDescription": "CHEST LATERAL"}, True),
        ({"ProtocolName": "Thorax AP"}, True),
        ({"SeriesDescription": "CHEST PA"}, False),
        ({"SeriesDescription": "CHEST PA AND LATERAL"}, False),
        ({"StudyDescription": "CHEST LATERAL"}, False),
    ],
)
def test_a_description_that_speaks_against_the_coded_view_is_flagged(
    attributes: dict[str, str], conflict: bool
) -> None:
    scan = read(RAMP, ViewPosition="PA", **attributes)
    assert scan.view == View.PA and ("view-conflict" in codes(scan)) is conflict


def test_a_view_named_plainly_counts_after_an_ambiguous_description() -> None:
    scan = read(RAMP, ViewPosition=None, SeriesDescription="Chest PA/LAT", ProtocolName="Chest PA erect")
    assert scan.view == View.PA


def test_a_big_endian_lut_gives_the_same_scan() -> None:
    table = [min(value * value // 4096, 4095) for value in range(4096)]
    little = read(RAMP, VOILUTSequence=[lut_item(table, 0, 12)])
    item = lut_item(table, 0, 12)
    item.LUTData = np.array(table, ">u2").tobytes()
    item["LUTData"].VR = "OW"
    ds = dicom_dataset(RAMP, VOILUTSequence=[item])
    ds.PixelData = RAMP.astype(">u2").tobytes()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    buffer = io.BytesIO()
    pydicom.dcmwrite(buffer, ds, enforce_file_format=True, little_endian=False, implicit_vr=False)
    np.testing.assert_array_equal(read_scan_bytes(buffer.getvalue(), side=4096).pixels, little.pixels)


def test_colour_of_12_bits_is_not_taken_for_black() -> None:
    ds = dicom_dataset(RAMP, PhotometricInterpretation="RGB", SamplesPerPixel=3, PlanarConfiguration=0)
    ds.PixelData = np.dstack([RAMP | 0xF000] * 3).tobytes()  # with garbage above the bits stored
    np.testing.assert_allclose(read_scan_bytes(to_bytes(ds), side=4096).pixels[0], RAMP / 4095, atol=1e-6)


def test_padding_written_without_its_sign_is_recognised() -> None:
    pixels = RAMP.astype(np.int16) - 2048
    pixels[4:8, 4:8] = -2000
    ds = dicom_dataset(pixels, WindowCenter=0, PhotometricInterpretation="MONOCHROME1")
    ds.add_new("PixelPaddingValue", "US", 63536)
    scan = read_scan_bytes(to_bytes(ds), side=4096)
    assert (scan.pixels[0, 4:8, 4:8] == 0).all()


@pytest.mark.parametrize(("stated", "believed"), [("20200401", True), ("18950101", False), ("20991231", False)])
def test_a_date_that_no_image_can_have_is_not_believed(stated: str, believed: bool) -> None:
    scan = read_scan_bytes(dicom_bytes(phantom(), StudyDate=stated), side=64)
    assert (scan.header.scan_date is not None) is believed
