"""Archives -> cases: any table with its TOML, and the NCCID warehouse."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from index.case import Case, Event, State
from index.cohort import Cohort, CohortError, open_cohort
from tests.archives import table_archive
from tests.films import dicom_bytes, phantom


@pytest.fixture(params=["table", "nccid"])
def cohort(request: pytest.FixtureRequest, tmp_path: Path) -> Cohort:
    if request.param == "table":
        return open_cohort(f"table={table_archive(tmp_path / 'a')}")
    return open_cohort(f"nccid={warehouse(tmp_path / 'training').parent}")


def test_every_case_has_its_ids_files_and_endpoints(cohort: Cohort) -> None:
    cases = list(cohort.iter_cases())
    names = {endpoint.name for endpoint in cohort.endpoints}
    assert cases and names
    assert len({case.case_id for case in cases}) == len(cases)
    for case in cases:
        assert case.patient_id and case.cohort == cohort.name and set(case.outcome.events) == names
        assert all(Path(path).is_absolute() and Path(path).exists() for path in case.files)
        assert case.patient_id not in repr(case)


def test_reading_twice_gives_the_same_cases(cohort: Cohort) -> None:
    assert list(cohort.iter_cases()) == list(cohort.iter_cases())


@pytest.mark.parametrize("argument", ["table", "xnat=/tmp", "table=/nowhere.toml", "nccid=/nowhere"])
def test_what_is_no_cohort_is_refused(argument: str) -> None:
    with pytest.raises(CohortError):
        open_cohort(argument)


# --- NCCID


def warehouse(root: Path) -> Path:
    """One positive and one control, a film each, as the warehouse lays them out."""
    write_patient(root, "Covid1", "1.2.1", "data_2020-05-01.json", POSITIVE, StudyDate="20200401", PatientSex="M")
    write_patient(root, "Covid2", "1.2.2", "status_2020-05-01.json", {"Pseudonym": "Covid2", "SwabStatus": 0})
    return root


POSITIVE = {
    "Pseudonym": "Covid1", "SubmittingCentre": "Anytown NHS Trust", "Age": "[67] - 2020-06-06", "Sex": "1",
    "ITU admission ": 1, "Date of ITU admission": "04/03/2020", "Intubation": "0", "Death": None,
    "Date of death": "31/04/2020", "Date last known alive": "04/20/2020",
}  # fmt: skip


def write_patient(
    root: Path, patient: str, uid: str, clinical_name: str, clinical: dict[str, Any], **attributes: Any
) -> None:
    folder = root / "xray" / patient / "1.2" / "1.3"
    folder.mkdir(parents=True)
    (folder / f"{uid}.dcm").write_bytes(dicom_bytes(phantom(), SOPInstanceUID=uid, PatientID=patient, **attributes))
    (root / "data" / patient).mkdir(parents=True)
    (root / "data" / patient / clinical_name).write_text(json.dumps(clinical))


@pytest.mark.parametrize("level", ["training", "."])
def test_a_warehouse_is_read_with_and_without_the_training_level(tmp_path: Path, level: str) -> None:
    warehouse(tmp_path / level)
    positive, control = open_cohort(f"nccid={tmp_path}").iter_cases()
    assert (positive.case_id, positive.patient_id, positive.site) == ("1.2.1", "Covid1", "Anytown NHS Trust")
    assert (positive.age_years, positive.sex, positive.scan_date) == (67, "M", date(2020, 4, 1))
    assert positive.outcome.events == {
        "died": Event(State.NOT_RECORDED),  # 31 April is no date, and nothing else says
        "itu_admission": Event(State.YES, 2),
        "intubated": Event(State.NO),
    }
    assert positive.outcome.observed_days == 19
    assert {event.state for event in control.outcome.events.values()} == {State.NOT_RECORDED}
    assert (positive.clinical["covid_status"], control.clinical["covid_status"]) == ("positive", "negative")


def write_metadata(root: Path, text: str) -> None:
    folder = root / "xray-metadata" / "Covid1" / "1.2" / "1.3"
    folder.mkdir(parents=True)
    (folder / "1.2.1.json").write_text(text)


def first_case(root: Path) -> Case:
    return next(iter(open_cohort(f"nccid={root}").iter_cases()))


def test_the_metadata_beside_a_file_spares_opening_it(tmp_path: Path) -> None:
    warehouse(tmp_path)
    document = {"00080022": {"vr": "DA", "Value": ["20200329"]}, "00283010": None, "00080070": {"vr": "LO"}}
    write_metadata(tmp_path, json.dumps(document))
    assert first_case(tmp_path).scan_date == date(2020, 3, 29)


@pytest.mark.parametrize(
    "element",
    [{"foo": {"Value": ["x"]}}, {"0008006G": {"Value": ["x"]}}, {"0008006000": {"Value": ["x"]}}, {"00080070": 5}]
    + [{"00080070": {"Value": value}} for value in ({"a": 1}, 5, [], [None], [{"a": 1}])],
)
def test_an_odd_element_of_metadata_costs_only_itself(tmp_path: Path, element: dict[str, Any]) -> None:
    warehouse(tmp_path)
    write_metadata(tmp_path, json.dumps({"00080020": {"vr": "DA", "Value": ["20200330"]}} | element))
    case = first_case(tmp_path)
    assert (case.scan_date, case.manufacturer) == (date(2020, 3, 30), None)


def test_undated_metadata_is_dated_by_the_file_so_that_days_are_known(tmp_path: Path) -> None:
    warehouse(tmp_path)
    write_metadata(tmp_path, json.dumps({"00080070": {"vr": "LO", "Value": ["Made \ud800 Up"]}}))
    case = first_case(tmp_path)
    assert (case.manufacturer, case.scan_date) == ("Made ? Up", date(2020, 4, 1))
    assert case.outcome.events["itu_admission"] == Event(State.YES, 2)


def test_a_film_without_preamble_is_dated(tmp_path: Path) -> None:
    warehouse(tmp_path)
    film = next(tmp_path.glob("xray/Covid1/*/*/*.dcm"))
    film.write_bytes(dicom_bytes(phantom(), StudyDate="20200402")[132:])
    assert first_case(tmp_path).outcome.events["itu_admission"] == Event(State.YES, 1)


def test_upper_case_suffixes_are_read(tmp_path: Path) -> None:
    warehouse(tmp_path)
    film = next(tmp_path.glob("xray/Covid1/*/*/*.dcm"))
    film.rename(film.with_suffix(".DCM"))
    assert first_case(tmp_path).case_id == "1.2.1"


@pytest.mark.parametrize("text", ["{broken", '{"a": ' * 200_000, "[]"])
def test_a_damaged_full_record_beside_a_status_does_not_make_a_control(tmp_path: Path, text: str) -> None:
    warehouse(tmp_path)
    folder = tmp_path / "data" / "Covid2"
    (folder / "data_2020-06-01.json").write_text(text)
    _, case = open_cohort(f"nccid={tmp_path}").iter_cases()
    assert case.clinical["covid_status"] == "positive"
    (folder / "status_2020-05-01.json").unlink()
    _, case = open_cohort(f"nccid={tmp_path}").iter_cases()
    assert case.clinical["covid_status"] == "positive"


@pytest.mark.parametrize("value", [{"a": 1}, [1], [[[]]]])
def test_nested_clinical_values_are_blanks_that_an_older_file_fills(tmp_path: Path, value: Any) -> None:
    warehouse(tmp_path)
    (tmp_path / "data/Covid1/data_2020-06-01.json").write_text(json.dumps(POSITIVE | {"Death": value, "Sex": value}))
    assert (first_case(tmp_path).outcome.events["died"].state, first_case(tmp_path).sex) == (State.NOT_RECORDED, "M")


def test_the_newest_clinical_file_is_read_and_a_damaged_one_passed_over(tmp_path: Path) -> None:
    warehouse(tmp_path)
    (tmp_path / "data/Covid1/data_2020-06-01.json").write_text(json.dumps(POSITIVE | {"Death": 1}))
    (tmp_path / "data/Covid1/data_2020-07-01.json").write_text("{broken")
    case = next(iter(open_cohort(f"nccid={tmp_path}").iter_cases()))
    assert case.outcome.events["died"].state is State.YES


def test_a_folder_without_modality_trees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no NCCID warehouse"):
        open_cohort(f"nccid={tmp_path}")


def test_a_sex_that_the_scan_contradicts_is_left_to_the_scan(tmp_path: Path) -> None:
    write_patient(tmp_path, "Covid1", "1.2.1", "data_2020-05-01.json", POSITIVE, PatientSex="F")
    case = first_case(tmp_path)
    assert case.sex is None and case.clinical["clinical_flags"] == (
        "sex:sex-not-of-scan date_of_itu_admission:order-by-scan date_of_death:unreadable worst_outcome:incomplete"
    )


def test_a_date_that_could_be_either_is_settled_by_any_scan_of_the_patient(tmp_path: Path) -> None:
    dates = {"Date of ITU admission": "05/04/2020"}
    write_patient(tmp_path, "Covid1", "1.2.1", "data_2020-05-01.json", POSITIVE | dates, StudyDate="20180101")
    assert first_case(tmp_path).outcome.events["itu_admission"].days == 854  # 4 May 2020
    second = tmp_path / "xray/Covid1/1.2/1.3/1.2.2.dcm"
    second.write_bytes(dicom_bytes(phantom(), SOPInstanceUID="1.2.2", StudyDate="20200403"))
    first, other = open_cohort(f"nccid={tmp_path}").iter_cases()
    assert first.outcome.events["itu_admission"].days == 825  # 5 April 2020, near the second film
    assert other.outcome.events["itu_admission"].days == 2


def test_cleaned_clinical_values_are_columns_and_what_tells_of_one_film_is_not(tmp_path: Path) -> None:
    values = {"FiO2": "28%", "PMH CKD": "0", "CRP on admission": "<4", "COVID CODE": 1, "PMH Lung disease": 6}
    write_patient(tmp_path, "Covid1", "1.2.1", "data_2020-05-01.json", values)
    assert first_case(tmp_path).clinical == {
        "covid_status": "positive",
        "covid_status_at_scan": "unknown",  # no positive test is dated
        "pmh_ckd": "no",
        "fio2_percent": 28,
        "crp_mg_per_l": 4,
        "clinical_files": "data_2020-05-01.json",
        "clinical_flags": "pmh_lung_disease:stated-unknown crp_mg_per_l:censored-below observed_days:follow-up-by-scan",
    }
