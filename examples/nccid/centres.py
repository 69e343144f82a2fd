"""The centres: in which order each writes dates, in which units its laboratory reports, which machines it owns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np


class Habit(Enum):
    """In which order a centre writes day and month."""

    US = "month first"
    UK = "day first"
    MIXED = "either"


@dataclass(frozen=True)
class Machine:
    manufacturer: str
    model: str
    modality: str  # CR or DX


@dataclass(frozen=True)
class Centre:
    trust: str  # as in SubmittingCentre
    hospitals: tuple[str, ...]  # free text
    dates: Habit
    swab_dates: Habit  # of status files
    units: Mapping[str, str]  # laboratory field -> unit of its numbers
    machines: tuple[Machine, ...]
    inverts_sex: bool = False  # writes 0 for M and 1 for F
    is_childrens: bool = False


# The published list of units by site names these six. Urea in ng/mL is what it says of Imperial.
LISTED = {
    "Imperial College Healthcare NHS Trust": {"d_dimer": "mg/L", "troponin_i": "ng/L", "urea": "ng/mL"},
    "Cambridge University Hospitals NHS Foundation Trust": {"d_dimer": "ng/mL", "troponin_i": "ng/L"},
    "Royal Cornwall Hospitals NHS Trust": {"d_dimer": "ng/mL", "troponin_i": "ng/L"},
    "West Suffolk NHS Foundation Trust": {"d_dimer": "ng/mL"},
    "Sheffield Children's NHS Foundation Trust": {"d_dimer": "ng/mL", "troponin_i": "ng/mL"},
    "Norfolk and Norwich University Hospitals NHS Foundation Trust": {"d_dimer": "ug/L", "troponin_i": "ng/L"},
}
INVENTED = (
    "Riverside", "St Oswin's", "Marlow Vale", "Northmoor and Dale", "Kingsbarrow", "Ashcombe", "Fenmere", "Harrowgate Hill",
    "Lydbrook", "Thornleigh", "Wexcombe", "Castle Hythe", "Dunmarsh", "Elderfield", "Copley", "Saltmere", "Penhallow",
    "Greystoke", "Birch Cross", "Oakhanger",
)  # fmt: skip
MACHINES = (
    Machine("Aureole Medical", "DR 4400", "DX"),
    Machine("Aureole Medical", "Mobilis 2", "DX"),
    Machine("Kestrel Imaging", "ClearView 7", "DX"),
    Machine("Kestrel Imaging", "CR 35-X", "CR"),
    Machine("Nordlys", "Thorax One", "DX"),
    Machine("Fenwick & Hale", "Cassette 12", "CR"),
)


def draw_centres(count: int, seed: int) -> tuple[Centre, ...]:
    """`count` centres: of ten, one mixes the orders of dates (at most two do), two write UK, the others US."""
    rng = np.random.default_rng([seed, 0, 1])
    mixed, british = min(2, count // 5), count // 5
    habits = [Habit.MIXED] * mixed + [Habit.UK] * british + [Habit.US] * (count - mixed - british)
    habits = [habits[place] for place in rng.permutation(count)]
    swabs = [Habit.MIXED] * (count // 12) + [Habit.US] * (count // 8)
    swabs = [*swabs, *[Habit.UK] * (count - len(swabs))]
    swabs = [swabs[place] for place in rng.permutation(count)]
    inverted = 6 if count > 6 else count - 1  # never the children's hospital
    return tuple(
        _centre(number, rng, habits[number], swabs[number], inverts_sex=count >= 4 and number == inverted)
        for number in range(count)
    )


def _centre(number: int, rng: np.random.Generator, dates: Habit, swab_dates: Habit, *, inverts_sex: bool) -> Centre:
    listed = tuple(LISTED)
    if number < len(listed):
        trust = listed[number]
        name = trust.split()[0]
    else:
        name = INVENTED[(number - len(listed)) % len(INVENTED)]
        again = (number - len(listed)) // len(INVENTED)
        trust = f"{name} {again + 1} NHS Trust" if again else f"{name} NHS Foundation Trust"
    units = {
        "d_dimer": ("ug/L", "mg/L", "ng/mL")[int(rng.integers(3))],
        "creatinine": "mg/dL" if rng.random() < 0.15 else "umol/L",
        "ferritin": "ng/mL" if rng.random() < 0.3 else "ug/L",
        "fibrinogen": "g/L",
        "troponin_i": "ng/L",
        "troponin_t": "ng/L",
        "urea": "mmol/L",
    } | LISTED.get(trust, {})
    machines = tuple(MACHINES[place] for place in rng.permutation(len(MACHINES))[:3])
    return Centre(
        trust,
        (name, f"{name} Hospital", f"{''.join(word[0] for word in name.split())}GH"),
        dates,
        swab_dates,
        units,
        machines,
        inverts_sex,
        trust.startswith("Sheffield"),
    )
