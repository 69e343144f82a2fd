"""The product on real radiographs with real outcomes, from the table to the figures that the README quotes."""

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import build_index
from index.snapshot import open_current
from tests.conftest import run_search
from web.question import IDENTICAL

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def hannover(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    index = tmp_path_factory.mktemp("hannover")
    result = CliRunner().invoke(
        build_index.main, ["--cohort", "table=examples/hannover.toml", "--index", str(index), "--json"]
    )
    assert result.exit_code == 0, result.output
    summary = json.loads(result.stdout)
    assert (summary["cases"], summary["patients"], summary["rejected"]) == ({"xray": 243}, 71, {})
    return index


@pytest.mark.parametrize("film", ["fff13f3a", "b343e657", "c9280a30"])
def test_any_radiograph_finds_ten_other_patients_with_their_outcomes(
    hannover: Path, shared_data: Path, film: str
) -> None:
    png = shared_data / "hannover" / "png" / f"{film}.png"
    document = json.loads(run_search("query", png, "--index", hannover, "--json").stdout)
    patients = [neighbour["patient_id"] for neighbour in document["neighbours"]]
    assert len(set(patients)) == 10
    for neighbour in document["neighbours"]:
        assert {event["state"] for event in neighbour["outcome"].values()} <= {"yes", "no"}
    own = json.loads(run_search("query", png, "--index", hannover, "--include-own", "--json").stdout)["neighbours"][0]
    assert own["case_id"] == film and own["patient_id"] not in patients


def test_no_two_people_are_so_alike_that_one_is_withheld_as_the_other(hannover: Path) -> None:
    snapshot = open_current(hannover)
    people = snapshot.catalogue.people("xray")
    rows = snapshot.centred("xray", np.arange(len(people)))
    between = (rows @ rows.T)[people[:, None] != people[None, :]]
    assert between.max() < IDENTICAL - 0.2
    np.testing.assert_array_less(IDENTICAL, np.einsum("ij,ij->i", rows, rows))  # each film is like itself


def test_neighbours_tell_itu_admission_among_ap_films(hannover: Path) -> None:
    result = run_search(
        "evaluate", "--index", hannover, "--target", "itu_admission", "--where", "view = 'AP'", "--json"
    )
    metric = json.loads(result.stdout)["itu_admission"]
    assert metric["queries"] == 194 and metric["patients"] == 40
    assert metric["value"] >= 0.75 and metric["low"] > metric["chance"] == 0.5
