"""What a page can filter by -> a condition over the catalogue; only what can be chosen is let through, and every value is quoted."""

import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from typing import Any

from werkzeug.exceptions import BadRequest

from web.live import Opened

Given = Mapping[str, Sequence[str]]  # parameter -> its values, as they were sent

# parameter -> the catalogue's column
CHOICES = {"status": "covid_status_at_scan", "phase": "scan_phase", "sex": "sex", "scanner": "scanner"}
AGES = {"age_min": "age_years >= {}", "age_max": "floor(age_years) <= {}"}  # both ends included, in whole years
DATES = {"date_from": "scan_date >= {}", "date_to": "scan_date <= {}"}
NAMES = (*CHOICES, *AGES, *DATES, "site", "outcome_recorded")
MOST_CHOICES = 100
OLDEST = 150


def condition(given: Given, opened: Opened) -> str | None:
    """The SQL condition of the filters that were set; None where none was. Of one filter any value will do.

    Raises `BadRequest` for what cannot be filtered by.
    """
    parts = list(_parts({name: [value for value in values if value] for name, values in given.items()}, opened))
    return " and ".join(parts) if parts else None


def choices(opened: Opened) -> dict[str, Any]:
    """What can be chosen in this archive."""
    catalogue = opened.engine.snapshot.catalogue
    columns = set(catalogue.columns())
    found: dict[str, Any] = {"view": ["same", "any"], "site": list(opened.sites.values())}
    for name, column in CHOICES.items():
        if column in columns:
            values = {
                str(value)
                for kind in opened.engine.archives
                for value in catalogue.values(column, kind)
                if value is not None
            }
            if len(values) <= MOST_CHOICES:
                found[name] = sorted(values)
    found["outcome_recorded"] = [{"name": e.name, "title": e.title} for e in catalogue.endpoints]
    found["ranges"] = sorted([*AGES, *DATES])
    return found


def _parts(given: Given, opened: Opened) -> Iterator[str]:
    columns = set(opened.engine.snapshot.catalogue.columns())
    for name, column in CHOICES.items():
        if given.get(name):
            if column not in columns:
                raise BadRequest(f"{name}: this archive does not record it")
            yield _any_of(column, given[name])
    for name, words in AGES.items():
        if given.get(name):
            yield words.format(_years(name, given[name]))
    for name, words in DATES.items():
        if given.get(name):
            yield words.format(_day(name, given[name]))
    _require_rising("age", [float(_years(name, given[name])) for name in AGES if given.get(name)])
    _require_rising("date", [_day(name, given[name]) for name in DATES if given.get(name)])
    if given.get("site"):
        sites = [opened.site_named(code) for code in given["site"]]
        if None in sites:
            raise BadRequest("site: no such site; GET /api/v1/filters lists them")
        yield _any_of("site", [str(site) for site in sites])
    endpoints = [endpoint.name for endpoint in opened.engine.snapshot.catalogue.endpoints]
    for endpoint in given.get("outcome_recorded", ()):
        if endpoint not in endpoints:
            raise BadRequest(f"outcome_recorded: expected one of {', '.join(endpoints)}")
        yield f"{endpoint} <> 'not_recorded'"


def quoted(text: str) -> str:
    """A string of SQL. Raises `BadRequest` for what is no text in UTF-8, or holds what a database may stop at."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        raise BadRequest("a filter holds characters that are no text")
    return "'" + text.replace("'", "''") + "'"


def _any_of(column: str, values: Sequence[str]) -> str:
    return f"{column} in ({', '.join(map(quoted, values))})"


def _require_rising(what: str, ends: Sequence[float] | Sequence[str]) -> None:
    """Raises `BadRequest` where no case could lie between."""
    if len(ends) == 2 and list(ends) != sorted(ends):
        raise BadRequest(f"{what}: the first lies after the last")


def _years(name: str, values: Sequence[str]) -> str:
    try:
        years = float(_only(name, values))
    except ValueError:
        years = math.nan
    if not 0 <= years <= OLDEST:
        raise BadRequest(f"{name}: expected years, 0 to {OLDEST}")
    return repr(years)


def _day(name: str, values: Sequence[str]) -> str:
    try:
        return f"DATE '{date.fromisoformat(_only(name, values)).isoformat()}'"
    except ValueError as error:
        raise BadRequest(f"{name}: expected a date such as 2020-03-29") from error


def _only(name: str, values: Sequence[str]) -> str:
    if len(values) > 1:
        raise BadRequest(f"{name}: given {len(values)} times; expected once")
    return values[0]
