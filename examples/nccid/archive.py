"""The whole archive: patients drawn, written and broken, and the truth in a table beside the tree."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from examples.nccid.centres import Centre, draw_centres
from examples.nccid.form import Sheet, blanked, data_sheet, status_sheet, written
from examples.nccid.hand import Cell, Census, Hand, Near
from examples.nccid.image import Header, Pixels, dicom_bytes, elements, metadata
from examples.nccid.options import Options
from examples.nccid.patient import Patient, Study, draw_patient
from examples.nccid.truth import COLUMNS, NUMERIC, PatientFacts, Row, ScanFacts, truth_rows
from examples.nccid.warehouse import Place, Warehouse, json_bytes, write_bytes

TRUTH = "truth.parquet"
_DAMAGED_JSON = (b"", b"null", b"[]", b'{"Pseudonym": "Cov', b"\xff\xfe{}", b"<html>Access denied</html>")


@dataclass(frozen=True)
class Written:
    """What became of an archive."""

    patients: tuple[PatientFacts, ...]
    centres: tuple[Centre, ...]
    rows: tuple[Row, ...]
    unpaired_images: int  # patients with images and without a clinical file
    unpaired_records: int  # patients with a clinical file and without images
    damaged_records: int  # clinical files that cannot be parsed


@dataclass
class _Tally:
    damaged_records: int = 0


def write_archive(out: Path, options: Options, *, progress: Callable[[], None] = lambda: None) -> Written:
    """Write the tree into the folder `out`, with the truth in truth.parquet; `progress` is called after every patient."""
    centres = draw_centres(options.centres, options.seed)
    census, tally = Census(), _Tally()
    patients = []
    for index in range(options.patients):
        patients.append(_write_patient(Warehouse(out, options.training_level), index, centres, options, census, tally))
        progress()
    rows = [row for patient in patients for row in truth_rows(patient, census)]
    write_truth(rows, out / TRUTH)
    return Written(
        tuple(patients),
        centres,
        tuple(rows),
        sum(1 for patient in patients if patient.scans and not patient.files and not patient.damaged),
        sum(1 for patient in patients if patient.kind and not patient.scans),
        tally.damaged_records,
    )


def write_truth(rows: Sequence[Row], path: Path) -> None:
    """One row a scan: case_id, patient_id, tree, file, each column, and for each whether it is recoverable."""
    table: dict[str, pa.Array] = {
        "case_id": pa.array([row.scan.case_id for row in rows], pa.string()),
        "patient_id": pa.array([row.patient_id for row in rows], pa.string()),
        "tree": pa.array([row.scan.tree for row in rows], pa.string()),
        "file": pa.array([row.scan.file for row in rows], pa.string()),
    }
    for name in COLUMNS:
        kind = pa.date32() if name == "scan_date" else pa.float64() if name in NUMERIC else pa.string()
        table[name] = pa.array([row.values[name] for row in rows], kind)
    for name in COLUMNS:
        table[f"{name}__recoverable"] = pa.array([row.recoverable[name] for row in rows], pa.bool_())
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table(table), path)


def _write_patient(
    warehouse: Warehouse, index: int, centres: Sequence[Centre], options: Options, census: Census, tally: _Tally
) -> PatientFacts:
    rng = np.random.default_rng([options.seed, 1, index])
    patient = draw_patient(index, centres, options, rng)
    luck = rng.random()
    without_images, without_record = luck < options.unpaired_share / 2, luck > 1 - options.unpaired_share / 2
    scans = () if without_images else tuple(_write_scans(warehouse, patient, options, rng))
    if without_record:
        return PatientFacts(patient.pseudonym, "", {}, (), scans)
    return _write_records(warehouse, patient, scans, options, census, tally, rng)


def _write_records(
    warehouse: Warehouse,
    patient: Patient,
    scans: tuple[ScanFacts, ...],
    options: Options,
    census: Census,
    tally: _Tally,
    rng: np.random.Generator,
) -> PatientFacts:
    """The clinical files, of which some cannot be parsed; what tells is the newest cell of each field that is not blank."""
    days = frozenset(scan.day for scan in scans if scan.day)
    folder = patient.pseudonym.lower() if rng.random() < 0.01 else patient.pseudonym
    uploaded = options.last + timedelta(days=int(rng.integers(200, 400)))

    def hand(centre: Centre) -> Hand:
        return Hand(rng, centre.trust, centre.dates, centre.swab_dates, options.dirt, days, census)

    own = hand(patient.centre)
    files: list[tuple[str, Sheet]] = []
    if patient.course is None:
        for _ in range(1 + int(rng.random() < 0.03)):
            files.append((f"status_{uploaded}.json", status_sheet(patient, own)))
            uploaded -= timedelta(days=30)
    else:
        for sheet in _data_sheets(patient, own, hand, rng):
            files.append((f"data_{uploaded}.json", sheet))
            uploaded -= timedelta(days=int(rng.integers(1, 60)))
        if patient.swabs:
            files.append((f"status_{uploaded}.json", status_sheet(patient, own)))
    place = warehouse.root / warehouse.top / "data" / folder
    readable: list[tuple[str, Sheet]] = []
    for name, sheet in files:
        content = json_bytes(written(sheet, own))
        if rng.random() < options.broken_share:
            content = _DAMAGED_JSON[int(rng.integers(len(_DAMAGED_JSON)))]
            tally.damaged_records += 1
        else:
            readable.append((name, sheet))
        write_bytes(content, place / name)
    kind = "status" if patient.course is None else "data"
    # where all of a positive's full records are damaged, an old status file still tells who it is
    used = [(name, sheet) for name, sheet in readable if name.startswith(kind)] or readable
    cells = _told([sheet for _, sheet in used])
    return PatientFacts(
        patient.pseudonym, kind, cells, tuple(name for name, _ in used), scans, damaged=bool(files) and not used
    )


def _data_sheets(
    patient: Patient, own: Hand, hand: Callable[[Centre], Hand], rng: np.random.Generator
) -> Iterator[Sheet]:
    """The newest form and, for some, older ones; then the newest is the sparser one."""
    course = patient.course
    assert course is not None, "a control has no full record"
    older = int(rng.integers(1, 3)) if patient.former or rng.random() < 0.15 else 0
    newest = data_sheet(patient, course, own, patient.centre, lies=not older)
    if older:
        newest = blanked(newest, own, 0.35)
    yield newest
    for _ in range(older):
        centre = patient.former or patient.centre
        sheet = data_sheet(patient, course, hand(centre), centre, lies=False)
        yield _as_it_was(sheet, newest, hand(centre), course.last_alive)


def _as_it_was(sheet: Sheet, newest: Sheet, hand: Hand, last_alive: date) -> Sheet:
    """The form as it was filled in earlier: the patient was alive, and last seen longer ago; where the newest says more."""
    entries = dict(sheet.entries)
    said = {name for name, entry in newest.entries.items() if not entry.cell.is_blank}
    if "death" in said and "date_of_death" in said and "death" in entries and hand.rng.random() < 0.5:
        entries["death"] = replace(entries["death"], cell=Cell(hand.bit(False), False))
        entries.pop("date_of_death", None)
    if "date_last_known_alive" in said and "date_last_known_alive" in entries:
        earlier = hand.day(last_alive - timedelta(days=7), near=Near.NOWHERE)
        entries["date_last_known_alive"] = replace(entries["date_last_known_alive"], cell=earlier)
    return replace(sheet, entries=entries)


def _told(sheets: Sequence[Sheet]) -> dict[str, Cell]:
    """For each field the newest cell that is not blank, or a blank one."""
    told: dict[str, Cell] = {}
    for sheet in sheets:
        for name, entry in sheet.entries.items():
            if name not in told or told[name].is_blank:
                told[name] = entry.cell
    return told


def _write_scans(
    warehouse: Warehouse, patient: Patient, options: Options, rng: np.random.Generator
) -> Iterator[ScanFacts]:
    """Every scan of the trees that are there."""
    for study in patient.archived:
        if study.tree in options.trees:
            first, *_ = _write_study(warehouse, patient, study, options, rng)
            yield first


def _write_study(
    warehouse: Warehouse, patient: Patient, study: Study, options: Options, rng: np.random.Generator
) -> Iterator[ScanFacts]:
    """The facts of every file of a study; a CT's case is the study, a film's the file."""
    header = _header(patient, study, options.seed, rng)
    is_film = study.tree in ("xray", "unknown")
    for series in range(study.series):
        for number in range(study.slices):
            own = replace(
                header,
                series_uid=_uid(options.seed, patient.index, study.number, 2, series),
                sop_uid=_uid(options.seed, patient.index, study.number, 3, series, number),
                instance=number + 1,
            )
            drawn = study.number if study.copy_of is None else study.copy_of
            pixels = _pixels(options, patient.index, drawn, series, number) if options.side else None
            files = _files(own, pixels, options, rng, careful=patient.needs_header_sex or not is_film)
            place = Place(study.tree, patient.pseudonym, own.study_uid, own.series_uid, own.sop_uid)
            image = warehouse.image_path(place, ending=".DCM" if rng.random() < 0.01 else ".dcm")
            write_bytes(files.image, warehouse.root / image)
            if files.metadata is not None:
                write_bytes(files.metadata, warehouse.root / warehouse.metadata_path(place))
            day = (own.acquired or own.studied) if files.tell else None
            age = float(re.sub(r"\D", "", own.age)) if own.age and files.tell else None
            name = own.sop_uid if is_film else own.study_uid
            yield ScanFacts(name, study.tree, day, image.as_posix(), age)


@dataclass(frozen=True)
class _Files:
    image: bytes
    metadata: bytes | None
    tell: bool  # whether either can still be read as far as its dates


def _files(
    header: Header, pixels: Pixels | None, options: Options, rng: np.random.Generator, *, careful: bool
) -> _Files:
    """An image and its metadata, of which some are damaged; where `careful`, never both: nothing else tells a sex or a date."""
    dataset = elements(header, pixels)
    image, beside = dicom_bytes(dataset), json_bytes(metadata(dataset)) if options.metadata else None
    no_image = no_metadata = False
    if rng.random() < options.broken_share:  # cut off in the pixels, in the header, or empty
        cut = (len(image) - 100, 140, 0)[int(rng.integers(3))]
        no_image = cut <= 140
        if not (no_image and careful and beside is None) and (options.side or no_image):
            image = image[:cut]
        else:
            no_image = False
    if beside is not None and rng.random() < options.broken_share and not (no_image and careful):
        beside, no_metadata = _DAMAGED_JSON[int(rng.integers(len(_DAMAGED_JSON)))], True
    return _Files(image, beside, not no_image or (beside is not None and not no_metadata))


def _header(patient: Patient, study: Study, seed: int, rng: np.random.Generator) -> Header:
    machine = patient.machine
    modality = {"xray": machine.modality, "ct": "CT", "mri": "MR", "unknown": "OT"}[study.tree]
    luck, age = rng.random(), patient.age_years
    acquired: date | None = study.day
    studied: date | None = study.day
    if luck < 0.15:
        acquired = None
    elif luck < 0.17:  # over midnight
        studied = study.day - timedelta(days=1)
    elif luck < 0.18:
        studied = None
    elif luck < 0.184:
        acquired = studied = None
    sex = patient.sex
    if not patient.needs_header_sex and rng.random() < 0.06:
        sex = "O" if rng.random() < 0.2 else ""
    return Header(
        patient_id=patient.pseudonym,
        sex=sex,
        age=f"{age:03}Y" if rng.random() < 0.9 else str(age),
        study_uid=_uid(seed, patient.index, study.number, 1),
        series_uid="",
        sop_uid="",
        modality=modality,
        manufacturer=machine.manufacturer,
        model=machine.model,
        acquired=acquired,
        studied=studied,
        view=("PA", "AP", "")[int(rng.integers(3))] if study.tree == "xray" else "",
        has_table=bool(rng.random() < 0.1),
        filter_mm="0.1\\0.2" if rng.random() < 0.05 else "",
    )


def _pixels(options: Options, *picture: int) -> Pixels:
    rng = np.random.default_rng([options.seed, 2, *picture])
    return rng.integers(0, 256, (options.side, options.side), dtype=np.uint8)


def _uid(*parts: int) -> str:
    """A UID that depends on what it names alone (PS3.5 B.2)."""
    digest = hashlib.sha256("/".join(map(str, parts)).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:15], 'big')}"
