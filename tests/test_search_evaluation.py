"""Metrics of leave-one-patient-out neighbours, worked out by hand, and studies."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import xxhash

from search.agreement import outcome_auc, precision, rank_correlation
from search.answer import Question
from search.calibration import auc
from search.engine import SearchEngine
from search.intervals import bootstrapped, paired_difference
from search.study import Block, iter_archive_neighbours, study_archive
from tests.archives import table_archive
from tests.conftest import run_build, run_search

# four patients, a case each; two neighbours each
BLOCK = Block(
    queries=np.arange(4),
    allowed=np.arange(4),
    rows=np.array([[1, 2], [0, 2], [3, 1], [2, -1]]),
    similarities=np.array([[0.9, 0.8], [0.9, 0.7], [0.6, 0.5], [0.6, np.nan]]),
)
PATIENTS = np.arange(4)


def test_auc_counts_pairs_and_ties_a_half() -> None:
    positive = np.array([True, True, False, False])
    assert auc(positive, np.array([0.9, 0.5, 0.5, 0.1])) == 3.5 / 4
    assert auc(positive, np.array([0.9, 0.5, 0.5, 0.1]), np.array([1.0, 0, 1, 1])) == 1
    assert np.isnan(auc(np.array([True]), np.array([0.5])))


def test_outcome_auc_uses_the_share_of_known_neighbours() -> None:
    states = np.array(["yes", "yes", "no", "not_recorded"], dtype=object)
    # shares: query 0 -> (yes, no) 0.5; 1 -> (yes, no) 0.5; 2 -> (not recorded, yes) 1.0; 3 is not recorded itself
    metric = bootstrapped(outcome_auc([BLOCK], states, PATIENTS))
    assert (metric.value, metric.queries, metric.chance) == (0, 3, 0.5)
    with pytest.raises(ValueError, match="needs both"):
        outcome_auc([BLOCK], np.array(["yes", "yes", "yes", "yes"], dtype=object), PATIENTS)


def test_precision_and_its_chance_by_hand() -> None:
    labels = np.array(["a", "a", "b", "b"], dtype=object)
    # shares: 1/2, 1/2, 1/2, 1/1; chance: of three others one has the same label
    metric = bootstrapped(precision([BLOCK], labels, PATIENTS))
    assert metric.value == pytest.approx((0.5 + 0.5 + 0.5 + 1) / 4)
    assert metric.chance == pytest.approx(1 / 3)
    assert metric.low <= metric.value <= metric.high


def test_a_patient_with_many_cases_counts_once_in_the_chance_level() -> None:
    block = Block(np.array([0]), np.arange(6), np.array([[1]]), np.array([[0.5]]))
    labels = np.array(["a", "a", "b", "b", "b", "b"], dtype=object)
    patients = np.array([0, 1, 2, 2, 2, 2])
    assert precision([block], labels, patients).chance == 0.5


def test_rank_correlation_compares_with_the_neighbours_mean() -> None:
    values = np.array([1.0, 2.0, 3.0, 4.0])
    # neighbours' means: 2.5, 2, 3, 3 -> ranks 2, 1, 3.5, 3.5 against 1, 2, 3, 4
    metric = bootstrapped(rank_correlation([BLOCK], values, PATIENTS))
    assert metric.value == pytest.approx(np.corrcoef([1, 2, 3, 4], [2, 1, 3.5, 3.5])[0, 1])


def test_an_interval_covers_less_when_patients_repeat() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(["a", "b"], 200).astype(object)
    rows = rng.integers(0, 200, (200, 5))
    block = Block(np.arange(200), np.arange(200), rows, np.zeros((200, 5)))
    independent = bootstrapped(precision([block], labels, np.arange(200)))
    clustered = bootstrapped(precision([block], labels, np.arange(200) // 20))
    assert clustered.patients == 10 and independent.patients == 200
    assert independent.low < independent.value < independent.high


def test_archive_neighbours_leave_the_own_patient_out_and_match_the_view(small_index: Path) -> None:
    engine = SearchEngine.open(small_index)
    archive = engine.archives["xray"]
    blocks = list(iter_archive_neighbours(engine, "xray", Question(k=4)))
    assert sorted(np.concatenate([block.queries for block in blocks])) == list(range(24))
    for block in blocks:
        for query, rows in zip(block.queries, block.rows, strict=True):
            assert archive.patients[query] not in archive.patients[rows]
            assert set(archive.views[rows]) == {archive.views[query]}


def test_a_study_of_the_archive_is_a_long_table_and_repeatable(small_index: Path, tmp_path: Path) -> None:
    engine = SearchEngine.open(small_index)
    for name in ("a", "b"):
        study_archive(engine, "xray", Question(k=4), tmp_path / name, lambda count: None)
    table = pq.read_table(tmp_path / "a" / "neighbours.parquet")
    assert len(table) == 24 * 4
    assert {"query", "rank", "case_id", "similarity", "died", "died_days", "itu_admission"} <= set(table.column_names)
    runs = [json.loads((tmp_path / name / "run.json").read_text()) for name in ("a", "b")]
    assert runs[0] == runs[1] and runs[0]["snapshot"] == engine.snapshot.manifest.name


def test_a_study_of_scans_gives_the_answers_of_query(small_index: Path, tmp_path: Path) -> None:
    films = sorted((small_index.parent / "archive" / "films").glob("*.png"))[:3]
    result = run_search("study", *films, "--index", small_index, "--out", tmp_path, "-k", 3)
    assert result.exit_code == 0, result.output
    table = pq.read_table(tmp_path / "neighbours.parquet").to_pylist()
    asked = json.loads(run_search("query", *films, "--index", small_index, "-k", 3, "--json").stdout)
    expected = [(str(f), n["case_id"]) for f, answer in zip(films, asked, strict=True) for n in answer["neighbours"]]
    assert [(row["query"], row["case_id"]) for row in table] == expected


def test_evaluate_prints_value_interval_and_chance(small_index: Path, tmp_path: Path) -> None:
    labels = tmp_path / "truth.csv"
    labels.write_text("film,side,severity\n" + "".join(f"film{n:03},{'LR'[n % 2]},{n}\n" for n in range(24)))
    arguments = ["--target", "died", "--target", "side", "--target", "severity", "--target", "site"]
    result = run_search(
        "evaluate", "--index", small_index, "-k", 5, *arguments, "--labels", labels, "--label-key", "film", "--json"
    )
    assert result.exit_code == 0, result.output
    metrics = json.loads(result.stdout)
    assert [metrics[name]["name"] for name in ("died", "side", "severity", "site")] == [
        "AUC",
        "P@5",
        "rank correlation",
        "P@5",
    ]
    assert metrics["side"]["low"] <= metrics["side"]["value"] <= metrics["side"]["high"]
    assert metrics["side"]["chance"] == pytest.approx(0.5)
    assert "95 % interval" in run_search("evaluate", "--index", small_index, "--target", "died").stdout


def test_a_film_under_two_pseudonyms_is_one_person(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    films = tmp_path / "archive" / "films"
    (films / "film007.png").write_bytes((films / "film002.png").read_bytes())  # of p01 and p03, both AP
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    engine = SearchEngine.open(tmp_path / "index")
    archive = engine.archives["xray"]
    assert archive.patient_count == 11
    for block in iter_archive_neighbours(engine, "xray", Question(k=4)):
        for query, rows in zip(block.queries, block.rows, strict=True):
            if archive.patient_ids[query] in ("p01", "p03"):
                assert not {"p01", "p03"} & set(archive.patient_ids[rows])
    answer = json.loads(run_search("query", films / "film002.png", "--index", tmp_path / "index", "--json").stdout)
    assert not {"p01", "p03"} & {neighbour["patient_id"] for neighbour in answer["neighbours"]}


def test_queries_without_neighbours_do_not_break_a_study(small_index: Path, tmp_path: Path) -> None:
    result = run_search("study", "--index", small_index, "--out", tmp_path, "-k", 2, "--where", "patient_id = 'p01'")
    assert result.exit_code == 0, result.output
    assert len(pq.read_table(tmp_path / "neighbours.parquet")) == 0


def test_a_study_of_scans_records_which_files_were_asked(small_index: Path, tmp_path: Path) -> None:
    film = small_index.parent / "archive" / "films" / "film001.png"
    assert run_search("study", film, "--index", small_index, "--out", tmp_path).exit_code == 0
    asked = json.loads((tmp_path / "run.json").read_text())["asked"]
    assert asked["queries"] == [{"query": str(film), "file_hash": xxhash.xxh3_128_hexdigest(film.read_bytes())}]
    assert asked["k"] == 10


def test_whole_numbers_are_correlated_not_matched(small_index: Path) -> None:
    result = run_search("evaluate", "--index", small_index, "-k", 5, "--target", "row", "--json")
    assert json.loads(result.stdout)["row"]["name"] == "rank correlation"


def test_infinite_values_are_as_if_not_recorded(small_index: Path, tmp_path: Path) -> None:
    """A laboratory writes inf for what is beyond its reach; a mean with one in it would say nothing of the others."""

    def quick(name: str, texts: list[str]) -> dict[str, object]:
        labels = tmp_path / f"{name}.csv"
        labels.write_text("case_id,crp\n" + "".join(f"film{n:03},{text}\n" for n, text in enumerate(texts)))
        result = run_search(
            "evaluate", "--index", small_index, "-k", 5, "--target", "crp", "--labels", labels, "--json"
        )
        assert result.exit_code == 0, result.output
        found: dict[str, object] = json.loads(result.stdout)["crp"]
        return found

    numbers = [str(7 * n % 24) for n in range(24)]
    infinite, blank = list(numbers), list(numbers)
    infinite[3], infinite[10], blank[3], blank[10] = "-inf", "inf", "", ""
    assert quick("infinite", infinite) == quick("blank", blank)
    assert quick("infinite", infinite)["queries"] == 22


def test_labels_that_contradict_each_other_are_refused(small_index: Path, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    run = ["evaluate", "--index", small_index, "--target", "side", "--labels", labels]
    labels.write_text("case_id,side\n" + "".join(f"film{n:03},{'LR'[n % 2]}\n" for n in range(24)) + "film003,L\n")
    result = run_search(*run)
    assert result.exit_code == 2 and "several rows of 'film003' that differ" in result.stderr
    labels.write_text("case_id,side\n" + "".join(f"film{n:03},{'LR'[n % 2]}\n" for n in range(24)) + "film003,R\n")
    assert run_search(*run).exit_code == 0  # the same said twice


def test_an_archive_of_one_patient_is_said_to_have_nobody_to_compare_with(small_index: Path) -> None:
    result = run_search("evaluate", "--index", small_index, "--target", "died", "--where", "patient_id = 'p03'")
    assert result.exit_code == 2 and "has another patient to be compared with" in result.stderr


def test_a_paired_difference_is_narrower_than_its_parts_and_nothing_for_the_same_figure() -> None:
    rng = np.random.default_rng(3)
    queries = np.arange(200)
    labels = np.array(["a", "b"] * 100, dtype=object)
    rows = rng.integers(0, 200, (200, 5))
    better = rows.copy()
    better[:, 0] = queries  # which has the query's label for certain
    one, other = (
        precision([Block(queries, queries, some, np.ones(some.shape))], labels, queries) for some in (better, rows)
    )
    found = paired_difference(one, other)
    assert found.value == pytest.approx(bootstrapped(one).value - bootstrapped(other).value)
    assert 0 < found.low < found.value < found.high and found.chance == 0
    assert found.high - found.low < bootstrapped(one).high - bootstrapped(one).low
    same = paired_difference(one, one)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_figures_of_different_queries_are_not_compared() -> None:
    labels = np.array(["a", "a", "b", "b"], dtype=object)
    whole = precision([BLOCK], labels, PATIENTS)
    part = precision(
        [Block(BLOCK.queries[:2], BLOCK.allowed, BLOCK.rows[:2], BLOCK.similarities[:2])], labels, PATIENTS
    )
    with pytest.raises(ValueError, match="different queries"):
        paired_difference(whole, part)
