"""The capacity question: forecasts worked out by hand, their calibration, and that no small count leaves."""

import csv
import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from index.case import Event, State
from index.store import PADDING
from search import capacity as capacity_module
from search.answer import QuestionError
from search.capacity import (
    CENSORED,
    COMPETING,
    EVENT,
    HORIZON,
    Courses,
    Forecasts,
    Steps,
    calibration_of,
    courses_of,
    expected_of,
    forecast,
    incidence,
    states_after,
    steps_of,
)  # fmt: skip
from search.capacity_study import CapacityQuestion, ask_capacity, write_capacity
from search.disclosure import lower_end, released, released_of, released_parts, text, upper_end
from search.engine import SearchEngine
from search.study_plan import Exclusions, StudyPlan
from tests.conftest import need_module, run_search
from tests.studies import case, engine_of, on_a_circle

NOW = np.array([0])
NOTHING = Steps(np.zeros(HORIZON), np.zeros(HORIZON), np.zeros(HORIZON))
YES, NO = State.YES, State.NO
TODAY = date(2020, 4, 20)


def lines_of(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as lines:
        return list(csv.DictReader(lines))


def courses(*pairs: tuple[float, int]) -> Courses:
    return Courses(np.array([days for days, _ in pairs], float), np.array([cause for _, cause in pairs]))


def summed(of: Courses, since_scan: int = 0) -> Steps:
    steps = steps_of(of, np.array([since_scan]))
    return Steps(steps.at_risk.sum(axis=0), steps.events.sum(axis=0), steps.competing.sum(axis=0))


# ---- disclosure


def test_counts_below_8_are_suppressed_and_others_rounded_to_5() -> None:
    assert [released(n) for n in (0, 1, 7, 7.9, 8, 12, 12.5, 13, 101)] == [None, None, None, None, 10, 10, 15, 15, 100]
    assert released(float("nan")) is None
    assert [lower_end(n) for n in (3, 9, 10, 14.9)] == [None, None, 10, 10]
    assert [upper_end(n) for n in (3, 5.1, 10, 11)] == [None, 10, 10, 15]
    assert text(None) == "<8" and text(10) == "10"


def test_a_part_is_suppressed_where_the_rest_is_small() -> None:
    assert released_of(12, 40) == 10
    assert released_of(36, 40) is None  # four who did not


def test_a_single_suppressed_group_takes_the_next_smallest_with_it() -> None:
    assert released_parts([40, 3, 12, 22]) == [40, None, None, 20]  # else 3 is the total less the others
    assert released_parts([40, 3, 2, 30]) == [40, None, None, None]  # 3 and 2 together are below 8 still
    assert released_parts([40, 5, 6]) == [40, None, None]
    assert released_parts([10, 20]) == [10, 20] and released_parts([3]) == [None] and released_parts([]) == []
    assert released_parts([0, 20, 30]) == [None, None, 30]


# ---- chances by hand


def test_the_incidence_counts_deaths_as_no_longer_at_risk_of_the_endpoint() -> None:
    four = summed(courses((1, EVENT), (3, COMPETING), (4, EVENT), (20, CENSORED)))
    found = incidence(four, NOTHING)
    # two further patients at risk stand for the archive, where nothing happens. Day 1: 1 of 6. Day 3: death of 1 of 5, so
    # 5/6 · 4/5 = 2/3 are left. Day 4: 1 of 4 of them.
    assert found[0] == found[2] == pytest.approx(1 / 6)
    assert found[3] == found[-1] == pytest.approx(1 / 6 + 2 / 3 / 4)


def test_without_neighbours_the_archives_own_rate_is_said() -> None:
    nobody = Courses(np.array([np.nan]), np.array([CENSORED]))
    archive = summed(courses(*[(2, EVENT)] + [(20, CENSORED)] * 9))
    assert incidence(summed(nobody), archive)[[0, 1, -1]] == pytest.approx([0, 0.1, 0.1])


def test_who_had_the_event_before_the_question_was_asked_says_nothing() -> None:
    of = courses((2, EVENT), (3, EVENT), (4, COMPETING), (2, CENSORED), (30, CENSORED))
    later = summed(of, since_scan=2)
    assert later.at_risk[:3].tolist() == [3, 2, 1] and later.events[0] == 1 and later.competing[1] == 1


def test_the_incidence_agrees_with_lifelines(monkeypatch: pytest.MonkeyPatch) -> None:
    need_module("lifelines")
    from lifelines import AalenJohansenFitter

    monkeypatch.setattr(capacity_module, "PRIOR", 0.0)
    rng = np.random.default_rng(0)
    days = rng.permutation(40)[:30] + 1  # no ties, which lifelines would break at random
    causes = rng.integers(0, 3, 30)
    fitted = AalenJohansenFitter(calculate_variance=False).fit(days, causes, event_of_interest=EVENT)
    table = fitted.cumulative_density_
    expected = [float(table[table.index <= day].iloc[-1, 0]) for day in range(1, HORIZON + 1)]
    assert incidence(summed(Courses(days.astype(float), causes)), NOTHING) == pytest.approx(expected)


def test_what_a_record_says_of_a_course(tmp_path: Path) -> None:
    cases = [
        case(0, "a", itu=Event(YES, 3), observed=9), case(1, "b", itu=Event(YES), observed=9),  # on an unknown day
        case(2, "c", itu=Event(NO), observed=9), case(3, "d", itu=Event(NO)),  # unknown for how long
        case(4, "e", itu=Event(NO), died=Event(YES, 5), observed=4), case(5, "f", died=Event(YES, 5), observed=5),  # ITU not recorded
        case(6, "g", itu=Event(YES, 2), died=Event(YES, 6), observed=6),
    ]  # fmt: skip
    catalogue = engine_of(tmp_path, on_a_circle(*range(7)), cases).snapshot.catalogue
    found = courses_of(catalogue, "xray", "itu_admission", "died")
    assert found.usable.tolist() == [True, False, True, False, True, False, True]
    assert found.days[found.usable].tolist() == [3, 9, 5, 2]
    assert found.causes[found.usable].tolist() == [EVENT, CENSORED, COMPETING, EVENT]
    assert courses_of(catalogue, "xray", "itu_admission", None).days[4] == 4  # without deaths she is censored


def test_the_own_course_is_in_nobodys_forecast_and_replicates_spread_around_it() -> None:
    of = courses(*[(2, EVENT)] * 10 + [(30, CENSORED)] * 10)
    persons, everybody = np.arange(20), np.arange(20)
    neighbours = np.tile(np.r_[np.arange(5), np.arange(10, 15)], (40, 1))
    found = forecast(neighbours, np.zeros(40, np.int64), [np.array([19])] * 40, of, persons, everybody)
    # five of ten neighbours, and ten of the nineteen others count for two more
    assert found.chances[:, -1] == pytest.approx(np.full(40, (5 + 2 * 10 / 19) / 12))
    assert found.chances[0, 0] == 0
    (day,) = [one for one in expected_of(found) if one.days == HORIZON]
    assert day.low < day.expected < day.high and day.patients == 40
    # all forty have the same ten neighbours: the number is far less sure than of forty coins, of which 95 % lie within 12
    assert day.high - day.low > 18
    empty = forecast(np.full((1, 3), PADDING), np.zeros(1, np.int64), [np.array([19])], of, persons, everybody)
    assert empty.chances[0, -1] == pytest.approx(10 / 19)


# ---- calibration


def test_whose_state_is_known_on_a_day() -> None:
    known, met = states_after(
        courses((3, EVENT), (3, CENSORED), (9, CENSORED), (2, COMPETING), (8, EVENT)), np.zeros(5, np.int64), 7
    )
    assert known.tolist() == [True, False, True, True, True] and met.tolist() == [True, False, False, False, False]


@pytest.mark.parametrize(("told", "ratio", "holds"), [(0.3, 1.0, True), (0.1, 3.0, False)])
def test_calibration_tells_true_forecasts_from_wrong_ones(told: float, ratio: float, holds: bool) -> None:
    rng = np.random.default_rng(1)
    met = rng.random(1000) < 0.3
    own = Courses(np.where(met, 1.0, 30.0), np.where(met, EVENT, CENSORED))
    forecasts = Forecasts(np.full((1000, HORIZON), told), np.repeat(rng.random((300, 1000, 1)) < told, HORIZON, axis=2))
    last = calibration_of(forecasts, own, np.zeros(1000, np.int64), ward=50)[-1]
    assert last.patients == 1000 and last.observed / last.expected == pytest.approx(ratio, rel=0.12)
    assert (last.coverage > 0.9) is holds and (last.coverage < 0.5) is not holds


# ---- the question


def ward_engine(folder: Path, *, patients: int = 300) -> SearchEngine:
    """Half of the archive looks like 0 degrees, where 60 % go to ITU on days 1 to 10; half like 90 degrees, where nobody does."""
    rng = np.random.default_rng(5)
    degrees, cases = [], []
    for number in range(patients):
        ill = number % 2 == 0
        to_itu = ill and rng.random() < 0.6
        degrees.append((0 if ill else 90) + rng.uniform(-5, 5))
        event = Event(YES, int(rng.integers(1, 11))) if to_itu else Event(NO)
        cases.append(
            case(
                number,
                f"p{number:04}",
                itu=event,
                died=Event(NO),
                observed=40,
                view="PA",
                scan_date=TODAY - timedelta(number % 3),
            )
        )
    return engine_of(folder / "index", on_a_circle(*degrees), cases)


def question(asked: str, **more: object) -> CapacityQuestion:
    return CapacityQuestion(StudyPlan(asked=asked, k=30), "itu_admission", **more)  # type: ignore[arg-type]


def test_the_expected_number_is_that_of_those_who_look_alike_and_is_calibrated(tmp_path: Path) -> None:
    engine = ward_engine(tmp_path)
    asked = "row % 2 = 0 and row < 100"  # fifty who look ill
    answer = ask_capacity(engine, question(asked))
    last = answer.expected[-1]
    truth = sum(case.outcome.events["itu_admission"].state is YES for case in (engine.snapshot.catalogue.case("xray", row) for row in range(0, 100, 2)))  # fmt: skip
    assert last.patients == 50 and last.low <= truth <= last.high and last.expected == pytest.approx(30, abs=6)
    assert [one.expected for one in answer.expected] == sorted(one.expected for one in answer.expected)
    calibrated = answer.calibration[-1]
    assert calibrated.patients == 300 and calibrated.observed == pytest.approx(calibrated.expected, rel=0.15)
    assert calibrated.coverage > 0.85
    well = ask_capacity(engine, question("row % 2 = 1 and row < 100"))
    assert well.expected[-1].expected < 3


def test_who_met_it_already_died_or_has_no_date_is_not_forecast(tmp_path: Path) -> None:
    engine = ward_engine(tmp_path)
    cases = [engine.snapshot.catalogue.case("xray", row) for row in range(300)]

    def changed(row: int, **said: object) -> None:
        import dataclasses

        cases[row] = dataclasses.replace(cases[row], **said)  # type: ignore[arg-type]

    outcome = case(0, "", itu=Event(YES, 0), died=Event(NO), observed=40).outcome
    changed(1, outcome=outcome)
    changed(3, outcome=case(0, "", itu=Event(NO), died=Event(YES, 0), observed=0).outcome)
    changed(5, scan_date=None)
    changed(7, scan_date=TODAY + timedelta(1))
    changed(9, patient_id="p0011", scan_date=TODAY - timedelta(9))  # an older scan of the patient of row 11
    engine = engine_of(tmp_path / "again", np.asarray(engine.snapshot.signatures("xray")), cases)
    answer = ask_capacity(engine, question("row % 2 = 1 and row < 40", today=TODAY))
    assert answer.left_out == {
        "already-died": 1,
        "already-met": 1,
        "date-unknown": 1,
        "older-scan": 1,
        "scanned-later": 1,
    }
    assert answer.expected[0].patients == 15


def test_nothing_exported_holds_a_small_count(tmp_path: Path) -> None:
    engine = ward_engine(tmp_path)
    answer = ask_capacity(engine, question("row < 100", today=TODAY))
    write_capacity(answer, tmp_path / "out")
    small = ask_capacity(engine, question("row < 12", today=TODAY))
    write_capacity(small, tmp_path / "small")
    for folder in (tmp_path / "out", tmp_path / "small"):
        for name in ("capacity.csv", "calibration.csv"):
            for row in lines_of(folder / name):
                for column in ("patients", "expected", "observed", "low", "high", "ward"):
                    cell = row.get(column, "<8")
                    assert cell == "<8" or (int(cell) >= 10 and int(cell) % 5 == 0), (folder, name, row)
        run = json.loads((folder / "run.json").read_text())
        assert (run["research_only"] and "suppressed" in run["disclosure"]) or "<8" in run["disclosure"]
        assert all(cell == "<8" or int(cell) % 5 == 0 for cell in run["left_out"].values())
    rows = lines_of(tmp_path / "out" / "capacity.csv")
    assert {row["expected"] for row in rows} > {"<8"}  # some are shown, some are not
    assert "RESEARCH ONLY" in (tmp_path / "small" / "summary.txt").read_text()
    assert len(rows) == HORIZON
    write_capacity(small, tmp_path / "exact", exact=True)
    assert lines_of(tmp_path / "exact" / "capacity.csv")[0]["patients"] == str(small.expected[0].patients)


def test_wards_of_a_few_tell_no_coverage(tmp_path: Path) -> None:
    """In a ward of one the interval is mostly 0 to 0, and the coverage is the share of held-out patients who did not meet it."""
    engine = ward_engine(tmp_path)
    one = ask_capacity(engine, question("row = 1", today=TODAY))
    assert one.calibration[-1].ward == 1 and one.calibration[-1].coverage > 0
    said = write_capacity(one, tmp_path / "one")
    assert {row["coverage"] for row in lines_of(tmp_path / "one" / "calibration.csv")} == {""}
    assert "wards of" not in said
    write_capacity(one, tmp_path / "exact", exact=True)
    assert lines_of(tmp_path / "exact" / "calibration.csv")[-1]["coverage"] != ""
    many = ask_capacity(engine, question("row < 40", today=TODAY))
    write_capacity(many, tmp_path / "many")
    assert lines_of(tmp_path / "many" / "calibration.csv")[-1]["coverage"] != ""


def test_why_nobody_is_forecast_is_told_without_counts(tmp_path: Path) -> None:
    engine = ward_engine(tmp_path, patients=30)
    with pytest.raises(QuestionError, match=r"can be forecast: scanned-later$"):
        ask_capacity(engine, question("row < 3", today=date(2019, 1, 1)))


def test_the_help_says_how_many_neighbours_are_taken() -> None:
    assert "[default: 30" in run_search("capacity", "--help").stdout
    assert "[default: 10" in run_search("study", "--help").stdout


def test_the_same_question_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        write_capacity(
            ask_capacity(ward_engine(tmp_path / name, patients=80), question("row < 40")), tmp_path / name / "out"
        )
    for file in ("capacity.csv", "calibration.csv", "summary.txt", "run.json"):
        assert (tmp_path / "a" / "out" / file).read_bytes() == (tmp_path / "b" / "out" / file).read_bytes()


def test_what_cannot_be_answered_is_said(tmp_path: Path) -> None:
    engine = ward_engine(tmp_path, patients=30)
    with pytest.raises(QuestionError, match="no endpoint 'mood'"):
        ask_capacity(engine, CapacityQuestion(StudyPlan(asked="true"), "mood"))
    with pytest.raises(QuestionError, match="who is on the list"):
        ask_capacity(engine, CapacityQuestion(StudyPlan(), "itu_admission"))
    with pytest.raises(QuestionError, match="nobody on the list can be forecast: scanned-later"):
        ask_capacity(engine, question("true", today=date(2019, 1, 1)))
    with pytest.raises(QuestionError, match="site-unknown"):
        plan = StudyPlan(asked="true", exclude=Exclusions(own_site=True))
        ask_capacity(engine, CapacityQuestion(plan, "itu_admission"))


def test_an_archive_that_times_events_more_often_than_their_absence_is_said_to_mislead(tmp_path: Path) -> None:
    outcomes = [{"itu": Event(YES, 2)}] * 15 + [{"itu": Event(NO), "observed": 30}] * 15 + [{"itu": Event(NO)}] * 15
    cases = [case(number, f"p{number}", **said) for number, said in enumerate(outcomes)]
    engine = engine_of(tmp_path / "index", on_a_circle(*range(45)), cases)
    answer = ask_capacity(engine, question("row < 30"))
    assert answer.timed.met == 1 and answer.timed.unmet == 0.5 and answer.timed.uneven
    said = write_capacity(answer, tmp_path / "out")
    assert "about 100 % of the archive's patients who met it and of 50 %" in said and "too high" in said


def test_the_command_prints_what_may_leave(small_index: Path, tmp_path: Path) -> None:
    run = ["capacity", "--index", small_index, "--asked", "true", "--endpoint", "died", "--out", tmp_path / "out"]
    result = run_search(*run)
    assert result.exit_code == 2 and "who did not meet it only 0 % have a number of observed days" in result.stderr
    assert "say with --out" in run_search("capacity", "--index", small_index, "--asked", "true").stderr
    assert "RESEARCH ONLY" in run_search("capacity", "--help").stdout
