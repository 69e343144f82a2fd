"""What the reader of an answer is told to doubt, in an archive of vectors written by hand."""

import hashlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from embed.scan import Flag, Header, Provenance, Scan, View
from index.case import Case, Endpoint, Event, Outcome, State
from index.catalogue import Archived, Catalogue
from index.manifest import IndexManifest
from index.numpy_store import NumpyStore
from index.snapshot import Snapshot
from index.transform import Centring
from search import warnings
from search.answer import Answer, Question, QuestionError
from search.denied import DenyList
from search.engine import SearchEngine
from search.neighbour import Neighbour
from search.warnings import MEANINGS, ReaderWarning
from tests.conftest import run_search
from tests.films import dicom_bytes, phantom

ROOT = Path(__file__).parents[1]
DIED = Endpoint("died", "death")
SPREAD = [place / 200 for place in range(101)]  # likeness: percentiles 0 to 100 are 0 to 0.5


class PixelEncoder:
    """Points where the scan's only pixel says: 0 lies on the first axis, 1 on the second."""

    fingerprint, dim, side = "pixel", 2, 1

    def encode(self, scans: Sequence[Scan]) -> npt.NDArray[np.float32]:
        angles = [math.pi / 2 * float(scan.pixels.max()) for scan in scans]
        return np.array([(math.cos(angle), math.sin(angle)) for angle in angles], np.float32)


def case(number: int, similarity: float, **stated: Any) -> tuple[Case, float]:
    """A case of patient `number` that is so similar to `scan()`."""
    known: dict[str, Any] = {"case_id": f"c{number:04}", "patient_id": f"p{number}", "view": "AP", "age_years": 50.0}
    known |= {"cohort": "hand", "files": (f"{number}.dcm",), "outcome": Outcome({"died": Event(State.NO)}, 30)}
    return Case(**(known | stated)), similarity


def engine_of(
    cases: Sequence[tuple[Case, float]],
    *,
    likeness: Sequence[float] = (),
    flags: Sequence[str] = (),
    pixel_hashes: Sequence[str | None] | None = None,
    deny_list: DenyList | None = None,
    folder: Path = Path("/nowhere"),
) -> SearchEngine:
    """An engine over cases with their similarity to `scan()`; `folder` is needed to ask by a case."""
    rows = np.array([(s, math.sqrt(1 - s * s)) for _, s in cases], np.float32)
    pixels = pixel_hashes or [None] * len(cases)
    archived = [
        Archived(one, "xray", one.case_id, tuple(flags), same) for (one, _), same in zip(cases, pixels, strict=True)
    ]
    files = {}
    if folder.is_dir():
        (folder / "xray").mkdir()
        np.save(folder / "xray" / "signatures.npy", rows)
        files["xray/signatures.npy"] = hashlib.sha256((folder / "xray" / "signatures.npy").read_bytes()).hexdigest()
    manifest = IndexManifest(
        name="hand", created="", encoder="pixel", fingerprint="pixel", dim=2, store="numpy", cases={"xray": len(rows)}, patients=len(rows),
        seen=len(rows), rejected={}, cohorts={}, counts={}, exclusions="", excluded=0, denied="", likeness={"xray": likeness}, health={},
        endpoints=(DIED,), files=files, code_version="",
    )  # fmt: skip
    plain = Centring(np.zeros(2, np.float32))
    snapshot = Snapshot(
        folder, manifest, Catalogue.build(archived, [DIED]), {"xray": NumpyStore.build(rows)}, {"xray": plain}
    )
    return SearchEngine(snapshot, PixelEncoder(), deny_list=deny_list)


def scan(
    *, view: View | None = View.AP, flags: tuple[Flag, ...] = (), pixel: float = 0, file: str = "new", **header: Any
) -> Scan:
    return Scan(
        np.full((1, 1, 1), pixel, np.float32),
        "xray",
        "DX",
        view,
        None,
        Provenance("dicom", file, (), flags),
        Header(**header),
    )


def told(answer: Answer) -> dict[str, str]:
    return {warning.code: warning.message for warning in answer.warnings}


def ids(answer: Answer) -> list[str]:
    return [neighbour.case.patient_id for neighbour in answer.neighbours]


def few(count: int = 10, **stated: Any) -> list[tuple[Case, float]]:
    """Patients 0, 1, 2 … of falling similarity 0.90, 0.89 …"""
    return [case(number, 0.9 - number / 100, **stated) for number in range(count)]


def test_an_ordinary_answer_has_nothing_to_doubt() -> None:
    assert engine_of(few(20), likeness=[place / 100 for place in range(101)]).query([scan(age_years=60)]).warnings == ()


def test_every_warning_is_in_the_table_of_the_docs_with_its_meaning() -> None:
    rows = [line.split(" | ") for line in (ROOT / "docs" / "searching.md").read_text().splitlines()]
    listed = {row[0].strip("| `"): row[1].strip(" |") for row in rows if len(row) == 2 and row[0].startswith("| `")}
    assert listed == MEANINGS
    with pytest.raises(AssertionError):
        ReaderWarning("unheard-of", "…")


# --- likeness


def test_a_neighbour_has_its_percentile_in_the_archive() -> None:
    answer = engine_of([case(0, 0.9), case(1, 0.25), case(2, 0.1)], likeness=SPREAD).query([scan()], Question(k=3))
    assert [neighbour.percentile for neighbour in answer.neighbours] == pytest.approx([100, 50, 20], abs=1e-3)
    assert [entry["percentile"] for entry in answer.to_json()["neighbours"]] == [100.0, 50.0, 20.0]
    without = engine_of(few()).query([scan()])
    assert {neighbour.percentile for neighbour in without.neighbours} == {None} and without.warnings == ()


@pytest.mark.parametrize(("nearest", "unlike"), [(0.004, True), (0.006, False)])  # the 1st percentile is 0.005
def test_a_query_unlike_the_archive_is_told(nearest: float, unlike: bool) -> None:
    answer = engine_of([case(n, nearest - n / 10_000) for n in range(6)], likeness=SPREAD).query(
        [scan()], Question(k=5)
    )
    assert ("unlike-archive" in told(answer)) is unlike
    if unlike:
        assert "similarity 0.004" in told(answer)["unlike-archive"]


def test_a_filter_that_hides_the_nearest_does_not_make_a_query_unlike_the_archive() -> None:
    cases = [case(0, 0.4, sex="F", view="PA"), *(case(n, 0.001, sex="M") for n in range(1, 7))]
    engine = engine_of(cases, likeness=SPREAD)
    assert "unlike-archive" not in told(engine.query([scan()], Question(k=5, where="sex = 'M'")))
    assert "unlike-archive" not in told(engine.query([scan()], Question(k=5, where="false")))


def test_the_own_patient_does_not_make_a_query_like_the_archive() -> None:
    engine = engine_of([case(0, 0.99), *(case(n, 0.001) for n in range(1, 7))], likeness=SPREAD)
    answer = engine.query([scan(patient_id="p0")], Question(k=5, include_own=True))
    assert ids(answer)[0] == "p0" and "unlike-archive" in told(answer) and "nearer-than-strangers" not in told(answer)


def test_of_scans_asked_together_each_must_be_like_the_archive() -> None:
    engine = engine_of([case(n, 1 - n / 1000) for n in range(6)], likeness=[0.5 + p for p in SPREAD])
    both = [scan(), scan(pixel=1)]  # at a right angle to the first: the archive's similarity to it is at most 0.1
    assert "unlike-archive" not in told(engine.query(both[:1])) and "unlike-archive" in told(engine.query(both))


@pytest.mark.parametrize(("count", "said"), [(1000, True), (999, False)])
def test_who_is_nearer_than_strangers_are_may_be_the_same_patient(count: int, said: bool) -> None:
    cases = [case(n, 0.6 if n == 7 else 0.1) for n in range(count)]
    assert ("nearer-than-strangers" in told(engine_of(cases, likeness=SPREAD).query([scan()]))) is said


def test_a_known_own_patient_is_no_stranger() -> None:
    engine = engine_of([case(n, 0.6 if n == 7 else 0.1) for n in range(1000)], likeness=SPREAD)
    answer = engine.query([scan(patient_id="p7")], Question(include_own=True))
    assert ids(answer)[0] == "p7" and "nearer-than-strangers" not in told(answer)


# --- where the neighbours come from


def test_neighbours_of_one_small_site_are_told_without_its_name() -> None:
    cases = [case(n, 0.9 - n / 100, site="St Elsewhere" if n < 5 else "Anytown") for n in range(40)]
    answer = engine_of(cases).query([scan()], Question(k=5))
    message = told(answer)["one-site"]
    assert (
        "5 of 5 neighbours are of one site, which holds 5 of the 40 eligible patients (12%; by chance in less than 1 in 1,000)"
        in message
    )
    assert "Elsewhere" not in message
    assert answer.concentrations[0].group == "St Elsewhere" and answer.concentrations[0].suspicious
    assert "one-site" not in told(engine_of(cases).query([scan()], Question(k=5, where="site = 'St Elsewhere'")))


def test_neighbours_of_one_scanner_are_told() -> None:
    cases = [case(n, 0.9 - n / 100, manufacturer="Maker", scanner="X" if n < 5 else "Y") for n in range(40)]
    answer = engine_of(cases).query([scan()], Question(k=5))
    assert "one-scanner" in told(answer) and answer.concentrations[0].group == "Maker X"


def test_a_patient_of_many_cases_is_one_of_the_eligible() -> None:
    # site A: one patient with 30 films beside the 4 neighbours; site B: 5 patients
    cases = [case(n, 0.9 - n / 100, site="A") for n in range(4)]
    cases += [case(n, 0.1, site="A", patient_id="many") for n in range(4, 34)]
    cases += [case(n, 0.2, site="B") for n in range(34, 39)]
    found = engine_of(cases).query([scan()], Question(k=4)).concentrations[0]
    assert (found.neighbours, found.neighbours_known, found.archive, found.archive_known) == (4, 4, 5, 10)
    assert found.chance == pytest.approx(2 * 5 / 210)  # C(5, 4) of C(10, 4) ways, two sites


def test_a_patient_of_two_sites_counts_where_the_shown_case_is() -> None:
    cases = [case(0, 0.1, site="A", patient_id="p"), case(1, 0.9, site="B", patient_id="p"), case(2, 0.2, site="A")]
    found = engine_of(cases).query([scan()], Question(k=1)).concentrations[0]
    assert (found.group, found.archive, found.archive_known) == ("B", 1, 2)


def test_a_rerun_with_other_sites_leaves_out_the_named_and_the_unknown() -> None:
    cases = [case(n, 0.9 - n / 100, site=[None, "A", "B", "C"][n % 4]) for n in range(12)]
    engine = engine_of(cases)
    answer = engine.query([scan()], Question(k=10, other_sites=True, sites=("A",)))
    assert {neighbour.case.site for neighbour in answer.neighbours} == {"B", "C"}
    assert (answer.eligible, answer.sites_left_out, answer.to_json()["sites_left_out"]) == (6, ("A",), ["A"])
    assert engine.query([scan()], Question(k=10, sites=("A",))).eligible == 12
    with pytest.raises(QuestionError, match="site 'a'; mind capitals"):
        engine.query([scan()], Question(other_sites=True, sites=("a",)))
    with pytest.raises(QuestionError, match="name it with --site"):
        engine.query([scan()], Question(other_sites=True))
    archived = engine.query([scan(file="c0002")], Question(k=10, other_sites=True))
    assert archived.sites_left_out == ("B",)


# --- outcomes


def test_too_few_known_outcomes_and_controls_without_any_are_told() -> None:
    unknown = Outcome({"died": Event(State.NOT_RECORDED)})
    cases = [case(n, 0.9, outcome=unknown, clinical={"covid_status": "negative"}) for n in range(6)]
    cases += [case(n, 0.8, clinical={"covid_status": "negative"}) for n in range(6, 8)]  # of these it is recorded
    cases += [case(n, 0.8, outcome=unknown, clinical={"covid_status": "positive"}) for n in range(8, 10)]
    answer = engine_of(cases).query([scan()])
    assert set(told(answer)) == {"few-known", "negatives-without-outcomes"}
    assert told(answer)["few-known"].startswith("death: recorded for 2 of 10 neighbours")
    assert told(answer)["negatives-without-outcomes"].startswith("6 neighbours are COVID-negative controls")


def test_a_control_with_any_recorded_outcome_is_not_one_without() -> None:
    events = {"died": Event(State.NOT_RECORDED), "itu_admission": Event(State.NO)}
    control, _ = case(0, 0.9, outcome=Outcome(events), clinical={"covid_status": "negative"})
    assert list(warnings.of_outcomes([Neighbour(1, 0.9, control)], [], wanted=1)) == []


def test_fewer_eligible_than_asked_is_told() -> None:
    answer = engine_of(few()).query([scan()], Question(k=8, where="patient_id < 'p7'"))
    assert told(answer) == {"fewer-than-asked": "Only 7 of 8 patients: no more are eligible."}


def test_the_summary_has_its_times_and_one_vote_a_patient() -> None:
    died = [case(n, 0.9, outcome=Outcome({"died": Event(State.YES, day)})) for n, day in enumerate((-3, 4, 9))]
    lived = [case(n, 0.8) for n in range(3, 7)]
    twice = [case(7, 0.7, patient_id="p3", outcome=Outcome({"died": Event(State.YES, 1)}))]
    answer = engine_of([*died, *lived, *twice]).query([scan()], Question(k=7))
    summary = answer.outcomes["died"]
    assert (summary.known, summary.events, summary.time.timed, summary.time.before_scan) == (7, 3, 6, 1)
    assert [step.survival for step in summary.time.steps] == pytest.approx([1, 5 / 6, 4 / 6])
    assert summary.archive.events == 4  # patient p3's other film says yes
    document = json.loads(json.dumps(answer.to_json()))["outcomes"]["died"]
    assert document["asked"] == 7 and document["time"]["median_days"] == 6.5
    assert document["time"]["horizons"][0] | {"low": 0, "high": 0} == {
        "days": 7, "at_risk": 5, "survival": pytest.approx(5 / 6), "low": 0, "high": 0,
    }  # fmt: skip
    short = engine_of(lived).query([scan()], Question(k=4)).to_json()["outcomes"]["died"]["time"]
    assert short["steps"] is None and short["reason"].startswith("timed for 4 of 4")


# --- the query itself


def test_views_are_doubted() -> None:
    engine = engine_of([case(n, 0.9, view="AP" if n else "PA") for n in range(10)])
    assert set(told(engine.query([scan(view=None)]))) == {"view-unknown"}
    assert set(told(engine.query([scan()], Question(match_view=False)))) == {"other-view"}
    assert told(engine.query([scan()], Question(k=9))) == {}


@pytest.mark.parametrize(
    ("age", "archive", "message"),
    [
        (17, 50.0, "of 17 years; of the eligible archive's patients 0 of 10 are under 18."),
        (9, None, "of 9 years; the ages of the eligible archive's patients are not recorded."),
        (9, 8.0, None),
        (18, 50.0, None),
        (None, 50.0, None),
    ],
)
def test_a_child_is_told_unless_the_archive_is_of_children(
    age: int | None, archive: float | None, message: str | None
) -> None:
    answer = engine_of(few(age_years=archive)).query([scan(age_years=age)])
    assert told(answer) == ({"paediatric": f"This scan is of a patient {message}"} if message else {})


def test_flags_and_several_patients_are_told() -> None:
    flag = Flag("no-window", "no window was stated")
    answer = engine_of(few()).query([scan(flags=(flag,), patient_id="x"), scan(patient_id="y")])
    assert told(answer) == {
        "query-flagged": "This scan: no window was stated.",
        "several-patients": "The scans asked together are of 2 patients by their headers.",
    }


def test_a_picture_that_is_archived_is_told_unless_its_patient_is_named() -> None:
    engine = engine_of(few())
    unnamed = engine.query([scan(file="c0003")], Question(k=5))
    assert told(unnamed) == {"archived-picture": "This very picture is in the archive; its patient is left out."}
    assert "p3" not in ids(unnamed)
    named = [engine.query([scan(file="c0003", patient_id="p3")], Question(k=5))]
    named.append(engine.query([scan(file="c0003")], Question(k=5, patient_id="p3")))
    assert all(told(answer) == {} and "p3" not in ids(answer) for answer in named)
    shown = engine.query([scan(file="c0003")], Question(k=5, include_own=True))
    assert told(shown) == {"archived-picture": "This very picture is in the archive."} and "p3" in ids(shown)


# --- by an archived case


def test_an_archived_case_is_asked_without_its_own_patient(tmp_path: Path) -> None:
    cases = [
        case(0, 1.0, site="A"),
        case(1, 0.99, patient_id="p0"),
        case(2, 0.5, site="A"),
        case(3, 0.4, site="B"),
        case(4, 0.3, view="PA"),
    ]
    engine = engine_of(cases, folder=tmp_path, flags=["no-window"], likeness=SPREAD)
    answer = engine.query_case("c0000", Question(k=2))
    assert ids(answer) == ["p2", "p3"] and answer.eligible == 2
    assert [neighbour.similarity for neighbour in answer.neighbours] == pytest.approx([0.5, 0.4], abs=1e-5)
    assert answer.case is not None and answer.case.case_id == "c0000" and answer.views == ("AP",)
    assert "no-window" in told(answer)["query-flagged"]
    assert answer.to_json()["query"] == {"case_id": "c0000", "modality": None, "view": "AP"}
    others = engine.query_case("c0000", Question(k=2, other_sites=True))
    assert ids(others) == ["p3"] and others.sites_left_out == ("A",)
    own = engine.query_case("c0000", Question(k=2, include_own=True))
    assert [neighbour.case.case_id for neighbour in own.neighbours] == [
        "c0001",
        "c0002",
    ]  # its patient's other film, not itself
    with pytest.raises(QuestionError, match="no case of the index is called 'c9'"):
        engine.query_case("c9")


def test_a_case_and_its_own_file_have_the_same_answer(small_index: Path) -> None:
    from embed.read import read_scan

    engine = SearchEngine.open(small_index)
    film = small_index.parent / "archive" / "films" / "film004.png"
    by_scan = engine.query([read_scan(film, side=engine.encoder.side)], Question(k=5))
    by_case = engine.query_case("film004", Question(k=5))
    assert [n.case.case_id for n in by_case.neighbours] == [n.case.case_id for n in by_scan.neighbours]
    assert by_case.outcomes == by_scan.outcomes


# --- withdrawn patients


class Withdrawn:
    """A deny-list in memory."""

    def __init__(self, *names: str) -> None:
        self.names, self.asked, self._new = set(names), 0, True
        self.broken = False

    def withdraw(self, name: str) -> None:
        self.names.add(name)
        self._new = True

    def covers(self, patient_id: str) -> bool:
        if self.broken:
            raise OSError("cannot be read")
        self.asked += 1
        return patient_id in self.names

    def changed(self) -> bool:
        new, self._new = self._new, False
        return new


@pytest.mark.parametrize("ask", [lambda engine: engine.query([scan()]), lambda engine: engine.query_case("c0009")])
def test_a_withdrawn_patient_is_gone_at_once(tmp_path: Path, ask: Callable[[SearchEngine], Answer]) -> None:
    withdrawn = Withdrawn("p1")
    engine = engine_of(few(), deny_list=withdrawn, folder=tmp_path)
    assert "p1" not in ids(ask(engine)) and "p2" in ids(ask(engine))
    asked = withdrawn.asked
    ask(engine)
    assert withdrawn.asked == asked  # nothing is worked out again while nothing changes
    withdrawn.withdraw("p2")
    answer = ask(engine)
    assert not {"p1", "p2"} & set(ids(answer)) and answer.outcomes["died"].archive.known == len(answer.neighbours)
    assert not engine.rows_where("xray", "patient_id in ('p1', 'p2')").any()


def test_nothing_tells_that_a_withdrawn_patient_was_there(tmp_path: Path) -> None:
    engine = engine_of(few(site="A"), deny_list=Withdrawn("p3"), folder=tmp_path)
    with pytest.raises(QuestionError, match="site is the query's own is not known"):
        engine.query([scan(file="c0003")], Question(other_sites=True))
    with pytest.raises(QuestionError, match="no case of the index is called"):
        engine.query_case("c0003")
    with pytest.raises(QuestionError, match="no case of the index is of the patient"):
        engine.query([scan()], Question(patient_id="p3"))
    assert told(engine.query([scan(file="c0003", view=None)], Question(k=9))).keys() == {"view-unknown"}


def test_who_is_withdrawn_under_one_pseudonym_is_so_under_all() -> None:
    hashes = [f"h{n}" for n in range(10)]
    hashes[5] = hashes[2]  # patients 2 and 5 share a picture
    engine = engine_of(few(), deny_list=Withdrawn("p5"), pixel_hashes=hashes)
    assert not {"p2", "p5"} & set(ids(engine.query([scan()])))


def test_a_deny_list_that_cannot_be_read_stops_answers_until_it_can() -> None:
    withdrawn = Withdrawn()
    engine = engine_of(few(), deny_list=withdrawn)
    withdrawn.withdraw("p1")
    withdrawn.broken = True
    for _ in range(2):
        with pytest.raises(OSError, match="cannot be read"):
            engine.query([scan()])
    withdrawn.broken = False
    assert "p1" not in ids(engine.query([scan()]))


# --- the command line


def test_the_command_line_tells_the_same(small_index: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.dcm"
    film.write_bytes(dicom_bytes(phantom(seed=99), PatientAge="009Y"))
    arguments = ["query", film, "--index", small_index, "-k", 12, "--any-view"]
    document = json.loads(run_search(*arguments, "--json").stdout)
    text = " ".join(run_search(*arguments).stdout.split())
    assert {"paediatric", "other-view", "few-known"} <= {warning["code"] for warning in document["warnings"]}
    for warning in document["warnings"]:
        assert f"Mind: {warning['message']}" in text
    time = document["outcomes"]["died"]["time"]
    # patients 3, 6 and 9 died on the days 3, 6 and 9; of the others nobody knows how long they were observed
    assert (time["timed"], time["unobserved"], time["reason"]) == (3, 8, "timed for 3 of 12, at least 5 are needed")
    assert "from the scan: timed for 3 of 12, at least 5 are needed; 8 not, but unknown for how long" in text
    assert document["concentrations"][0]["attribute"] == "site"


def test_the_command_line_prints_the_curve_and_the_percentile() -> None:
    from search.__main__ import _facts, _time_line

    deaths = [case(n, 0.4, outcome=Outcome({"died": Event(State.YES, day)})) for n, day in enumerate((-3, 4, 9))]
    answer = engine_of([*deaths, *(case(n, 0.3) for n in range(3, 7))], likeness=SPREAD).query([scan()], Question(k=7))
    assert _time_line(answer.outcomes["died"].time) == (
        "from the scan: 2 of 6 timed; still without it 83% by day 7 (27% to 97%), 5 at risk; 67% by day 14 (19% to 90%), 4 at risk; "
        "67% by day 28 (19% to 90%), 4 at risk; where it came, median day 6.5 (quartiles 5.25 and 7.75); 1 before the scan"
    )
    assert _facts(answer.neighbours[0], {"died": "death"})["pct."] == "80"


def test_the_command_line_reruns_with_other_sites(small_index: Path, tmp_path: Path) -> None:
    film = tmp_path / "film.dcm"
    film.write_bytes(dicom_bytes(phantom(seed=99)))
    arguments = ["query", film, "--index", small_index, "-k", 8, "--any-view"]
    document = json.loads(run_search(*arguments, "--other-sites", "--site", "centre 1", "--json").stdout)
    assert {neighbour["site"] for neighbour in document["neighbours"]} == {"centre 0", "centre 2"}
    assert "centre 1 left out" in run_search(*arguments, "--other-sites", "--site", "centre 1").stdout
    for extra, words in ((["--site", "centre 1"], "give both"), (["--other-sites"], "name it with --site")):
        refused = run_search(*arguments, *extra)
        assert refused.exit_code == 2 and words in refused.stderr


def test_the_command_line_asks_by_an_archived_case(small_index: Path) -> None:
    arguments = ["query", "--index", small_index, "-k", 5, "--case", "film004", "--case", "film009"]
    documents = json.loads(run_search(*arguments, "--json").stdout)
    assert [document["query"]["case_id"] for document in documents] == ["film004", "film009"]
    assert all(neighbour["patient_id"] != "p02" for neighbour in documents[0]["neighbours"])
    assert "film004 (PA): 10 eligible cases" in run_search(*arguments).stdout
    for wrong, words in (
        (["film.dcm", "--case", "film004"], "not both"),
        ([], "give a scan"),
        (["--case", "film004", "--patient", "p02"], "for scans"),
        (["--case", "film999"], "no case of the index is called 'film999'"),
    ):
        refused = run_search("query", "--index", small_index, *wrong)
        assert refused.exit_code == 2 and words in refused.stderr


def test_a_query_imports_no_statistics_library(small_index: Path, tmp_path: Path) -> None:
    (tmp_path / "film.dcm").write_bytes(dicom_bytes(phantom()))
    script = (
        "import sys; sys.modules |= dict.fromkeys(('scipy.stats', 'pandas', 'lifelines'))\n"  # any import of them fails
        "from search.__main__ import main; main()"
    )
    arguments = ["query", str(tmp_path / "film.dcm"), "--index", str(small_index), "-k", "12", "--any-view", "--json"]
    done = subprocess.run([sys.executable, "-c", script, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["concentrations"]
