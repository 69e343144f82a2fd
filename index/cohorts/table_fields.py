"""A clinical field of a table: a number with its unit, yes or no, one of some words, days to a date, or as it stands."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from index.cohort import CohortError
from index.cohorts import toml_entries as toml
from index.cohorts.cells import number_or_text, yes_or_no
from index.cohorts.clean_numbers import in_range, read_number
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped
from index.cohorts.table_dates import Dates, days_between
from index.cohorts.table_rows import disputed
from index.cohorts.table_units import factor_between, plain, split_unit

ENTRIES = ("column", "kind", "words", "unit", "to", "factor", "unit_at", "low", "high")
KINDS = ("number", "yes_no", "words", "days_to", "as_is")
OF_NUMBERS = ("unit", "to", "factor", "unit_at", "low", "high")

Value = float | str


@dataclass(frozen=True)
class ClinicalField:
    """How one column of the catalogue is read."""

    name: str
    column: str
    kind: str = "as_is"  # one of KINDS
    words: Mapping[str, Value | None] = field(default_factory=dict)  # a cell in lower case -> what it means
    unit: str = ""  # of a number without one
    to: str = ""  # of the value
    factor: float | None = None  # how many `to` one `unit` is
    unit_at: Mapping[str, str] = field(default_factory=dict)  # site, in any case -> its unit, where that is not `unit`
    low: float = float("-inf")
    high: float = float("inf")

    @property
    def entry(self) -> str:
        return f"[clinical.{self.name}]"

    def columns(self) -> Iterator[tuple[str, str]]:
        """(entry of the TOML, the column that it names)."""
        yield f"[clinical] {self.name}", self.column

    def read(self, row: Mapping[str, str], site: str | None, scan_date: date | None, dates: Dates) -> Cleaned[Value]:
        text = row[self.column]
        source = cell_text(text)
        if doubt := disputed(text):
            return doubt
        if self.kind == "as_is":
            return Cleaned(number_or_text(text), source)
        if source.lower() in self.words:
            return Cleaned(self.words[source.lower()], source)
        if not source:
            return Cleaned(None)
        if self.kind == "number":
            return self._number(source, site)
        if self.kind == "yes_no":
            state = yes_or_no(text)
            return Cleaned(state.value and str(state.value), source, state.flags)
        if self.kind == "days_to":
            when = dates.read(text)
            days = days_between(scan_date, when.value)
            return Cleaned(None if days is None else float(days), source, when.flags)
        return Cleaned(None, source, ("unreadable",))

    def _number(self, source: str, site: str | None) -> Cleaned[Value]:
        before, own = split_unit(unwrapped(source), (self.unit, self.to))
        number = read_number(before)
        if isinstance(number, str):
            return Cleaned(None, source, (number,))
        flags = number.flags
        own = own or number.unit  # also one that `SCALES` does not know: "5 mg/mmol"
        unit_at = {site_key(name): unit for name, unit in self.unit_at.items()}
        factor = self._factor(own or plain(unit_at.get(site_key(site or ""), self.unit)))
        if factor is None:
            return Cleaned(None, source, (*flags, "other-unit"))
        if own and not (self.unit or self.to):
            flags = (*flags, "unit-assumed")
        cleaned = in_range(Cleaned(float(f"{number.value * factor:.12g}"), source, flags), self.low, self.high)
        return Cleaned(cleaned.value, cleaned.source, cleaned.flags)

    def _factor(self, unit: str) -> float | None:
        """How many of the field's unit one `unit` is; None where that is not known."""
        if self.factor is not None and unit == plain(self.unit):
            return self.factor
        if not (self.unit or self.to):
            return None if unit and self.factor is not None else 1.0
        return factor_between(unit, self.to)


def site_key(site: str) -> str:
    """By which a site is the same whatever its case and blanks."""
    return " ".join(site.casefold().split())


def read_field(name: str, value: Any) -> ClinicalField:
    """The entry `NAME = "column"` of `[clinical]`, or `[clinical.NAME]`. Raises `CohortError`."""
    if not isinstance(value, dict):
        return ClinicalField(name, toml.text(value, f"[clinical] {name}"))
    where = f"[clinical.{name}]"
    entry = toml.known_entries(value, where, ENTRIES)
    if "column" not in entry:
        raise CohortError(f"{where} needs 'column'")
    numeric = [key for key in OF_NUMBERS if key in entry]
    usual = "number" if numeric else "words" if "words" in entry else "as_is"
    kind = toml.one_of(entry.get("kind", usual), f"{where} kind", KINDS)
    if numeric and kind != "number":
        raise CohortError(f"{where}: {numeric[0]} belongs to kind 'number', not {kind!r}")
    if (kind == "words" and "words" not in entry) or (kind == "as_is" and "words" in entry):
        raise CohortError(f"{where}: kind {kind!r} {'needs' if kind == 'words' else 'takes no'} words")
    unit = toml.optional_text(entry, "unit", where) or ""
    to = toml.optional_text(entry, "to", where) or unit
    low, high, factor = (toml.optional_number(entry, key, where) for key in ("low", "high", "factor"))
    described = ClinicalField(
        name,
        toml.text(entry["column"], f"{where} column"),
        kind,
        _meanings(entry.get("words", {}), f"{where} words", kind),
        unit,
        to,
        factor,
        toml.texts(entry.get("unit_at", {}), f"{where} unit_at"),
        float("-inf") if low is None else low,
        float("inf") if high is None else high,
    )
    _require_factors(described, where)
    return described


def _require_factors(described: ClinicalField, where: str) -> None:
    if described.low > described.high:
        raise CohortError(f"{where}: low is {described.low:g}, which is more than high, {described.high:g}")
    if described.to and not described.unit:
        raise CohortError(f"{where} needs unit: what a number without a unit is in")
    if described.unit_at and not described.unit:
        raise CohortError(f"{where} needs unit beside unit_at: what the other sites' numbers are in")
    if len({site_key(site) for site in described.unit_at}) < len(described.unit_at):
        raise CohortError(f"{where} unit_at names a site twice: {', '.join(map(repr, described.unit_at))}")
    if described.factor == 0:
        raise CohortError(f"{where} factor is 0; expected how many {described.to} one {described.unit} is")
    for unit in (described.unit, *described.unit_at.values()):
        if described._factor(plain(unit)) is None:
            raise CohortError(
                f"{where}: no factor is known from {unit!r} to {described.to!r}"
                + ("; say factor = how many of the latter one of the former is" if unit == described.unit else "")
            )


def _meanings(value: Any, where: str, kind: str) -> dict[str, Value | None]:
    """Cell in lower case -> its meaning; a blank text means that nothing is recorded."""
    meanings: dict[str, Value | None] = {}
    for word, meaning in toml.table(value, where).items():
        if isinstance(meaning, bool) or not isinstance(meaning, str | int | float):
            raise CohortError(f"{where} {word} is {meaning!r}; expected a text or a number")
        if isinstance(meaning, str) and meaning and kind in ("number", "days_to"):
            raise CohortError(f'{where} {word} is {meaning!r}; expected a number, or "" for nothing recorded')
        if kind == "yes_no" and meaning not in ("yes", "no", ""):
            raise CohortError(f'{where} {word} is {meaning!r}; expected "yes", "no", or "" for nothing recorded')
        meanings[" ".join(word.lower().split())] = (meaning or None) if isinstance(meaning, str) else float(meaning)
    return meanings
