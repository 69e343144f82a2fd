"""The demonstration archive: deterministic, in NCCID's layout, and true to what truth.csv says."""

from __future__ import annotations

import csv
import json
from collections import Counter
from datetime import date
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pydicom
import pytest
from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

from examples.demo.anatomy import Anatomy, MissingAnatomy, load_anatomy
from examples.demo.archive import build_archive
from examples.demo.dicom import Header, film_dataset
from examples.demo.film import tone
from examples.demo.lesions import Side
from examples.demo.plan import plan_archive
from examples.demo.radiograph import View, project_masks
from examples.demo.rendering import draw_pose, iter_films
from examples.demo.scanners import SITES, Scanner, Voi
from examples.demo.volume import deform
from tests.conftest import missing as absent

PATIENTS, FILM_SIDE = 4, 160


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    try:
        return load_anatomy(coarseness=2.0)
    except MissingAnatomy as missing:
        absent(str(missing))


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory, anatomy: Anatomy) -> Path:
    out = tmp_path_factory.mktemp("demo")
    build_archive(out, patients=PATIENTS, seed=3, workers=1, film_side=FILM_SIDE, anatomy=anatomy)
    return out


def truth(archive: Path) -> list[dict[str, str]]:
    with (archive / "truth.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def shown(dataset: pydicom.Dataset) -> npt.NDArray[np.float64]:
    """The film as a viewer shows it: 0 black, 1 white."""
    values = apply_modality_lut(dataset.pixel_array, dataset)
    slope, intercept = float(dataset.get("RescaleSlope", 1)), float(dataset.get("RescaleIntercept", 0))
    low, high = intercept, intercept + slope * (2**dataset.BitsStored - 1)
    if "VOILUTSequence" in dataset:
        low, high = 0, 65535
    grey = (np.asarray(apply_voi_lut(values, dataset), dtype=np.float64) - low) / (high - low)
    film: npt.NDArray[np.float64] = 1 - grey if dataset.PhotometricInterpretation == "MONOCHROME1" else grey
    return film


@pytest.mark.slow
def test_the_same_seed_makes_the_same_files(archive: Path, anatomy: Anatomy, tmp_path: Path) -> None:
    build_archive(tmp_path, patients=PATIENTS, seed=3, workers=2, film_side=FILM_SIDE, anatomy=anatomy)
    first = {path.relative_to(archive): path.read_bytes() for path in archive.rglob("*") if path.is_file()}
    second = {path.relative_to(tmp_path): path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert first == second


def test_files_lie_where_the_warehouse_puts_them(archive: Path) -> None:
    for row in truth(archive):
        if row["split"] == "archive":
            place = f"{row['patient_id']}/{row['study_uid']}/{row['series_uid']}/{row['sop_uid']}"
            assert row["file"] == f"training/xray/{place}.dcm"
            assert (archive / "training" / "xray-metadata" / f"{place}.json").is_file()
            kind = "status" if row["side"] == "none" else "data"
            assert list((archive / "training" / "data" / row["patient_id"]).glob(f"{kind}_????-??-??.json"))
        else:
            assert row["file"] == f"unseen/{row['sop_uid']}.dcm"
            assert not (archive / "training" / "data" / row["patient_id"]).exists()
        assert (archive / row["file"]).is_file()


def test_truth_agrees_with_the_headers_and_the_records(archive: Path) -> None:
    for row in truth(archive):
        dataset = pydicom.dcmread(archive / row["file"])
        assert (dataset.PatientID, dataset.SOPInstanceUID) == (row["patient_id"], row["sop_uid"])
        assert dataset.ViewPosition in (row["view"], "")
        assert f"{dataset.Manufacturer} {dataset.ManufacturerModelName}" == row["scanner"]
        right, left = float(row["extent_right"]), float(row["extent_left"])
        assert (right > 0) == (row["side"] in ("right", "both"))
        assert (left > 0) == (row["side"] in ("left", "both"))
        if row["split"] == "archive":
            for path in (archive / "training" / "data" / row["patient_id"]).glob("data_*.json"):
                death = json.loads(path.read_text(encoding="utf-8")).get("Death")
                told = "not_recorded" if death is None else {0.0: "no", 1.0: "yes"}[float(death)]
                assert told == row["died"]


def test_metadata_json_is_the_header_without_pixels_and_tables(archive: Path) -> None:
    for row in truth(archive):
        if row["split"] == "archive":
            dataset = pydicom.dcmread(archive / row["file"])
            name = row["file"].replace("xray", "xray-metadata").replace(".dcm", ".json")
            header = json.loads((archive / name).read_text(encoding="utf-8"))
            assert header["00100020"]["Value"] == [row["patient_id"]]
            assert "7FE00010" not in header and header.get("00283010") is None
            assert ("00283010" in header) == ("VOILUTSequence" in dataset)


def test_sides_and_severities_are_equally_frequent() -> None:
    plans = [plan for plan in plan_archive(96, 7) if plan.archived]
    first = [plan.visits[0].disease for plan in plans]
    assert Counter(disease.side for disease in first) == dict.fromkeys(Side, 24)
    assert Counter(disease.severity for disease in first) == dict.fromkeys(range(4), 24)
    assert len({plan.pseudonym for plan in plan_archive(96, 7)}) == 99


@pytest.mark.parametrize("side", [Side.RIGHT, Side.LEFT])
def test_the_lesion_lies_on_its_side(anatomy: Anatomy, side: Side) -> None:
    plan = next(
        plan
        for plan in plan_archive(96, 7)
        if plan.visits[0].disease.side is side and plan.visits[0].disease.severity == 2
    )
    visit = plan.visits[0]
    ill = next(iter_films(anatomy, plan, visit, film_side=FILM_SIDE)).pixels
    well = next(iter_films(anatomy, plan, visit, film_side=FILM_SIDE, healthy=True)).pixels
    added = cv2.GaussianBlur(ill - well, (0, 0), 3)
    added -= np.median(added)  # the machine sets its brightness anew
    added = np.clip(added, 0, None)
    middle = added.shape[1] // 2  # a film is shown with the patient's right on the viewer's left
    right_of_patient, left_of_patient = added[:, :middle].sum(), added[:, middle:].sum()
    assert (right_of_patient > 1.5 * left_of_patient) == (side is Side.RIGHT)
    assert (left_of_patient > 1.5 * right_of_patient) == (side is Side.LEFT)


def test_projected_lung_masks_lie_left_and_right(anatomy: Anatomy) -> None:
    plan = plan_archive(4, 1)[0]
    body = deform(anatomy, plan.body, inflation=0.9)
    pose = draw_pose(np.random.default_rng(0), body, View.AP, plan.site.portable)
    right, left = project_masks(body, pose, pixel_mm=4.0)
    columns = np.arange(right.shape[1])
    assert right.shape == left.shape
    assert (right.sum(axis=0) @ columns) / right.sum() < (left.sum(axis=0) @ columns) / left.sum()
    assert 80 < right.max() < 300  # mm of lung along one ray


SCANNERS = {scanner.model: scanner for site in SITES for scanner in (site.fixed, site.portable)}


@pytest.mark.parametrize("scanner", SCANNERS.values(), ids=SCANNERS.keys())
@pytest.mark.parametrize("rle", [False, True])
def test_every_scanners_file_shows_the_same_film(tmp_path: Path, scanner: Scanner, rle: bool) -> None:
    ramp = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (8, 1))
    uids = "2.25.1", "2.25.2", "2.25.3"
    header = Header("Covid1", "F", 61, *uids, date(2020, 4, 1), "101112", View.PA, True, "Riverside", rle)
    film_dataset(ramp, 0.3, 4.0, scanner, header).save_as(tmp_path / "film.dcm", enforce_file_format=True)
    dataset = pydicom.dcmread(tmp_path / "film.dcm")
    inverse = dataset.PhotometricInterpretation == "MONOCHROME1"
    assert dataset.PresentationLUTShape == ("INVERSE" if inverse else "IDENTITY")
    # A sigmoid in a header cannot bring its ends to black and white, as the other forms can.
    assert np.allclose(shown(dataset), tone(ramp, 4.0), atol=0.13 if scanner.voi is Voi.SIGMOID else 0.01)


def test_every_film_has_dark_lungs_and_a_bright_middle(archive: Path) -> None:
    for row in truth(archive):
        film = shown(pydicom.dcmread(archive / row["file"]))
        if row["view"] == "LL" or row["severity"] == "3":
            continue
        rows, columns = film.shape
        lung_rows = slice(rows * 3 // 10, rows // 2)
        middle = film[lung_rows, columns * 9 // 20 : columns * 11 // 20].mean()
        lungs = (
            film[lung_rows, columns // 5 : columns // 3],
            film[lung_rows, columns * 2 // 3 : columns * 4 // 5],
        )
        assert middle > np.hstack(lungs).mean() + 0.15


def test_a_film_can_be_seen_as_a_png(archive: Path, tmp_path: Path) -> None:
    film = shown(pydicom.dcmread(archive / truth(archive)[0]["file"]))
    grey = (255 * np.clip(film, 0, 1)).astype(np.uint8)
    assert cv2.imwrite(str(tmp_path / "film.png"), grey)
    again = cv2.imread(str(tmp_path / "film.png"), cv2.IMREAD_GRAYSCALE)
    assert again is not None and np.array_equal(again, grey)
    assert max(grey.shape) <= FILM_SIDE and grey.std() > 25
