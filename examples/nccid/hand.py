"""How a cell is filled in: a true value -> what somebody typed, and whether anyone could still tell the value from it."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from enum import Enum
from typing import Any, TypeVar

import numpy as np

from examples.nccid.centres import Habit

EXCEL_DAY_ZERO = date(1899, 12, 30)
EARLIEST = date(2017, 1, 1)  # before it no reading of a date counts
SLIPS = 0.005  # share of a centre's dates in the other order, where that can be seen
ENOUGH, CLEAR = 10, 0.95  # so many dates of one order, and so large a share, tell a centre's habit

T = TypeVar("T")


class Near(Enum):
    """Which reading of 05/04 a patient's scans bear out."""

    STAY = "within a fortnight of a scan"
    FILM = "on the day of a scan, or the next to it"
    END = "after every scan"
    NOWHERE = "scans tell nothing"

    def fits(self, when: date, scans: Collection[date]) -> bool:
        if self is Near.END:
            return bool(scans) and (max(scans) - when).days <= 1
        days = {Near.STAY: 14, Near.FILM: 1, Near.NOWHERE: -1}[self]
        return any(abs((when - scan).days) <= days for scan in scans)


class Form(Enum):
    """Whose habit a date follows; a centre's swab dates are typed by others than its full records."""

    DATA = "data"
    STATUS = "status"


@dataclass
class Census:
    """How many dates of a centre can be read in one order only, by order."""

    counts: Counter[tuple[str, Form, Habit]] = field(default_factory=Counter)

    def tells(self, trust: str, form: Form, written: Habit) -> bool:
        """Whether a reader of the whole archive reads an ambiguous date of this centre in the order it was written in."""
        us, uk = (self.counts[trust, form, habit] for habit in (Habit.US, Habit.UK))
        if us + uk < ENOUGH:  # then as the field should be written
            return written is (Habit.US if form is Form.DATA else Habit.UK)
        return (us if written is Habit.US else uk) >= CLEAR * (us + uk)


@dataclass(frozen=True)
class Ambiguity:
    """A date that could be read either way, and the order in which it was written."""

    trust: str
    form: Form
    written: Habit


@dataclass(frozen=True)
class Cell:
    """What is typed, what was meant, and whether the one can be had from the other."""

    raw: object
    value: Any = None  # None: nothing was meant
    legible: bool = True
    ambiguity: Ambiguity | None = None  # legible only if the centre's habit tells
    lie: date | None = None  # what the cell says, where that is not what happened

    def is_legible(self, census: Census) -> bool:
        doubt = self.ambiguity
        return self.legible and (doubt is None or census.tells(doubt.trust, doubt.form, doubt.written))

    def read(self, census: Census) -> Any:
        """What a perfect reader takes from the cell."""
        return (self.value if self.lie is None else self.lie) if self.is_legible(census) else None

    @property
    def is_blank(self) -> bool:
        return self.raw is None or (isinstance(self.raw, str) and self.raw.strip() in ("", "NaN"))


BLANK = Cell("")


@dataclass(frozen=True)
class Entry:
    """One field of a file: under which header it stands, and what."""

    header: str
    cell: Cell


@dataclass(frozen=True)
class Unit:
    """A unit that a number may be written in: how many of ours one of it is."""

    name: str
    factor: float = 1.0


NO_UNIT = Unit("")


@dataclass(frozen=True)
class Hand:
    """How the people of one centre fill in the form; `dirt` is the share of cells not written plainly."""

    rng: np.random.Generator
    trust: str = ""
    dates: Habit = Habit.US
    swab_dates: Habit = Habit.UK
    dirt: float = 0.3
    scans: frozenset[date] = frozenset()  # of the patient, as far as they are archived
    census: Census = field(default_factory=Census)

    def pick(self, choices: Sequence[T]) -> T:
        return choices[int(self.rng.integers(len(choices)))]

    def is_dirty(self, share: float = 1.0) -> bool:
        return bool(self.rng.random() < self.dirt * share)

    def blank(self) -> Cell:
        return self.pick((BLANK, Cell(None), Cell("  "), Cell("NaN"))) if self.is_dirty() else BLANK

    # dates

    def day(self, when: date, *, near: Near = Near.STAY, form: Form = Form.DATA) -> Cell:
        """Mostly slashed in the order of the centre's habit."""
        if self.is_dirty(0.06):
            return Cell(self.pick(_unreadable_dates(when)), when, legible=False)
        if self.is_dirty(0.6):
            return self.clear_day(when)
        return self._slashed(when, near, form)

    def clear_day(self, when: date) -> Cell:
        """In a form that has no order of day and month."""
        serial, iso = (when - EXCEL_DAY_ZERO).days, when.isoformat()
        written: tuple[object, ...] = (
            iso, f"{iso} 00:00:00", f"[Text] - {iso}", f"[1] - {iso}", serial, str(serial), f"{serial}.0",
            when.strftime("%d %b %Y"), when.strftime("%d-%B-%Y"), when.strftime("%Y%m%d"), f"{iso} (from notes)",
        )  # fmt: skip
        return Cell(self.pick(written), when)

    def _slashed(self, when: date, near: Near, form: Form) -> Cell:
        habit = self.dates if form is Form.DATA else self.swab_dates
        if habit is Habit.MIXED:
            habit = self.pick((Habit.US, Habit.UK))
        elif when.day > 12 and self.rng.random() < SLIPS:
            habit = Habit.UK if habit is Habit.US else Habit.US
        first, second = (when.month, when.day) if habit is Habit.US else (when.day, when.month)
        separator = self.pick((".", "-", "/")) if self.is_dirty(0.15) else "/"
        year = f"{when:%y}" if self.is_dirty(0.15) else f"{when:%Y}"
        plain = self.is_dirty(0.3)
        text = separator.join([str(first) if plain else f"{first:02}", str(second) if plain else f"{second:02}", year])
        if when.day > 12:
            self.census.counts[self.trust, form, habit] += 1
            return Cell(text, when)
        other = date(when.year, when.day, when.month)
        if other == when or other < EARLIEST:
            return Cell(text, when)
        right, wrong = near.fits(when, self.scans), near.fits(other, self.scans)
        if right != wrong:  # the scans tell, or mislead
            return Cell(text, when, legible=right)
        return Cell(text, when, ambiguity=Ambiguity(self.trust, form, habit))

    # numbers, codes and states

    def number(
        self, value: float, when: date, *, decimals: int = 0, stated: Unit = NO_UNIT, site: Unit = NO_UNIT
    ) -> Cell:
        """In the centre's unit, or in that of the schema with the unit written out."""
        if self.is_dirty(0.05):
            return Cell(self.pick(_unreadable_numbers(when)), value, legible=False)
        unit, suffix = (stated, f" {stated.name}") if stated.name and self.is_dirty(0.15) else (site, "")
        number = _rounded(value / unit.factor, decimals if unit.factor == 1 else 6)
        meant = _rounded(number * unit.factor, 6)
        text = f"{number}{suffix}"
        if suffix or not self.is_dirty():
            return Cell(text if suffix or self.rng.random() < 0.35 else number, meant)
        forms: list[Callable[[], str]] = [
            lambda: f"{text} ", lambda: f"[{text}] - {when.isoformat()}", lambda: f"{text} (repeat sent)",
            lambda: f"{text} - see notes", lambda: f"{'<' if self.rng.random() < 0.7 else '>'}{text}",
        ]  # fmt: skip
        if number >= 1000:
            forms.append(lambda: f"{number:,}")
        elif re.fullmatch(r"\d+\.\d{1,2}", text):
            forms.append(lambda: text.replace(".", ","))
        return Cell(self.pick(forms)(), meant)

    def code(self, value: float, *, remarks: Sequence[str] = (), unknown: int | None = None, words: str = "") -> Cell:
        """One of a list's codes; `words` go before it, a remark after it."""
        if unknown is not None and self.rng.random() < 0.05:
            return Cell(self.pick((unknown, str(unknown), "Unknown")))
        if self.is_dirty(0.03):
            return Cell(self.pick(("o", "?", "[Text]", "9", "1/2")), value, legible=False)
        digit = int(value)
        forms: list[object] = [digit, str(digit)]
        if self.is_dirty():
            forms = [float(digit), f"{digit} ", f"{digit}.0", f"[{digit}] - 2020-05-19"]
            forms += [f"{digit} - {remark}" for remark in remarks] + ([f"{words}{digit}"] if words else [])
        return Cell(self.pick(forms), value)

    def bit(self, value: bool) -> object:
        """0 or 1 in some type of number."""
        return (int(value), int(value), str(int(value)), float(value))[int(self.rng.integers(4))]

    def state(self, value: bool, *, is_test: bool = False, remarks: Sequence[str] = ()) -> Cell:
        """Yes or no, in words where the hand is dirty; some do not know."""
        if not is_test and self.rng.random() < 0.03:
            return Cell(self.pick((2, "2", "2.0", "Unknown", "not known")))
        if self.is_dirty(0.03):
            return Cell(self.pick(("?", "[Text]", "0/1", "see notes", "7")), value, legible=False)
        if not self.is_dirty():
            return Cell(self.bit(value), value)
        if is_test:
            words: tuple[object, ...] = (
                ("Positive", "positive ", "RNA DETECTED (SARS-CoV-2)", "pos") if value else ("Negative", "NEG", "Not detected")
            )  # fmt: skip
        else:
            words = ("Yes", "Y", "yes ", "1es", True) if value else ("No", "N", "no", False)
        remarked = tuple(f"{int(value)} - {remark}" for remark in remarks) if value else ()
        return Cell(self.pick((*words, *remarked)), value)


def lied(cell: Cell, truth: date) -> Cell:
    """The cell of another day than the one on which it happened."""
    return replace(cell, value=truth, lie=cell.value)


def _rounded(number: float, decimals: int) -> float | int:
    rounded = round(number, decimals)
    return int(rounded) if float(rounded).is_integer() else rounded


def _unreadable_dates(when: date) -> tuple[str, ...]:
    later = when + timedelta(days=3)
    return (
        "[Text]", "unknown", f"??/{when.month:02}/{when.year}", str(when.year), "00/00/0000", "n/k",
        f"{when.isoformat()} or {later.isoformat()}", f"{when.day}/{when.month}/{when.year - 100}",
        f"{when.isoformat().replace('20', '22', 1)}",
    )  # fmt: skip


def _unreadable_numbers(when: date) -> tuple[str, ...]:
    return (
        "[Text]", "not done", "haemolysed", when.isoformat(), when.strftime("%d/%m/%Y"), "12 - 14", "36 / 37.1", "9999999",
        "see notes",
    )  # fmt: skip
