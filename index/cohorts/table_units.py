"""Units that become one another by a factor, and the unit that stands behind a number."""

import re
from functools import cache

# unit -> (what it measures, how many of that group's first unit it is)
SCALES: dict[str, tuple[str, float]] = {
    name: (group, size)
    for group, units in {
        "mass in a volume": {
            "g/l": 1, "g/dl": 10, "mg/ml": 1, "mg/dl": 1e-2, "mg/l": 1e-3, "ug/ml": 1e-3, "ug/dl": 1e-5, "ug/l": 1e-6,
            "ng/ml": 1e-6, "ng/dl": 1e-8, "ng/l": 1e-9, "pg/ml": 1e-9,
        },
        "substance in a volume": {"mol/l": 1, "mmol/l": 1e-3, "umol/l": 1e-6, "nmol/l": 1e-9, "pmol/l": 1e-12},
        "cells in a volume": {"10^9/l": 1, "10^3/ul": 1, "/ul": 1e-3},
        "pressure": {"kpa": 1, "mmhg": 0.133322, "mbar": 0.1},
        "share": {"fraction": 1, "%": 1e-2},
        "length": {"m": 1, "cm": 1e-2, "mm": 1e-3},
        "mass": {"kg": 1, "g": 1e-3},
        "time": {"days": 1, "weeks": 7, "years": 365.25},
    }.items()
    for name, size in units.items()
}  # fmt: skip


def plain(unit: str) -> str:
    """A unit as `SCALES` spells it: "µg / L" -> "ug/l", "°C" -> "c"."""
    return re.sub(r"[\s°]+", "", re.sub("[µμ]", "u", unit)).lower()


def factor_between(unit: str, to: str) -> float | None:
    """How many of `to` one `unit` is; None where they do not measure the same, or are not known."""
    if plain(unit) == plain(to):
        return 1.0
    have, want = SCALES.get(plain(unit)), SCALES.get(plain(to))
    return have[1] / want[1] if have and want and have[0] == want[0] else None


def split_unit(text: str, also: tuple[str, ...] = ()) -> tuple[str, str]:
    """(what stands before the unit at the end, the unit as `SCALES` or `also` spells it): "12 mg/dL" -> ("12", "mg/dl").

    The unit is blank where there is none.
    """
    found = _ending_in_unit(also).fullmatch(text)
    return (found[1], plain(found[2])) if found else (text, "")


@cache
def _ending_in_unit(also: tuple[str, ...]) -> re.Pattern[str]:
    units = sorted({*SCALES, *map(plain, also)} - {""}, key=len, reverse=True)
    spelt = "|".join(r"\s*".join(map(re.escape, unit)).replace("u", "[uµμ]") for unit in units)
    return re.compile(rf"(.*[\d\].])\s*({spelt})", re.IGNORECASE)
