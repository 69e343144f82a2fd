"""The TOML that describes a table, every entry checked before a row is used. docs/archives.md explains the entries."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

from index.catalogue import FIELDS, endpoint_columns
from index.cohort import CohortError
from index.cohorts import toml_entries as toml
from index.cohorts.table_dates import EARLIEST, ORDERS, Dates
from index.cohorts.table_endpoints import EndpointColumns, read_endpoint
from index.cohorts.table_fields import ClinicalField, read_field
from index.cohorts.table_images import IN_BRACES, Images, read_images
from index.cohorts.table_rows import Join, read_join, separator

COLUMNS = (
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
    "observed_until",
    "study_uid",
    "series_uid",
    "instance_uid",
)
REQUIRED = ("case_id", "patient_id")
TOP = (
    "name",
    "csv",
    "separator",
    "images",
    "date_order",
    "earliest_date",
    "latest_date",
    "tables",
    "columns",
    "values",
    "endpoints",
    "clinical",
)
FLAGS_COLUMN = "clinical_flags"


@dataclass(frozen=True)
class Description:
    """A TOML's content. Columns are those of the CSV, or TABLE.COLUMN of a joined one."""

    name: str
    csv: str  # a path, from the TOML
    separator: str
    images: Images
    dates: Dates
    joins: tuple[Join, ...]
    columns: Mapping[str, str]  # one of COLUMNS -> column
    values: Mapping[str, Mapping[str, str]]  # one of COLUMNS -> what a cell holds -> what it means
    endpoints: tuple[EndpointColumns, ...]
    clinical: tuple[ClinicalField, ...]

    def used_columns(self) -> Iterator[tuple[str, str]]:
        """(entry, the column that it names) of all entries."""
        yield from ((f"[columns] {name}", column) for name, column in self.columns.items())
        for field in self.clinical:
            yield from field.columns()
        for outcome in self.endpoints:
            yield from outcome.columns()
        yield from (("images", column) for template in self.images.templates for column in IN_BRACES.findall(template))

    def date_columns(self) -> Iterator[tuple[str, str]]:
        """(entry, column) of the dates that days from the scan are counted to."""
        yield from ((f"{outcome.entry} date", outcome.dated) for outcome in self.endpoints if outcome.dated)
        yield from ((entry, column) for f in self.clinical if f.kind == "days_to" for entry, column in f.columns())
        if "observed_until" in self.columns:
            yield "[columns] observed_until", self.columns["observed_until"]


def read_description(path: Path, *, today: date) -> Description:
    """What the TOML says; no date is later than `today` unless it says so. Raises `CohortError` that names the entry to mend."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CohortError(f"{path}: cannot be read as TOML ({error}); docs/archives.md explains the form") from error
    try:
        return _description(content, today)
    except CohortError as error:
        raise CohortError(f"{path}: {error}") from error


def _description(content: dict[str, Any], today: date) -> Description:
    unknown = sorted(set(content) - set(TOP))
    if unknown:
        raise CohortError(f"unknown entries {', '.join(unknown)}; known are {', '.join(TOP)}")
    for name in ("name", "csv", "images"):
        if name not in content:
            raise CohortError(f"the entry {name!r} is missing; it is a text")
    columns = toml.texts(content.get("columns", {}), "[columns]")
    values = {
        name: toml.texts(words, f"[values.{name}]", blank=True)
        for name, words in toml.table(content.get("values", {}), "[values]").items()
    }
    for where, names, known in (("[columns]", columns, COLUMNS), ("[values]", values, tuple(columns))):
        strangers = sorted(set(names) - set(known))
        if strangers:
            raise CohortError(f"{where} knows {', '.join(known)}; not {', '.join(strangers)}")
    for name in REQUIRED:
        if name not in columns:
            raise CohortError(f"[columns] must say which column is the {name}")
    joins = toml.table(content.get("tables", {}), "[tables]")
    endpoints = toml.table(content.get("endpoints", {}), "[endpoints]")
    clinical = toml.table(content.get("clinical", {}), "[clinical]")
    described = Description(
        toml.text(content["name"], "name"),
        toml.text(content["csv"], "csv"),
        separator(content, ""),
        read_images(content["images"]),
        _dates(content, today),
        tuple(read_join(name, entry) for name, entry in joins.items()),
        columns,
        values,
        tuple(read_endpoint(name, entry) for name, entry in endpoints.items()),
        tuple(read_field(name, entry) for name, entry in clinical.items()),
    )
    _require_distinct_columns(described)
    _require_what_others_need(described)
    return described


def _dates(content: dict[str, Any], today: date) -> Dates:
    order = None
    if "date_order" in content:
        order = ORDERS[toml.one_of(content["date_order"], "date_order", tuple(ORDERS))]
    earliest = toml.optional_date(content, "earliest_date") or EARLIEST
    latest = toml.optional_date(content, "latest_date") or today
    if earliest > latest:
        raise CohortError(f"earliest_date is {earliest}, after latest_date, {latest}")
    return Dates(order, earliest, latest)


def _require_distinct_columns(described: Description) -> None:
    """What becomes a column of the catalogue has a name of its own."""
    taken = dict.fromkeys(FIELDS.names, "which every catalogue has")
    taken[FLAGS_COLUMN] = "which holds what was doubtful"
    added = [(f"[endpoints.{c.endpoint.name}]", endpoint_columns([c.endpoint])) for c in described.endpoints]
    added += [(f"[clinical] {field.name}", [field.name]) for field in described.clinical]
    for where, names in added:
        for name in names:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise CohortError(f"{where}: use lower-case letters, digits and underscores")
            if name in taken:
                raise CohortError(f"{where} would be a second column {name!r}, {taken[name]}; call it something else")
            taken[name] = f"beside that of {where}"


def _require_what_others_need(described: Description) -> None:
    """Days are counted from the scan's date, and a unit by site needs the site."""
    for where, _ in described.date_columns():
        if "scan_date" not in described.columns:
            raise CohortError(f"{where} is a date: [columns] must say which column is the scan_date to count days from")
    for field in described.clinical:
        if field.unit_at and "site" not in described.columns:
            raise CohortError(f"{field.entry} unit_at: [columns] must say which column is the site")
