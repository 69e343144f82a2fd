"""Any table, or several, with their TOML -> cases."""

import csv
import re
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from index.case import Case, Event, State
from index.cohort import CohortError, open_cohort
from index.cohorts import table_endpoints, table_fields, table_rows
from index.cohorts.table_description import COLUMNS, TOP
from tests.archives import change_cells, table_archive

ROOT = Path(__file__).parents[1]


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


@pytest.mark.parametrize("days", ["unknown", "<3", "nan", "1e300"])
def test_days_that_cannot_be_read_are_not_absent(tmp_path: Path, days: str) -> None:
    path = change_cells(table_archive(tmp_path), itu_days={0: days})
    path.write_text(path.read_text() + 'absent = "no"\n')
    first = next(iter(open_cohort(f"table={path}").iter_cases()))
    assert first.outcome.events["itu_admission"] == Event(State.NOT_RECORDED)


def test_not_a_number_is_nothing_and_infinity_stays(tmp_path: Path) -> None:
    path = change_cells(table_archive(tmp_path), age={0: "NaN", 1: "inf", 2: "-inf", 3: "x"})
    path.write_text(path.read_text() + '[clinical]\ncrp = "age"\n')
    values = [case.clinical["crp"] for case in open_cohort(f"table={path}").iter_cases()]
    assert values[:5] == [None, float("inf"), float("-inf"), "x", 42]


def test_views_and_sexes_are_known_in_their_usual_spellings(tmp_path: Path) -> None:
    views, sexes = ["pa", "Ap", "LL", "rl", "lat", "lateral", ""], ["f", "m", "Female", "MALE", "", "F", "M"]
    path = change_cells(table_archive(tmp_path), view=dict(enumerate(views)), sex=dict(enumerate(sexes)))
    cases = list(open_cohort(f"table={path}").iter_cases())[:7]
    assert [case.view for case in cases] == ["PA", "AP", "LATERAL", "LATERAL", "LATERAL", "LATERAL", None]
    assert [case.sex for case in cases] == ["F", "M", "F", "M", None, "F", "M"]


def test_an_unknown_view_or_sex_is_refused_until_the_toml_says_what_it_means(tmp_path: Path) -> None:
    path = change_cells(table_archive(tmp_path), view={0: "p.a.", 1: "oblique"}, sex={0: "w"})
    with pytest.raises(CohortError, match=r"view finds 'oblique', 'p\.a\.' in .*say in \[values\.view\]"):
        open_cohort(f"table={path}")
    path.write_text(path.read_text() + '[values.view]\n"p.a." = "PA"\noblique = ""\n')
    with pytest.raises(CohortError, match=r"sex finds 'w' in .*say in \[values\.sex\] what each means: F, M"):
        open_cohort(f"table={path}")
    path.write_text(path.read_text() + '[values.sex]\nw = "F"\n')
    first, second, *_ = open_cohort(f"table={path}").iter_cases()
    assert (first.view, first.sex, second.view) == ("PA", "F", None)


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
        ('name = "small"', "name = 5", "name is 5; expected a text"),
        ("{film}", "{film:03d}", "images names the column 'film:03d'"),
        ("{film}", "{film.x}", "images names the column 'film.x'"),
        ("{film}", "{film", "expected a path with a column in braces"),
        ("{film}", "{}", "expected a path with a column in braces"),
        ("{film}", "film", "expected a path with a column in braces"),
        ('view = "view"', 'view = ["view"]', r"\[columns\] view is \['view'\]; expected a text"),
        ('title = "death"', "title = 5", r"\[endpoints.died\] title is 5; expected a text"),
        ('title = "death"', "yes = 1", r"\[endpoints.died\] yes is 1; expected a list"),
        ('title = "death"', 'yes = "yes"', r"\[endpoints.died\] yes is 'yes'; expected a list"),
        ('title = "death"', 'yes = ["x"]\nno = ["X"]', "x cannot mean both yes and no"),
        ('title = "death"', 'absent = "maybe"', "absent is 'maybe'; expected one of yes, no, not_recorded"),
        ('days = "died_days"', "days = 5", r"\[endpoints.died\] days is 5; expected a text"),
        ("[endpoints.died]", "[endpoints.row]", "second column 'row', which every catalogue has"),
        ("[endpoints.died]", "[endpoints.itu_admission_days]", "second column 'itu_admission_days'"),
        ("[endpoints.died]", '[clinical]\nsite = "age"\n[endpoints.died]', r"\[clinical\] site would be a second"),
        ("[endpoints.died]", '[clinical]\ndied_days = "age"\n[endpoints.died]', r"\[clinical\] died_days would be"),
        ("[endpoints.died]", '[clinical]\nCRP = "age"\n[endpoints.died]', r"\[clinical\] CRP: use lower-case"),
        ("[endpoints.died]", '[values]\nview = "AP"\n[endpoints.died]', r"\[values.view\] is 'AP'; expected a table"),
        ("[endpoints.died]", "[values.view]\nAP = 1\n[endpoints.died]", r"\[values.view\] AP is 1; expected a text"),
        ("[endpoints.died]", '[values.view_]\nAP = "AP"\n[endpoints.died]', r"\[values\] knows .*; not view_"),
        ('name = "small"', 'name = "small"\nclinical = "x"', r"\[clinical\] is 'x'; expected a table"),
    ],
)
def test_a_wrong_toml_is_refused_with_the_entry_to_mend(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = table_archive(tmp_path)
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CohortError, match=message):
        open_cohort(f"table={path}")


def test_endpoints_that_are_no_table_are_refused(tmp_path: Path) -> None:
    path = table_archive(tmp_path)
    path.write_text("endpoints = 5\n" + path.read_text().partition("[endpoints")[0])
    with pytest.raises(CohortError, match=r"\[endpoints\] is 5; expected a table"):
        open_cohort(f"table={path}")


def test_the_hannover_example_reads_every_radiograph(shared_data: Path) -> None:
    cases = list(open_cohort("table=examples/hannover.toml").iter_cases())
    assert len(cases) == 243 and len({case.patient_id for case in cases}) == 71
    itu = {case.patient_id for case in cases if case.outcome.events["itu_admission"].state is State.YES}
    died = {case.patient_id for case in cases if case.outcome.events["died"].state is State.YES}
    assert (len(died), 0 < len(itu) < 71) == (5, True)
    case = next(case for case in cases if case.case_id == "c9280a30")
    assert case.outcome.events["itu_admission"] == Event(State.YES, -2)


# --- the documents' examples


def written_from_docs(folder: Path) -> Path:
    """docs/archives.md's blocks that are headed by a file's name, as those files."""
    text = (ROOT / "docs" / "archives.md").read_text()
    for name, content in re.findall(r"^```(?:csv|toml) (\S+)\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content)
    return folder


def read_cases(toml: Path) -> dict[str, Case]:
    return {case.case_id: case for case in open_cohort(f"table={toml}").iter_cases()}


def test_the_clinic_of_the_docs_reads_as_they_say(tmp_path: Path) -> None:
    cases = read_cases(written_from_docs(tmp_path) / "clinic" / "clinic.toml")
    not_recorded = Event(State.NOT_RECORDED)
    assert [case.outcome.events["died"] for case in cases.values()] == [
        Event(State.NO), Event(State.NO), Event(State.YES), not_recorded,
    ]  # fmt: skip
    assert [case.outcome.events["relapse"] for case in cases.values()] == [not_recorded] * 3 + [Event(State.YES, 212)]
    assert [case.view for case in cases.values()] == ["PA", "PA", "LATERAL", "AP"]
    assert cases["v003"].outcome.observed_days == 41 and cases["v003"].scan_date == date(2019, 5, 20)
    assert cases["v001"].clinical == {"crp_mg_l": 12, "smear": "++"}
    assert cases["v004"].clinical == {"crp_mg_l": None, "smear": "+", "clinical_flags": "died:stated-unknown"}
    assert cases["v001"].files == (str(tmp_path / "clinic" / "films" / "v001.dcm"),)


def test_the_heart_archive_of_the_docs_reads_as_they_say(tmp_path: Path) -> None:
    cases = read_cases(written_from_docs(tmp_path) / "heart" / "heart.toml")
    assert {name: case.outcome.events["died"] for name, case in cases.items()} == {
        "h1": Event(State.NO),
        "h2": Event(State.NO),
        "h3": Event(State.YES, 88),
        "h4": Event(State.NOT_RECORDED),
    }
    assert {name: case.outcome.events["readmitted"] for name, case in cases.items()} == {
        "h1": Event(State.YES, 87),
        "h2": Event(State.YES, -40),
        "h3": Event(State.NO),
        "h4": Event(State.NO),
    }
    assert [case.outcome.observed_days for case in cases.values()] == [575, 448, 88, 10]
    assert cases["h1"].clinical == {
        "nyha": 2,
        "crp_mg_l": 4,
        "creatinine_umol_l": 88,
        "troponin_ng_l": 12,
        "days_to_blood": -1,
        "clinical_flags": "crp_mg_l:censored-below",
    }
    assert cases["h3"].clinical == {
        "nyha": 4, "crp_mg_l": 25, "creatinine_umol_l": 132.63, "troponin_ng_l": None, "days_to_blood": 0,
    }  # fmt: skip
    assert cases["h4"].clinical == {
        "nyha": None,
        "crp_mg_l": 8,
        "creatinine_umol_l": 97.262,
        "troponin_ng_l": None,
        "days_to_blood": 0,
        "clinical_flags": "died:stated-unknown troponin_ng_l:unreadable",
    }
    assert (cases["h4"].sex, cases["h4"].site, cases["h4"].scan_date) == ("M", "Turin", date(2021, 3, 20))


def test_the_cancer_archive_of_the_docs_reads_as_they_say(tmp_path: Path) -> None:
    folder = written_from_docs(tmp_path) / "cancer"
    (folder / "ct" / "c1").mkdir(parents=True)
    for name in ("2.dcm", "1.dcm", "notes.txt"):
        (folder / "ct" / "c1" / name).touch()
    cases = read_cases(folder / "cancer.toml")
    assert cases["c1"].files == (str(folder / "ct/c1/1.dcm"), str(folder / "ct/c1/2.dcm"))
    assert [case.outcome.events["relapse"] for case in cases.values()] == [
        Event(State.YES, 140), Event(State.NO), Event(State.NOT_RECORDED),
    ]  # fmt: skip
    assert cases["c1"].outcome.events["died"] == Event(State.YES, 365) and cases["c1"].outcome.observed_days == 365
    assert [case.clinical for case in cases.values()] == [
        {"stage": 3, "days_to_surgery": 21}, {"stage": 2, "days_to_surgery": 14}, {"stage": 4, "days_to_surgery": None},
    ]  # fmt: skip
    assert cases["c2"].uids == {"1.2.826.2"}


def test_the_docs_list_the_flags_and_entries_of_tables() -> None:
    text = (ROOT / "docs" / "archives.md").read_text()
    listed = set(re.findall(r"`(?:\[[a-z]+\.NAME\])?([a-z_-]+)`", text))
    for names in (
        TOP,
        COLUMNS,
        table_rows.ENTRIES,
        table_endpoints.ENTRIES,
        table_fields.ENTRIES,
        ("no-but-dated", "other-unit", "equal-dates", "event-before-scan", "seen-after-death"),
    ):
        assert set(names) - {"tables", "columns", "values", "endpoints", "clinical"} <= listed
    assert all(f'`"{kind}"`' in text for kind in table_fields.KINDS)


# --- joined tables


TOML = """
name = "small"
csv = "images.csv"
images = "films/{film}.png"
[columns]
case_id = "film"
patient_id = "person"
scan_date = "taken"
site = "centre"
"""
IMAGES = "film,person,taken,centre\nf1,a,2020-01-10,North\nf2,b,2020-02-01,South\n"
PATIENTS = '[tables.patients]\ncsv = "patients.csv"\nkey = "id"\nfrom = "person"\n'


def archive(folder: Path, extra: str = "", top: str = "", images: str = IMAGES, **files: str) -> Path:
    """images.csv, further CSVs by name, and the TOML that describes them; its path."""
    for name, content in {"images": images, **files}.items():
        (folder / f"{name}.csv").write_text(content)
    path = folder / "small.toml"
    path.write_text(top + TOML + extra)
    return path


def test_images_and_rows_without_a_partner_are_counted(tmp_path: Path) -> None:
    extra = PATIENTS + '[endpoints.died]\nstate = "patients.dead"\n'
    toml = archive(tmp_path, extra, patients="id,dead\na,yes\nc,no\nd,no\n,no\n")
    cohort = open_cohort(f"table={toml}")
    for _ in range(2):
        states = [case.outcome.events["died"].state for case in cohort.iter_cases()]
        assert states == [State.YES, State.NOT_RECORDED]
        assert cohort.counts == {"images without a row in patients": 1, "keys of patients without an image": 2}


def test_of_several_rows_each_cells_newest_that_is_not_blank_counts(tmp_path: Path) -> None:
    rows = "id,seen,crp,smoker\na,2020-03-01,5,\na,2020-01-01,9,yes\na,2020-02-01,7,no\n"
    fields = '[clinical]\ncrp = "patients.crp"\nsmoker = "patients.smoker"\n'
    newest = read_cases(archive(tmp_path, PATIENTS + 'newest = "seen"\n' + fields, patients=rows))
    assert newest["f1"].clinical == {"crp": 5, "smoker": "no"}
    oldest = read_cases(archive(tmp_path, PATIENTS + 'oldest = "seen"\n' + fields, patients=rows))
    assert oldest["f1"].clinical == {"crp": 9, "smoker": "yes"}


def test_what_rows_of_the_same_date_fill_differently_is_not_used_and_flagged(tmp_path: Path) -> None:
    rows = (
        "id,seen,crp,dead,smoker,age,sex,wcc\n"
        "a,2020-03-01,5,no,,40,F,5.0\na,1 Mar 2020,7,yes,no,41,M,5\na,2020-01-01,9,yes,yes,39,M,6\n"
        "b,2020-03-01,5,no,yes,50,F,4\n"
    )
    extra = 'age_years = "patients.age"\nsex = "patients.sex"\n' + PATIENTS + 'newest = "seen"\n'
    extra += '[endpoints.died]\nstate = "patients.dead"\nabsent = "no"\n[clinical]\ncrp = "patients.crp"\n'
    extra += 'smoker = "patients.smoker"\nwcc = "patients.wcc"\nseen = "patients.seen"\n'
    first, second = read_cases(archive(tmp_path, extra, patients=rows)).values()
    assert first.clinical == {
        "crp": None, "smoker": "no", "wcc": 5, "seen": "2020-03-01",
        "clinical_flags": "age_years:equal-dates died:equal-dates sex:equal-dates crp:equal-dates",
    }  # fmt: skip
    assert first.outcome.events["died"] == Event(State.NOT_RECORDED)
    assert (first.age_years, first.sex) == (None, None)
    assert (second.clinical["crp"], flags_of(second), second.age_years) == (5, None, 50)
    oldest = read_cases(archive(tmp_path, extra.replace("newest", "oldest"), patients=rows))["f1"]
    assert (oldest.clinical["crp"], flags_of(oldest)) == (9, None)


def test_a_dash_hides_nothing_that_an_older_row_tells(tmp_path: Path) -> None:
    rows = "id,seen,crp,wcc\na,2020-03-01,-,?\na,2020-01-01,9,\n"
    extra = PATIENTS + 'newest = "seen"\n[clinical]\ncrp = "patients.crp"\n'
    extra += '[clinical.wcc]\ncolumn = "patients.wcc"\nkind = "number"\n'
    first = read_cases(archive(tmp_path, extra, patients=rows))["f1"]
    assert first.clinical == {"crp": 9, "wcc": None, "clinical_flags": "wcc:unreadable"}


def test_a_row_of_more_cells_than_the_header_is_refused_with_its_line(tmp_path: Path) -> None:
    images = 'film,person,taken,centre\n\nf1,a,2020-01-10,"North\nWing"\nf2,b,2020-02-01,South, Wing\n'
    with pytest.raises(CohortError, match=r"images.csv, line 5: 5 cells, but the header has 4; is a cell with ','"):
        read_cases(archive(tmp_path, images=images))
    assert (
        read_cases(archive(tmp_path, images=images.replace("South, Wing", '"South, Wing"')))["f2"].site == "South, Wing"
    )
    assert read_cases(archive(tmp_path, images="film,person,taken,centre\nf1,a\n"))["f1"].site is None


def test_a_table_joins_through_a_column_of_a_table_above_it(tmp_path: Path) -> None:
    extra = PATIENTS + '[tables.hospitals]\ncsv = "hospitals.csv"\nkey = "code"\nfrom = "patients.hospital"\n'
    extra += '[clinical]\nbeds = "hospitals.beds"\n'
    toml = archive(tmp_path, extra, patients="id,hospital\na,X\nb,Y\n", hospitals="code,beds\nX,100\nY,250\n")
    assert [case.clinical["beds"] for case in read_cases(toml).values()] == [100, 250]


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (PATIENTS, r"small.toml: \[tables.patients\]: lines 2 and 3 of .*patients.csv have the same id; say with newest"),
        (PATIENTS + 'newest = "seen"\n', r"\[tables.patients\]: line 3 of .*patients.csv has no seen that can be read"),
        (PATIENTS + 'newest = "when"\n', r"\[tables.patients\] names the column 'when', which .*patients.csv lacks"),
        (PATIENTS + "where = { event = 'x' }\n", r"\[tables.patients\] names the column 'event'"),
        (PATIENTS + 'newest = "seen"\noldest = "seen"\n', "may hold newest or oldest, not both"),
        (PATIENTS.replace('"person"', '"human"'), r"\[tables.patients\] from names the column 'human', which .*images"),
        (PATIENTS.replace('key = "id"\n', ""), r"\[tables.patients\] needs 'key'"),
        (PATIENTS.replace('csv = "patients.csv"\n', ""), r"\[tables.patients\] needs 'csv'"),
        (PATIENTS.replace("patients.csv", "none.csv"), r"\[tables.patients\] csv = .*none.csv' cannot be read"),
        (PATIENTS + "kind = 'left'\n", r"\[tables.patients\] may hold .*; not kind"),
        (PATIENTS + 'separator = ";;"\n', "separator is ';;'; expected one character"),
        ("[tables]\npatients = 5\n", r"\[tables.patients\] is 5; expected a table"),
        (PATIENTS + "where = { seen = '2020-01-01' }\n[clinical]\nx = 'patients.none'\n", "names the column 'patients.none'"),
    ],
)  # fmt: skip
def test_a_wrong_join_is_refused_with_the_entry_to_mend(tmp_path: Path, extra: str, message: str) -> None:
    toml = archive(tmp_path, extra, patients="id,seen\na,2020-01-01\na,soon\n")
    with pytest.raises(CohortError, match=message):
        open_cohort(f"table={toml}")


def test_a_table_none_of_whose_keys_is_that_of_an_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"\[tables.patients\]: no id of .*patients.csv is the person of any image"):
        read_cases(archive(tmp_path, PATIENTS, patients="id,dead\nA01,1\n"))
    assert read_cases(archive(tmp_path, PATIENTS + "where = { dead = '1' }\n", patients="id,dead\nc,1\na,0\n"))


def test_a_column_that_a_file_has_twice_is_refused_where_it_is_used(tmp_path: Path) -> None:
    images = "film,person,taken,centre,crp,crp\nf1,a,2020-01-10,North,1,2\n"
    assert read_cases(archive(tmp_path, images=images))
    with pytest.raises(CohortError, match=r"\[clinical\] dead names the column 'patients.dead', which .* has 2 times"):
        read_cases(
            archive(tmp_path, PATIENTS + '[clinical]\ndead = "patients.dead"\n', patients="id,dead,dead\na,1,0\n")
        )
    with pytest.raises(CohortError, match=r"\[clinical\] crp names the column 'crp', which .* has 2 times"):
        read_cases(archive(tmp_path, '[clinical]\ncrp = "crp"\n', images=images))


def test_a_parquet_table_reads_as_a_csv_with_the_same_cells(tmp_path: Path) -> None:
    pq.write_table(
        pa.table(
            {
                "film": [7, None, 9],
                "person": ["a", "b", "c"],
                "taken": [datetime(2020, 1, 10), None, datetime(2020, 1, 12)],
                "centre": pa.array(["North", "South", "North"]).dictionary_encode(),
                "dead": [True, None, False],
                "crp": [1.5, float("nan"), 3.0],
            }
        ),
        tmp_path / "images.parquet",
    )
    extra = '[endpoints.died]\nstate = "dead"\n[clinical]\ncrp = "crp"\n'
    toml = tmp_path / "small.toml"
    toml.write_text(TOML.replace("images.csv", "images.parquet").replace('"film"', '"person"') + extra)
    cases = read_cases(toml)
    assert [case.outcome.events["died"].state for case in cases.values()] == [State.YES, State.NOT_RECORDED, State.NO]
    assert [case.scan_date for case in cases.values()] == [date(2020, 1, 10), None, date(2020, 1, 12)]
    assert [case.clinical["crp"] for case in cases.values()] == [1.5, None, 3]
    assert [Path(case.files[0]).name for case in cases.values()] == ["7.png", ".png", "9.png"]
    assert [case.site for case in cases.values()] == ["North", "South", "North"]


def test_a_parquet_file_that_is_none_is_refused_and_lists_in_it_are_passed_over(tmp_path: Path) -> None:
    toml = archive(tmp_path)
    toml.write_text(toml.read_text().replace("images.csv", "images.parquet"))
    (tmp_path / "images.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(CohortError, match=r"csv = .*cannot be read"):
        open_cohort(f"table={toml}")
    columns = {name: ["x"] for name in ("film", "person", "taken", "centre")} | {"embedding": [[1.0, 2.0]]}
    pq.write_table(pa.table(columns), tmp_path / "images.parquet")
    assert list(read_cases(toml)) == ["x"]
    toml.write_text(toml.read_text() + '[clinical]\nx = "embedding"\n')
    with pytest.raises(CohortError, match=r"\[clinical\] x names the column 'embedding', which .* lacks"):
        open_cohort(f"table={toml}")


# --- dates


def dated(folder: Path, *cells: str, top: str = "", endpoint: str = 'date = "died"') -> list[Case]:
    """Cases of scans of 10 January 2020, whose cells of the column `died` are given."""
    images = "film,person,taken,centre,died\n"
    images += "".join(f'f{place:02},p{place},2020-01-10,North,"{cell}"\n' for place, cell in enumerate(cells))
    return list(read_cases(archive(folder, f"[endpoints.died]\n{endpoint}\n", top, images)).values())


def flags_of(case: Case) -> object:
    return case.clinical.get("clinical_flags")


@pytest.mark.parametrize(("order", "days"), [("day first", 31), ("month first", 262)])
def test_slashed_dates_are_read_in_the_stated_order_without_a_doubt(tmp_path: Path, order: str, days: int) -> None:
    (case,) = dated(tmp_path, "10/02/2020" if order == "day first" else "09/28/2020", top=f'date_order = "{order}"\n')
    assert (case.outcome.events["died"], flags_of(case)) == (Event(State.YES, days), None)
    (case,) = dated(tmp_path, "10/02/2020", top=f'date_order = "{order}"\n')
    assert case.outcome.events["died"].days == (31 if order == "day first" else 266)


def test_a_date_that_contradicts_the_order_puts_those_that_could_be_either_in_doubt(tmp_path: Path) -> None:
    cells = ("10/02/2020", "28/02/2020", "02/28/2020", "2020-02-10", "29/29/2020")
    cases = dated(tmp_path, *cells, top='date_order = "day first"\n')
    assert [case.outcome.events["died"].days for case in cases] == [None, 49, 49, 31, None]
    assert [flags_of(case) for case in cases] == [
        "died_days:ambiguous-order", None, "died_days:other-order", None, "died_days:unreadable",
    ]  # fmt: skip


def test_one_contrary_date_among_many_only_flags_those_that_could_be_either(tmp_path: Path) -> None:
    cells = ("10/02/2020", "02/28/2020", *["28/02/2020"] * 20)
    first, *_ = dated(tmp_path, *cells, top='date_order = "day first"\n')
    assert (first.outcome.events["died"].days, flags_of(first)) == (31, "died_days:ambiguous-order")


def test_an_order_that_most_dates_contradict_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="'day first', but 2 dates can only be month first, and 1 only day first"):
        dated(tmp_path, "02/28/2020", "03/17/2020", "28/02/2020", top='date_order = "day first"\n')


def test_slashed_dates_without_an_order_are_refused_where_days_are_counted_to_them(tmp_path: Path) -> None:
    with pytest.raises(CohortError, match=r"\[endpoints.died\] date finds dates such as '10/02/2020': say date_order"):
        dated(tmp_path, "10/02/2020")


def test_a_slashed_scan_date_without_an_order_is_read_only_where_it_has_one_reading(tmp_path: Path) -> None:
    images = IMAGES.replace("2020-01-10", "10/02/2020").replace("2020-02-01", "28/02/2020")
    first, second = read_cases(archive(tmp_path, images=images)).values()
    assert (first.scan_date, flags_of(first)) == (None, "scan_date:ambiguous-order")
    assert (second.scan_date, flags_of(second)) == (date(2020, 2, 28), None)


def test_dates_outside_the_limits_are_not_used(tmp_path: Path) -> None:
    cells = ("1899-12-31", "2150-01-01", "20200210", "43871", "10 Feb 2020", "nan", "1950-01-10")
    cases = dated(tmp_path, *cells)
    assert [case.outcome.events["died"] for case in cases] == [Event(State.NOT_RECORDED)] * 2 + [
        Event(State.YES, 31)
    ] * 3 + [Event(State.NOT_RECORDED), Event(State.YES, -25_567)]
    assert [flags_of(case) for case in cases] == [
        "died_days:out-of-range", "died_days:out-of-range", None, "died_days:excel-serial", None, None, None,
    ]  # fmt: skip


def test_an_archive_shifted_into_the_future_states_its_limits(tmp_path: Path) -> None:
    images = IMAGES.replace("2020-01-10", "2150-01-10")
    first, second = read_cases(archive(tmp_path, images=images)).values()
    assert (first.scan_date, flags_of(first)) == (None, "scan_date:out-of-range")
    top = "earliest_date = 2100-01-01\nlatest_date = 2219-12-31\n"
    first, second = read_cases(archive(tmp_path, top=top, images=images)).values()
    assert (first.scan_date, second.scan_date) == (date(2150, 1, 10), None)


def test_an_event_without_a_scan_date_has_happened_on_an_unknown_day(tmp_path: Path) -> None:
    images = "film,person,taken,centre,died\nf1,a,,North,2020-02-10\n"
    (case,) = read_cases(archive(tmp_path, '[endpoints.died]\ndate = "died"\n', images=images)).values()
    assert case.outcome.events["died"] == Event(State.YES)


def test_a_no_with_a_date_is_not_recorded_and_flagged(tmp_path: Path) -> None:
    images = "film,person,taken,centre,died,when\nf1,a,2020-01-10,North,no,2020-02-10\nf2,b,2020-01-10,North,no,?\n"
    extra = '[endpoints.died]\nstate = "died"\ndate = "when"\n'
    cohort = open_cohort(f"table={archive(tmp_path, extra, images=images)}")
    first, second = cohort.iter_cases()
    assert (first.outcome.events["died"], flags_of(first)) == (Event(State.NOT_RECORDED), "died:no-but-dated")
    assert (second.outcome.events["died"], flags_of(second)) == (Event(State.NO), "died_days:unreadable")
    assert cohort.counts == {"cells of died not used": 1, "cells of died_days not used": 1}


def test_a_no_with_a_date_that_cannot_be_used_is_not_recorded(tmp_path: Path) -> None:
    images = "film,person,taken,centre,died,when\n"
    cells = ("2020-02-31", "2090-01-01", "spring 2020", "unknown", "")
    images += "".join(f"f{place},p,2020-01-10,North,no,{cell}\n" for place, cell in enumerate(cells))
    extra = '[endpoints.died]\nstate = "died"\ndate = "when"\n'
    cases = list(read_cases(archive(tmp_path, extra, images=images)).values())
    states = [case.outcome.events["died"].state for case in cases]
    assert states == [State.NOT_RECORDED] * 3 + [State.NO] * 2
    assert flags_of(cases[0]) == "died:no-but-dated died_days:unreadable"
    extra = extra.replace('date = "when"', 'days = "when"')
    (case,) = read_cases(archive(tmp_path, extra, images=images.partition("f0")[0] + "f0,p,,North,no,<3\n")).values()
    assert case.outcome.events["died"] == Event(State.NOT_RECORDED)


def test_a_death_before_the_scan_keeps_its_days_and_is_flagged(tmp_path: Path) -> None:
    (case,) = dated(tmp_path, "2020-01-05", endpoint='date = "died"\nends_observation = true')
    assert (case.outcome.events["died"], flags_of(case)) == (Event(State.YES, -5), "died_days:event-before-scan")
    (case,) = dated(tmp_path, "-5", endpoint='days = "died"\nends_observation = true')
    assert (case.outcome.events["died"], flags_of(case)) == (Event(State.YES, -5), "died_days:event-before-scan")
    (case,) = dated(tmp_path, "2020-01-05")  # whatever else may well have happened before
    assert (case.outcome.events["died"], flags_of(case)) == (Event(State.YES, -5), None)
    (case,) = dated(tmp_path, "2020-01-10", endpoint='date = "died"\nends_observation = true')
    assert flags_of(case) is None


def test_who_was_seen_after_death_is_flagged_and_the_death_counts(tmp_path: Path) -> None:
    images = "film,person,taken,centre,died,seen\nf1,a,2020-01-10,North,2020-01-15,2020-02-01\n"
    images += "f2,b,2020-01-10,North,2020-01-15,2020-01-15\n"
    extra = 'observed_until = "seen"\n[endpoints.died]\ndate = "died"\nends_observation = true\n'
    first, second = read_cases(archive(tmp_path, extra, images=images)).values()
    assert (first.outcome.observed_days, flags_of(first)) == (5, "observed_until:seen-after-death")
    assert (second.outcome.observed_days, flags_of(second)) == (5, None)


def test_a_last_day_before_the_scan_says_nothing(tmp_path: Path) -> None:
    images = "film,person,taken,centre,seen\nf1,a,2020-01-10,North,2020-01-09\nf2,b,2020-01-10,North,2020-01-12\n"
    toml = archive(tmp_path, 'observed_until = "seen"\n', images=images)
    first, second = read_cases(toml).values()
    assert (first.outcome.observed_days, flags_of(first)) == (None, "observed_until:implausible-order")
    assert (second.outcome.observed_days, flags_of(second)) == (2, None)


def test_only_an_event_that_ends_it_shortens_what_was_observed(tmp_path: Path) -> None:
    images = "film,person,taken,centre,days,seen\nf1,a,2020-01-10,North,5,30\n"
    for ends, observed in (("true", 5), ("false", 30)):
        extra = f'observed_days = "seen"\n[endpoints.died]\ndays = "days"\nends_observation = {ends}\n'
        (case,) = read_cases(archive(tmp_path, extra, images=images)).values()
        assert case.outcome.observed_days == observed


# --- words, units, files


def test_three_states_are_understood_in_any_usual_spelling(tmp_path: Path) -> None:
    cells = ("Y", "TRUE", "1.0", "ja", "Positive", "N", "f", "0", "Nein", "absent", "unknown", "2", "maybe", "NA", "")
    cases = dated(tmp_path, *cells, endpoint='state = "died"\nabsent = "no"')
    assert [case.outcome.events["died"].state.value[:3] for case in cases] == (
        ["yes"] * 5 + ["no"] * 5 + ["not"] * 4 + ["no"]
    )
    assert [flags_of(case) for case in cases[10:]] == [
        "died:stated-unknown", "died:stated-unknown", "died:unreadable", None, None,
    ]  # fmt: skip


def test_an_answer_with_a_list_of_its_own_has_no_other_spelling(tmp_path: Path) -> None:
    cases = dated(tmp_path, "dead", "1", "n", "lost", endpoint='state = "died"\nyes = ["Dead"]\nunknown = ["lost"]')
    assert [case.outcome.events["died"].state for case in cases] == [
        State.YES, State.NOT_RECORDED, State.NO, State.NOT_RECORDED,
    ]  # fmt: skip
    assert [flags_of(case) for case in cases] == [None, "died:unreadable", None, None]


def field(folder: Path, entry: str, *cells: str, site: str = "North") -> list[tuple[object, object]]:
    """(value, flags) of the clinical field `x` for each cell, on scans of 10 January 2020."""
    images = "film,person,taken,centre,cell\n"
    images += "".join(f'f{place:02},p,2020-01-10,{site},"{cell}"\n' for place, cell in enumerate(cells))
    cases = read_cases(archive(folder, f'[clinical.x]\ncolumn = "cell"\n{entry}\n', images=images)).values()
    return [(case.clinical["x"], str(flags_of(case) or "").replace("x:", "")) for case in cases]


def test_a_cells_own_unit_goes_before_the_stated_one(tmp_path: Path) -> None:
    read = field(
        tmp_path, 'unit = "mg/dL"\nto = "mg/L"', "1.2", "12 mg/L", "12000 µg / l", "3 mmol/l", "<0.4", "high", ""
    )
    assert read == [
        (12, ""), (12, ""), (12, ""), (None, "other-unit"), (4, "censored-below"), (None, "unreadable"), (None, ""),
    ]  # fmt: skip
    assert field(tmp_path, 'unit = "pg/mL"', "12", "12 ng/mL", "12 pg/ml") == [(12, ""), (12000, ""), (12, "")]


def test_a_unit_that_nobody_knows_is_another_unit(tmp_path: Path) -> None:
    assert field(tmp_path, 'unit = "mg/L"', "5 mg/mmol", "5 mg/mmol (urine)", "5 bpm", "5 mg/L (repeat)") == [
        (None, "other-unit"), (None, "text-around other-unit"), (None, "other-unit"), (5, "text-around"),
    ]  # fmt: skip
    assert field(tmp_path, 'unit = "m"', "1.7 m", "170 cm", "1.7 m (told)") == [
        (1.7, ""),
        (1.7, ""),
        (1.7, "text-around"),
    ]
    assert field(tmp_path, 'unit = "°C"', "37.4", "37.4 C", "37.4 °C", "98 F") == [
        (37.4, ""), (37.4, ""), (37.4, ""), (None, "other-unit"),
    ]  # fmt: skip


@pytest.mark.parametrize("site", ["north  wing", "NORTH WING", " North Wing "])
def test_a_sites_unit_is_found_whatever_its_case_and_blanks(tmp_path: Path, site: str) -> None:
    entry = 'unit = "mg/L"\nunit_at = { "North Wing" = "mg/dL" }'
    assert field(tmp_path, entry, "2", site=site) == [(20, "")]


def test_a_factor_converts_the_stated_unit_alone(tmp_path: Path) -> None:
    entry = 'unit = "U/L"\nto = "ukat/L"\nfactor = 0.0167\nlow = 0\nhigh = 10'
    assert field(tmp_path, entry, "100", "100 U/L", "2 ukat/l", "100000", "-1", "3 mg/l") == [
        (1.67, ""), (1.67, ""), (2, ""), (None, "out-of-range"), (None, "out-of-range"), (None, "other-unit"),
    ]  # fmt: skip
    assert field(tmp_path, "factor = 10", "1.5", "1.5 mg/l") == [(15, ""), (None, "other-unit")]


def test_without_a_stated_unit_a_number_is_as_it_stands(tmp_path: Path) -> None:
    assert field(tmp_path, 'kind = "number"', "1,234", "4,5", "7 kPa") == [
        (1234, "thousand-separator"), (4.5, "decimal-comma"), (7, "unit-assumed"),
    ]  # fmt: skip


def test_shares_become_percent(tmp_path: Path) -> None:
    assert field(tmp_path, 'unit = "fraction"\nto = "%"', "0.35", "35 %") == [(35, ""), (35, "")]


def test_words_of_a_field_mean_what_the_toml_says(tmp_path: Path) -> None:
    entry = 'words = { Mild = 1, "very  severe" = 3, none = "" }'
    assert field(tmp_path, entry, "mild", "Very severe", "none", "2") == [
        (1, ""), (3, ""), (None, ""), (None, "unreadable"),
    ]  # fmt: skip
    assert field(tmp_path, f'kind = "number"\n{entry}', "mild", "2") == [(1, ""), (2, "")]
    assert field(tmp_path, 'kind = "yes_no"\nwords = { ex = "no" }', "ex", "ja", "0", "?") == [
        ("no", ""), ("yes", ""), ("no", ""), (None, "unreadable"),
    ]  # fmt: skip
    assert field(tmp_path, 'words = { ex = "former" }', "EX") == [("former", "")]


def test_days_to_a_date_are_negative_before_the_scan(tmp_path: Path) -> None:
    assert field(tmp_path, 'kind = "days_to"', "2020-01-05", "2020-01-12", "soon") == [
        (-5, ""), (2, ""), (None, "unreadable"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ('unit = "mg/dL"\nto = "mmol/L"', r"\[clinical.x\]: no factor is known from 'mg/dL' to 'mmol/L'; say factor"),
        ('unit = "mg/L"\nunit_at = { North = "mmol/L" }', "no factor is known from 'mmol/L' to 'mg/L'"),
        ('unit = "mg/L"\nunit_at = { West = "mg/dL" }', r"\[clinical.x\] unit_at names the site 'West', which no row"),
        ('unit_at = { North = "mg/dL" }', "needs unit beside unit_at"),
        ('unit = "mg/L"\nunit_at = { North = "mg/dL", north = "g/L" }', "unit_at names a site twice: 'North', 'north'"),
        ('to = "mg/L"', r"\[clinical.x\] needs unit"),
        ("factor = 0", "factor is 0"),
        ('factor = "10"', r"\[clinical.x\] factor is '10'; expected a number"),
        ("low = 5\nhigh = 1", "low is 5, which is more than high, 1"),
        ('kind = "yes_no"\nunit = "g/L"', "unit belongs to kind 'number', not 'yes_no'"),
        ('kind = "numeric"', r"\[clinical.x\] kind is 'numeric'; expected one of number, yes_no"),
        ('kind = "words"', "kind 'words' needs words"),
        ("words = { a = true }", r"\[clinical.x\] words a is True; expected a text or a number"),
        ('kind = "number"\nwords = { a = "b" }', "words a is 'b'; expected a number"),
        ('kind = "yes_no"\nwords = { a = 1 }', 'expected "yes", "no", or ""'),
        ("colour = 1", r"\[clinical.x\] may hold .*; not colour"),
    ],
)
def test_a_wrong_field_is_refused_with_the_entry_to_mend(tmp_path: Path, entry: str, message: str) -> None:
    with pytest.raises(CohortError, match=message):
        field(tmp_path, entry, "1")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name =", 'date_order = "US"\nname =', "date_order is 'US'; expected one of day first, month first"),
        ("name =", 'latest_date = "2219-01-01"\nname =', "latest_date is '2219-01-01'; expected a date without quotes"),
        ("name =", "latest_date = 1800-01-01\nname =", "earliest_date is 1900-01-01, after latest_date, 1800-01-01"),
        ('scan_date = "taken"\n', "", r"\[endpoints.died\] date is a date: \[columns\] must say .* scan_date"),
        ('\ndate = "taken"', '\ndate = "taken"\ndays = "taken"', "may hold days or date, not both"),
        ('\ndate = "taken"', '\ndate = "taken"\nends_observation = 1', "ends_observation is 1; expected true or false"),
        ('\ndate = "taken"', '\ndate = "taken"\nno = ["x"]\nunknown = ["X"]', "x cannot mean both no and unknown"),
        ("[endpoints.died]", "[endpoints.clinical_flags]", "second column 'clinical_flags', which holds what was"),
        ('"films/{film}.png"', '["films/{film}.png", "x"]', "images is 'x'; expected a path with a column"),
        ('"films/{film}.png"', '"s3://b/{film}/*.dcm"', "match files of local folders only"),
        ('"films/{film}.png"', "[]", r"images is \[\]; expected a text"),
    ],
)
def test_a_wrong_entry_is_refused_by_name(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = archive(tmp_path, '[endpoints.died]\ndate = "taken"\n')
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(CohortError, match=message):
        open_cohort(f"table={path}")


def test_a_row_may_name_several_files_or_urls(tmp_path: Path) -> None:
    images = "film,person,taken,centre,second\nf1,a,2020-01-10,North,g1\nf[2],b,2020-01-10,North,\n"
    toml = archive(tmp_path, images=images)
    text = toml.read_text()
    toml.write_text(text.replace('"films/{film}.png"', '["{film}.png", "{second}.png"]'))
    first, second = read_cases(toml).values()
    assert first.files == (str(tmp_path / "f1.png"), str(tmp_path / "g1.png"))
    assert second.files == (str(tmp_path / "f[2].png"),)
    toml.write_text(text.replace('"films/{film}.png"', '"s3://bucket/{film}.png"'))
    assert next(iter(read_cases(toml).values())).files == ("s3://bucket/f1.png",)


def test_a_wildcard_is_one_in_the_toml_alone(tmp_path: Path) -> None:
    toml = archive(tmp_path, images="film,person,taken,centre\nf*,a,2020-01-10,North\nf1,b,2020-01-10,North\n")
    toml.write_text(toml.read_text().replace('"films/{film}.png"', '"a[b]/{film}-*.png"'))
    (tmp_path / "a[b]").mkdir()
    for name in ("f*-1.png", "f1-1.png", "f1-0.png"):
        (tmp_path / "a[b]" / name).touch()
    first, second = read_cases(toml).values()
    assert [Path(file).name for file in first.files] == ["f*-1.png"]
    assert [Path(file).name for file in second.files] == ["f1-0.png", "f1-1.png"]


def test_files_that_match_no_wildcard_are_reported_as_missing_when_they_are_read(tmp_path: Path) -> None:
    toml = archive(tmp_path)
    toml.write_text(toml.read_text().replace('"films/{film}.png"', '"films/{film}-*.png"'))
    assert next(iter(read_cases(toml).values())).files == (str(tmp_path / "films" / "f1-*.png"),)


@pytest.mark.parametrize(
    ("cell", "years", "flags"),
    [
        ("34.5", 34.5, None),
        ("067Y", 67, None),
        ("018M", 1, None),
        ("20 days", 0, "unit-converted"),
        ("240 months", 20, "unit-converted"),
        ("-3", None, "out-of-range"),
        ("120", 120, None),
        ("150", None, "out-of-range"),
        ("inf", None, "unreadable"),
        ("old", None, "unreadable"),
    ],
)
def test_ages_are_numbers_or_dicom_age_strings(
    tmp_path: Path, cell: str, years: float | None, flags: str | None
) -> None:
    images = f"film,person,taken,centre,age\nf1,a,2020-01-10,North,{cell}\n"
    (case,) = read_cases(archive(tmp_path, 'age_years = "age"\n', images=images)).values()
    assert (case.age_years, flags_of(case)) == (years, flags and f"age_years:{flags}")


def test_tables_lie_in_local_folders() -> None:
    with pytest.raises(CohortError, match="tables are read from local folders; its images may be URLs"):
        open_cohort("table=s3://bucket/cohort.toml")


DIRT = st.text(max_size=12) | st.sampled_from(
    ["<4", "1e999", "10/02/2020", "2020-02-31", "[67] - 2020-06-06", "43909", "٣", "yes - no", "5 mg/dL", "1,2,3", "\0", "../x", "*"]
)  # fmt: skip
EVERYTHING = """
age_years = "cell"
observed_days = "cell"
observed_until = "cell"
site = "cell"
[endpoints.a]
state = "cell"
date = "cell"
[endpoints.b]
days = "cell"
ends_observation = true
[clinical]
as_is = "cell"
[clinical.number]
column = "cell"
unit = "mg/L"
to = "g/L"
[clinical.state]
column = "cell"
kind = "yes_no"
[clinical.days]
column = "cell"
kind = "days_to"
[clinical.word]
column = "cell"
words = { a = 1 }
"""


@given(cells=st.lists(DIRT, min_size=1, max_size=5))
def test_no_cell_stops_the_reading_or_lies_in_the_future(cells: list[str]) -> None:
    with TemporaryDirectory() as folder:
        rows = [[f"f{place}{cell}", "p", "2020-01-10", cell] for place, cell in enumerate(cells)]
        with Path(folder, "images.csv").open("w", newline="", encoding="utf-8", errors="replace") as lines:
            csv.writer(lines).writerows([["film", "person", "taken", "cell"], *rows])
        toml = Path(folder, "small.toml")
        toml.write_text('date_order = "day first"\n' + TOML.replace('site = "centre"\n', "") + EVERYTHING)
        cases = list(open_cohort(f"table={toml}").iter_cases())
    assert len(cases) == len(cells)
    latest = (date.today() - date(2020, 1, 10)).days
    for case in cases:
        days = case.clinical["days"]
        assert days is None or (isinstance(days, float) and days <= latest)
        assert (case.outcome.events["a"].days or 0) <= latest
