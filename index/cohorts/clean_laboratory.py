"""Laboratory values in one unit: the cell's own, else the site's as NCCID publishes it, else the schema's."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from index.cohorts.clean_numbers import Number, clean_from, in_range
from index.cohorts.cleaned import Cleaned

IMPERIAL = "imperial college healthcare nhs trust"
CAMBRIDGE = "cambridge university hospitals nhs foundation trust"
CORNWALL = "royal cornwall hospitals nhs trust"
WEST_SUFFOLK = "west suffolk nhs foundation trust"
SHEFFIELD = "sheffield childrens nhs foundation trust"
NORWICH = "norfolk and norwich university hospitals nhs foundation trust"
UREA_NG_PER_ML = 1 / 60_060  # mmol/L of one ng/mL: urea weighs 60.06 g a mole
CREATININE_MG_PER_DL = 88.42  # umol/L


@dataclass(frozen=True)
class Lab:
    """A laboratory value: the range that it may have in its unit, and how other units become that one."""

    unit: str
    low: float
    high: float
    factors: Mapping[str, float] = field(default_factory=dict)  # other unit -> how many of ours one of it is
    sites: Mapping[str, str] = field(default_factory=dict)  # whose unit differs between sites: site -> unit


WHITE_CELLS = Lab("10^9/l", 0, 1000)
LYMPHOCYTES = Lab("10^9/l", 0, 500)
PLATELETS = Lab("10^9/l", 1, 3000)
CRP = Lab("mg/l", 0, 1000)
FIBRINOGEN = Lab("g/l", 0, 20, {"mg/dl": 0.01})
FERRITIN = Lab("ug/l", 0, 200_000, {"ng/ml": 1})
TROPONIN_T = Lab("ng/l", 0, 100_000, {"pg/ml": 1, "ng/ml": 1000, "ug/l": 1000})
TROPONIN_I = Lab(
    "ng/l", 0, 500_000, {"pg/ml": 1, "ng/ml": 1000, "ug/l": 1000},
    {IMPERIAL: "ng/l", CAMBRIDGE: "ng/l", CORNWALL: "ng/l", SHEFFIELD: "ng/ml", NORWICH: "ng/l"},
)  # fmt: skip
D_DIMER = Lab(
    "ug/l", 5, 500_000, {"ng/ml": 1, "mg/l": 1000, "ug/ml": 1000},
    {
        IMPERIAL: "mg/l", CAMBRIDGE: "ng/ml", CORNWALL: "ng/ml", WEST_SUFFOLK: "ng/ml", SHEFFIELD: "ng/ml",
        NORWICH: "ug/l",
    },
)  # fmt: skip
UREA = Lab("mmol/l", 0.1, 150, {"ng/ml": UREA_NG_PER_ML}, {IMPERIAL: "ng/ml"})
CREATININE = Lab("umol/l", 15, 3000, {"mg/dl": CREATININE_MG_PER_DL})
D_DIMER_MG_PER_L = 30  # up to here a number without unit is mg/L: as ug/L it would be below what assays detect
D_DIMER_UG_PER_L = 100  # from here it is ug/L: as mg/L it would be beyond what assays report
# days of 2019 to 2023 as Excel counts them: a narrow span at the far end of what is measured, and where slipped dates lie
FIRST_SERIAL, LAST_SERIAL = 43_466, 45_291


def clean_laboratory(value: object, lab: Lab, *, site: str = "") -> Cleaned[float]:
    """The value in `lab.unit`. Where a listed site's unit makes it impossible, the usual one is taken, flagged."""
    return clean_from(value, lambda number, source: _in_unit(number, source, lab, site))


def _in_unit(number: Number, source: str, lab: Lab, site: str) -> Cleaned[float]:
    if _is_serial(number):
        return Cleaned(None, source, ("date-in-number",))
    if number.unit:
        unit, flags = number.unit, number.flags
    else:
        unit, doubts = _unstated_unit(number.value, lab, site)
        flags = (*number.flags, *doubts)
    factor = 1.0 if unit == lab.unit else lab.factors.get(unit)
    if factor is None:
        return Cleaned(None, source, (*flags, "other-unit"))
    exact = number.value if factor == 1 else round(number.value * factor, 6)
    return in_range(Cleaned(exact, source, flags), lab.low, lab.high)


def _unstated_unit(size: float, lab: Lab, site: str) -> tuple[str, tuple[str, ...]]:
    """(the unit of a number without one, flags)."""
    listed = lab.sites.get(site_key(site))
    if lab is UREA and listed:  # ng/mL would make 5, a usual urea in mmol/L, a millionth of what anyone has
        return (listed, ()) if size * UREA_NG_PER_ML >= lab.low else (lab.unit, ("unit-doubtful",))
    if lab is CREATININE and size < lab.low:
        return "mg/dl", ("unit-by-magnitude",)
    if lab is D_DIMER:
        return _d_dimer_unit(size, listed)
    if listed:
        return listed, ()
    return lab.unit, ("unit-assumed",) if lab.sites and lab is not UREA else ()


def _d_dimer_unit(size: float, listed: str | None) -> tuple[str, tuple[str, ...]]:
    """By size where that tells; between, the site's unit, else the schema's: as mg/L it would be an extreme value."""
    by_size = "mg/l" if size <= D_DIMER_MG_PER_L else D_DIMER.unit if size >= D_DIMER_UG_PER_L else None
    if listed is None:
        return (by_size, ("unit-by-magnitude",)) if by_size else (D_DIMER.unit, ("unit-assumed",))
    is_contrary = by_size is not None and (by_size == "mg/l") != (listed == "mg/l")
    return (by_size, ("unit-doubtful",)) if by_size and is_contrary else (listed, ())


def _is_serial(number: Number) -> bool:
    """Whether a laboratory's number is more likely a day, as Excel counts them."""
    is_plain = not number.unit and not number.flags and number.value.is_integer()
    return is_plain and FIRST_SERIAL <= number.value <= LAST_SERIAL


def site_key(site: str) -> str:
    """A trust's name as the published list has it, without apostrophes, in lower case."""
    return re.sub(r"[^a-z0-9]+", " ", re.sub("['’]", "", site.lower())).strip()
