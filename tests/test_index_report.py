"""The data-quality report: counts worked out by hand, a page that is safe to open, and the command as people use it."""

import dataclasses
import io
import re
from collections.abc import Sequence
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner, Result

from index.__main__ import main as index_main
from index.case import Case, Event, Outcome, Rejected, State
from index.cohorts.cleaned import FLAGS
from index.reporting.clinical_flags import CONTRADICTIONS, Gravity, clinical_flags, gravity_of
from index.reporting.completeness import Completeness, completeness
from index.reporting.distributions import (
    AgeBand,
    CentreYear,
    EndpointCount,
    Month,
    ages,
    endpoint_counts,
    months,
    years,
)
from index.reporting.drawing import Column, column_chart
from index.reporting.heat_map import heat_maps
from index.reporting.markup import tag
from index.reporting.material import Material, RejectedScan, ReportedScan, Seen
from index.reporting.page import render
from index.reporting.pixels import DuplicateCount, RejectedCount, duplicate_counts, duplicates, rejected_counts
from index.reporting.tables import ROWS, make_tables, parquet_files
from index.reporting.words import percent, where
from tests.archives import change_cells, table_archive
from tests.conftest import run_build

VOID = {"meta", "line", "rect"}


def scan(
    name: str, person: str, centre: str | None = "North", *, seen: Seen | None = None, **changed: Any
) -> ReportedScan:
    outcome = changed.pop("outcome", Outcome({}))
    case = Case(name, person, "clinic", (f"/films/{name}.dcm",), outcome, site=centre, **changed)
    return ReportedScan.of(case, seen)


def material(scans: Sequence[ReportedScan], **changed: Any) -> Material:
    entries: dict[str, Any] = {
        "cohorts": {"clinic": "/data/clinic"},
        "endpoints": ("died",),
        "scans": scans,
        "rejected": (),
        "counts": {},
        "pixels": "Every scan was read for this report.",
        "pixels_read": True,
        "code_version": "1.2.3",
        "created": datetime(2026, 11, 24, 12, 30, tzinfo=UTC),
    }
    return Material(**(entries | changed))


def page_of(scans: Sequence[ReportedScan], **changed: Any) -> str:
    made = material(scans, **changed)
    return render(made, make_tables(made))


def row_of(rows: Sequence[Completeness], field: str, centre: str | None = None) -> tuple[int, ...]:
    """(total, recorded, stated unknown, not used, blank), of all centres where none is named."""
    (row,) = (
        row for row in rows if row.field == field and row.centre == centre and row.all_centres is (centre is None)
    )
    assert row.recorded + row.stated_unknown + row.not_used + row.blank == row.total
    return row.total, row.recorded, row.stated_unknown, row.not_used, row.blank


def test_recorded_unknown_unusable_and_blank_are_told_apart() -> None:
    scans = [
        scan("a", "1", clinical={"crp": 12.0}),
        scan("b", "2", clinical={"clinical_flags": "crp:stated-unknown"}),
        scan("c", "3", clinical={"clinical_flags": "age_years:excel-serial crp:unreadable"}),
        scan("d", "4", clinical={"crp": 3.0, "clinical_flags": "crp:censored-below"}),
        scan("e", "5", "South", clinical={"crp": ""}),
    ]
    rows = completeness("clinic", scans, ())
    assert row_of(rows, "crp") == (5, 2, 1, 1, 1)
    assert row_of(rows, "crp", "North") == (4, 2, 1, 1, 0)
    assert row_of(rows, "crp", "South") == (1, 0, 0, 0, 1)
    assert "clinical_flags" not in {row.field for row in rows}


def test_records_are_counted_by_patient_and_images_by_scan() -> None:
    scans = [
        scan("a", "1", scan_date=date(2020, 3, 1)),
        scan("b", "1", sex="F"),
        scan("c", "1", "South"),
        scan("d", "2", "South", sex="M", scan_date=date(2020, 3, 1)),
    ]
    rows = completeness("clinic", scans, ())
    assert row_of(rows, "scan_date") == (4, 2, 0, 0, 2)
    assert row_of(rows, "sex") == (2, 2, 0, 0, 0)
    assert row_of(rows, "sex", "South") == (2, 1, 0, 0, 1)  # patient 1 was in both; the South does not know the sex


def test_a_view_is_missed_on_films_only() -> None:
    scans = [scan("a", "1", modality="DX", view="PA"), scan("b", "1", modality="CR"), scan("c", "1", modality="CT")]
    assert row_of(completeness("clinic", scans, ()), "view") == (2, 1, 0, 0, 1)


def test_an_outcome_is_recorded_by_yes_and_by_no() -> None:
    def seen(name: str, state: State | None, flags: str = "") -> ReportedScan:
        outcome = Outcome({"died": Event(state)} if state else {})
        return scan(name, name, outcome=outcome, clinical={"clinical_flags": flags})

    scans = [
        seen("a", State.YES),
        seen("b", State.NO),
        seen("c", State.NOT_RECORDED),
        seen("d", State.NOT_RECORDED, "death:stated-unknown"),
        seen("e", None),
    ]
    assert row_of(completeness("clinic", scans, ("died", "relapse")), "died") == (5, 2, 1, 0, 2)


def test_scans_without_a_centre_are_a_centre_of_their_own() -> None:
    rows = completeness("clinic", [scan("a", "1", None, sex="F"), scan("b", "2")], ())
    sexes = [(row.all_centres, row.centre, row.recorded) for row in rows if row.field == "sex"]
    assert sexes == [(True, None, 1), (False, "North", 0), (False, None, 1)]


def test_doubts_are_counted_by_field_and_centre() -> None:
    scans = [
        scan("a", "1", clinical={"clinical_flags": "sex:sex-not-of-scan crp:out-of-range"}),
        scan("b", "1", clinical={"clinical_flags": "sex:sex-not-of-scan"}),
        scan("c", "2", "South", clinical={"clinical_flags": "sex:sex-not-of-scan nonsense"}),
    ]
    found = {(row.field, row.flag, row.centre): (row.patients, row.scans) for row in clinical_flags("clinic", scans)}
    assert found == {
        ("sex", "sex-not-of-scan", "North"): (1, 2),
        ("sex", "sex-not-of-scan", "South"): (1, 1),
        ("crp", "out-of-range", "North"): (1, 1),
    }
    assert {row.meaning for row in clinical_flags("clinic", scans)} == {FLAGS["sex-not-of-scan"], FLAGS["out-of-range"]}


def test_contradictions_and_losses_stand_before_readings() -> None:
    assert set(FLAGS) >= CONTRADICTIONS
    assert gravity_of("sex-not-of-scan") is Gravity.CONTRADICTION
    assert gravity_of("unreadable") is Gravity.NOT_USED
    assert gravity_of("decimal-comma") is gravity_of("a-flag-of-another-cohort") is Gravity.READING


def test_the_same_pixels_are_told_within_and_across_patients() -> None:
    scans = [
        scan("a", "1", seen=Seen(pixel_hash="x")),
        scan("b", "1", seen=Seen(pixel_hash="x")),
        scan("c", "1", seen=Seen(pixel_hash="y")),
        scan("d", "2", "South", seen=Seen(pixel_hash="y")),
        scan("e", "3", seen=Seen(pixel_hash="y")),
        scan("f", "3", seen=Seen(pixel_hash="z")),
        scan("g", "4", seen=Seen()),
        scan("h", "5", seen=Seen()),
    ]
    found = duplicates(scans)
    assert [(row.group, row.across_patients, row.case_id) for row in found] == [
        (1, False, "a"), (1, False, "b"), (2, True, "c"), (2, True, "d"), (2, True, "e"),
    ]  # fmt: skip
    assert duplicate_counts(found) == [DuplicateCount(False, 1, 2, 1, 1), DuplicateCount(True, 1, 3, 3, 2)]


def test_a_pseudonym_is_one_person_within_its_cohort_only() -> None:
    one = scan("a", "1", seen=Seen(pixel_hash="x"))
    other = ReportedScan.of(Case("b", "1", "elsewhere", ("b.dcm",), Outcome({})), Seen(pixel_hash="x"))
    assert duplicate_counts(duplicates([one, other]))[1].patients == 2


def test_rejections_are_counted_by_reason_and_centre() -> None:
    entry = Rejected("a", "/films/a.dcm", "too-short", "cut")
    found = rejected_counts([RejectedScan(entry, "clinic", "North")] * 2 + [RejectedScan(entry, "clinic", None)])
    assert found == [RejectedCount("clinic", "North", "too-short", 2), RejectedCount("clinic", None, "too-short", 1)]


def test_the_scan_completes_what_the_record_does_not_know() -> None:
    seen = Seen({"sex": "M", "view": "AP", "age_years": 70})
    completed = ReportedScan.of(scan("a", "1", sex="F").case, seen).case
    assert (completed.sex, completed.view, completed.age_years, completed.modality) == ("F", "AP", 70, None)


def test_scans_and_patients_by_month_and_by_year_and_centre() -> None:
    scans = [
        scan("a", "1", scan_date=date(2020, 3, 1), modality="DX"),
        scan("b", "1", scan_date=date(2020, 3, 31), modality="DX"),
        scan("c", "2", scan_date=date(2021, 3, 1), modality="CT"),
        scan("d", "2", "South"),
    ]
    assert months("clinic", scans) == [
        Month("clinic", "CT", 2021, 3, 1),
        Month("clinic", "DX", 2020, 3, 2),
        Month("clinic", None, None, None, 1),
    ]
    assert years("clinic", scans) == [
        CentreYear("clinic", "North", 2020, 2, 1),
        CentreYear("clinic", "North", 2021, 1, 1),
        CentreYear("clinic", "South", None, 1, 1),
    ]


def test_a_patients_age_is_that_of_the_first_scan_that_tells_it() -> None:
    scans = [
        scan("a", "1", age_years=65.0),
        scan("b", "1", age_years=64.9, sex="F"),
        scan("c", "2"),
        scan("d", "3", age_years=0.0, sex="M"),
    ]
    assert ages("clinic", scans) == [
        AgeBand("clinic", "F", 60, 65, 1),
        AgeBand("clinic", "M", 0, 5, 1),
        AgeBand("clinic", None, None, None, 1),
    ]


def test_of_a_patients_scans_the_one_that_knows_the_outcome_counts() -> None:
    def died(name: str, person: str, event: Event) -> ReportedScan:
        return scan(name, person, outcome=Outcome({"died": event}))

    scans = [
        died("a", "1", Event(State.YES)),
        died("b", "1", Event(State.YES, 3)),
        died("c", "1", Event(State.NOT_RECORDED)),
        died("d", "2", Event(State.NO)),
        died("e", "3", Event(State.NOT_RECORDED)),
    ]
    assert endpoint_counts("clinic", scans, ("died", "relapse")) == [
        EndpointCount("clinic", "North", "died", 3, yes=1, no=1, not_recorded=1, yes_dated=1)
    ]


def test_some_is_never_said_to_be_none_nor_nearly_all_to_be_all() -> None:
    said = [percent(*pair) for pair in ((0, 9), (1, 1000), (1, 3), (999, 1000), (9, 9), (0, 0))]
    assert said == ["0 %", "<1 %", "33 %", ">99 %", "100 %", "–"]
    assert where([("A", 1), ("B", 4), (None, 2), ("C", 1)]) == "B 4, not recorded 2, A 1 and 1 more centre"


def test_columns_of_a_chart_are_as_high_as_their_counts() -> None:
    svg = column_chart([Column("2020", (4, 2)), Column("2021", (0, 8))], legend=["DX", "CT"], title="Scans")
    heights = [float(height) for height in re.findall(r'<rect x=[^>]* height="([\d.]+)" class="part', svg)]
    assert len(heights) == 3  # an empty part is not drawn
    assert [height / heights[2] for height in heights] == pytest.approx([0.5, 0.25, 1], abs=0.01)
    assert "2021: 8 CT" in svg


def test_months_without_scans_are_drawn_as_gaps_and_long_times_by_year() -> None:
    first = scan("a", "1", scan_date=date(2019, 11, 2))
    page = page_of([first, scan("b", "1", scan_date=date(2020, 2, 2))])
    assert all(f">{label}</text>" in page for label in ("2019-11", "2019-12", "2020-01", "2020-02"))
    page = page_of([first, scan("b", "1", scan_date=date(1999, 2, 2))])
    assert "Scans by year" in page and ">1999</text>" in page


def test_many_centres_are_laid_in_several_tables_that_a_page_can_hold() -> None:
    scans = [scan(f"{number}", f"{number}", f"centre {number:02}", sex="F") for number in range(30)]
    rows = [row for row in completeness("clinic", scans, ()) if row.field == "sex"]
    drawn = heat_maps(rows)
    assert drawn.count("<table") == 3
    assert [table.count('scope="col"') for table in drawn.split("</table>")[:3]] == [12, 12, 12]  # a blank, all, ten
    assert all(drawn.count(f"sex, centre {number:02}:") == 1 for number in range(30))
    assert drawn.count("sex, all centres:") == 3


class Checked(HTMLParser):
    """Reads a page strictly: elements closed in order; what it links to, and its text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: set[str] = set()
        self.links: list[str] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text += data + " "


HOSTILE = "<script>alert(1)</script>\"'&<b>"


def test_everything_from_the_archive_is_escaped() -> None:
    hostile = scan(
        "a", "1", HOSTILE, modality=HOSTILE, view=HOSTILE, manufacturer=HOSTILE, scan_date=date(2020, 1, 1),
        sex=HOSTILE, age_years=50.0, outcome=Outcome({HOSTILE: Event(State.YES)}),
        clinical={HOSTILE: 1.0, "clinical_flags": "<i>:<u> <i>:unreadable"},
        seen=Seen(flags=(HOSTILE,), pixel_hash="x"),
    )  # fmt: skip
    page = page_of(
        [hostile],
        cohorts={"clinic": HOSTILE},
        endpoints=(HOSTILE,),
        counts={HOSTILE: 2},
        rejected=[RejectedScan(Rejected("a", "f", HOSTILE, "m"), "clinic", HOSTILE)],
        pixels=HOSTILE,
        code_version=HOSTILE,
    )
    checked = Checked(page)
    assert not checked.names & {"script", "i", "u"}
    assert checked.text.count("<script>alert(1)</script>\"'&<b>") >= 10
    assert "<script" not in page


def test_the_page_asks_nothing_of_the_network_and_needs_no_script() -> None:
    page = page_of([scan("a", "1", scan_date=date(2020, 1, 1), age_years=50.0, seen=Seen(flags=("no-window",)))])
    checked = Checked(page)
    assert checked.links and all(link.startswith("#") for link in checked.links)
    assert not checked.names & {"script", "link", "img", "iframe", "object", "form", "base"}
    assert "http:" not in page and "https:" not in page and "url(" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_only_the_table_of_duplicates_holds_identifiers() -> None:
    scans = [
        scan(f"case-{number}", f"covid-{number // 2}", seen=Seen({"sex": "F"}, ("no-window",), f"{number // 3}"))
        for number in range(12)
    ]
    made = material(
        scans, rejected=[RejectedScan(Rejected("case-99", "/x/covid-9/case-99.dcm", "gone", "covid-9"), None, None)]
    )
    tables = make_tables(made)
    secrets = ("case-", "covid-")
    assert not any(secret in render(made, tables) for secret in secrets)
    holding = {
        name
        for name, content in parquet_files(tables).items()
        if any(secret in str(pq.read_table(io.BytesIO(content)).to_pydict()) for secret in secrets)
    }
    assert holding == {"duplicates.parquet"}


def test_an_empty_table_still_has_its_columns() -> None:
    files = parquet_files(make_tables(material([scan("a", "1")])))
    table = pq.read_table(io.BytesIO(files["rejected.parquet"]))
    assert (table.num_rows, table.schema.names) == (0, ["cohort", "centre", "reason", "scans"])
    assert [str(kind) for kind in table.schema.types] == ["string", "string", "string", "int64"]


def test_what_the_cohorts_counted_and_how_it_was_read_is_said() -> None:
    page = page_of(
        [scan("a", "1", scan_date=date(2020, 1, 1))], counts={"patients with images but no clinical file": 1234}
    )
    text = Checked(page).text
    for said in ("patients with images but no clinical file 1,234", "2026-11-24 at 12:30 UTC", "version 1.2.3",
                 "/data/clinic", "2020-01-01", "do not publish it"):  # fmt: skip
        assert said in text


def test_several_cohorts_are_reported_apart() -> None:
    other = ReportedScan.of(Case("z", "9", "abroad", ("z.png",), Outcome({}), clinical={"smear": "+"}), None)
    made = material([scan("a", "1", clinical={"crp": 1.0}), other], cohorts={"clinic": "/c", "abroad": "/a"})
    tables = make_tables(made)
    assert {(row.cohort, row.field) for row in tables.completeness if row.field in ("crp", "smear")} == {
        ("clinic", "crp"), ("abroad", "smear"),
    }  # fmt: skip
    assert Checked(render(made, tables)).text.count("Cohort abroad") == 6


def test_text_that_is_no_markup_is_escaped_wherever_it_stands() -> None:
    assert tag("td", "<", tag("b", "&"), title='"') == '<td title="&quot;">&lt;<b>&amp;</b></td>'


def run_report(*arguments: object) -> Result:
    return CliRunner().invoke(index_main, ["report", "--workers", "1", *map(str, arguments)], catch_exceptions=False)


def numbers(out: Path) -> dict[str, Any]:
    return {path.name: pq.read_table(path).to_pylist() for path in sorted(out.glob("*.parquet"))}


def assert_refused(result: Result, code: int, *words: str) -> None:
    assert result.exit_code == code, result.output
    assert len(result.stderr.strip().splitlines()) == 1, result.stderr
    assert all(word in result.stderr for word in words), result.stderr


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 films of 12 patients: one broken, one sent twice, one sent as another patient's too. Shared: do not change it."""
    folder = tmp_path_factory.mktemp("reported") / "archive"
    toml = table_archive(folder)
    films = sorted((folder / "films").glob("*.png"))
    films[0].write_text("not a picture")
    films[3].write_bytes(films[2].read_bytes())  # of one patient
    films[6].write_bytes(films[4].read_bytes())  # of two
    return change_cells(toml, view={5: "", 7: ""})


@pytest.fixture(scope="module")
def index(archive: Path) -> Path:
    folder = archive.parents[1] / "index"
    assert run_build("--cohort", f"table={archive}", "--index", folder).exit_code == 0
    return folder


def test_a_report_is_one_page_and_its_numbers(archive: Path, tmp_path: Path) -> None:
    result = run_report("--cohort", f"table={archive}", "--out", tmp_path / "new" / "out")
    assert result.exit_code == 0, result.output
    assert "report.html" in result.stderr and result.stdout == ""
    found = numbers(tmp_path / "new" / "out")
    (size,) = found["cohorts.parquet"]
    assert (size["scans"], size["patients"], size["centres"]) == (24, 12, 3)
    assert (size["pixels_read"], size["rejected"]) == (23, 1)
    assert found["rejected.parquet"] == [
        {"cohort": "small", "centre": "centre 0", "reason": "not-an-image", "scans": 1}
    ]
    counted = {row["across_patients"]: (row["scans"], row["patients"]) for row in found["duplicate_counts.parquet"]}
    assert counted == {False: (2, 1), True: (2, 2)}
    (views,) = (row for row in found["completeness.parquet"] if row["field"] == "view" and row["all_centres"])
    assert (views["total"], views["recorded"]) == (24, 22)
    text = Checked((tmp_path / "new" / "out" / "report.html").read_text()).text
    assert "not-an-image" in text and "92 %" in text  # 22 of 24 views


def test_an_index_tells_the_same_as_reading_every_scan(archive: Path, index: Path, tmp_path: Path) -> None:
    assert run_report("--cohort", f"table={archive}", "--out", tmp_path / "read").exit_code == 0
    assert run_report("--cohort", f"table={archive}", "--index", index, "--out", tmp_path / "asked").exit_code == 0
    assert numbers(tmp_path / "read") == numbers(tmp_path / "asked")


def test_an_index_that_is_behind_its_archive_is_said_to_be(archive: Path, index: Path, tmp_path: Path) -> None:
    table = archive.with_name("cases.csv").read_text().splitlines()
    newer = tmp_path / "archive"
    newer.mkdir()
    (newer / "cohort.toml").write_text(archive.read_text())
    (newer / "cases.csv").write_text("\n".join([*table[:-2], *(table[-1].replace("film023", "film99"),)]) + "\n")
    assert run_report("--cohort", f"table={newer / 'cohort.toml'}", "--index", index, "--out", tmp_path).exit_code == 0
    text = Checked((tmp_path / "report.html").read_text()).text
    # of 23 scans film000 was rejected and film99 is new; film022 and film023 are gone
    assert "21 of these scans are in it, 1 came later or were left out, and 2 of its scans are not among these" in text


def test_without_pixels_no_scan_is_opened(archive: Path, tmp_path: Path) -> None:
    lone = tmp_path / "archive"
    lone.mkdir()
    for name in ("cohort.toml", "cases.csv"):
        (lone / name).write_text((archive.parent / name).read_text())
    result = run_report("--cohort", f"table={lone / 'cohort.toml'}", "--no-pixels", "--out", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert numbers(tmp_path / "out")["cohorts.parquet"][0]["pixels_read"] == 0
    text = Checked((tmp_path / "out" / "report.html").read_text()).text
    assert "No scan was read (--no-pixels)" in text and "The pixels were not read." in text


def test_who_is_excluded_is_counted_nowhere(archive: Path, index: Path, tmp_path: Path) -> None:
    (tmp_path / "list").write_text("p01  # withdrawn\nfilm010\n")
    arguments = ("--cohort", f"table={archive}", "--exclude", tmp_path / "list")
    assert run_report(*arguments, "--no-pixels", "--out", tmp_path / "a").exit_code == 0
    (size,) = numbers(tmp_path / "a")["cohorts.parquet"]
    assert (size["scans"], size["patients"]) == (21, 11)
    assert "The exclusion list covered 3 scans" in (tmp_path / "a" / "report.html").read_text()
    result = run_report(*arguments, "--index", index, "--out", tmp_path / "b")
    assert result.exit_code == 0 and "another exclusion list" in result.stderr


def test_a_report_over_another_leaves_nothing_of_it(archive: Path, tmp_path: Path) -> None:
    assert run_report("--cohort", f"table={archive}", "--out", tmp_path).exit_code == 0
    assert run_report("--cohort", f"table={archive}", "--no-pixels", "--out", tmp_path).exit_code == 0
    assert numbers(tmp_path)["duplicates.parquet"] == numbers(tmp_path)["rejected.parquet"] == []
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_wrong_use_is_refused_in_one_sentence_before_any_work(archive: Path, index: Path, tmp_path: Path) -> None:
    cohort = ("--cohort", f"table={archive}")
    (tmp_path / "file").write_text("")
    out = ("--out", tmp_path / "out")
    assert_refused(run_report("--cohort", "nccid=/nowhere", *out), 2, "/nowhere: no such file or folder")
    assert_refused(run_report(*cohort, "--out", tmp_path / "file" / "x"), 2, "cannot be written to")
    assert_refused(run_report(*cohort, "--index", tmp_path, *out), 2, "holds no published index")
    assert_refused(run_report(*cohort, "--index", index, "--no-pixels", *out), 2, "exclude each other")
    assert_refused(run_report(*cohort, "--exclude", tmp_path / "no", *out), 2, "exclusion list cannot be read")
    (tmp_path / "empty" / "xray").mkdir(parents=True)
    assert_refused(run_report("--cohort", f"nccid={tmp_path / 'empty'}", *out), 2, "no scans there")
    assert not (tmp_path / "out").exists()


def test_a_changed_index_is_not_believed(archive: Path, index: Path, tmp_path: Path) -> None:
    copied = tmp_path / "index"
    (folder,) = (index / "snapshots").iterdir()
    (copied / "snapshots" / folder.name).mkdir(parents=True)
    (copied / "CURRENT").write_text(folder.name)
    for name in ("manifest.json", "cases.parquet"):
        (copied / "snapshots" / folder.name / name).write_bytes((folder / name).read_bytes())
    (copied / "snapshots" / folder.name / "rejected.parquet").write_bytes(b"PAR1")
    result = run_report("--cohort", f"table={archive}", "--index", copied, "--out", tmp_path / "out")
    assert_refused(result, 2, "rejected.parquet: was changed since it was built")


def test_help_shows_how_to_call_it() -> None:
    result = run_report("--help")
    assert result.exit_code == 0 and "python -m index report --cohort nccid=/data/nccid --no-pixels" in result.output


def test_the_document_lists_every_table_and_its_columns() -> None:
    text = (Path(__file__).parents[1] / "docs" / "data-quality.md").read_text()
    for name, row in ROWS.items():
        (line,) = re.findall(rf"^\| `{name}` \|.*$", text, re.MULTILINE)
        assert all(re.search(rf"\b{field.name}\b", line) for field in dataclasses.fields(row)), name
