"""Measured numbers: bracketed, censored, with thousands, units or remarks; blood pressures; codes of a list."""

import math
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

DATE = re.compile(r"\d{4}[-/.]\d{1,2}[-/.]\d{1,2}\b.*|\d{1,2}([-/.])\d{1,2}\1(\d{4}|\d{2})\b.*", re.ASCII)
NUMBER = re.compile(
    r"(?P<limit>[<>≤≥]?)=?\s*"
    r"(?:(?P<thousands>[-+]?[1-9]\d{0,2}(?:,\d{3})+(?:\.\d+)?)|(?P<comma>[-+]?\d+,\d{1,2})|(?P<plain>[-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?))"
    r"(?![\d,])\s*(?P<rest>.*)",
    re.ASCII | re.IGNORECASE,
)
TIMES = {
    "hours": ("h", "hr", "hrs", "hour", "hours"), "days": ("d", "day", "days"), "weeks": ("w", "wk", "wks", "week", "weeks"),
    "months": ("mth", "mths", "month", "months"), "years": ("y", "yr", "yrs", "year", "years"),
}  # fmt: skip
UNITS = re.compile(
    r"(?:(?:x\s*)?10\s*[\^*]?\s*9\s*/\s*l"
    # anything by volume, amount, mass, area or time: "mg/L", "mg/mmol", "U/mL", "beats / min"
    r"|[a-zµμ]{0,8}\s*/\s*(?:[munpdµμ]?l|[munpµμ]?mol|[mkuµμ]?g|min|h|hr|hour|day|mm3|m2|cmm)"
    r"|kpa|mmhg|mbar|%|bpm|breaths|beats|°?\s*[cf]|[mk]?iu|units?|[mc]?m|kg|m?l"
    rf"|{'|'.join(spelling for spellings in TIMES.values() for spelling in spellings)})(?![a-z0-9])",
    re.ASCII | re.IGNORECASE,
)
NO_UNIT: Mapping[str, float] = {}
HEARTBEATS = dict.fromkeys(("bpm", "beats", "beats/min", "/min"), 1.0)
BREATHS = dict.fromkeys(("bpm", "breaths", "breaths/min", "/min"), 1.0)
CELSIUS = {"c": 1.0}
MMHG = {"mmhg": 1.0}
DAYS = {"days": 1.0, "weeks": 7.0}
BEDSIDE = {**HEARTBEATS, **BREATHS, **CELSIUS, **MMHG, "days": 1.0}


@dataclass(frozen=True)
class Number:
    """A number as it was written, with its unit as `UNITS` has it, in lower case ("" where none is), and flags."""

    value: float
    unit: str
    flags: tuple[str, ...]


def read_number(text: str) -> Number | str:
    """The one number of a cell that is not blank, or the flag that says why there is none."""
    text = unwrapped(text)
    if DATE.fullmatch(text):
        return "date-in-number"
    found = NUMBER.fullmatch(text)
    if not found:
        return "unreadable"
    flags = []
    if found["limit"]:
        flags.append("censored-below" if found["limit"] in "<≤" else "censored-above")
    if found["thousands"]:
        flags.append("thousand-separator")
    if found["comma"]:
        flags.append("decimal-comma")
    written = found["plain"] or (found["comma"] or "").replace(",", ".") or found["thousands"].replace(",", "")
    rest = found["rest"].strip()
    unit = UNITS.match(rest)
    remark = rest[unit.end() :].strip() if unit else rest
    if re.search(r"\d", re.sub(r"\([^()]*\)?", "", remark)):
        return "several-values"
    if remark:
        flags.append("text-around")
    return Number(float(written), _plain_unit(unit[0]) if unit else "", tuple(flags))


def clean_from(value: object, of_number: Callable[[Number, str], Cleaned[float]]) -> Cleaned[float]:
    """What `of_number` makes of the number in a cell and of the cell; nothing where the cell holds no single number."""
    source = cell_text(value)
    if not source:
        return Cleaned(None)
    number = read_number(source)
    if isinstance(number, str):
        return Cleaned(None, source, (number,))
    return of_number(number, source)


def clean_number(value: object, *, low: float, high: float, units: Mapping[str, float] = BEDSIDE) -> Cleaned[float]:
    """A number from `low` to `high`, without a unit or in one of `units`: how many of the field's own one of each is."""

    def of_number(number: Number, source: str) -> Cleaned[float]:
        factor = units.get(number.unit) if number.unit else 1.0
        if factor is None:
            return Cleaned(None, source, (*number.flags, "other-unit"))
        flags = number.flags if factor == 1 else (*number.flags, "unit-converted")
        return in_range(Cleaned(number.value * factor, source, flags), low, high)

    return clean_from(value, of_number)


def in_range(cleaned: Cleaned[float], low: float, high: float) -> Cleaned[float]:
    """`cleaned`, or nothing, flagged, where it is outside the limits."""
    if cleaned.value is not None and math.isfinite(cleaned.value) and low <= cleaned.value <= high:
        return cleaned
    return Cleaned(None, cleaned.source, (*cleaned.flags, "out-of-range"))


def clean_pressure(value: object, *, place: int) -> Cleaned[float]:
    """Systolic (`place` 0) or diastolic (1) pressure in mmHg: a number, or that of "137/91"."""
    source = cell_text(value)
    pair = re.fullmatch(r"(\d{2,3})\s*/\s*(\d{2,3})(?:\s*mmhg)?", unwrapped(source), re.ASCII | re.IGNORECASE)
    if not pair:
        return clean_number(value, low=20, high=300, units=MMHG)
    if int(pair[1]) <= int(pair[2]):
        return Cleaned(None, source, ("out-of-range",))
    return in_range(Cleaned(float(pair[1 + place]), source), 20, 300)


def clean_code(value: object, *, codes: Collection[int], unknown: int | None = None) -> Cleaned[float]:
    """One of `codes`, also as "CVCX2" or "5 - Lung Ca"; `unknown` is the code that says that it is not known."""
    source = cell_text(value)
    word = unwrapped(source).lower()
    if not word:
        return Cleaned(None, source)
    if word in ("unknown", "not known", "not recorded"):
        return Cleaned(None, source, ("stated-unknown",))
    found = re.fullmatch(r"(?:cvcx\s?)?(\d)(?:\.0)?(?![\d.])(\D*)", word, re.ASCII)
    if not found:
        return Cleaned(None, source, ("unreadable",))
    flags = ("text-around",) if found[2] else ()
    code = int(found[1])
    if code == unknown:
        return Cleaned(None, source, (*flags, "stated-unknown"))
    return Cleaned(float(code), source, flags) if code in codes else Cleaned(None, source, (*flags, "out-of-range"))


def _plain_unit(unit: str) -> str:
    """A spelling as the fields state it: "x 10*9 / L" -> "10^9/l", "°C" -> "c", "wks" -> "weeks"."""
    plain = re.sub(r"[\s°]+", "", re.sub("[µμ]", "u", unit.lower()))
    if re.fullmatch(r"x?10[\^*]?9/l", plain):
        return "10^9/l"
    return next((name for name, spellings in TIMES.items() if plain in spellings), plain)
