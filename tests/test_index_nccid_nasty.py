"""NCCID trees and records as nobody should write them: nothing crashes, nothing is believed in silence, nothing vanishes uncounted."""

from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from index.case import Case, Event, State
from index.cohort import CohortError, open_cohort
from index.cohorts.nccid import MISPLACED, NO_IMAGES, UNREADABLE
from index.exclusions import Exclusions
from tests.films import dicom_bytes, phantom
from tests.test_index_nccid_course import ADMITTED, flags, only, read

FILM = dicom_bytes(phantom(16, 16), StudyDate="20200403")


def put(path: Path, content: bytes = FILM) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


def cases_and_counts(root: Path) -> tuple[list[Case], dict[str, int]]:
    cohort = open_cohort(f"nccid={root}")
    cases = list(cohort.iter_cases())
    return cases, dict(cohort.counts)


def test_images_in_no_patients_folder_are_counted_and_odd_names_are_read(tmp_path: Path) -> None:
    put(tmp_path / "xray/loose.dcm")
    put(tmp_path / "ct/Covid1/loose.dcm")
    put(tmp_path / "xray/Covid1/s/t/noext")
    put(tmp_path / "xray/Covid1/s/t/readme.txt", b"no image")
    put(tmp_path / "ct/Covid2/study/0001.dcm")  # no series level
    (tmp_path / "xray/Covid1/loop").symlink_to(tmp_path / "xray")
    cases, counts = cases_and_counts(tmp_path)
    assert sorted(case.case_id for case in cases) == ["noext", "study"]
    assert counts[MISPLACED] == 2


def test_a_warehouse_may_hold_records_only_and_an_empty_training_level_hides_nothing(tmp_path: Path) -> None:
    put(tmp_path / "data/Covid1/data_2020-05-01.json", b"{}")
    (tmp_path / "training/xray").mkdir(parents=True)
    cases, counts = cases_and_counts(tmp_path)
    assert cases == [] and counts[NO_IMAGES] == 1
    put(tmp_path / "training/xray/Covid1/s/t/1.dcm")
    with pytest.raises(CohortError, match="holds a warehouse itself and another under training"):
        open_cohort(f"nccid={tmp_path}")


@pytest.mark.parametrize("day", ["20991231", "00010101", "18990101"])
def test_a_scan_date_that_cannot_be_is_not_believed(tmp_path: Path, day: str) -> None:
    cases = read(tmp_path, {"a": "20200403", "b": day}, data_20200501=ADMITTED | {"Death": 2})
    assert cases["b"].scan_date is None and "scan_date:out-of-range" in flags(cases["b"])
    assert (cases["a"].outcome.observed_days, cases["a"].clinical.get("died_28")) == (0, None)


def test_nobody_is_imaged_days_after_their_death(tmp_path: Path) -> None:
    record = ADMITTED | {"Death": 1, "Date of death": "2020-04-15"}
    case = only(tmp_path, record, "20200601")
    assert case.outcome.events["died"] == Event(State.YES)
    assert "date_of_death:implausible-order" in flags(case) and case.outcome.observed_days is None


@pytest.mark.parametrize(
    ("record", "days", "flag"),
    [
        ({"Date of Positive Covid Swab": "2018-03-03", "Date of admission": "2020-04-01"}, 2, "index_date:impossible-test"),
        ({"Date of Positive Covid Swab": "2020-05-30", "Date of death": "2020-04-05", "Date of admission": "2020-04-01"}, 2, "index_date:impossible-test"),
        ({"1st RT-PCR result": 1, "Date of acquisition of 1st RT-PCR": "2020-04-01", "Date of result of 1st RT-PCR": "2020-03-20"}, None, "index_date:implausible-order"),
    ],
)  # fmt: skip
def test_a_test_that_cannot_have_been_dates_no_infection(
    tmp_path: Path, record: dict[str, Any], days: float | None, flag: str
) -> None:
    case = only(tmp_path, record)
    assert case.clinical.get("days_from_index") == days and flag in flags(case)


@pytest.mark.parametrize(
    ("name", "content", "status"),
    [
        ("status_20200501", {"SwabDates": {"SwabDate": "02/04/2020", "SwabStatus": 1}}, "positive_swab"),
        ("status_20200501", {"SwabDates": '[{"SwabDate": "02/04/2020", "SwabStatus": 1}]'}, "positive_swab"),
        ("status_20200501", {"SwabDates": [{"swabdate": "02/04/2020", "SWABSTATUS": "1"}]}, "positive_swab"),
        ("status_20200501", {"Final COVID Status": 1}, "positive_swab"),
        ("status_20200501", {"1st RT-PCR result": "Positive"}, "positive_swab"),
        ("status_20200501", {"SwabDates": [{"SwabDate": "01/04/2020", "SwabStatus": 0}, {"SwabDate": "02/04/2020"}]}, "negative_unconfirmed"),
        ("DATA_20200501", {"Death": 0}, "positive"),
    ],
)  # fmt: skip
def test_a_positive_test_is_found_wherever_it_stands(
    tmp_path: Path, name: str, content: dict[str, Any], status: str
) -> None:
    case = read(tmp_path, {"f": "20200403"}, **{name: content})["f"]
    assert case.clinical["covid_status"] == status
    assert case.clinical["covid_status_at_scan"] != "negative"


def test_an_older_positive_swab_is_not_undone_by_a_newer_negative_one(tmp_path: Path) -> None:
    older, newer = ({"SwabStatus": 1, "SwabDate": "01/04/2020"}, {"SwabStatus": 0, "SwabDate": "20/05/2020"})
    case = read(tmp_path, {"f": "20200403"}, status_20200401=older, status_20200520=newer)["f"]
    assert (case.clinical["covid_status"], case.clinical["days_from_index"]) == ("positive_swab", 2)


def test_a_result_never_takes_the_day_of_an_earlier_negative_test(tmp_path: Path) -> None:
    older = {"1st RT-PCR result": 0, "Date of acquisition of 1st RT-PCR": "03/01/2020"}
    newer = {"1st RT-PCR result": 1, "Date of admission": "04/01/2020"}
    case = read(tmp_path, {"f": "20200403"}, data_20200401=older, data_20200501=newer)["f"]
    assert case.clinical["days_from_index"] == 2 and "index_date:from-admission" in flags(case)


def test_blank_segmentation_data_hide_nothing_and_spelling_does_not_matter(tmp_path: Path) -> None:
    nested = {"Death": None, "Date of death": "", "CXR Severity": 3}
    record = {"Death": 1, "Date of death": "2020-05-01", "CXR severity": 1, "Date of 1st CXR": "2020-04-03"}
    case = only(tmp_path, record | {"OtherDataSources": {"SegmentationData": nested}})
    assert case.outcome.events["died"] == Event(State.YES, 28) and case.clinical["cxr_severity"] == 3


def test_one_bad_byte_costs_one_character(tmp_path: Path) -> None:
    put(tmp_path / "xray/Covid1/s/t/1.dcm")
    put(tmp_path / "data/Covid1/data_2020-05-01.json", '{"Death": 1, "Hospital": "Café"}'.encode("latin-1"))
    (case,), counts = cases_and_counts(tmp_path)
    assert case.outcome.events["died"].state is State.YES and counts[UNREADABLE] == 0


def test_the_age_is_that_of_the_scan(tmp_path: Path) -> None:
    case = only(tmp_path, {"Age": 70})  # the film's header says 67
    assert case.age_years == 67 and "age:age-not-of-scan" not in flags(case)
    case = only(tmp_path / "b", {"Age": 17})
    assert case.age_years == 67 and "age:age-not-of-scan" in flags(case)


@pytest.mark.parametrize(
    ("record", "pao2", "saturation", "flag"),
    [
        ({"PaO2": 9.8, "Pa02": 12.1}, None, None, "pao2_kpa:headers-disagree"),
        ({"PaO2": 88, "O2 saturation": 96}, None, 96, "o2_saturation_percent:cells-disagree"),
    ],
)
def test_oxygen_cells_that_disagree_say_so(
    tmp_path: Path, record: dict[str, Any], pao2: float | None, saturation: float | None, flag: str
) -> None:
    case = only(tmp_path, record)
    assert (case.clinical.get("pao2_kpa"), case.clinical.get("o2_saturation_percent")) == (pao2, saturation)
    assert flag in flags(case)


def test_a_pao2_of_an_older_file_says_so(tmp_path: Path) -> None:
    case = read(tmp_path, {"f": "20200403"}, data_20200401={"PaO2": "9.8 kPa"}, data_20200501={"Death": 0})["f"]
    assert case.clinical["pao2_kpa"] == 9.8 and "pao2_kpa:from-older-file" in flags(case)


def test_intensive_care_denied_beside_intubation_is_told_and_an_empty_score_proves_nothing(tmp_path: Path) -> None:
    case = only(tmp_path, {"ITU admission": 0, "Intubation": 1})
    assert case.outcome.events["itu_admission"].state is State.NO and "itu_admission:denied-but-implied" in flags(case)
    case = only(tmp_path / "b", {"APACHE score on ITU arrival": 0})
    assert case.outcome.events["itu_admission"].state is State.NOT_RECORDED


def test_severity_told_of_several_films_of_a_day_says_so(tmp_path: Path) -> None:
    record = {"Date of 1st CXR": "2020-04-03", "CXR severity": 3}
    cases = read(tmp_path, {"a": "20200403", "b": "20200403"}, data_20200501=record)
    assert [case.clinical["cxr_severity"] for case in cases.values()] == [3, 3]
    assert all("cxr_severity:several-films-that-day" in flags(case) for case in cases.values())


def test_another_pseudonym_within_is_told_and_excluded_by(tmp_path: Path) -> None:
    case = only(tmp_path, {"Pseudonym": "CovidXYZ"})
    assert "pseudonym:other-pseudonym" in flags(case)
    assert Exclusions(frozenset({"covidxyz"})).cover(case)
    assert Exclusions(frozenset({"covid77"})).cover(case)  # the Patient ID of the film's header


def test_no_date_of_a_case_lies_in_the_future(tmp_path: Path) -> None:
    tomorrow = f"{date.today() + timedelta(days=2):%Y%m%d}"
    case = only(tmp_path, {"Date of death": tomorrow, "Date last known alive": tomorrow}, tomorrow)
    assert case.scan_date is None and case.outcome.observed_days is None
