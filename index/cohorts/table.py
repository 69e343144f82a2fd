"""Any CSV with an image a row, described by a small TOML file, read as cases. examples/hannover.toml is one."""

import csv
import string
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from index.case import Case, Endpoint, Event, Outcome, State
from index.cohort import CohortError

FIELDS = (
    "case_id",
    "patient_id",
    "site",
    "modality",
    "view",
    "scan_date",
    "age_years",
    "sex",
    "manufacturer",
    "scanner",
    "observed_days",
)
REQUIRED = ("case_id", "patient_id")
TOP = {"name", "csv", "images", "columns", "values", "endpoints", "clinical"}
ENDPOINT_KEYS = {"title", "state", "yes", "no", "days", "absent"}


@dataclass(frozen=True)
class EndpointColumns:
    """How one endpoint is read: a state column with its words, a days column, or both.

    A number of days means *yes*. `absent` is what a row with neither says: by default that it was not recorded.
    """

    endpoint: Endpoint
    state: str | None
    yes: frozenset[str]
    no: frozenset[str]
    days: str | None
    absent: State

    def read(self, row: Mapping[str, str]) -> Event:
        days = _number(row[self.days]) if self.days else None
        word = row[self.state].strip().lower() if self.state else ""
        whole_days = None if days is None else round(days)
        if word in self.no and whole_days is None:
            return Event(State.NO)
        if word in self.yes or (whole_days is not None and word not in self.no):
            return Event(State.YES, whole_days)
        return Event(State.NOT_RECORDED if word else self.absent)


class TableCohort:
    """The cases of a CSV, as its TOML maps them. Raises `CohortError` that names the entry to mend."""

    def __init__(self, path: Path) -> None:
        self._path = path
        description = _read_toml(path)
        self.name = _entry(path, description, "name", str)
        csv_path = (path.parent / _entry(path, description, "csv", str)).resolve()
        self._images = _entry(path, description, "images", str)
        self.source = str(csv_path)
        self._rows = _read_csv(path, csv_path)
        self._columns: dict[str, str] = description.get("columns", {})
        self._clinical: dict[str, str] = description.get("clinical", {})
        self._values: dict[str, dict[str, str]] = description.get("values", {})
        self._outcome = [self._endpoint(name, entry) for name, entry in description.get("endpoints", {}).items()]
        self.endpoints = tuple(columns.endpoint for columns in self._outcome)
        self._check()

    def iter_cases(self) -> Iterator[Case]:
        for row in self._rows:
            yield self._case(row)

    def _case(self, row: Mapping[str, str]) -> Case:
        text = {name: self._value(name, row[column]) for name, column in self._columns.items()}
        observed = _number(text.get("observed_days"))
        return Case(
            case_id=text["case_id"] or "",
            patient_id=text["patient_id"] or "",
            cohort=self.name,
            files=((self._path.parent / self._images.format(**row)).resolve(),),
            outcome=Outcome(
                {columns.endpoint.name: columns.read(row) for columns in self._outcome},
                None if observed is None else round(observed),
            ),
            site=text.get("site"),
            modality=text.get("modality"),
            view=text.get("view"),
            scan_date=_date(text.get("scan_date")),
            age_years=_number(text.get("age_years")),
            sex=text.get("sex"),
            manufacturer=text.get("manufacturer"),
            scanner=text.get("scanner"),
            clinical={name: _plain(row[column]) for name, column in self._clinical.items()},
        )

    def _value(self, name: str, text: str) -> str | None:
        text = text.strip()
        return self._values.get(name, {}).get(text, text) or None

    def _endpoint(self, name: str, entry: Any) -> EndpointColumns:
        where = f"{self._path}: [endpoints.{name}]"
        if not isinstance(entry, dict) or set(entry) - ENDPOINT_KEYS:
            raise CohortError(f"{where} may hold {sorted(ENDPOINT_KEYS)}, not {sorted(set(entry) - ENDPOINT_KEYS)}")
        if not entry.get("state") and not entry.get("days"):
            raise CohortError(f"{where} needs a column: state (words for yes and no), days (from the scan), or both")
        try:
            endpoint = Endpoint(name, entry.get("title", name.replace("_", " ")))
            absent = State(entry.get("absent", State.NOT_RECORDED))
        except ValueError as error:
            raise CohortError(f"{where}: {error}") from error
        words = {
            key: frozenset(str(word).strip().lower() for word in entry.get(key, default))
            for key, default in (("yes", ["1", "yes"]), ("no", ["0", "no"]))
        }
        return EndpointColumns(endpoint, entry.get("state"), words["yes"], words["no"], entry.get("days"), absent)

    def _check(self) -> None:
        """Every column that the TOML names is in the CSV, and every row has its two ids."""
        unknown = sorted(set(self._columns) - set(FIELDS))
        if unknown:
            raise CohortError(f"{self._path}: [columns] knows {', '.join(FIELDS)}; not {', '.join(unknown)}")
        for name in REQUIRED:
            if name not in self._columns:
                raise CohortError(f"{self._path}: [columns] must say which column is the {name}")
        have = set(self._rows[0])
        used = [(f"[columns] {name}", column) for name, column in self._columns.items()]
        used += [(f"[clinical] {name}", column) for name, column in self._clinical.items()]
        used += [
            (f"[endpoints.{c.endpoint.name}] {key}", column)
            for c in self._outcome
            for key, column in (("state", c.state), ("days", c.days))
            if column
        ]
        used += [("images", column) for _, column, _, _ in string.Formatter().parse(self._images) if column]
        for where, column in used:
            if column not in have:
                raise CohortError(
                    f"{self._path}: {where} names the column {column!r}, which {self.source} lacks; it has: {', '.join(sorted(have))}"
                )
        for number, row in enumerate(self._rows, start=2):
            for name in REQUIRED:
                if not (row[self._columns[name]] or "").strip():
                    raise CohortError(
                        f"{self.source}, line {number}: the {name} (column {self._columns[name]!r}) is blank"
                    )


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        description = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CohortError(f"{path}: cannot be read as TOML ({error}); examples/hannover.toml shows the form") from error
    unknown = sorted(set(description) - TOP)
    if unknown:
        raise CohortError(f"{path}: unknown entries {', '.join(unknown)}; known are {', '.join(sorted(TOP))}")
    return description


def _entry(path: Path, description: dict[str, Any], name: str, kind: type[str]) -> str:
    value = description.get(name)
    if not isinstance(value, kind) or not value:
        raise CohortError(f"{path}: the entry {name!r} is missing; it is a text")
    return value


def _read_csv(path: Path, csv_path: Path) -> list[dict[str, str]]:
    try:
        with csv_path.open(newline="", encoding="utf-8-sig") as lines:
            rows = [
                {key: value or "" for key, value in row.items() if key is not None} for row in csv.DictReader(lines)
            ]
    except (OSError, ValueError, csv.Error) as error:
        raise CohortError(f"{path}: csv = {str(csv_path)!r} cannot be read ({error})") from error
    if not rows:
        raise CohortError(f"{csv_path}: the table has no rows")
    return rows


def _number(text: str | None) -> float | None:
    try:
        number = float(text or "")
    except ValueError:
        return None
    return number if abs(number) < float("inf") else None


def _plain(text: str) -> float | str | None:
    """A number where it is one (laboratories write inf for "above the detection limit"), else the text, else None."""
    try:
        return float(text)
    except ValueError:
        return text.strip() or None


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text or "")
    except ValueError:
        return None
