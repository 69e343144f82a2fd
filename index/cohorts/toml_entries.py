"""Entries of a TOML as the types they should have. Each raises `CohortError` that names the entry to mend."""

from collections.abc import Collection
from datetime import date, datetime
from typing import Any

from index.cohort import CohortError


def table(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise CohortError(f"{where} is {value!r}; expected a table of entries")
    return value


def known_entries(value: Any, where: str, known: Collection[str]) -> dict[str, Any]:
    """A table without any other entry than the known ones."""
    entry = table(value, where)
    unknown = sorted(set(entry) - set(known))
    if unknown:
        raise CohortError(f"{where} may hold {', '.join(known)}; not {', '.join(unknown)}")
    return entry


def texts(value: Any, where: str, *, blank: bool = False) -> dict[str, str]:
    return {name: text(entry, f"{where} {name}", blank=blank) for name, entry in table(value, where).items()}


def text(value: Any, where: str, *, blank: bool = False) -> str:
    if not isinstance(value, str) or not (value or blank):
        raise CohortError(f"{where} is {value!r}; expected a text")
    return value


def optional_text(entry: dict[str, Any], key: str, where: str) -> str | None:
    return text(entry[key], f"{where} {key}".strip()) if key in entry else None


def one_of(value: Any, where: str, known: Collection[str]) -> str:
    if value not in list(known):
        raise CohortError(f"{where} is {value!r}; expected one of {', '.join(known)}")
    return str(value)


def words(value: Any, where: str) -> frozenset[str]:
    if not isinstance(value, list) or not all(isinstance(word, str | int) for word in value):
        raise CohortError(f'{where} is {value!r}; expected a list of words, such as ["1", "yes"]')
    return frozenset(str(word).strip().lower() for word in value)


def optional_number(entry: dict[str, Any], key: str, where: str) -> float | None:
    value = entry.get(key)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < float("inf"):
        raise CohortError(f"{where} {key} is {value!r}; expected a number")
    return float(value)


def optional_date(entry: dict[str, Any], key: str) -> date | None:
    value = entry.get(key)
    if value is not None and (isinstance(value, datetime) or not isinstance(value, date)):
        raise CohortError(f"{key} is {value!r}; expected a date without quotes, such as 2020-03-29")
    return value


def true_or_false(entry: dict[str, Any], key: str, where: str) -> bool:
    value = entry.get(key, False)
    if not isinstance(value, bool):
        raise CohortError(f"{where} {key} is {value!r}; expected true or false")
    return value
