"""The ten dirty rows that NHSX published with nccid-cleaning come out as it cleaned them, but for what is known to be wrong."""

import csv
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from index.case import State
from index.cohorts.cleaned import Cleaned
from index.cohorts.nccid_fields import clean_record

LATEST = date(2021, 12, 31)
STATES = {"True": State.YES, "False": State.NO, "Positive": State.YES, "Negative": State.NO}
# published column -> ours, and how its cells are to be read
COLUMNS: dict[str, tuple[str, type]] = {
    "ethnicity": ("ethnicity", str),
    "sex": ("sex", str),
    "age": ("age", float),
    "temperature_on_admission": ("temperature_c", float),
    "ferritin": ("ferritin_ug_per_l", float),
    "systolic_bp": ("systolic_mmhg", float),
    "diastolic_bp": ("diastolic_mmhg", float),
    "date_of_positive_covid_swab": ("date_of_positive_covid_swab", date),
    "date_of_admission": ("date_of_admission", date),
    "swabdate": ("swab_date", date),
    "pmh_hypertension": ("pmh_hypertension", State),
    "pmh_diabetes_mellitus_type_2": ("pmh_diabetes_type_2", State),
    "pmh_lung_disease": ("pmh_lung_disease", float),
    "cxr_severity_2": ("cxr_severity_2", float),
    "covid_code": ("covid_code_1", float),
    "1st_rt-pcr_result": ("rt_pcr_1_positive", State),
    "fio2": ("fio2_percent", float),
}
# (patient, our field) -> (published, ours, our flag, why the published form is wrong)
DIFFERENCES: dict[tuple[str, str], tuple[Any, Any, str, str]] = {
    ("Patient6", "fio2_percent"): (0.0, None, "out-of-range", "nobody breathes 0 % oxygen: room air has 21 %"),
    ("Patient8", "date_of_admission"): (None, date(2020, 3, 19), "excel-serial", "43909 is Excel's 19 March 2020"),
}


def rows(path: Path) -> dict[str, dict[str, str]]:
    """Patient -> its row by header; of the cleaned file the later, lower-case columns are the cleaned ones."""
    with path.open(newline="", encoding="utf-8") as lines:
        return {row["Pseudonym"]: row for row in csv.DictReader(lines)}


def published(text: str, kind: type) -> Any:
    if text in ("", "Unknown"):  # our words for it are None
        return None
    if kind is date:
        return date.fromisoformat(text)
    return STATES[text] if kind is State else kind(text)


@pytest.fixture(scope="module")
def records(shared_data: Path) -> dict[str, dict[str, Cleaned[Any]]]:
    raw = rows(shared_data / "nccid" / "clinical-raw.csv")
    return {patient: clean_record(row, latest=LATEST) for patient, row in raw.items()}


def test_the_published_rows_come_out_as_published(
    shared_data: Path, records: dict[str, dict[str, Cleaned[Any]]]
) -> None:
    expected = rows(shared_data / "nccid" / "clinical-cleaned.csv")
    assert set(expected) == set(records) and len(records) == 10
    differences = {}
    for patient, row in expected.items():
        for column, (name, kind) in COLUMNS.items():
            theirs, ours = published(row[column], kind), records[patient][name].value
            if theirs != ours:
                differences[patient, name] = (theirs, ours)
    assert differences == {where: (theirs, ours) for where, (theirs, ours, *_) in DIFFERENCES.items()}
    for (patient, name), (_, _, flag, _) in DIFFERENCES.items():
        assert records[patient][name].flags == (flag,)


def test_every_published_cleaned_column_is_compared(shared_data: Path) -> None:
    raw, cleaned = (rows(shared_data / "nccid" / f"clinical-{form}.csv")["Patient1"] for form in ("raw", "cleaned"))
    assert set(cleaned) - set(raw) - set(COLUMNS) == {"latest_swab_date"}  # the next test


def test_the_later_of_two_swab_dates_is_the_published_latest(
    shared_data: Path, records: dict[str, dict[str, Cleaned[Any]]]
) -> None:
    for patient, row in rows(shared_data / "nccid" / "clinical-cleaned.csv").items():
        swabs = [records[patient][name].value for name in ("swab_date", "date_of_positive_covid_swab")]
        latest = max((when for when in swabs if when), default=None)
        assert latest == published(row["latest_swab_date"], date), patient


def test_what_was_lost_in_the_published_rows_says_why(records: dict[str, dict[str, Cleaned[Any]]]) -> None:
    lost = {
        (patient, name)
        for patient, record in records.items()
        for name, cleaned in record.items()
        if cleaned.source and cleaned.value is None and not cleaned.flags
    }
    assert not lost
