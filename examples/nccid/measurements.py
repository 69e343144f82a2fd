"""History, vital signs, laboratory values and oxygen: what is put down on the form, in which unit and under which header."""

from __future__ import annotations

from dataclasses import dataclass

from examples.nccid.centres import Centre
from examples.nccid.hand import NO_UNIT, Cell, Entry, Hand, Unit
from examples.nccid.patient import Course

HISTORY = {
    "pmh_hypertension": (("PMH hypertension", "PMH h1pertension"), 0.8),
    "pmh_ckd": (("PMH CKD",), 0.75),
    "pmh_diabetes_type_2": (("PMH diabetes mellitus type II", "PMH diabetes mellitus TYPE II"), 0.75),
    "current_acei": (("Current ACEi use",), 0.6),
    "current_arb": (("Current Angiotension receptor blocker use",), 0.5),
    "current_nsaid": (("Current NSAID used",), 0.5),
}
REMARKS = {"pmh_lung_disease": ("Lung Ca", "bronchiectasis"), "current_acei": ("on ramipril",)}


@dataclass(frozen=True)
class Coded:
    headers: tuple[str, ...]
    filled: float
    unknown: int | None = None


CODES = {
    "smoking_status": Coded(("Smoking status",), 0.7, 3),
    "ckd_stage": Coded(("If CKD, stage",), 0.12),
    "pmh_cvs_disease": Coded(("PMH CVS disease",), 0.75),
    "pmh_lung_disease": Coded(("PMH Lung disease",), 0.75, 6),
}


@dataclass(frozen=True)
class Measured:
    headers: tuple[str, ...]
    filled: float
    decimals: int = 0
    unit: str = ""  # as it may be written out


NUMBERS = {
    "pack_years": Measured(("Pack year history", "Pack year History"), 0.2),
    "symptom_days": Measured(("Duration of symptoms",), 0.7),
    "respiratory_rate": Measured(("Respiratory rate on admission",), 0.8, 0, "/min"),
    "heart_rate": Measured(("Heart rate on admission",), 0.8, 0, "bpm"),
    "temperature_c": Measured(("Temperature on admission", "Temperature  on admission"), 0.8, 1, "C"),
    "news2": Measured(("NEWS2 score on arrival",), 0.6),
    "wcc": Measured(("WCC on admission",), 0.8, 1, "10^9/L"),
    "lymphocytes": Measured(("Lymphocyte count on admission",), 0.8, 2, "x10^9/L"),
    "platelets": Measured(("Platelet count on admission",), 0.7, 0, "10^9/L"),
    "crp": Measured(("CRP on admission", "CRP On Admission"), 0.8, 1, "mg/L"),
    "d_dimer": Measured(("D-dimer on admission",), 0.35, 0, "ug/L"),
    "fibrinogen": Measured(("Fibrinogen  if d-dimer not performed", "Fibrinogen if d-dimer not performed"), 0.25, 1, "g/L"),
    "ferritin": Measured(("Ferritin",), 0.4, 0, "ug/L"),
    "ferritin_2": Measured(("Ferritin_2", "Ferritin 2"), 0.06, 0, "ug/L"),
    "urea": Measured(("Urea on admission",), 0.75, 1, "mmol/L"),
    "creatinine": Measured(("Creatinine on admission",), 0.75, 0, "umol/L"),
    "troponin_i": Measured(("Troponin I",), 0.25, 0, "ng/L"),
    "troponin_t": Measured(("Troponin T",), 0.15, 0, "ng/L"),
}  # fmt: skip
FACTORS = {  # how many of the schema's unit one of the centre's is
    ("d_dimer", "mg/L"): 1000.0, ("troponin_i", "ng/mL"): 1000.0, ("urea", "ng/mL"): 1 / 60_060,
    ("creatinine", "mg/dL"): 88.42,
}  # fmt: skip
FLOWS = {
    1: 25, 2: 29, 3: 33, 4: 37, 5: 41, 6: 45, 7: 41, 8: 47, 9: 53, 10: 60, 11: 80, 12: 85, 13: 90, 14: 95, 15: 100,
}  # fmt: skip
MASKS = {"blue": 24, "white": 28, "orange": 31, "yellow": 35, "red": 40, "green": 60}


def fill_in_history(entries: dict[str, Entry], course: Course, hand: Hand) -> None:
    for name, (headers, filled) in HISTORY.items():
        if hand.rng.random() < filled:
            cell = hand.state(course.history[name], remarks=REMARKS.get(name, ()))
            entries[name] = Entry(_header(headers, hand), cell)
    for name, coded in CODES.items():
        if hand.rng.random() < coded.filled:
            cell = hand.code(course.measured[name], unknown=coded.unknown, remarks=REMARKS.get(name, ()))
            entries[name] = Entry(_header(coded.headers, hand), cell)
    hypertension = entries.get("pmh_hypertension")
    if hypertension and hypertension.cell.value is not None and hand.is_dirty(0.03):  # two spellings, which disagree
        known = bool(hypertension.cell.value)
        entries["pmh_hypertension"] = Entry("PMH hypertension", Cell(int(known), known, legible=False))
        entries["other_hypertension"] = Entry("PMH h1pertension", Cell(int(not known)))


def fill_in_numbers(entries: dict[str, Entry], course: Course, hand: Hand, centre: Centre) -> None:
    for name, measured in NUMBERS.items():
        if hand.rng.random() > measured.filled:
            continue
        value = course.measured[name]
        unit = centre.units.get(name, "")
        site = Unit(unit, FACTORS.get((name, unit), 1.0))
        if name == "urea" and unit == "ng/mL" and hand.rng.random() < 0.3:
            site = NO_UNIT  # somebody who writes mmol/L all the same
        cell = hand.number(value, course.admitted, decimals=measured.decimals, stated=Unit(measured.unit), site=site)
        entries[name] = Entry(_header(measured.headers, hand), cell)
    if course.itu and hand.rng.random() < 0.5:
        entries["apache"] = Entry(
            "APACHE score on ITU arrival", hand.number(course.measured["apache"], course.admitted)
        )
    high, low = course.measured["systolic_mmhg"], course.measured["diastolic_mmhg"]
    if hand.is_dirty(0.4):
        pair = f"[{high:.0f}/{low:.0f}] - {course.admitted.isoformat()}"
        entries["systolic_mmhg"] = Entry("Systolic BP", Cell(pair, high))
        entries["diastolic_mmhg"] = Entry("Diastolic BP", Cell(pair, low))
    elif hand.rng.random() < 0.75:
        entries["systolic_mmhg"] = Entry("Systolic BP", hand.number(high, course.admitted, stated=Unit("mmHg")))
        entries["diastolic_mmhg"] = Entry("Diastolic BP", hand.number(low, course.admitted, stated=Unit("mmHg")))


def fill_in_oxygen(entries: dict[str, Entry], course: Course, hand: Hand) -> None:
    """FiO2 in all its forms; the PaO2 cell holds a pressure, a saturation, or the FiO2 where that has no cell of its own."""
    pressure, saturation = course.measured["pao2_kpa"], course.measured["o2_saturation_percent"]
    if hand.rng.random() < 0.6:
        header = _header(("FiO2", "Any supplemental oxygen: FiO2"), hand)
        entries["fio2_percent"] = Entry(header, _fio2(course.measured["fio2_percent"], hand))
    luck = hand.rng.random()
    header = _header(("PaO2", "Pa02"), hand)
    if luck < 0.25:
        mmhg = _mmhg(pressure)
        forms: tuple[tuple[object, float], ...] = (
            (pressure, pressure), (str(pressure), pressure), (f"{pressure} kPa", pressure), (f"{mmhg} mmHg", round(mmhg / 7.50062, 2)),
        )  # fmt: skip
        raw, meant = hand.pick(forms) if hand.is_dirty() else forms[0]
        entries["pao2"] = Entry(header, Cell(raw, ("pao2_kpa", meant)))
    elif luck < 0.45:
        entries["pao2"] = Entry(header, Cell(_saturation(saturation, hand), ("o2_saturation_percent", saturation)))
    elif luck < 0.52 and "fio2_percent" not in entries:
        percent = course.measured["fio2_percent"]
        raw = hand.pick((percent, f"{percent:.0f}", f"{percent / 100:.2f}", f"FiO2 {percent:.0f}%"))
        entries["pao2"] = Entry(header, Cell(raw, ("fio2_percent", percent)))
    elif luck < 0.52 and hand.is_dirty(0.3):
        entries["pao2"] = Entry(
            header, Cell(hand.pick(("[Text]", "not done", 0, 400)), ("pao2_kpa", pressure), legible=False)
        )
    if hand.rng.random() < 0.02:
        entries["o2_saturation_percent"] = Entry("O2 saturation", Cell(_saturation(saturation, hand), saturation))


def _fio2(given: float, hand: Hand) -> Cell:
    """`given` is meant where nobody can read it; else the form chooses, since litres and masks stand for some values only."""
    if hand.is_dirty(0.05):
        return Cell(hand.pick(("[Text]", "0", "17", "150", "2-4", "CPAP")), given, legible=False)
    if hand.rng.random() < 0.5:
        return Cell(hand.pick(("21", 21, 21.0, 0.21, "0.21", "21%", "room air", "RA", "Air", "nil", "0 L")), 21.0)
    luck = hand.rng.random()
    if luck < 0.4:
        litres = int(hand.rng.integers(1, 16))
        forms: tuple[object, ...] = (
            f"{litres}L",
            f"{litres} L",
            f"{litres} litres",
            f"{litres}L/min",
            litres,
            f"{litres}.0",
        )
        return Cell(hand.pick(forms), float(FLOWS[litres]))
    if luck < 0.5:
        colour = hand.pick(tuple(MASKS))
        return Cell(hand.pick((colour, colour.title(), f"{colour} venturi")), float(MASKS[colour]))
    percent = int(hand.rng.integers(22, 101))
    fraction = round(percent / 100, 2)
    return Cell(hand.pick((percent, str(percent), f"{percent}%", float(percent), f"[{percent}] - 2020-05-14"))
                if percent == 100 or hand.rng.random() < 0.7 else hand.pick((fraction, f"{fraction:.2f}")), float(percent))  # fmt: skip


def _saturation(percent: float, hand: Hand) -> object:
    return hand.pick((percent, f"{percent:.0f}", f"{percent:.0f}%", round(percent / 100, 2), f"{percent / 100:.2f}"))


def _mmhg(kpa: float) -> int:
    return round(kpa * 7.50062)


def _header(headers: tuple[str, ...], hand: Hand) -> str:
    return hand.pick(headers) if len(headers) > 1 and hand.is_dirty(0.3) else headers[0]
