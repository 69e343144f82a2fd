"""Studies: neighbours of a query set, worked out by hand; and a study that was killed."""

import csv
import dataclasses
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

import search.study as study_module
import search.study_gallery as study_gallery
from index.case import Event, State
from index.lock import LockedError
from index.store import PADDING
from search.answer import Question, QuestionError
from search.engine import SearchEngine
from search.nearest import nearest_patients
from search.study import Study, study_archive
from search.study_parts import Parts
from search.study_plan import Exclusions, QuerySource, StudyPlan, read_study_file
from search.study_snapshot import open_engine
from search.study_tables import answer_table, formula_safe
from tests.archives import table_archive
from tests.conftest import need_module, run_search
from tests.studies import case, engine_of, on_a_circle, unit

ROOT = Path(__file__).parents[1]
FILES = ("neighbours.parquet", "neighbours.csv", "queries.parquet", "queries.csv", "methods.txt", "run.json")
DAY = date(2020, 4, 1)
# on a circle, in degrees: c0 a 0, c1 a 1, c2 b 2, c3 c 10, c4 c 11, c5 d 40; so c0's nearest are b (c2), c (c3), d (c5)
CASES = [
    case(0, "a", site="one", view="PA", scan_date=DAY + timedelta(5)),
    case(1, "a", site="one", view="PA", scan_date=DAY + timedelta(6)),
    case(2, "b", site="one", view="PA", scan_date=DAY + timedelta(9)),
    case(3, "c", site="two", view="AP", scan_date=DAY),
    case(4, "c", site="two", view="PA", scan_date=DAY + timedelta(1)),
    case(5, "d", site=None, view="PA", scan_date=None, died=Event(State.YES, 3), observed=3),
]
DEGREES = (0, 1, 2, 10, 11, 40)


def made(folder: Path) -> SearchEngine:
    return engine_of(folder / "index", on_a_circle(*DEGREES), CASES)


def found(study: Study) -> dict[str, list[str]]:
    """Each query's neighbours, best first."""
    lists: dict[str, list[str]] = {}
    for row in study.to_arrow().to_pylist():
        lists.setdefault(row["query"], []).append(row["case_id"])
    return lists


# ---- neighbours by hand


def test_each_other_patient_counts_once_by_the_nearest_case(tmp_path: Path) -> None:
    study = Study(made(tmp_path), StudyPlan(k=3, match_view=False))
    assert found(study) == {
        "c00000": ["c00002", "c00003", "c00005"],
        "c00001": ["c00002", "c00003", "c00005"],
        "c00002": ["c00001", "c00003", "c00005"],
        "c00003": ["c00002", "c00001", "c00005"],
        "c00004": ["c00002", "c00001", "c00005"],
        "c00005": ["c00004", "c00002", "c00001"],
    }
    first = study.to_arrow().to_pylist()[0]
    assert first["similarity"] == pytest.approx(np.cos(np.deg2rad(2)), abs=1e-6)
    last = [row for row in study.to_arrow().to_pylist() if row["query"] == "c00000"][2]
    assert (last["rank"], last["patient_id"], last["died"], last["died_days"], last["observed_days"]) == (3, "d", "yes", 3, 3)  # fmt: skip


def test_views_are_matched_and_a_query_may_have_fewer_neighbours(tmp_path: Path) -> None:
    study = Study(made(tmp_path), StudyPlan(k=3))
    lists = found(study)
    assert lists["c00000"] == ["c00002", "c00004", "c00005"]  # c's AP film does not count, c's PA film does
    assert "c00003" not in lists  # the only AP film
    asked = {row["query"]: (row["status"], row["neighbours"]) for row in study.queries_to_arrow().to_pylist()}
    assert asked["c00003"] == ("asked", 0) and asked["c00000"] == ("asked", 3)


def test_the_own_site_and_unknown_sites_are_left_out_and_a_query_without_a_site_is_not_asked(tmp_path: Path) -> None:
    study = Study(made(tmp_path), StudyPlan(k=3, match_view=False, exclude=Exclusions(own_site=True)))
    lists = found(study)
    assert lists["c00000"] == ["c00003"] and lists["c00004"] == ["c00002", "c00001"]
    status = {row["query"]: row["status"] for row in study.queries_to_arrow().to_pylist()}
    assert status["c00005"] == "site-unknown" and "c00005" not in lists


def test_only_earlier_days_answer_where_that_is_asked(tmp_path: Path) -> None:
    study = Study(made(tmp_path), StudyPlan(k=3, match_view=False, exclude=Exclusions(later_scans=True)))
    lists = found(study)
    # c0 (day 5): c3 (day 0), not c2 (day 9) nor c5 (no day); c2 (day 9): a by c1, c; c4 (day 1): c is its own, a is later
    assert lists == {"c00000": ["c00003"], "c00001": ["c00003"], "c00002": ["c00001", "c00003"]}
    status = {row["query"]: row["status"] for row in study.queries_to_arrow().to_pylist()}
    assert status["c00005"] == "date-unknown" and status["c00003"] == "asked"


def test_patients_with_a_near_copy_are_left_out_where_that_is_asked(tmp_path: Path) -> None:
    one, other = "00" * 32, "ff" * 32
    near = "03" + "00" * 31  # two bits away
    engine = engine_of(
        tmp_path / "i", on_a_circle(*DEGREES), CASES, hashes=[one, other, near, other[:32] * 2, None, None]
    )
    kept = Study(engine, StudyPlan(k=3, match_view=False))
    left = Study(engine, StudyPlan(k=3, match_view=False, exclude=Exclusions(near_duplicates=True)))
    assert found(kept)["c00000"] == ["c00002", "c00003", "c00005"]
    assert found(left)["c00000"] == ["c00003", "c00005"]
    assert found(left)["c00001"] == ["c00002", "c00005"]  # c1 and c3 show the same
    assert found(left)["c00005"] == found(kept)["c00005"]  # no hash: nothing is known of copies


def test_who_may_answer_and_who_is_asked_are_two_conditions(tmp_path: Path) -> None:
    engine = made(tmp_path)
    lists = found(Study(engine, StudyPlan(k=2, match_view=False, where="site = 'two'", asked="patient_id = 'd'")))
    assert lists == {"c00005": ["c00004"]}
    assert set(found(Study(engine, StudyPlan(k=2, match_view=False, where="site = 'two' or patient_id = 'd'")))) == {
        "c00003", "c00004", "c00005",
    }  # fmt: skip


@pytest.mark.parametrize("spare", [12, -10])  # −10: two candidates, then eight, then all of the gallery
def test_neighbours_are_exact_whatever_is_left_out(spare: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Against every pair, looked at one by one: patients with many cases, ties, and queries that need more than the first candidates."""
    monkeypatch.setattr(study_gallery, "SPARE", spare)
    rng = np.random.default_rng(3)
    n = 400
    vectors = unit(rng.standard_normal((n, 3)))
    vectors[50:60] = vectors[40:50]  # ties
    days = [DAY + timedelta(int(day)) for day in rng.integers(60, size=n)]
    views = [("PA", "AP", None)[i % 7 % 3] for i in range(n)]
    cases = [case(i, f"p{rng.integers(25)}", site=f"s{i % 3}", view=views[i], scan_date=days[i]) for i in range(n)]
    engine = engine_of(tmp_path / "index", vectors, cases)
    archive = engine.archives["xray"]
    lists = found(Study(engine, StudyPlan(k=12, exclude=Exclusions(own_site=True, later_scans=True))))
    for row, one in enumerate(cases):
        eligible = [
            other for other, two in enumerate(cases)
            if two.patient_id != one.patient_id and two.site != one.site and days[other] < days[row] and (one.view is None or two.view == one.view)
        ]  # fmt: skip
        _, rows = nearest_patients(
            engine.snapshot.stores["xray"], vectors[[row]], k=12, patients=archive.patients, own=np.array([-1]), allowed=np.array(eligible, np.int64)
        )  # fmt: skip
        expected = [cases[place].case_id for place in rows[0] if place != PADDING]
        assert lists.get(one.case_id, []) == expected, row


def test_ct_is_studied_like_films(tmp_path: Path) -> None:
    cases = [dataclasses.replace(one, view=None, modality="CT") for one in CASES]
    study = Study(engine_of(tmp_path / "index", on_a_circle(*DEGREES), cases, kind="ct"), StudyPlan(kind="ct", k=1))
    assert found(study)["c00000"] == ["c00002"]
    study.write(tmp_path / "out")
    assert "chest CT scans" in (tmp_path / "out" / "methods.txt").read_text()


# ---- files


def test_the_same_inputs_give_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Study(made(tmp_path / name), StudyPlan(k=3)).write(tmp_path / name / "out")
    assert sorted(path.name for path in (tmp_path / "a" / "out").iterdir()) == sorted(FILES)
    for file in FILES:
        assert (tmp_path / "a" / "out" / file).read_bytes() == (tmp_path / "b" / "out" / file).read_bytes(), file


KILLED = """
import os, signal, sys
from pathlib import Path
import search.study
from search.study import Study
from search.study_plan import StudyPlan
from tests.test_search_study import made
search.study.BLOCK = 1
told = []
def killed(count):
    told.append(count)
    if len(told) == 4:  # at the start, and after three queries
        os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
Study(made(folder / "killed"), StudyPlan(k=3, match_view=False)).write(folder / "out", progress=killed)
"""


def test_a_killed_study_goes_on_and_gives_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "BLOCK", 1)
    engine, plan = made(tmp_path), StudyPlan(k=3, match_view=False)
    Study(engine, plan).write(tmp_path / "whole")
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "out" / "run.json").exists()
    (tmp_path / "out" / ".parts" / "000003.neighbours.parquet").write_bytes(b"half a fil")  # written, its queries not
    told: list[int] = []
    Study(engine, plan).write(tmp_path / "out", progress=told.append)
    assert told == [3, 1, 1, 1, 0]
    for file in FILES:
        assert (tmp_path / "out" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert not (tmp_path / "out" / ".parts").exists()


def test_two_studies_do_not_write_into_one_folder(tmp_path: Path) -> None:
    engine = made(tmp_path)
    with Parts(tmp_path / "out", {}), pytest.raises(LockedError, match="wait for it"):
        Study(engine, StudyPlan(k=1)).write(tmp_path / "out")


def test_parts_of_another_study_are_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(study_module, "BLOCK", 1)
    engine = made(tmp_path)

    def killed(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Study(engine, StudyPlan(k=1, match_view=False)).write(tmp_path / "out", progress=killed)
    told: list[int] = []
    Study(engine, StudyPlan(k=2, match_view=False)).write(tmp_path / "out", progress=told.append)
    assert told[0] == 0 and len(pq.read_table(tmp_path / "out" / "neighbours.parquet")) == 12


def test_run_json_tells_all_versions_and_the_hash_of_every_file(tmp_path: Path) -> None:
    Study(made(tmp_path), StudyPlan(k=3, exclude=Exclusions(own_site=True))).write(tmp_path / "out")
    run = json.loads((tmp_path / "out" / "run.json").read_text())
    assert run["sha256"] == {
        file: hashlib.sha256((tmp_path / "out" / file).read_bytes()).hexdigest() for file in FILES if file != "run.json"
    }
    assert (run["queries"], run["queries_asked"], run["not_asked"]) == (6, 5, {"site-unknown": 1})
    assert {"python", "numpy", "faiss-cpu", "pyarrow"} <= set(run["versions"]) and run["encoder"] == "made-for-a-test"
    assert run["asked"]["k"] == 3 and run["asked"]["exclude"]["own_site"] is True
    assert str(tmp_path) not in (tmp_path / "out" / "run.json").read_text()


def test_the_methods_paragraph_tells_what_was_done_and_not_more(tmp_path: Path) -> None:
    plan = StudyPlan(k=3, where="age_years is null", exclude=Exclusions(own_site=True))
    Study(made(tmp_path), plan).write(tmp_path / "out")
    text = (tmp_path / "out" / "methods.txt").read_text()
    for words in (
        "among 6 chest radiographs of 4 patients", "the 3 most similar other patients", "[age_years is null]", "5 chest radiographs of the same archive",
        "A further 1 could not be asked: site-unknown (1)", "own or an unknown site", "fewer than 3 neighbours for", "20261124T000000Z-made",
    ):  # fmt: skip
        assert words in text, words
    assert "near-duplicate" not in text and "earlier day" not in text


def test_a_spreadsheet_takes_no_cell_of_the_csv_for_a_formula(tmp_path: Path) -> None:
    cases = [dataclasses.replace(one, site="=HYPERLINK(0)" if one.site else None) for one in CASES]
    Study(engine_of(tmp_path / "index", on_a_circle(*DEGREES), cases), StudyPlan(k=3)).write(tmp_path / "out")
    with (tmp_path / "out" / "neighbours.csv").open(newline="") as lines:
        sites = {row["site"] for row in csv.DictReader(lines)}
    assert sites == {"'=HYPERLINK(0)", ""}
    assert "=HYPERLINK(0)" in pq.read_table(tmp_path / "out" / "neighbours.parquet").column("site").to_pylist()
    texts = ["+1", "-1", "@a", " =1", "\t1", "＝1", "a=1", "", None]
    assert formula_safe(pa.table({"t": pa.array(texts, pa.string())})).column("t").to_pylist() == [
        "'+1", "'-1", "'@a", "' =1", "'\t1", "'＝1", "a=1", "", None,
    ]  # fmt: skip
    assert formula_safe(pa.table({"n": pa.array([-1.5])})).column("n").to_pylist() == [-1.5]


def test_who_is_withdrawn_while_the_study_runs_is_not_published(tmp_path: Path) -> None:
    class Withdrawn:
        def __init__(self) -> None:
            self.names: set[str] = set()

        def covers(self, patient_id: str) -> bool:
            return patient_id in self.names

        def changed(self) -> bool:
            return True

    deny = Withdrawn()
    engine = made(tmp_path)
    engine = SearchEngine(engine.snapshot, engine.encoder, deny_list=deny)
    study = Study(engine, StudyPlan(k=2))
    deny.names = {"b"}
    with pytest.raises(QuestionError, match="withdrawn while the study ran"):
        study.write(tmp_path / "out")
    assert not (tmp_path / "out" / "run.json").exists()
    Study(engine, StudyPlan(k=2)).write(tmp_path / "out")
    assert "b" not in pq.read_table(tmp_path / "out" / "neighbours.parquet").column("patient_id").to_pylist()
    assert "c00002" not in pq.read_table(tmp_path / "out" / "queries.parquet").column("query").to_pylist()


# ---- query sets


def test_a_folder_is_asked_scan_by_scan_past_bad_ones_and_kills(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study_module, "BATCH", 1)
    films = sorted((small_index.parent / "archive" / "films").glob("*.png"))[:3]
    (tmp_path / "new").mkdir()
    for film in films:
        shutil.copy(film, tmp_path / "new")
    (tmp_path / "new" / "broken.png").write_bytes(films[0].read_bytes()[:40])
    engine = SearchEngine.open(small_index)
    study = Study(engine, StudyPlan(QuerySource.FOLDER, (str(tmp_path / "new"),), k=2))

    def killed(count: int) -> None:
        if count:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study.write(tmp_path / "out", progress=killed)
    told: list[int] = []
    study.write(tmp_path / "out", progress=told.append)
    assert told == [1, 1, 1, 1, 0]  # the first was not read again
    queries = {row["query"]: row for row in pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()}
    assert queries["broken.png"]["status"] not in ("asked", "") and queries["broken.png"]["message"]
    assert [queries[film.name]["neighbours"] for film in films] == [2, 2, 2]
    rows = pq.read_table(tmp_path / "out" / "neighbours.parquet").to_pylist()
    for film in films:  # the very picture is archived: its patient is known by it
        owner = engine.archives["xray"].patient_ids[engine.archives["xray"].row_of(film.stem) or 0]
        assert owner not in [row["patient_id"] for row in rows if row["query"] == film.name]


def test_a_cohort_is_asked_with_its_own_word_on_patient_and_site(small_index: Path, tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "new", patients=3)
    result = run_search(
        "study", "--cohort", f"table={cohort}", "--index", small_index, "--out", tmp_path / "out", "-k", 3, "--other-sites"
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    queries = {row["query"]: row for row in pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()}
    assert len(queries) == 6 and all(row["status"] == "asked" for row in queries.values())
    assert queries["film004"]["died"] == "no" and queries["film004"]["site"] == "centre 2"
    for row in pq.read_table(tmp_path / "out" / "neighbours.parquet").to_pylist():
        asked = queries[row["query"]]
        assert (
            row["patient_id"] != asked["patient_id"] and row["site"] != asked["site"] and row["view"] == asked["view"]
        )


def test_a_table_names_cases_of_the_archive_or_files(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "cases.csv").write_text("case_id,note\nfilm003,x\nfilm001,y\nfilm003,z\nnobody,\n")
    run = ["study", "--index", small_index, "-k", 2, "--table"]
    assert run_search(*run, tmp_path / "cases.csv", "--out", tmp_path / "a").exit_code == 0
    status = [(row["query"], row["status"]) for row in pq.read_table(tmp_path / "a" / "queries.parquet").to_pylist()]
    assert sorted(status) == [("film001", "asked"), ("film003", "asked"), ("film003", "repeated"), ("nobody", "not-in-index")]  # fmt: skip
    film = small_index.parent / "archive" / "films" / "film001.png"
    shutil.copy(film, tmp_path / "mine.png")
    (tmp_path / "files.csv").write_text("file,patient_id,site,view,scan_date\nmine.png,p09,centre 1,AP,2020-05-01\n")
    assert run_search(*run, tmp_path / "files.csv", "--out", tmp_path / "b").exit_code == 0
    (asked,) = pq.read_table(tmp_path / "b" / "queries.parquet").to_pylist()
    assert (asked["patient_id"], asked["site"], asked["view"], asked["scan_date"]) == ("p09", "centre 1", "AP", date(2020, 5, 1))  # fmt: skip
    patients = pq.read_table(tmp_path / "b" / "neighbours.parquet").column("patient_id").to_pylist()
    assert not {"p00", "p09"} & set(patients)  # who is named, and whose picture it is
    (tmp_path / "other.csv").write_text("film\nx\n")
    result = run_search(*run, tmp_path / "other.csv", "--out", tmp_path / "c")
    assert result.exit_code == 2 and "neither a column case_id nor file" in result.stderr


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("file,patient_id,patient_id\nfilm.png,p1,p2\n", "more than one column 'patient_id'"),
        ("file,patient_id,site\nfilm,1.png,p1,north\n", "line 2 has more cells than there are columns"),
        ("file,view\nfilm.png,frontal\n", "film.png: view is 'frontal'"),
        ("file,scan_date\nfilm.png,1.5.2020\n", "film.png: scan_date is '1.5.2020'"),
        ("file\n", "has no rows"),
        ("", "has no rows"),
    ],
)
def test_a_table_whose_cells_are_in_doubt_is_refused(
    content: str, told: str, small_index: Path, tmp_path: Path
) -> None:
    (tmp_path / "asked.csv").write_text(content)
    run = ["study", "--index", small_index, "--table", tmp_path / "asked.csv", "--out", tmp_path / "out"]
    result = run_search(*run)
    assert result.exit_code == 2 and told in result.stderr
    assert not (tmp_path / "out").exists()


def test_a_row_that_names_no_file_asks_for_nothing(small_index: Path, tmp_path: Path) -> None:
    shutil.copy(
        small_index.parent / "archive" / "films" / "film001.png", tmp_path / "lone.png"
    )  # what the folder holds
    (tmp_path / "asked.csv").write_text("file,patient_id\n,p1\nlone.png,p2\n,\n")
    run = ["study", "--index", small_index, "--table", tmp_path / "asked.csv", "--out", tmp_path / "out"]
    assert run_search(*run).exit_code == 0
    queries = pq.read_table(tmp_path / "out" / "queries.parquet").to_pylist()
    assert [(row["query"], row["status"]) for row in queries] == [
        ("lone.png", "asked"), ("", "no-file"), ("", "no-file"),
    ]  # fmt: skip


def test_a_study_file_says_all_of_it_and_misspelt_entries_are_refused(small_index: Path, tmp_path: Path) -> None:
    name = SearchEngine.open(small_index).snapshot.manifest.name
    path = tmp_path / "study.toml"
    text = f"""
        index = "{small_index}"
        snapshot = "{name}"
        out = "result"
        k = 2
        where = "sex = 'F'"
        [queries]
        archive = "sex = 'M'"
        [exclude]
        own_site = true
    """
    path.write_text(text)
    plan = read_study_file(path).plan
    assert plan == StudyPlan(
        QuerySource.ARCHIVE, (), "sex = 'M'", "xray", 2, "sex = 'F'", True, Exclusions(own_site=True)
    )
    result = run_search("study", path)
    assert result.exit_code == 0, result.output
    run = json.loads((tmp_path / "result" / "run.json").read_text())
    assert run["queries_asked"] == 12 and run["snapshot"] == name
    assert run_search("study", path, "-k", 1, "--out", tmp_path / "other").exit_code == 0  # a flag goes before the file
    assert json.loads((tmp_path / "other" / "run.json").read_text())["asked"]["k"] == 1
    for wrong, words in (
        (text.replace("own_site", "own_sight"), "own_sight is not known"), (text.replace("k = 2", 'k = "2"'), "k is '2'; expected int"),
        (text.replace("[queries]", '[queries]\nfolder = "x"'), "give one set of queries"), ("index =", "is no TOML"),
        (text.replace(name, "gone"), "keeps no snapshot 'gone'"),
    ):  # fmt: skip
        path.write_text(wrong)
        result = run_search("study", path)
        assert result.exit_code == 2 and words in result.stderr, (words, result.output)


def test_the_example_study_file_can_be_read() -> None:
    described = read_study_file(ROOT / "examples" / "study.toml")
    assert described.plan.exclude.own_site and described.index is not None


def test_a_study_takes_no_own_patient_and_no_two_query_sets(small_index: Path, tmp_path: Path) -> None:
    run = ["study", "--index", small_index, "--out", tmp_path / "out"]
    assert "always leaves the query's own patient out" in run_search(*run, "--include-own").stderr
    assert "one set of queries" in run_search(*run, "--folder", tmp_path, "--asked", "true").stderr
    assert "say with --out" in run_search("study", "--index", small_index).stderr
    assert "say with --index" in run_search("study", "--out", tmp_path / "out").stderr
    assert run_search(*run, "--folder", tmp_path / "none").exit_code == 2
    with pytest.raises(QuestionError, match="own patient"):
        study_archive(SearchEngine.open(small_index), "xray", Question(include_own=True), tmp_path, lambda count: None)


# ---- from Python


def test_answers_and_studies_are_arrow_tables_of_the_same_columns(small_index: Path) -> None:
    engine = open_engine(small_index)
    table = Study(engine, StudyPlan(k=3)).to_arrow()
    answer = engine.query_case("film002", Question(k=3))
    alone = answer_table(engine.snapshot, engine.archives["xray"], answer, name="film002")
    assert alone.schema == table.schema
    assert alone.to_pylist() == table.filter(pc.equal(table.column("query"), "film002")).to_pylist()


def test_a_study_is_a_data_frame_where_pandas_is_installed(tmp_path: Path) -> None:
    need_module("pandas")
    frame = Study(made(tmp_path), StudyPlan(k=3)).to_pandas()
    assert list(frame["rank"][:3]) == [1, 2, 3] and frame["scan_date"].notna().any()


def test_the_notebook_runs(small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("nbclient", "nbformat", "ipykernel", "pandas"):
        need_module(module)
    script = (
        "import sys, nbformat; from nbclient import NotebookClient\n"
        "book = nbformat.read(sys.argv[1], 4)\n"
        "NotebookClient(book, timeout=120, kernel_name='python3').execute()\n"
        "nbformat.write(book, sys.argv[2])\n"
    )
    notebook = ROOT / "examples" / "neighbours.ipynb"
    monkeypatch.setenv("LIKEWISE_INDEX", str(small_index))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    command = [sys.executable, "-c", script, str(notebook), str(tmp_path / "run.ipynb")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert "film" in (tmp_path / "run.ipynb").read_text() and '"outputs": []' in notebook.read_text()


def test_a_kept_snapshot_can_be_named(small_index: Path, tmp_path: Path) -> None:
    index = Path(shutil.copytree(small_index, tmp_path / "index"))
    name = SearchEngine.open(index).snapshot.manifest.name
    (index / "CURRENT").write_text("another")  # what is published is not looked at
    study = Study(open_engine(index, snapshot=name), StudyPlan(k=2))
    assert study.to_arrow().num_rows == 48
