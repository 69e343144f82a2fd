"""Age and sex."""

import math
import re

from index.cohorts.clean_numbers import clean_number
from index.cohorts.cleaned import Cleaned, cell_text, unwrapped

OLDEST = 110
PUBLISHED_AGES = (13, 103)
SEXES = {
    "0": "F", "0.0": "F", "f": "F", "female": "F", "woman": "F",
    "1": "M", "1.0": "M", "m": "M", "male": "M", "man": "M",
}  # fmt: skip


def clean_age(value: object) -> Cleaned[float]:
    """Whole years of life, 0 to 110: a number, or a DICOM Age String such as 067Y or 018M (PS3.5 6.2)."""
    source = cell_text(value)
    stated = re.fullmatch(r"(\d{1,3})\s*([YMWD])", unwrapped(source), re.ASCII | re.IGNORECASE)
    if stated:
        years = int(stated[1]) / {"Y": 1, "M": 12, "W": 52.18, "D": 365.25}[stated[2].upper()]
        cleaned = Cleaned(years, source) if years <= OLDEST else Cleaned(None, source, ("out-of-range",))
    else:
        cleaned = clean_number(value, low=0, high=OLDEST)
    if cleaned.value is None:
        return cleaned
    whole = Cleaned(float(math.floor(cleaned.value)), source, cleaned.flags)
    low, high = PUBLISHED_AGES
    return whole if low <= math.floor(cleaned.value) <= high else whole.flagged("unusual-age")


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
