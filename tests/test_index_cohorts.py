"""Archives -> cases: any table with its TOML, and the NCCID warehouse."""

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from index.case import Event, State
from index.cohort import Cohort, CohortError, open_cohort
from index.cohorts.nccid_clinical import clinical_date, clinical_number, three_state
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
        assert all(path.is_absolute() and path.exists() for path in case.files)
        assert case.patient_id not in repr(case)


def test_reading_twice_gives_the_same_cases(cohort: Cohort) -> None:
    assert list(cohort.iter_cases()) == list(cohort.iter_cases())


# --- tables


def test_a_table_gives_three_states_and_days(tmp_path: Path) -> None:
    cases = {case.case_id: case for case in open_cohort(f"table={table_archive(tmp_path)}").iter_cases()}
    assert cases["film000"].outcome.events["died"] == Event(State.NOT_RECORDED)
    assert cases["film002"].outcome.events["died"] == Event(State.NO)
    assert cases["film006"].outcome.events["died"] == Event(State.YES, 3)
    assert cases["film002"].outcome.events["itu_admission"] == Event(State.YES, 1)
    assert cases["film004"].outcome.events["itu_admission"] == Event(State.NOT_RECORDED)
    assert (cases["film002"].view, cases["film002"].sex, cases["film002"].age_years) == ("AP", "M", 41)


def test_absent_may_mean_no_where_the_toml_says_so(tmp_path: Path) -> None:
    path = table_archive(tmp_path)
    path.write_text(path.read_text() + 'absent = "no"\n')
    cases = {case.case_id: case for case in open_cohort(f"table={path}").iter_cases()}
    assert cases["film004"].outcome.events["itu_admission"] == Event(State.NO)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'view = "view"',
            'view = "projection"',
            r"\[columns\] view names the column 'projection', which .*cases.csv lacks",
        ),
        ('days = "itu_days"', 'days = "icu"', r"\[endpoints.itu_admission\] days names the column 'icu'"),
        ('images = "films/{film}.png"', 'images = "films/{id}.png"', "images names the column 'id'"),
        ('case_id = "film"\n', "", "must say which column is the case_id"),
        ('name = "small"', "", "'name' is missing"),
        ('csv = "cases.csv"', 'csv = "none.csv"', "cannot be read"),
        ("[columns]", "[colums]", "unknown entries colums"),
        ('sex = "sex"', 'gender = "sex"', "not gender"),
        ("[endpoints.died]", "[endpoints.Died]", "lower-case"),
        ('days = "itu_days"', 'when = "itu_days"', "may hold"),
        ('name = "small"', "name = small", "cannot be read as TOML"),
    ],
)
def test_a_wrong_toml_is_refused_with_the_entry_to_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = table_archive(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CohortError, match=message):
        open_cohort(f"table={path}")


@pytest.mark.parametrize("argument", ["table", "xnat=/tmp", "table=/nowhere.toml", "nccid=/nowhere"])
def test_what_is_no_cohort_is_refused(argument: str) -> None:
    with pytest.raises(CohortError):
        open_cohort(argument)


def test_the_hannover_example_reads_every_radiograph(shared_data: Path) -> None:
    cases = list(open_cohort("table=examples/hannover.toml").iter_cases())
    assert len(cases) == 243 and len({case.patient_id for case in cases}) == 71
    itu = {case.patient_id for case in cases if case.outcome.events["itu_admission"].state is State.YES}
    died = {case.patient_id for case in cases if case.outcome.events["died"].state is State.YES}
    assert (len(died), 0 < len(itu) < 71) == (5, True)
    case = next(case for case in cases if case.case_id == "c9280a30")
    assert case.outcome.events["itu_admission"] == Event(State.YES, -2)


# --- NCCID


def warehouse(root: Path) -> Path:
    """One positive and one control, a film each, as the warehouse lays them out."""
    write_patient(root, "Covid1", "1.2.1", "data_2020-05-01.json", POSITIVE, StudyDate="20200401")
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


def test_the_metadata_beside_a_file_spares_opening_it(tmp_path: Path) -> None:
    warehouse(tmp_path)
    metadata = tmp_path / "xray-metadata" / "Covid1" / "1.2" / "1.3"
    metadata.mkdir(parents=True)
    document = {"00080022": {"vr": "DA", "Value": ["20200329"]}, "00283010": None, "00080070": {"vr": "LO"}}
    (metadata / "1.2.1.json").write_text(json.dumps(document))
    assert next(iter(open_cohort(f"nccid={tmp_path}").iter_cases())).scan_date == date(2020, 3, 29)


def test_the_newest_clinical_file_is_read_and_a_damaged_one_passed_over(tmp_path: Path) -> None:
    warehouse(tmp_path)
    (tmp_path / "data/Covid1/data_2020-06-01.json").write_text(json.dumps(POSITIVE | {"Death": 1}))
    (tmp_path / "data/Covid1/data_2020-07-01.json").write_text("{broken")
    case = next(iter(open_cohort(f"nccid={tmp_path}").iter_cases()))
    assert case.outcome.events["died"].state is State.YES


def test_a_folder_without_modality_trees_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="no NCCID warehouse"):
        open_cohort(f"nccid={tmp_path}")


@pytest.mark.parametrize(
    ("value", "state"),
    [(0, State.NO), ("1es", State.YES), (1.0, State.YES), (2, State.NOT_RECORDED), (None, State.NOT_RECORDED)],
)
def test_three_states(value: Any, state: State) -> None:
    assert three_state(value) is state


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("03/04/2020", date(2020, 3, 4)),
        ("31/03/2020", date(2020, 3, 31)),
        ("[x] - 2020-03-20", date(2020, 3, 20)),
        (43909, date(2020, 3, 19)),
        ("31/31/2020", None),
        ("1/1/1901", None),
        (None, None),
    ],
)
def test_clinical_dates(value: Any, expected: date | None) -> None:
    assert clinical_date(value) == expected


@pytest.mark.parametrize(
    ("value", "expected"), [("[6] - 2020-05-19", 6), (" 67 ", 67), ("about 6", None), (None, None)]
)
def test_clinical_numbers(value: Any, expected: float | None) -> None:
    assert clinical_number(value) == expected
