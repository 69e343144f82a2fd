"""NCCID's derivations: which days can be believed, when a scan is of COVID, what happened and within how many days."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from index.case import Case, Event, State
from index.cohort import open_cohort
from tests.films import dicom_bytes, phantom

ADMITTED = {"Date of Positive Covid Swab": "2020-04-01", "Date of admission": "2020-04-02"}


def read(root: Path, scans: dict[str, str], **files: dict[str, Any]) -> dict[str, Case]:
    """One patient's cases by id: `scans` are id -> day (CT where the id begins with ct), files by name, such as data_20200501."""
    for uid, day in scans.items():
        is_ct = uid.startswith("ct")
        folder = root / ("ct" if is_ct else "xray") / "Covid1" / (uid if is_ct else "study") / "series"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{uid}.dcm").write_bytes(dicom_bytes(phantom(16, 16), SOPInstanceUID="1.2.3", StudyDate=day))
    for name, content in files.items():
        kind, _, day = name.partition("_")
        path = root / "data" / "Covid1" / f"{kind}_{day[:4]}-{day[4:6]}-{day[6:]}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content))
    return {case.case_id: case for case in open_cohort(f"nccid={root}").iter_cases()}


def only(root: Path, record: dict[str, Any], day: str = "20200403") -> Case:
    return read(root, {"f": day}, data_20200501=record)["f"]


def flags(case: Case) -> list[str]:
    return str(case.clinical.get("clinical_flags", "")).split()


@pytest.mark.parametrize(
    ("day", "phase", "status"),
    [
        ("20200317", "pre", "pre_covid"),  # 15 days before
        ("20200318", "acute", "positive"),  # 14
        ("20200429", "acute", "positive"),  # 28 days after
        ("20200430", "post", "post_covid"),
        ("20180101", "pre", "pre_covid"),
    ],
)
def test_only_scans_about_the_positive_test_are_of_covid(tmp_path: Path, day: str, phase: str, status: str) -> None:
    case = only(tmp_path, ADMITTED, day)
    seen = (case.clinical["covid_status"], case.clinical["scan_phase"], case.clinical["covid_status_at_scan"])
    assert seen == ("positive", phase, status)


def test_a_positive_without_any_day_is_not_shown_as_covid(tmp_path: Path) -> None:
    case = only(tmp_path, {"Death": 0})
    assert (case.clinical["covid_status_at_scan"], "scan_phase" in case.clinical) == ("unknown", False)


@pytest.mark.parametrize(
    ("record", "days", "flag"),
    [
        ({"Date of Positive Covid Swab": "2020-04-01", "Date of acquisition of 1st RT-PCR": "2020-03-30", "1st RT-PCR result": 1}, 4, None),
        ({"Date of acquisition of 1st RT-PCR": "2020-03-30", "1st RT-PCR result": 0, "Date of acquisition of 2nd RT-PCR": "2020-04-02", "2nd RT-PCR result": "Positive"}, 1, None),
        ({"SwabDates": [{"SwabDate": "30/03/2020", "SwabStatus": "0"}, {"SwabDate": "31/03/2020", "SwabStatus": "1"}]}, 3, None),
        ({"1st RT-PCR result": 1, "Date of result of 1st RT-PCR": "2020-04-01", "Date of admission": "2020-03-20"}, 2, "index_date:from-result"),
        ({"Date of admission": "2020-03-20"}, 14, "index_date:from-admission"),
    ],
)  # fmt: skip
def test_the_index_date_is_the_first_positive_test(
    tmp_path: Path, record: dict[str, Any], days: int, flag: str | None
) -> None:
    case = only(tmp_path, record)
    assert case.clinical["days_from_index"] == days
    assert [found for found in flags(case) if found.startswith("index_date")] == ([flag] if flag else [])


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"Final COVID Status": 0, **ADMITTED}, ("conflict", "conflict")),
        ({"Final COVID Status": 1, **ADMITTED}, ("positive", "positive")),
    ],
)
def test_a_full_record_that_ends_negative_is_a_conflict(
    tmp_path: Path, record: dict[str, Any], expected: tuple[str, str]
) -> None:
    case = only(tmp_path, record)
    assert (case.clinical["covid_status"], case.clinical["covid_status_at_scan"]) == expected


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"SwabStatus": 0, "SwabDate": "02/04/2020"}, ("negative", "negative")),
        ({"SwabStatus": "1", "SwabDate": "02/04/2020"}, ("positive_swab", "positive")),
        ({"SwabDates": [{"SwabStatus": "0"}]}, ("negative", "negative")),
        ({"Age": 50}, ("negative_unconfirmed", "unknown")),
    ],
)
def test_controls_are_told_by_their_swabs(tmp_path: Path, record: dict[str, Any], expected: tuple[str, str]) -> None:
    case = read(tmp_path, {"f": "20200403"}, status_20200501=record)["f"]
    assert (case.clinical["covid_status"], case.clinical["covid_status_at_scan"]) == expected
    assert {event.state for event in case.outcome.events.values()} == {State.NOT_RECORDED}
    assert case.outcome.observed_days is None


@pytest.mark.parametrize(
    ("record", "died_28", "died_60"),
    [
        ({"Death": 1, "Date of death": "2020-04-29"}, "yes", "yes"),  # day 28
        ({"Death": 1, "Date of death": "2020-04-30"}, "no", "yes"),
        ({"Death": 1, "Date of death": "2020-06-01"}, "no", "no"),  # day 61
        ({"Death": 1}, None, None),  # nobody knows when
        ({"Death": 0, "Date last known alive": "2020-04-29"}, "no", None),
        ({"Death": 0, "Date last known alive": "2020-05-31"}, "no", "no"),
        ({"Death": 0}, None, None),  # alive when the record was written, whenever that was
        ({"Date last known alive": "2020-05-31"}, "no", "no"),
        ({}, None, None),
    ],
)
def test_deaths_within_28_and_60_days_need_a_death_or_follow_up(
    tmp_path: Path, record: dict[str, Any], died_28: str | None, died_60: str | None
) -> None:
    clinical = only(tmp_path, ADMITTED | record).clinical
    assert (clinical.get("died_28"), clinical.get("died_60")) == (died_28, died_60)


def test_a_later_scan_is_a_sign_of_life(tmp_path: Path) -> None:
    cases = read(tmp_path, {"a": "20200403", "ct-b": "20200603"}, data_20200701=ADMITTED | {"Death": 0})
    assert (cases["a"].clinical["died_60"], cases["a"].outcome.observed_days) == ("no", 61)
    assert "observed_days:follow-up-by-scan" in flags(cases["a"])


def test_outcomes_are_three_states_and_what_is_dated_has_happened(tmp_path: Path) -> None:
    record = ADMITTED | {"Death": "0", "Date of death": "2020-04-20", "Intubation": 1, "ITU admission": None}
    case = only(tmp_path, record)
    assert case.outcome.events == {
        "died": Event(State.YES, 17),
        "itu_admission": Event(State.YES),  # nobody is intubated elsewhere for long
        "intubated": Event(State.YES),
    }
    assert case.outcome.observed_days == 17
    assert {"died:denied-but-dated", "itu_admission:implied"} <= set(flags(case))


@pytest.mark.parametrize(
    ("record", "worst", "is_incomplete"),
    [
        ({"Death": 0, "ITU admission": 0, "Intubation": 0}, 0, False),
        ({"Death": 0, "ITU admission": 1, "Intubation": 0}, 1, False),
        ({"Death": 0, "ITU admission": 1, "Intubation": 1}, 2, False),
        ({"Death": 1}, 3, False),
        ({"Death": 0}, 0, True),
        ({}, None, False),
    ],
)
def test_the_worst_outcome_is_graded(
    tmp_path: Path, record: dict[str, Any], worst: float | None, is_incomplete: bool
) -> None:
    case = only(tmp_path, ADMITTED | record)
    assert case.clinical.get("worst_outcome") == worst
    assert ("worst_outcome:incomplete" in flags(case)) is is_incomplete


@pytest.mark.parametrize(
    ("days", "dropped"),
    [
        (("2020-04-02", "2020-04-03", "2020-04-03", "2020-04-20"), ()),
        (("2020-04-02", "2020-04-04", "2020-04-03", "2020-04-20"), ()),  # intubated the day before the bed
        (("2020-04-02", "2020-04-03", "2020-04-04", "2020-03-20"), ("date_of_death",)),
        (("2020-05-02", "2020-04-03", "2020-04-04", "2020-04-20"), ("date_of_admission",)),
        (("2020-04-05", "2020-04-03", None, None), ("date_of_admission", "date_of_itu_admission")),  # either is wrong
    ],
)
def test_days_in_an_impossible_order_are_not_used(
    tmp_path: Path, days: tuple[str | None, ...], dropped: tuple[str, ...]
) -> None:
    names = ("Date of admission", "Date of ITU admission", "Date of intubation", "Date of death")
    case = only(tmp_path, dict(zip(names, days, strict=True)) | {"Death": 1, "ITU admission": 1}, "20200401")
    assert sorted(f"{name}:implausible-order" for name in dropped) == sorted(
        flag for flag in flags(case) if flag.endswith("implausible-order")
    )
    assert case.outcome.events["died"].state is State.YES and case.outcome.events["itu_admission"].state is State.YES
    assert (case.outcome.events["died"].days is None) is ("date_of_death" in dropped or days[3] is None)


def test_severity_and_code_are_told_of_the_film_of_that_day_only(tmp_path: Path) -> None:
    record = {
        "Date of 1st CXR": "2020-04-02", "CXR severity": 1, "COVID CODE": 2,
        "Date of 2nd CXR": "2020-04-09", "CXR severity 3": "[3] - 2020-04-09", "COVID CODE 2": 1,
    }  # fmt: skip
    days = {"first": "20200402", "beside": "20200410", "between": "20200405", "ct-1": "20200402"}
    cases = read(tmp_path, days, data_20200501=record)
    told = {name: (case.clinical.get("cxr_severity"), case.clinical.get("covid_code")) for name, case in cases.items()}
    assert told == {"first": (1, 2), "beside": (3, 1), "between": (None, None), "ct-1": (None, None)}
    assert "cxr_severity:a-day-off" in flags(cases["beside"]) and "cxr_severity:a-day-off" not in flags(cases["first"])


@pytest.mark.parametrize(("second", "severity", "is_flagged"), [(2, 2, False), (3, None, True)])
def test_two_recorded_films_of_one_day_must_agree(
    tmp_path: Path, second: int, severity: float | None, is_flagged: bool
) -> None:
    record = {"Date of 1st CXR": "2020-04-02", "CXR severity": 2, "Date of 2nd CXR": "2020-04-02"}
    case = only(tmp_path, record | {"CXR severity 3": second}, "20200402")
    assert case.clinical.get("cxr_severity") == severity
    assert ("cxr_severity:two-films-that-day" in flags(case)) is is_flagged


def test_of_several_files_the_newest_that_says_something_counts(tmp_path: Path) -> None:
    newest = {"Death": 1, "Age": "", "Sex": None, "SubmittingCentre": "New NHS Trust"}
    older = {"Death": 0, "Age": 61, "ITU admission": 1, "SubmittingCentre": "Old NHS Trust"}
    oldest = {"Age": 60, "Sex": "F", "PMH CKD": 1}
    status = {"PMH hypertension": 1, "SwabStatus": 0}
    case = read(
        tmp_path, {"f": "20200403"}, data_20200601=newest, data_20200501=older, data_20200402=oldest,
        status_20200301=status,
    )["f"]  # fmt: skip
    assert (case.site, case.age_years, case.sex) == ("New NHS Trust", 67, "F")  # the age by the film
    assert [case.outcome.events[name].state for name in ("died", "itu_admission")] == [State.YES, State.YES]
    assert case.clinical["pmh_ckd"] == "yes" and "pmh_hypertension" not in case.clinical
    assert case.clinical["clinical_files"] == "data_2020-06-01.json data_2020-05-01.json data_2020-04-02.json"
    assert {"age:from-older-file", "age:older-file-differs", "death:older-file-differs", "sex:from-older-file"} <= set(
        flags(case)
    )


def centre(root: Path, dates: list[str], asked: str) -> Case:
    """A centre whose other patients were admitted on `dates`, as written; the case of one admitted on `asked`."""
    for number, text in enumerate([asked, *dates]):
        path = root / "data" / f"Covid{number}" / "data_2021-06-01.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps({"SubmittingCentre": "X Trust", "Date of admission": text}))
    folder = root / "xray" / "Covid0" / "1" / "2"
    folder.mkdir(parents=True)
    (folder / "f.dcm").write_bytes(dicom_bytes(phantom(16, 16), StudyDate="20201120"))
    (case,) = open_cohort(f"nccid={root}").iter_cases()
    return case


@pytest.mark.parametrize(
    ("dates", "admitted", "flag"),
    [
        (["25/04/2020"] * 12, date(2020, 4, 5), "order-by-centre"),
        (["04/25/2020"] * 12, date(2020, 5, 4), "ambiguous-order"),
        (["04/25/2020"] * 6 + ["25/04/2020"] * 6, None, "ambiguous-order"),
        (["25/04/2020"] * 9, date(2020, 5, 4), "ambiguous-order"),  # too few to call it a habit
    ],
)
def test_a_centres_habit_tells_day_from_month(
    tmp_path: Path, dates: list[str], admitted: date | None, flag: str
) -> None:
    case = centre(tmp_path, dates, "05/04/2020")
    days = (date(2020, 11, 20) - admitted).days if admitted else None
    assert case.clinical.get("days_from_admission") == days
    assert f"date_of_admission:{flag}" in flags(case)


def test_where_habit_and_scans_contradict_each_other_nothing_is_recorded(tmp_path: Path) -> None:
    case = centre(tmp_path, ["04/25/2020"] * 12, "12/11/2020")  # 11 December by habit; 12 November is near the scan
    assert "days_from_admission" not in case.clinical and "date_of_admission:ambiguous-order" in flags(case)
