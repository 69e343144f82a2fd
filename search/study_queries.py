"""Who is asked in a study: rows of the archive, or cases whose scans are read; each once, and whoever is not asked by name and reason."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import numpy as np

from index.case import Case, Outcome
from index.cohorts.cells import SEXES, VIEWS, number
from index.intake import Intake
from index.store import RowNumbers
from search.answer import QuestionError
from search.archive import Mask
from search.engine import SearchEngine
from search.study_plan import QuerySource, StudyPlan


@dataclass(frozen=True)
class Unasked:
    """A query of the set that is not asked, and why."""

    query: str
    reason: str  # short and countable
    message: str


@dataclass(frozen=True, eq=False)
class ArchiveQueries:
    """Cases of the index."""

    rows: RowNumbers
    unasked: tuple[Unasked, ...] = ()


@dataclass(frozen=True, eq=False)
class ScanQueries:
    """Scans to be read. `case_id` is what the tables call the query."""

    cases: tuple[Case, ...]
    unasked: tuple[Unasked, ...] = ()


def queries_of(engine: SearchEngine, plan: StudyPlan, base: Mask) -> ArchiveQueries | ScanQueries:
    """The query set of a plan; `base` (n,): the archive's rows that `where` allows. Raises `QuestionError`, `FilterError`, `CohortError`."""
    if plan.source is QuerySource.ARCHIVE:
        asked = base if plan.asked is None else engine.rows_where(plan.kind, plan.asked)
        return ArchiveQueries(np.flatnonzero(asked))
    if plan.source is QuerySource.TABLE:
        return _of_table(engine, plan, Path(plan.queries[0]))
    if plan.source is QuerySource.COHORT:
        cases, rejected = Intake(plan.queries).taken()
        return ScanQueries(tuple(cases), tuple(Unasked(one.case_id, one.reason, one.message) for one in rejected))
    if plan.source is QuerySource.FOLDER:
        return ScanQueries(tuple(_case(path.name, path) for path in _entries(Path(plan.queries[0]))))
    return _each_once((_case(text, Path(text)) for text in plan.queries), ())


def _entries(folder: Path) -> list[Path]:
    try:
        found = sorted(path for path in folder.iterdir() if not path.name.startswith("."))
    except OSError as error:
        raise QuestionError(f"{folder}: cannot be listed ({error.strerror})") from error
    if not found:
        raise QuestionError(f"{folder}: is empty; every file, folder or zip directly in it is taken as one scan")
    return found


def _case(name: str, path: Path, row: dict[str, str] | None = None) -> Case:
    """A query that no cohort describes, with what a table says of it."""
    said = row or {}
    return Case(
        case_id=name,
        patient_id=said.get("patient_id", ""),
        cohort="",
        files=(str(path),),
        outcome=Outcome({}),
        site=said.get("site") or None,
        view=_view(said.get("view", ""), name),
        scan_date=_day(said.get("scan_date", ""), name),
        age_years=number(said.get("age_years")),
        sex=SEXES.get(said.get("sex", "").upper()),
    )


def _of_table(engine: SearchEngine, plan: StudyPlan, path: Path) -> ArchiveQueries | ScanQueries:
    """A CSV with a column `case_id` (of the archive), or `file` with `patient_id`, `site`, `view`, `scan_date`, `age_years` and `sex` where it has them."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows = _rows(csv.DictReader(lines), path)
    except OSError as error:
        raise QuestionError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise QuestionError(f"{path}: is no CSV in UTF-8 ({error})") from error
    columns = set(rows[0]) if rows else set()
    if "file" in columns:
        cases = (_case(row["file"], path.parent / row["file"], row) for row in rows if row["file"])
        blank = sum(not row["file"] for row in rows)  # else such a row would ask for the whole folder
        return _each_once(cases, (Unasked("", "no-file", "its row names no file"),) * blank)
    if "case_id" in columns:
        return _named(engine, plan.kind, [row["case_id"] for row in rows])
    raise QuestionError(
        f"{path}: has {'no rows' if not rows else 'neither a column case_id nor file'}; a query a row is wanted"
    )


def _rows(reader: "csv.DictReader[str]", path: Path) -> list[dict[str, str]]:
    """The rows by column. Raises `QuestionError` where a cell's column is in doubt."""
    columns = [name.strip() for name in reader.fieldnames or ()]
    twice = sorted({name for name in columns if name and columns.count(name) > 1})
    if twice:
        raise QuestionError(f"{path}: has more than one column {twice[0]!r}; leave one of them")
    reader.fieldnames = columns
    rows = []
    for row in reader:
        if None in row:
            raise QuestionError(
                f"{path}: line {reader.line_num} has more cells than there are columns; a comma within a cell wants quotes around it"
            )
        rows.append({name: (cell or "").strip() for name, cell in row.items() if name})
    return rows


def _named(engine: SearchEngine, kind: str, names: Iterable[str]) -> ArchiveQueries:
    archive, visible = engine.archives[kind], engine.rows_where(kind, None)
    found: dict[int, None] = {}
    unasked = []
    for name in names:
        row = archive.row_of(name)
        if row is None or not visible[row]:
            unasked.append(Unasked(name, "not-in-index", f"no {kind} case of the index is called so"))
        elif row in found:
            unasked.append(Unasked(name, "repeated", "it stands in the table already; it is asked once"))
        else:
            found[row] = None
    return ArchiveQueries(np.array(sorted(found), np.int64), tuple(unasked))


def _each_once(cases: Iterable[Case], unasked: tuple[Unasked, ...]) -> ScanQueries:
    found: dict[str, Case] = {}
    repeated = []
    for case in cases:
        if case.case_id in found:
            repeated.append(Unasked(case.case_id, "repeated", "it was named already; it is asked once"))
        found.setdefault(case.case_id, case)
    return ScanQueries(tuple(found.values()), (*unasked, *repeated))


def _view(text: str, name: str) -> str | None:
    if text and text.upper() not in VIEWS:
        raise QuestionError(f"{name}: view is {text!r}; write {', '.join(VIEWS)}, or nothing where it is not known")
    return VIEWS.get(text.upper())


def _day(text: str, name: str) -> date | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise QuestionError(f"{name}: scan_date is {text!r}; write it as 2020-04-30") from error
