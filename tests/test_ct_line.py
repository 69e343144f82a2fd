"""CT from the warehouse to an answer: studies become cases of their own kind and are asked by their own kind."""

import json
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import run_build, run_search
from tests.films import dicom_bytes, phantom
from tests.test_embed_series import ct_dataset, real_ct, to_bytes

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients' CT studies from the real CT, two of them with denser lungs, and one patient's film."""
    root = tmp_path_factory.mktemp("warehouse")
    hu, lungs = real_ct()
    for patient in range(4):
        dense = np.where(lungs, hu + 350 * (patient % 2), hu)
        noise = np.random.default_rng(patient).normal(0, 20, hu.shape)
        write_study(
            root / "ct" / f"Covid{patient}" / f"2.25.{patient}", np.rint(dense + noise).astype(np.int16), patient
        )
    film = root / "xray" / "Covid9" / "2.25.90" / "2.25.91"
    film.mkdir(parents=True)
    (film / "2.25.92.dcm").write_bytes(dicom_bytes(phantom(), PatientID="Covid9"))
    return root


def write_study(folder: Path, hu: "np.ndarray[tuple[int, ...], np.dtype[np.int16]]", patient: int) -> None:
    series = folder / f"2.25.{patient}.1"
    series.mkdir(parents=True)
    for number, plane in enumerate(hu):
        ds = ct_dataset(
            (plane + 1024).astype(np.uint16).clip(0, 4095),
            number,
            SOPInstanceUID=f"2.25.{patient}.1.{number + 1}",
            SeriesInstanceUID=f"2.25.{patient}.1",
            StudyInstanceUID=f"2.25.{patient}",
            PatientID=f"Covid{patient}",
            StudyDate="20200401",
        )
        (series / f"{number:03}.dcm").write_bytes(to_bytes(ds))


def test_ct_studies_and_films_lie_in_separate_stores_and_are_asked_by_their_own_kind(
    warehouse: Path, tmp_path: Path
) -> None:
    result = run_build("--cohort", f"nccid={warehouse}", "--index", tmp_path / "index", "--json")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["cases"] == {"ct": 4, "xray": 1}
    study = warehouse / "ct" / "Covid1" / "2.25.1"
    answer = json.loads(run_search("query", study, "--index", tmp_path / "index", "--json").stdout)
    assert answer["neighbours"][0]["case_id"] == "2.25.3"  # the other one with dense lungs
    assert {neighbour["patient_id"] for neighbour in answer["neighbours"]} == {"Covid0", "Covid2", "Covid3"}
    assert answer["query"]["modality"] == "CT"
    assert any("slices decoded across the lungs" in step for step in answer["query"]["provenance"]["steps"])
    film = next(warehouse.glob("xray/*/*/*/*.dcm"))
    own = json.loads(run_search("query", film, "--index", tmp_path / "index", "--include-own", "--json").stdout)
    assert [neighbour["case_id"] for neighbour in own["neighbours"]] == ["2.25.92"]


def test_a_kind_that_the_index_lacks_is_refused(small_index: Path, warehouse: Path) -> None:
    result = run_search("query", warehouse / "ct" / "Covid1" / "2.25.1", "--index", small_index)
    assert result.exit_code == 2 and "holds no ct scans, only xray" in result.stderr
