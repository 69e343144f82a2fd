"""Age and sex."""

import math
import re
from dataclasses import replace

from index.cohorts.clean_numbers import clean_number
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

OLDEST = 120
PUBLISHED_AGES = (13, 103)
YEARS = {"years": 1.0, "months": 1 / 12, "weeks": 1 / 52.18, "days": 1 / 365.25}
AGE_STRING = re.compile(r"\d{3}[YMWD]", re.ASCII)  # PS3.5 6.2
SEXES = {
    "0": "F", "0.0": "F", "f": "F", "female": "F", "woman": "F",
    "1": "M", "1.0": "M", "m": "M", "male": "M", "man": "M",
}  # fmt: skip


def clean_age(value: object) -> Cleaned[float]:
    """Whole years of life, 0 to 120, of a cell such as those of `clean_years`."""
    cleaned = clean_years(value)
    if cleaned.value is None:
        return cleaned
    whole = Cleaned(float(math.floor(cleaned.value)), cleaned.source, cleaned.flags)
    low, high = PUBLISHED_AGES
    return whole if low <= math.floor(cleaned.value) <= high else whole.flagged("unusual-age")


def clean_years(value: object) -> Cleaned[float]:
    """Years of life, 0 to 120: a number, a DICOM Age String such as 067Y or 018M (PS3.5 6.2), or months, weeks or days.

    A number of years keeps its fraction; of months, weeks and days only the whole years are told, flagged.
    """
    is_age_string = AGE_STRING.fullmatch(unwrapped(cell_text(value)).upper()) is not None
    units = YEARS | {"m": YEARS["months"]} if is_age_string else YEARS  # "67M" is a man of 67
    cleaned = clean_number(value, low=0, high=OLDEST, units=units)
    if cleaned.value is None or "unit-converted" not in cleaned.flags:
        return cleaned
    # a hair more, since 12 months are a year though 12 / 12 may come out below
    whole = replace(cleaned, value=float(math.floor(cleaned.value + 1e-9)))
    if is_age_string:
        return replace(whole, flags=tuple(flag for flag in whole.flags if flag != "unit-converted"))
    return whole


def clean_sex(value: object) -> Cleaned[str]:
    """F or M; 2, 3 and other codes mean neither in the schema."""
    source = cell_text(value)
    word = unwrapped(source).lower()
    if word in SEXES:
        return Cleaned(SEXES[word], source)
    if not word:
        return Cleaned(None, source)
    return Cleaned(None, source, ("stated-unknown" if word in ("u", "unknown", "not known") else "unreadable",))


def sex_beside_scan(recorded: Cleaned[str], scan_sex: object) -> Cleaned[str]:
    """`recorded`, or nothing, flagged, where (0010,0040) Patient's Sex says the other: a centre wrote its codes inverted."""
    stated = cell_text(scan_sex).upper()
    if recorded.value and stated in ("F", "M") and stated != recorded.value:
        return Cleaned(None, recorded.source, (*recorded.flags, "sex-not-of-scan"))
    return recorded
