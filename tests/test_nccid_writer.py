"""The writer of NCCID-shaped trees: deterministic, in the warehouse's layout, dirty in every known way, and sure of its truth."""

import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pydicom
import pytest
from click.testing import CliRunner

from examples.nccid.__main__ import main
from examples.nccid.archive import TRUTH, Written, write_archive
from examples.nccid.centres import Habit, draw_centres
from examples.nccid.form import Sheet, written
from examples.nccid.hand import Ambiguity, Cell, Census, Entry, Form, Hand, Near, lied
from examples.nccid.image import Header, dicom_bytes, elements, metadata
from examples.nccid.options import Options
from examples.nccid.truth import COLUMNS, PatientFacts, Row, ScanFacts, in_order, truth_rows
from examples.nccid.warehouse import scrubbed

OPTIONS = Options(patients=300, centres=10, seed=5, broken_share=0.04, unpaired_share=0.1)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Written]:
    out = tmp_path_factory.mktemp("nccid")
    return out, write_archive(out, OPTIONS)


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, dict[str, Any]]]:
    """(name, content) of every clinical file of a very dirty archive that can be parsed."""
    out = tmp_path_factory.mktemp("dirty")
    write_archive(out, replace(OPTIONS, patients=400, dirt=0.7, positive_share=0.8, trees=()))
    return list(_records(out / "training" / "data"))


def _records(folder: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    for path in sorted(folder.glob("*/*.json")):
        try:
            content = json.loads(path.read_bytes())
        except ValueError:
            continue
        if isinstance(content, dict):
            yield path.name, content


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# the tree


def test_the_same_options_write_the_same_bytes(tmp_path: Path) -> None:
    few = replace(OPTIONS, patients=12)
    for name, options in (("a", few), ("b", few), ("c", replace(few, seed=6))):
        write_archive(tmp_path / name, options)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert files(tmp_path / "a").keys() != files(tmp_path / "c").keys()


def test_files_lie_where_the_warehouse_puts_them(archive: tuple[Path, Written]) -> None:
    out, done = archive
    assert done.rows
    for row in done.rows:
        top, tree, patient, _, series, name = row.scan.file.split("/")
        assert (top, tree, patient) == ("training", row.scan.tree, row.patient_id)
        assert (out / row.scan.file).is_file()
        image, _, _ = name.rpartition(".")
        assert (out / row.scan.file.replace(tree, f"{tree}-metadata", 1)).with_name(f"{image}.json").is_file()
        assert row.scan.case_id in ((image,) if tree in ("xray", "unknown") else row.scan.file)
        assert series.startswith("2.25.")
    assert {path.name for path in (out / "training").iterdir()} == {
        "data", *(f"{tree}{suffix}" for tree in ("xray", "ct", "mri", "unknown") for suffix in ("", "-metadata")),
    }  # fmt: skip


def test_trees_metadata_and_the_training_level_can_be_left_out(tmp_path: Path) -> None:
    write_archive(tmp_path, replace(OPTIONS, patients=60, trees=("ct",), metadata=False, training_level=False))
    assert {path.name for path in tmp_path.iterdir()} == {"data", "ct", TRUTH}


def test_some_patients_have_images_or_records_alone_and_some_files_are_damaged(archive: tuple[Path, Written]) -> None:
    out, done = archive
    top = out / "training"
    imaged = {path.name.strip().lower() for tree in ("xray", "ct", "mri", "unknown") for path in (top / tree).iterdir()}
    recorded = {path.name.strip().lower() for path in (top / "data").iterdir()}
    assert len(imaged - recorded) == done.unpaired_images > 0
    assert len(recorded - imaged) == done.unpaired_records > 0
    assert done.damaged_records > 0
    assert any(path.stat().st_size == 0 for path in top.rglob("*.dcm"))


@pytest.mark.parametrize("modality", ["DX", "CT"])
def test_pydicom_reads_the_image_and_derives_its_metadata(modality: str) -> None:
    header = Header(
        "Covid1", "F", "061Y", "2.25.1", "2.25.2", "2.25.3", modality, "Nordlys", "Thorax One", date(2020, 4, 2), None,
        view="PA", has_table=True, filter_mm="0.1\\0.2",
    )  # fmt: skip
    pixels = np.arange(12, dtype=np.uint8).reshape(3, 4)
    dataset = elements(header, pixels)
    read = pydicom.dcmread(io.BytesIO(dicom_bytes(dataset)))
    assert metadata(dataset) == scrubbed(read)
    assert metadata(dataset)["00283010"] is None and metadata(dataset)["00091010"] == {"vr": "OB", "InlineBinary": None}
    assert read.AcquisitionDate == "20200402" and "StudyDate" not in read and read.SeriesDate != read.AcquisitionDate
    assert np.array_equal(read.pixel_array, pixels)
    assert read.VOILUTSequence[0].LUTData == bytes(range(256))


# dirt

ISO = r"20\d\d-\d\d-\d\d"
DIRT: Mapping[str, tuple[str, str]] = {  # what -> (header, what some cell of it looks like)
    "month first": ("Date of admission", r"\d\d/(1[3-9]|2\d)/20\d\d"),
    "day first": ("Date of admission", r"(1[3-9]|2\d)/\d\d/20\d\d"),
    "two digits of a year": ("Date of .*", r"\d+/\d+/2[01]"),
    "text and ISO": ("Date of .*", rf"\[Text\] - {ISO}"),
    "text alone": ("Date of .*", r"\[Text\]"),
    "Excel's days": ("Date of .*", r"4[34]\d{3}"),
    "a month's name": ("Date of .*", r"\d\d [A-Z][a-z]{2} 20\d\d"),
    "bracket": ("Respiratory rate on admission", rf"\[\d+\] - {ISO}"),
    "one digit in brackets": ("NEWS2 score on arrival", rf"\[\d\] - {ISO}"),
    "two pressures": ("Systolic BP", rf"\[\d+/\d+\] - {ISO}"),
    "litres": ("FiO2", r"\d+ ?L"),
    "a fraction": ("FiO2", r"0\.\d+"),
    "per cent": ("FiO2", r"\d+%"),
    "Venturi colour": ("FiO2", r"(?i)(blue|white|orange|yellow|red|green)"),
    "air": ("FiO2", r"room air|RA|Air"),
    "the former header": ("Any supplemental oxygen: FiO2", r".+"),
    "kPa": ("PaO2", r"\d+\.\d kPa"),
    "saturation as a fraction": ("PaO2", r"0\.[5-9]\d?"),
    "saturation": ("PaO2", r"(9\d|8\d)(\.0)?"),
    "FiO2 in the PaO2 cell": ("PaO2", r"0\.[234]\d?|FiO2 .*|[234]\d(\.0)?"),
    "a zero in the header": ("Pa02", r".+"),
    "censored": ("CRP on admission", r"<\d.*"),
    "thousands": ("Ferritin|D-dimer on admission", r"\d,\d{3}"),
    "decimal comma": ("Temperature on admission", r"\d\d,\d"),
    "a remark": (".* on admission", r"\d.*\(repeat sent\)"),
    "a date in a number": (".* count on admission|Troponin .|CRP on admission|WCC on admission", rf"{ISO}|\d\d/\d\d/20\d\d"),
    "no number": (".* on admission", r"haemolysed|not done"),
    "ng/mL of urea": ("Urea on admission", r"\d{6,}(\.\d+)?"),
    "mg/L of D-dimer": ("D-dimer on admission", r"\d\.\d+"),
    "sex as a letter": ("Sex", r"F|M"),
    "sex as a code": ("Sex", r"0|1"),
    "sex as neither": ("Sex", r"2|3"),
    "age as a DICOM string": ("Age", r"\d{3}Y"),
    "age as a fraction": ("Age", r"\d+\.889"),
    "ethnicity in words": ("Ethnicity", r"White - British|Caribbean"),
    "ethnicity's sub-code": ("Ethnicity", r"C2|CA|CY|GA|LA|PA|SA"),
    "a slip of the keyboard": ("PMH .*|Current .*", r"1es"),
    "the misspelt header": ("PMH h1pertension", r".+"),
    "a code with a remark": ("PMH Lung disease", r"5 - Lung Ca|\d - bronchiectasis|\d - Lung Ca"),
    "a code with letters": ("COVID CODE( 2)?", r"CVCX\d"),
    "an o for a zero": ("COVID CODE.*|CXR severity.*|PMH .*|Smoking status", r"o"),
    "RNA": (".*RT-PCR result|Final COVID Status", r"RNA DETECTED \(SARS-CoV-2\)"),
    "the second film's severity": ("CXR severity 3", r".+"),
    "a trailing blank in the header": ("ITU admission ", r".+"),
    "two blanks in the header": ("Fibrinogen  if d-dimer not performed", r".+"),
    "the Scottish key": ("SpecialFormatTimestamp", r"19761231-|19800203-19800316"),
    "the other diabetes": ("PMH diabetes mellitus TYPE I", r".+"),
    "final status negative beside a full record": ("Final COVID Status", r"0(\.0)?|(?i:neg.*|not detected)"),
}  # fmt: skip


@pytest.mark.parametrize("kind", DIRT)
def test_every_kind_of_dirt_occurs(kind: str, records: list[tuple[str, dict[str, Any]]]) -> None:
    header, pattern = DIRT[kind]
    cells = [str(value) for _, record in records for key, value in record.items() if re.fullmatch(header, key)]
    assert any(re.fullmatch(pattern, cell.strip()) for cell in cells), cells[:20]


def test_quirks_of_whole_records_occur(records: list[tuple[str, dict[str, Any]]]) -> None:
    assert any("SegmentationData" in record.get("OtherDataSources", {}) for _, record in records)
    assert any(len(record.get("SwabDates", ())) > 1 for _, record in records)
    by_patient: dict[str, list[str]] = {}
    for name, record in records:
        by_patient.setdefault(record["Pseudonym"], []).append(name)
    kinds = [sorted({name.partition("_")[0] for name in names}) for names in by_patient.values()]
    assert ["data", "status"] in kinds and ["data"] in kinds and ["status"] in kinds
    assert any(sum(name.startswith("data") for name in names) > 1 for names in by_patient.values())


def test_without_dirt_cells_are_plain(tmp_path: Path) -> None:
    done = write_archive(tmp_path, replace(OPTIONS, patients=80, dirt=0, broken_share=0, unpaired_share=0))
    cells = [str(value) for _, record in _records(tmp_path / "training/data") for value in record.values()]
    assert not [cell for cell in cells if cell.startswith(("[Text]", "[6", "<", ">")) or "see notes" in cell]
    assert all(all(row.recoverable[name] for name in ("crp_mg_per_l", "age_years", "died")) for row in done.rows)


def test_most_centres_write_the_month_first_some_the_day_and_two_either() -> None:
    habits = [centre.dates for centre in draw_centres(20, seed=1)]
    assert {habit: habits.count(habit) for habit in Habit} == {Habit.US: 14, Habit.UK: 4, Habit.MIXED: 2}
    assert sum(centre.inverts_sex for centre in draw_centres(20, seed=1)) == 1


# what can be told


def hand(**options: Any) -> Hand:
    return Hand(np.random.default_rng(1), "Trust", **{"dirt": 0.0, **options})


def test_a_date_of_either_order_is_legible_by_the_scans() -> None:
    cell = hand(dates=Habit.MIXED, scans=frozenset([date(2020, 4, 8)])).day(date(2020, 4, 5))
    assert cell.raw in ("04/05/2020", "05/04/2020") and cell.is_legible(Census())


def test_a_date_that_the_scans_put_into_the_wrong_month_is_not_legible() -> None:
    assert not hand(scans=frozenset([date(2020, 5, 4)])).day(date(2020, 4, 5)).is_legible(Census())


@pytest.mark.parametrize(
    ("us", "uk", "written_in", "is_legible"),
    [
        (9, 0, Habit.US, True),  # too few to learn from: read as the field should be written
        (0, 9, Habit.UK, False),
        (0, 10, Habit.UK, True),
        (19, 1, Habit.US, True),
        (18, 2, Habit.US, False),
        (1, 19, Habit.US, False),
    ],
)
def test_else_the_habit_of_the_centre_tells(us: int, uk: int, written_in: Habit, is_legible: bool) -> None:
    census = Census()
    census.counts["Trust", Form.DATA, Habit.US] = us
    census.counts["Trust", Form.DATA, Habit.UK] = uk
    cell = Cell("04/05/2020", date(2020, 4, 5), ambiguity=Ambiguity("Trust", Form.DATA, written_in))
    assert cell.is_legible(census) is is_legible


def test_only_dates_of_one_reading_are_counted() -> None:
    census = Census()
    writer = hand(dates=Habit.UK, census=census)
    for day in (date(2020, 4, 25), date(2020, 4, 4), date(2020, 4, 5)):
        writer.day(day)
    assert census.counts.total() == census.counts["Trust", Form.DATA, Habit.UK] == 1


def test_what_is_nested_says_what_is_meant_and_the_root_something_else() -> None:
    sheet = Sheet(draw_centres(1, 0)[0], {"covid_code_1": Entry("COVID CODE", Cell(2, 2.0))}, {})
    made = [written(sheet, hand(dirt=1.0)) for _ in range(1)] + [written(sheet, replace(hand(dirt=3.0)))]
    nested = [record["OtherDataSources"] for record in made if "OtherDataSources" in record]
    assert nested and all(inner == {"SegmentationData": {"COVID CODE": 2}} for inner in nested)


# the truth, worked out by hand

DAYS = {"before": date(2020, 1, 1), "ward": date(2020, 4, 3), "next": date(2020, 4, 4), "after": date(2020, 6, 1)}
SCANS = tuple(ScanFacts(name, "xray", day, f"{name}.dcm") for name, day in DAYS.items())
CELLS = {
    "site": Cell("A", "A"),
    "date_of_positive_covid_swab": Cell("04/01/2020", date(2020, 4, 1)),
    "date_of_admission": Cell("04/02/2020", date(2020, 4, 2)),
    "date_of_itu_admission": Cell("04/05/2020", date(2020, 4, 5)),
    "intubation": Cell(0, False),
    "death": Cell(1, True),
    "date_of_death": Cell("06/10/2020", date(2020, 6, 10)),
    "date_of_film_1": Cell("04/03/2020", date(2020, 4, 3)),
    "cxr_severity_1": Cell(2, 2.0),
    "crp": Cell("[Text]", 40.0, legible=False),
}


def truth_of(scans: tuple[ScanFacts, ...] = SCANS, kind: str = "data", **cells: Cell | None) -> dict[str, Row]:
    told = {name: cell for name, cell in (CELLS | cells).items() if cell}
    rows = truth_rows(PatientFacts("Covid1", kind, told, ("data_2021-01-01.json",), scans), Census())
    return {row.scan.case_id: row for row in rows}


def test_truth_of_each_scan_of_a_positive_patient() -> None:
    rows = truth_of()
    expected = {
        "before": ("pre_covid", "pre", -91.0, -92.0, 95.0, 161.0, None),
        "ward": ("positive", "acute", 2.0, 1.0, 2.0, 68.0, 2.0),
        "next": ("positive", "acute", 3.0, 2.0, 1.0, 67.0, None),
        "after": ("post_covid", "post", 61.0, 60.0, -57.0, 9.0, None),
    }
    names = (
        "covid_status_at_scan", "scan_phase", "days_from_index", "days_from_admission", "itu_admission_days", "died_days",
        "cxr_severity",
    )  # fmt: skip
    assert {name: tuple(row.values[column] for column in names) for name, row in rows.items()} == expected
    for row in rows.values():  # death on day 70 of the first positive swab, 69 days after admission
        assert [row.values[n] for n in ("died", "itu_admission", "intubated")] == ["yes", "yes", "no"]
        assert [row.values[n] for n in ("died_28", "died_60", "worst_outcome", "los_to_death")] == [
            "no",
            "no",
            3.0,
            69.0,
        ]
        assert row.values["crp_mg_per_l"] == 40.0 and not row.recoverable["crp_mg_per_l"]
        assert row.recoverable["died_days"]


def test_truth_of_a_control_has_no_outcome() -> None:
    row = truth_of(SCANS[:1], "status", swab_status_0=Cell("0", False))["before"]
    assert row.values["covid_status"] == row.values["covid_status_at_scan"] == "negative"
    control = truth_rows(PatientFacts("Covid2", "status", {}, (), SCANS[:1]), Census())[0]
    assert control.values["covid_status"] == "negative_unconfirmed"
    assert all(control.values[name] is None for name in ("died", "observed_days", "worst_outcome", "scan_phase"))


def test_a_patient_without_any_clinical_file_has_no_status() -> None:
    row = truth_rows(PatientFacts("Covid3", "", {}, (), SCANS[:1]), Census())[0]
    assert {name for name in COLUMNS if row.values[name] is not None} == {"scan_date"}


def test_an_illegible_date_is_lost_with_all_that_follows_from_it() -> None:
    unread = Cell("[Text]", date(2020, 6, 10), legible=False)
    row = truth_of(date_of_death=unread)["ward"]
    lost = {name for name in COLUMNS if not row.recoverable[name]} - {"crp_mg_per_l"}
    # died_28 and died_60 are told by the film of day 61
    assert lost == {"died_days", "los_to_death", "observed_days", "observed_from_admission"}
    assert row.values["died_days"] == 68.0


def test_a_date_before_what_must_come_first_is_lost_and_so_is_the_other_if_either_may_be_wrong() -> None:
    wrong = lied(Cell("2020-03-20", date(2020, 3, 20)), date(2020, 4, 5))
    row = truth_of(date_of_itu_admission=wrong)["ward"]
    assert not row.recoverable["itu_admission_days"] and not row.recoverable["days_from_admission"]
    assert row.recoverable["died_days"] and row.values["itu_admission_days"] == 2.0


def test_of_three_dates_the_one_that_contradicts_both_others_goes() -> None:
    days = {
        "date_of_admission": date(2020, 4, 2),
        "date_of_itu_admission": date(2020, 4, 3),
        "date_of_death": date(2020, 4, 1),
    }
    kept = in_order(days)
    assert [name for name, day in kept.items() if day is None] == ["date_of_death"]


def test_two_films_of_a_day_tell_only_what_both_tell() -> None:
    same: dict[str, Any] = {
        "date_of_film_2": Cell("04/03/2020", date(2020, 4, 3)),
        "covid_code_1": Cell(1, 1.0),
        "covid_code_2": Cell(1, 1.0),
    }
    values = truth_of(**same, cxr_severity_2=Cell(3, 3.0))["ward"].values
    assert values["cxr_severity"] is None and values["covid_code"] == 1.0
    assert truth_of(**same)["ward"].values["cxr_severity"] is None  # the other film has none


def test_a_film_dated_a_day_off_is_found_only_where_no_film_lies_on_the_day() -> None:
    off = lied(Cell("2020-04-02", date(2020, 4, 2)), date(2020, 4, 3))
    assert truth_of(date_of_film_1=off)["ward"].recoverable["cxr_severity"]
    taken = lied(Cell("2020-04-04", date(2020, 4, 4)), date(2020, 4, 3))
    assert not truth_of(date_of_film_1=taken)["ward"].recoverable["cxr_severity"]


def test_the_truth_lies_beside_the_tree(archive: tuple[Path, Written]) -> None:
    out, done = archive
    table = pq.read_table(out / TRUTH)
    assert table.num_rows == len(done.rows) and set(COLUMNS) < set(table.column_names)
    for stored, row in zip(table.to_pylist(), done.rows, strict=True):
        assert stored["case_id"] == row.scan.case_id
        assert {name: stored[name] for name in COLUMNS} == dict(row.values)
        assert {name: stored[f"{name}__recoverable"] for name in COLUMNS} == dict(row.recoverable)


def test_the_date_of_a_scan_is_that_of_its_header(archive: tuple[Path, Written]) -> None:
    out, done = archive
    dates = 0
    for row in done.rows:
        if row.scan.tree == "xray" and (out / row.scan.file).stat().st_size > 800:
            header = pydicom.dcmread(out / row.scan.file, stop_before_pixels=True)
            stated = header.get("AcquisitionDate") or header.get("StudyDate")
            assert (f"{row.scan.day:%Y%m%d}" if row.scan.day else None) == stated
            dates += 1
    assert dates > 300


# the command


def test_the_command_writes_an_archive(tmp_path: Path) -> None:
    out = tmp_path / "new"
    done = CliRunner().invoke(
        main, ["--out", str(out), "--patients", "5", "--centres", "2", "--no-training", "--tree", "xray"]
    )
    assert done.exit_code == 0, done.output
    assert {path.name for path in out.iterdir()} == {"data", "xray", "xray-metadata", TRUTH}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "already holds something"),
        (["--first", "2020-05-01", "--last", "2020-04-01"], "lies before"),
        (["--dirt", "2"], "not in the range"),
    ],
)
def test_the_command_refuses(arguments: list[str], says: str, tmp_path: Path) -> None:
    if not arguments:
        (tmp_path / "file").touch()
    done = CliRunner().invoke(main, ["--out", str(tmp_path), *arguments])
    assert done.exit_code == 2 and says in done.output


def test_options_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="expected some of xray"):
        Options(trees=("us",))
    with pytest.raises(ValueError, match="at least one patient"):
        Options(patients=0)


def test_a_death_after_the_last_scan_reads_either_way_only_after_it() -> None:
    assert Near.END.fits(date(2020, 5, 4), [date(2020, 4, 20)])
    assert not Near.END.fits(date(2020, 4, 5), [date(2020, 4, 20)])
