"""The command `evaluate` as people use it: the report, its numbers, two indexes compared, and lungs blanked."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from embed.scan import Lungs, Provenance, Scan
from embed.signature import unit
from search.blanking import GREY, lungs_alone, without_lungs
from search.evaluation_drawing import Line, line_chart, point_map
from search.landscape import landscape
from tests.archives import change_cells, table_archive
from tests.conftest import need_module, run_build, run_search

TABLES = ("scores", "differences", "reliability", "deciles", "hubness", "verdicts", "map", "left_out")


def small_archive(folder: Path, *, patients: int = 8) -> Path:
    """Its TOML; patients 3, 4 and 6 die."""
    return change_cells(table_archive(folder, patients=patients), died={8: "yes", 9: "yes"})


def evaluate(index: Path, out: Path) -> str:
    result = run_search("evaluate", "--index", index, "--out", out, "-k", 2, "--replicates", 60)
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A report of an archive of 16 films, too few for UMAP."""
    folder = tmp_path_factory.mktemp("evaluated")
    cohort = small_archive(folder / "archive")
    assert run_build("--cohort", f"table={cohort}", "--index", folder / "index").exit_code == 0
    said = evaluate(folder / "index", folder / "report")
    assert "death: " in said and str(folder / "report" / "report.html") in said
    return folder


def test_the_report_is_one_page_without_scripts_or_links_elsewhere(evaluated: Path) -> None:
    page = (evaluated / "report" / "report.html").read_text()
    assert page.startswith("<!DOCTYPE html>") and "<script" not in page
    assert "http://" not in page and "https://" not in page and "img-src data:" in page
    for heading in ("Verdict", "Precision at k", "A map of the archive", "Good and bad queries", "Hubs"):
        assert f">{heading}</h2>" in page
    assert page.count("data:image/jpeg;base64,") >= 14  # at least two queries with six neighbours each
    assert "Research only" in page


def test_every_number_of_the_page_is_a_parquet_file(evaluated: Path) -> None:
    for name in TABLES:
        assert (evaluated / "report" / f"{name}.parquet").is_file()
    scores = pq.read_table(evaluated / "report" / "scores.parquet").to_pylist()
    spaces = {row["space"] for row in scores}
    assert {"encoder", "metadata only", "pixel PCA", "histogram", "random", "encoder, centred by site"} <= spaces
    assert {row["protocol"] for row in scores} >= {"other patients", "same view", "other sites"}
    assert {"P@3", "Hit@3", "R-precision", "mAP@100", "AUROC", "Brier"} <= {row["metric"] for row in scores}
    for row in scores:
        assert np.isnan(row["low"]) or row["low"] <= row["high"]
    left = {row["what"]: row["why"] for row in pq.read_table(evaluated / "report" / "left_out.parquet").to_pylist()}
    assert left["earlier scans"] == "no scan has a date"


def test_a_copy_under_another_name_changes_no_figure(evaluated: Path, tmp_path: Path) -> None:
    """Eight patients, and the same eight with a ninth under whose name both films are copies of one of another patient's."""
    cohort = small_archive(tmp_path / "archive", patients=9)
    films = cohort.parent / "films"
    for name in ("film016.png", "film017.png"):
        (films / name).write_bytes((films / "film002.png").read_bytes())
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    evaluate(tmp_path / "index", tmp_path / "leaky")
    for name in ("scores", "differences", "reliability", "deciles", "hubness", "verdicts"):
        one, other = (
            (folder / f"{name}.parquet").read_bytes() for folder in (evaluated / "report", tmp_path / "leaky")
        )
        assert one == other, name
    assert "2 scans were left out because their very picture" in (tmp_path / "leaky" / "report.html").read_text()


def test_an_index_compared_with_itself_is_no_better(evaluated: Path, tmp_path: Path) -> None:
    index = evaluated / "index"
    result = run_search("evaluate", "--compare", index, index, "-k", 2, "--json", "--out", tmp_path)
    assert result.exit_code == 2 and "--json" in result.output
    result = run_search("evaluate", "--compare", index, index, "-k", 2, "--json", "--replicates", 60)
    rows = json.loads(result.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    told = [row for row in rows if row["value"] is not None]
    assert told and all(row["difference"] == row["low"] == row["high"] == 0 for row in told)
    assert len(told) < len(rows)  # P@10 is not to be had of 7 other patients
    assert max(row["queries"] for row in rows) == 16  # each film is asked once, though both are called alike


def test_another_index_is_a_baseline_and_is_compared_on_what_both_hold(evaluated: Path, tmp_path: Path) -> None:
    cohort = small_archive(tmp_path / "archive", patients=7)  # the first 14 of the films
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "smaller").exit_code == 0
    out = tmp_path / "out"
    arguments = ["evaluate", "--index", evaluated / "index", "--out", out, "-k", 2, "--replicates", 60]
    arguments += ["--other", tmp_path / "smaller"]
    assert run_search(*arguments).exit_code == 0
    differences = pq.read_table(out / "differences.parquet").to_pylist()
    rows = [row for row in differences if row["other"] == "smaller"]
    assert rows and {row["space"] for row in rows} == {"encoder on the cases of “smaller”"}
    assert all(row["queries"] <= 14 and abs(row["difference"]) < 1e-9 for row in rows if row["value"] == row["value"])
    shown = run_search("evaluate", "--compare", evaluated / "index", tmp_path / "smaller", "-k", 2, "--replicates", 60)
    assert shown.exit_code == 0 and "second less first" in shown.stdout


def test_indexes_of_one_name_and_of_a_baselines_name_are_kept_apart(evaluated: Path, tmp_path: Path) -> None:
    arguments = ["evaluate", "--index", evaluated / "index", "--out", tmp_path / "out", "-k", 2, "--replicates", 60]
    for name in ("a/index", "b/index", "histogram"):
        shutil.copytree(evaluated / "index", tmp_path / name)
        arguments += ["--other", tmp_path / name]
    assert run_search(*arguments).exit_code == 0
    scores, before = (pq.read_table(folder / "scores.parquet") for folder in (tmp_path / "out", evaluated / "report"))
    spaces = set(scores.column("space").to_pylist())
    assert {"histogram", *(str(tmp_path / name) for name in ("a/index", "b/index", "histogram"))} <= spaces
    baseline, alone = (
        str(table.filter(pc.equal(table.column("space"), "histogram")).to_pylist()) for table in (scores, before)
    )
    assert baseline == alone  # as text: NaN equals nothing


def test_options_that_contradict_each_other_are_refused(small_index: Path, tmp_path: Path) -> None:
    def refused(*arguments: object) -> str:
        result = run_search("evaluate", *arguments)
        assert result.exit_code == 2
        return result.output

    assert "give --index, or two" in refused("--target", "died")
    assert "give --index, or two" in refused("--index", small_index, "--compare", small_index, small_index)
    assert "--out where it goes" in refused("--index", small_index, "--target", "died", "--pixels")
    assert "say with --target" in refused("--index", small_index)
    assert "--any-view is for a quick" in refused("--index", small_index, "--out", tmp_path, "--any-view")
    assert "fewer than 3 patients" in refused(
        "--index", small_index, "--out", tmp_path, "--where", "patient_id = 'p01'"
    )
    assert "no column" in refused("--index", small_index, "--out", tmp_path, "--target", "mood")


def film(seed: int = 0) -> Scan:
    """60 × 60 pixels, the lungs two boxes."""
    pixels = np.random.default_rng(seed).random((1, 60, 60)).astype(np.float32)
    right, left = np.zeros((60, 60), bool), np.zeros((60, 60), bool)
    right[10:50, 8:25], left[10:50, 35:52] = True, True
    return Scan(pixels, "xray", "DX", None, None, Provenance("png", ""), lungs=Lungs(right, left, 1.0))


def test_nothing_of_the_lungs_is_left_when_they_are_blanked() -> None:
    scan, other = film(0), film(1)
    lungs = scan.lungs
    assert lungs is not None
    pixels = np.where(lungs.both, other.pixels, scan.pixels)  # another patient's lungs in this chest
    one, two = without_lungs(scan), without_lungs(replace(scan, pixels=pixels))
    np.testing.assert_array_equal(one.pixels, two.pixels)
    assert one.lungs is None and (one.pixels == GREY).any() and one.pixels.std() > 0.1


def test_nothing_but_the_lungs_is_left_when_all_else_is_blanked() -> None:
    scan, other = film(0), film(1)
    lungs = scan.lungs
    assert lungs is not None
    pixels = np.where(lungs.both, scan.pixels, other.pixels)
    np.testing.assert_array_equal(lungs_alone(scan).pixels, lungs_alone(replace(scan, pixels=pixels)).pixels)
    np.testing.assert_array_equal(lungs_alone(scan).pixels[0][lungs.both], scan.pixels[0][lungs.both])


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Tensorflow not installed:ImportWarning")  # it tells whoever imports it
def test_umap_draws_like_cases_together_where_it_is_installed() -> None:
    need_module("umap")
    rng = np.random.default_rng(0)
    kinds = np.repeat([0, 1], 30)
    vectors = unit((np.eye(8)[kinds] + 0.05 * rng.normal(size=(60, 8))).astype(np.float32))
    found = landscape(vectors, np.arange(60))
    assert found.method.startswith("UMAP") and found.points.shape == (60, 2) and np.isfinite(found.points).all()
    apart = np.linalg.norm(found.points[:, None] - found.points[None], axis=2)
    np.fill_diagonal(apart, np.inf)
    assert (kinds[apart.argmin(axis=1)] == kinds).all()
    np.testing.assert_array_equal(landscape(vectors, np.arange(60)).points, found.points)


def test_without_umap_the_map_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)  # any import of it now fails
    vectors = np.random.default_rng(0).normal(size=(30, 5)).astype(np.float32)
    found = landscape(vectors, np.arange(30))
    assert "UMAP is not installed" in found.method and found.points.shape == (30, 2)
    spread = found.points.var(axis=0)
    assert spread[0] >= spread[1] > 0


def test_a_map_names_the_frequent_labels_and_counts_the_rest() -> None:
    labels = [f"site {n}" for n in range(12) for _ in range(12 - n)] + [None]
    drawn = point_map(np.random.default_rng(0).random((len(labels), 2)), labels, title="site")
    assert "site 0 (12)" in drawn and "5 others" in drawn and "not recorded (1)" in drawn
    assert drawn.count("<circle") == len(labels) + 9


def test_a_line_chart_says_its_numbers_to_whoever_points_at_them() -> None:
    drawn = line_chart(
        [Line("encoder <b>", [0.5, float("nan")], [0.4] * 2, [0.6] * 2, 0)],
        ["1", "3"],
        title="t",
        below="k",
        chance=[0.2, 0.2],
    )
    assert "encoder &lt;b&gt;, 1: 0.500 (0.400 to 0.600)" in drawn and "<b>" not in drawn and "chance" in drawn
