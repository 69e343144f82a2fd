"""What neighbours may share: targets, which are of the disease and its course, and nuisances, which are of how a film came about."""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from index.catalogue import Catalogue
from search.answer import QuestionError
from search.archive import Archive
from search.intervals import Codes, Floats

NOT_RECORDED = -1
MOST_GRADES = 10  # whole numbers with more levels are a measurement
FEWEST = 5  # cases of a second value, below which a target says nothing
LISTS = ("files", "flags")  # catalogue columns that hold several values


class Role(StrEnum):
    DISEASE = "disease"
    NUISANCE = "nuisance"


class Scale(StrEnum):
    BINARY = "yes or no"
    NOMINAL = "classes"
    GRADED = "grades"
    NUMBER = "a number"


@dataclass(frozen=True, eq=False)
class Target:
    """One property of every case, in the order of the rows."""

    name: str
    title: str
    role: Role
    scale: Scale
    codes: Codes  # (n,) the case's class, −1 where it is not recorded; of a number, 0 where it is
    classes: tuple[str, ...]
    values: Floats  # (n,) of grades and numbers, NaN where not recorded

    @property
    def known(self) -> npt.NDArray[np.bool_]:
        return self.codes != NOT_RECORDED

    @property
    def events(self) -> npt.NDArray[np.bool_]:
        """Of a yes-or-no target, which cases are a yes (n,)."""
        return self.codes == self.classes.index("yes")

    def gains(self, query: int, rows: Codes) -> Floats:
        """2^g − 1 of each row for graded relevance, where g is how many grades nearer than the farthest it is to the query's."""
        grades = self.values[self.known]
        nearer = grades.max() - grades.min() - np.abs(self.values[rows] - self.values[query])
        return np.exp2(nearer) - 1

    def of_class(self, row: int) -> str:
        return "not recorded" if self.codes[row] == NOT_RECORDED else self.classes[self.codes[row]]


@dataclass(frozen=True)
class LeftOut:
    """A target, protocol or baseline that could not be evaluated, and why."""

    what: str
    why: str


# columns of NCCID's cohort that are targets, and how people call them; other cohorts' are named with --target
DISEASE_COLUMNS = {
    "covid_code": "COVID code",
    "cxr_severity": "severity of the film",
    "covid_status_at_scan": "COVID status at the scan",
    "died_28": "death within 28 days",
    "died_60": "death within 60 days",
    "worst_outcome": "worst outcome",
}
CLASSES_NOT_GRADES = ("covid_code",)
NO_VALUES = ("", "unknown", "not_recorded")


def targets_of(
    catalogue: Catalogue, archive: Archive, kind: str, usable: npt.NDArray[np.bool_], *, further: Sequence[str] = (),
    labels: Mapping[str, npt.NDArray[Any]] | None = None,
) -> tuple[list[Target], list[LeftOut]]:  # fmt: skip
    """The archive's targets and nuisances with at least two values among the `usable` rows, and why others are left out.

    Raises `QuestionError` for a `further` one that is no column.
    """
    labels = labels or {}
    found: list[Target] = []
    for endpoint in catalogue.endpoints:
        found.append(_text(endpoint.name, endpoint.title, Role.DISEASE, catalogue.values(endpoint.name, kind)))
    columns = catalogue.columns()
    for name in [*(name for name in DISEASE_COLUMNS if name in columns), *further]:
        if name in LISTS:
            raise QuestionError(f"--target {name!r} holds a list for each case; it cannot be evaluated")
        if name not in labels and name not in columns:
            raise QuestionError(f"--target {name!r} is no column; there are: {', '.join([*labels, *columns])}")
        if name not in {target.name for target in found}:
            values = labels[name] if name in labels else catalogue.values(name, kind)
            found.append(_column(name, values))
    found += _nuisances(catalogue, archive, kind)
    reasons = [_why_not(target, usable) for target in found]
    left = [LeftOut(target.title, why) for target, why in zip(found, reasons, strict=True) if why]
    return [target for target, why in zip(found, reasons, strict=True) if not why], left


def label_columns(path: Path, key: str, case_ids: Any) -> dict[str, Any]:
    """The columns of a CSV in the order of the cases: numbers where all are, else text; None where a case has no row.

    Raises `QuestionError`.
    """
    try:
        with path.open(newline="", encoding="utf-8-sig") as lines:
            rows: dict[str, dict[str, Any]] = {}
            for row in csv.DictReader(lines):
                if rows.setdefault(row[key], row) != row:
                    raise QuestionError(
                        f"--labels {path}: has several rows of {row[key]!r} that differ; leave one a case"
                    )
    except (OSError, KeyError, ValueError, csv.Error) as error:
        raise QuestionError(f"--labels {path}: cannot be read, or has no column {key!r} ({error})") from error
    found = [rows.get(case_id, {}) for case_id in case_ids]
    if not any(found):
        raise QuestionError(f"--labels {path}: no {key!r} equals a case_id of the index")
    columns: dict[str, Any] = {}
    for name in [name for name in next(row for row in found if row) if name is not None]:
        texts = [row.get(name) or None for row in found]
        try:
            columns[name] = np.array([np.nan if text is None else float(text) for text in texts])
        except ValueError:
            columns[name] = np.array(texts, dtype=object)
    return columns


def target_of(name: str, role: Role, values: npt.NDArray[Any], *, title: str | None = None) -> Target:
    """A target of one column: text is classes (of yes and no, BINARY), few whole numbers are grades, others a number."""
    return _column(name, values, role=role, title=title)


def _nuisances(catalogue: Catalogue, archive: Archive, kind: str) -> list[Target]:
    def text(name: str, title: str, values: npt.NDArray[Any]) -> Target:
        return _text(name, title, Role.NUISANCE, values)

    ages = archive.ages_years
    bands = [None if np.isnan(age) else f"{int(age) // 10 * 10} to {int(age) // 10 * 10 + 9}" for age in ages]
    years = [None if day is None else str(day)[:4] for day in days_of(catalogue, kind)]
    scanners = [None if code == NOT_RECORDED else archive.scanners.names[code] for code in archive.scanners.codes]
    return [
        text("site", "site", catalogue.values("site", kind)),
        text("scanner", "scanner", np.array(scanners, object)),
        text("view", "view", archive.views),
        text("sex", "sex", catalogue.values("sex", kind)),
        text("age_band", "age in decades", np.array(bands, object)),
        text("year", "year of the scan", np.array(years, object)),
    ]


def days_of(catalogue: Catalogue, kind: str) -> list[np.datetime64 | None]:
    """The scans' dates in the order of the rows."""
    days = np.asarray(catalogue.values("scan_date", kind), "datetime64[D]")
    return [None if np.isnat(day) else day for day in days]


def _column(name: str, values: npt.NDArray[Any], *, role: Role = Role.DISEASE, title: str | None = None) -> Target:
    title = title or DISEASE_COLUMNS.get(name, name.replace("_", " "))
    if values.dtype.kind not in "fiub":
        return _text(name, title, role, values)
    numbers = finite(values)
    known = ~np.isnan(numbers)
    levels = np.unique(numbers[known])
    if name in CLASSES_NOT_GRADES:
        return _text(name, title, role, np.array([f"{n:g}" if ok else None for n, ok in zip(numbers, known, strict=True)], object))  # fmt: skip
    if len(levels) <= MOST_GRADES and (levels == np.rint(levels)).all() and np.ptp(levels) <= MOST_GRADES:
        codes = np.where(known, np.searchsorted(levels, numbers), NOT_RECORDED)
        return Target(name, title, role, Scale.GRADED, codes, tuple(f"{level:g}" for level in levels), numbers)
    return Target(name, title, role, Scale.NUMBER, np.where(known, 0, NOT_RECORDED), (), numbers)


def finite(values: npt.NDArray[Any]) -> Floats:
    """The numbers (n,), NaN where they are infinite: a laboratory's "beyond what can be measured" has no mean and no distance."""
    numbers = values.astype(np.float64)
    return np.where(np.isfinite(numbers), numbers, np.nan)


def _text(name: str, title: str, role: Role, values: npt.NDArray[Any]) -> Target:
    texts = [str(value) if isinstance(value, str) and value not in NO_VALUES else None for value in values]
    classes = tuple(sorted({text for text in texts if text is not None}))
    number = {text: place for place, text in enumerate(classes)}
    codes = np.array([NOT_RECORDED if text is None else number[text] for text in texts], np.int64)
    scale = Scale.BINARY if set(classes) == {"yes", "no"} else Scale.NOMINAL
    return Target(name, title, role, scale, codes, classes, np.full(len(codes), np.nan))


def _why_not(target: Target, usable: npt.NDArray[np.bool_]) -> str | None:
    codes = target.codes[usable & target.known]
    if not len(codes):
        return "not recorded"
    if target.scale is Scale.NUMBER:
        numbers = target.values[usable & target.known]
        return None if len(np.unique(numbers)) > 1 else "all recorded cases have the same value"
    counts = np.bincount(codes)
    if len(codes) - counts.max() == 0:
        return f"all recorded cases have the same value, {target.classes[int(counts.argmax())]}"
    if len(codes) - counts.max() < FEWEST:
        return f"only {len(codes) - counts.max()} cases have another value than {target.classes[int(counts.argmax())]}"
    return None
