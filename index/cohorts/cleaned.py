"""A cleaned value with what stood in the record and what is doubtful about it; how a raw cell becomes text."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from typing import Generic, Self, TypeVar

T = TypeVar("T", covariant=True)

LONGEST_CELL = 200  # characters; whatever is longer is prose, and no number or date

# every flag of the cleaning, and what it says; docs/archives.md shows the same
FLAGS: Mapping[str, str] = {
    "a-day-off": "the recorded film is dated a day beside this scan",
    "age-not-of-scan": "another age than the scan's header says; the header's is used",
    "ambiguous-order": "day and month could be either; read in the order that the field should have, or not at all where the centre writes both",
    "ambiguous-unit": "FiO2 of 1 could be a litre a minute or 100 %; read as a litre",
    "cells-disagree": "the PaO2 cell says otherwise; the field's own value was kept",
    "censored-above": "a laboratory's `>`: the value is the limit",
    "censored-below": "a laboratory's `<`: the value is the limit",
    "date-in-number": "a date where a number belongs; not used",
    "decimal-comma": "a comma read as the decimal point",
    "denied-but-dated": "recorded as no, yet with a date: taken as yes, or as not recorded where the date cannot be used",
    "denied-but-implied": "recorded as no, yet intubation is recorded",
    "equal-dates": "rows of the same date say different things; not used",
    "event-before-scan": "who died was scanned only afterwards, as dated; the days were kept",
    "excel-serial": "a date written as Excel's count of days",
    "final-status-negative": "a full record, yet its final status is negative",
    "follow-up-by-scan": "seen last at a later scan than the record tells",
    "from-admission": "no positive test is dated; the day of admission was taken",
    "from-flow": "FiO2 looked up from litres a minute",
    "from-mask": "FiO2 looked up from the colour of a Venturi mask",
    "from-older-file": "blank in the newest file, taken from an older one",
    "from-pao2": "taken from the PaO2 cell",
    "from-result": "no positive test has a day of sampling; that of the result was taken",
    "from-text": "taken from words instead of a code",
    "header-variant": "found under a misspelt or former header",
    "headers-disagree": "two spellings of the header hold different values; not used",
    "implausible-order": "the dates contradict each other in order; not used",
    "implied": "not recorded itself, but what was done there is",
    "impossible-test": "a positive test dated before there were any, or long after death; not used",
    "incomplete": "one of ITU, intubation and death is not recorded: at least this",
    "no-but-dated": "the word says no, but there is a date or a number of days; not recorded",
    "no-result": "not every swab of the control has a readable result",
    "older-file-differs": "an older file of the patient says something else",
    "order-by-centre": "day and month could be either; read in the order in which the centre is seen to write",
    "order-by-scan": "day and month could be either; only one of them fits the patient's scans",
    "other-order": "possible only with day and month in the other order than the field should have",
    "other-pseudonym": "the record or the scan's header calls the patient something else than their folder does",
    "other-unit": "the cell's unit cannot become that of the field; not used",
    "out-of-range": "no possible value; not used",
    "room-air": "no oxygen was given, so FiO2 is 21 %",
    "several-films-that-day": "the recorded film's day has several films; which one is meant is not told",
    "several-values": "more than one date, number, answer or group; not used",
    "seen-after-death": "last seen after the event that ends the observation; the event counts",
    "sex-not-of-scan": "another sex than the scan's header says; the header's is used",
    "stated-unknown": "recorded as unknown",
    "text-around": "further text beside the value",
    "thousand-separator": "a comma read as separating thousands",
    "two-films-that-day": "both recorded films are of one day and differ; not used",
    "unit-assumed": "the site's unit is not known; the schema's was taken",
    "unit-converted": "written in another unit of time; converted",
    "unit-by-magnitude": "the unit was told by the size of the number",
    "unit-doubtful": "the site's stated unit cannot be; the usual one was taken",
    "unreadable": "says nothing that is understood; not used",
    "unusual-age": "outside the published range of 13 to 103 years",
}


@dataclass(frozen=True)
class Cleaned(Generic[T]):
    """A value (None: not recorded), the cell that it came from, and codes of `FLAGS`."""

    value: T | None
    source: str = ""
    flags: tuple[str, ...] = ()

    def flagged(self, *codes: str) -> Self:
        return replace(self, flags=(*self.flags, *codes))


def cell_text(value: object) -> str:
    """A cell as one line of valid text; empty where it is blank, NaN or nested."""
    if not isinstance(value, str | int | float):
        return ""
    try:
        text = str(value)
    except ValueError:  # an integer of more digits than Python prints
        return ""
    text = " ".join(text.replace("\0", " ").encode("utf-8", "replace").decode("utf-8").split())
    if text.lower() in ("nan", "nat", "null", "na", "n/a"):
        return ""
    return text if len(text) <= LONGEST_CELL else text[:LONGEST_CELL] + "…"


def says_nothing(value: object) -> bool:
    """Whether a cell is blank, or holds what is put into a form for nothing: "-", "--", "?", ".".

    Such a cell hides nothing that another file or row tells; where nothing else does, it is still one that cannot be read.
    """
    return re.fullmatch(r"[-–—?.]*", cell_text(value)) is not None


def unwrapped(text: str) -> str:
    """The value of "[67] - 2020-06-06", which some sites write for a measurement and its day."""
    text = re.sub(r"\s+-\s*\d{4}-\d{2}-\d{2}$", "", text, flags=re.ASCII)
    inner = re.fullmatch(r"\[([^\[\]]*)\]", text)
    return inner[1].strip() if inner else text


def printed(value: object) -> str:
    """A cleaned value as text, which cleans to the same value."""
    if value is None:
        return ""
    return value.isoformat() if isinstance(value, date) else str(value)
