"""The TOML that describes a table, every entry checked before a row is used. docs/archives.md explains the entries."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from index.case import Endpoint, Event, State
from index.catalogue import FIELDS, endpoint_columns
from index.cohort import CohortError
from index.cohorts.cells import whole_days

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
)
REQUIRED = ("case_id", "patient_id")
TOP = ("name", "csv", "images", "columns", "values", "endpoints", "clinical")
ENDPOINT_ENTRIES = ("title", "state", "yes", "no", "days", "absent")
IN_BRACES = re.compile(r"\{([^{}]+)\}")


@dataclass(frozen=True)
class EndpointColumns:
    """How one endpoint is read: a state column with its words, a days column, or both.

    A number of days means *yes*. `absent` is what a row says whose cells are blank: by default, that it was not recorded.
    """

    endpoint: Endpoint
    state: str | None
    yes: frozenset[str]
    no: frozenset[str]
    days: str | None
    absent: State

    def read(self, row: Mapping[str, str]) -> Event:
        word = row[self.state].strip().lower() if self.state else ""
        written = row[self.days].strip() if self.days else ""
        if not word and not written:
            return Event(self.absent)
        days = whole_days(written)
        if word in self.no and days is None:
            return Event(State.NO)
        if word in self.yes or (days is not None and word not in self.no):
            return Event(State.YES, days)
        return Event(State.NOT_RECORDED)


@dataclass(frozen=True)
class Description:
    """A TOML's content. Columns are those of the CSV."""

    name: str
    csv: str  # a path, from the TOML
    images: str  # "films/{column}.png", from the TOML
    columns: Mapping[str, str]  # one of COLUMNS -> column
    values: Mapping[str, Mapping[str, str]]  # one of COLUMNS -> what a cell holds -> what it means
    endpoints: tuple[EndpointColumns, ...]
    clinical: Mapping[str, str]  # the catalogue's name -> column

    def image(self, row: Mapping[str, str]) -> str:
        return IN_BRACES.sub(lambda found: row[found[1]], self.images)

    def used_columns(self) -> Iterator[tuple[str, str]]:
        """(entry, the column that it names) of all entries."""
        yield from ((f"[columns] {name}", column) for name, column in self.columns.items())
        yield from ((f"[clinical] {name}", column) for name, column in self.clinical.items())
        for outcome in self.endpoints:
            for key, column in (("state", outcome.state), ("days", outcome.days)):
                if column is not None:
                    yield f"[endpoints.{outcome.endpoint.name}] {key}", column
        yield from (("images", column) for column in IN_BRACES.findall(self.images))


def read_description(path: Path) -> Description:
    """What the TOML says. Raises `CohortError` that names the entry to mend."""
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CohortError(f"{path}: cannot be read as TOML ({error}); docs/archives.md explains the form") from error
    try:
        return _description(content)
    except CohortError as error:
        raise CohortError(f"{path}: {error}") from error


def _description(content: dict[str, Any]) -> Description:
    unknown = sorted(set(content) - set(TOP))
    if unknown:
        raise CohortError(f"unknown entries {', '.join(unknown)}; known are {', '.join(TOP)}")
    for name in ("name", "csv", "images"):
        if name not in content:
            raise CohortError(f"the entry {name!r} is missing; it is a text")
    columns = _texts(content.get("columns", {}), "[columns]")
    values = {
        name: _texts(words, f"[values.{name}]", blank=True)
        for name, words in _table(content.get("values", {}), "[values]").items()
    }
    for where, names, known in (("[columns]", columns, COLUMNS), ("[values]", values, tuple(columns))):
        strangers = sorted(set(names) - set(known))
        if strangers:
            raise CohortError(f"{where} knows {', '.join(known)}; not {', '.join(strangers)}")
    for name in REQUIRED:
        if name not in columns:
            raise CohortError(f"[columns] must say which column is the {name}")
    endpoints = _table(content.get("endpoints", {}), "[endpoints]")
    described = Description(
        _text(content["name"], "name"),
        _text(content["csv"], "csv"),
        _image_template(_text(content["images"], "images")),
        columns,
        values,
        tuple(_endpoint(name, entry, f"[endpoints.{name}]") for name, entry in endpoints.items()),
        _texts(content.get("clinical", {}), "[clinical]"),
    )
    _require_distinct_columns(described)
    return described


def _endpoint(name: str, value: Any, where: str) -> EndpointColumns:
    entry = _table(value, where)
    unknown = sorted(set(entry) - set(ENDPOINT_ENTRIES))
    if unknown:
        raise CohortError(f"{where} may hold {', '.join(ENDPOINT_ENTRIES)}; not {', '.join(unknown)}")
    if "state" not in entry and "days" not in entry:
        raise CohortError(f"{where} needs a column: state (words for yes and no), days (from the scan), or both")
    title, state, days, absent = (
        _text(entry[key], f"{where} {key}") if key in entry else None for key in ("title", "state", "days", "absent")
    )
    yes, no = (
        _words(entry.get(key, usual), f"{where} {key}") for key, usual in (("yes", [1, "yes"]), ("no", [0, "no"]))
    )
    if yes & no:
        raise CohortError(f"{where}: {', '.join(sorted(yes & no))} cannot mean both yes and no")
    if absent is not None and absent not in list(State):
        raise CohortError(f"{where} absent is {absent!r}; expected one of {', '.join(State)}")
    try:
        endpoint = Endpoint(name, title or name.replace("_", " "))
    except ValueError as error:
        raise CohortError(f"{where}: {error}") from error
    return EndpointColumns(endpoint, state, yes, no, days, State(absent or State.NOT_RECORDED))


def _image_template(images: str) -> str:
    rest = IN_BRACES.sub("", images)
    if rest == images or "{" in rest or "}" in rest:
        raise CohortError(f"images is {images!r}; expected a path with a column in braces, such as films/{{film}}.png")
    return images


def _require_distinct_columns(described: Description) -> None:
    """What becomes a column of the catalogue has a name of its own."""
    taken = dict.fromkeys(FIELDS.names, "which every catalogue has")
    added = [(f"[endpoints.{c.endpoint.name}]", endpoint_columns([c.endpoint])) for c in described.endpoints]
    added += [(f"[clinical] {name}", [name]) for name in described.clinical]
    for where, names in added:
        for name in names:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise CohortError(f"{where}: use lower-case letters, digits and underscores")
            if name in taken:
                raise CohortError(f"{where} would be a second column {name!r}, {taken[name]}; call it something else")
            taken[name] = f"beside that of {where}"


def _table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CohortError(f"{where} is {value!r}; expected a table of entries")
    return value


def _texts(value: Any, where: str, *, blank: bool = False) -> dict[str, str]:
    return {name: _text(text, f"{where} {name}", blank=blank) for name, text in _table(value, where).items()}


def _text(value: Any, where: str, *, blank: bool = False) -> str:
    if not isinstance(value, str) or not (value or blank):
        raise CohortError(f"{where} is {value!r}; expected a text")
    return value


def _words(value: Any, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(word, str | int) for word in value):
        raise CohortError(f'{where} is {value!r}; expected a list of words, such as ["1", "yes"]')
    return frozenset(str(word).strip().lower() for word in value)
