"""What a perfect reader of the archive finds for every scan: the writer's own derivations, apart from the reader's.

Every field is derived twice: from what happened, as far as it was written down at all, and from what can still be told from
the cells. Where the two agree the field is recoverable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import combinations
from typing import Any

from examples.nccid.hand import Cell, Census

Values = Mapping[str, Any]

PLAIN = {  # column of the catalogue -> field of the form
    **{name: name for name in (
        "pmh_hypertension", "pmh_ckd", "pmh_diabetes_type_2", "current_acei", "current_arb", "current_nsaid", "smoking_status",
        "ckd_stage", "pmh_cvs_disease", "pmh_lung_disease", "pack_years", "symptom_days", "news2", "apache", "respiratory_rate",
        "heart_rate", "systolic_mmhg", "diastolic_mmhg", "temperature_c", "ethnicity", "rt_pcr_1_positive",
        "rt_pcr_2_positive", "final_covid_positive",
    )},
    "wcc_10_9_per_l": "wcc", "lymphocytes_10_9_per_l": "lymphocytes", "platelets_10_9_per_l": "platelets",
    "crp_mg_per_l": "crp", "d_dimer_ug_per_l": "d_dimer", "fibrinogen_g_per_l": "fibrinogen", "ferritin_ug_per_l": "ferritin",
    "ferritin_2_ug_per_l": "ferritin_2", "urea_mmol_per_l": "urea", "creatinine_umol_per_l": "creatinine",
    "troponin_i_ng_per_l": "troponin_i", "troponin_t_ng_per_l": "troponin_t",
}  # fmt: skip
OXYGEN = ("pao2_kpa", "o2_saturation_percent", "fio2_percent")
EVENTS = {  # endpoint -> the form's answer and date
    "died": ("death", "date_of_death"),
    "itu_admission": ("itu_admission", "date_of_itu_admission"),
    "intubated": ("intubation", "date_of_intubation"),
}
COLUMNS = (
    "site", "age_years", "sex", "scan_date", "observed_days", *EVENTS, *(f"{name}_days" for name in EVENTS), "covid_status",
    "covid_status_at_scan", "scan_phase", "days_from_index", "days_from_admission", "died_28", "died_60", "worst_outcome",
    "los_to_death", "observed_from_admission", "cxr_severity", "covid_code", "clinical_files", *PLAIN, *OXYGEN,
)  # fmt: skip
NUMERIC = frozenset((
    "age_years", "observed_days", *(f"{name}_days" for name in EVENTS), "days_from_index", "days_from_admission",
    "worst_outcome", "los_to_death", "observed_from_admission", "cxr_severity", "covid_code", *OXYGEN, "smoking_status",
    "ckd_stage", "pmh_cvs_disease", "pmh_lung_disease", "pack_years", "symptom_days", "news2", "apache", "respiratory_rate",
    "heart_rate", "systolic_mmhg", "diastolic_mmhg", "temperature_c", *(name for name in PLAIN if "_per_l" in name),
))  # fmt: skip
ORDER = (  # (earlier, later, days by which the later may come first)
    ("date_of_admission", "date_of_itu_admission", 0), ("date_of_admission", "date_of_intubation", 1),
    ("date_of_itu_admission", "date_of_intubation", 1), ("date_of_admission", "date_of_death", 0),
    ("date_of_itu_admission", "date_of_death", 0), ("date_of_intubation", "date_of_death", 0),
    ("date_last_known_alive", "date_of_death", 1),
)  # fmt: skip
STAY = ("date_of_admission", "date_of_itu_admission", "date_of_intubation", "date_of_death", "date_last_known_alive")


@dataclass(frozen=True)
class ScanFacts:
    """A scan as its files tell of it."""

    case_id: str
    tree: str
    day: date | None  # as far as any readable header tells
    file: str  # below the archive's root
    age_years: float | None = None  # as far as any readable header tells


@dataclass(frozen=True)
class PatientFacts:
    """A patient's scans, and the cells of the clinical files that can be parsed: for each field the newest that is not blank."""

    patient_id: str
    kind: str  # data, status, or "": no clinical file
    cells: Mapping[str, Cell]
    files: tuple[str, ...]  # names of the clinical files, newest first
    scans: tuple[ScanFacts, ...]
    damaged: bool = False  # has data files, of which none can be parsed


@dataclass(frozen=True)
class Row:
    """The expected value of every column for one scan, and which of them the cells still tell."""

    scan: ScanFacts
    patient_id: str
    values: Values
    recoverable: Mapping[str, bool]


def truth_rows(patient: PatientFacts, census: Census) -> list[Row]:
    happened = {name: cell.value for name, cell in patient.cells.items()}
    legible = in_order({name: cell.read(census) for name, cell in patient.cells.items()})
    rows = []
    for scan in patient.scans:
        values, told = derived(happened, patient, scan), derived(legible, patient, scan)
        rows.append(Row(scan, patient.patient_id, values, {name: values[name] == told[name] for name in COLUMNS}))
    return rows


def in_order(values: Values) -> Values:
    """Without the dates of the stay that break its order: the fewest that mend it, or all that might be the wrong one."""
    for count in range(len(STAY)):
        mended = [left_out for left_out in combinations(STAY, count) if _is_ordered(values, left_out)]
        if mended:
            wrong = {name for left_out in mended for name in left_out}
            return {name: None if name in wrong else value for name, value in values.items()}
    raise AssertionError("one date alone is always in order")


def _is_ordered(values: Values, left_out: Sequence[str]) -> bool:
    known = {name: values[name] for name in STAY if values.get(name) and name not in left_out}
    return all(
        known[first] <= known[then] + timedelta(days=slack)
        for first, then, slack in ORDER
        if first in known and then in known
    )


def derived(values: Values, patient: PatientFacts, scan: ScanFacts) -> dict[str, Any]:
    """Every column of a scan, where `values` is what the record says."""
    events = _events(values)
    index = index_date(values, patient)
    admitted, death = values.get("date_of_admission"), values.get("date_of_death")
    died = events["died"]
    alive = _last_seen_alive(values, patient)
    death = death if died else None
    row: dict[str, Any] = {
        "site": values.get("site"),
        "age_years": values.get("age") if scan.age_years is None else scan.age_years,
        "sex": values.get("sex"),
        "scan_date": scan.day,
        "clinical_files": " ".join(patient.files) or None,
        "covid_status": (status := covid_status(values, patient)),
        "scan_phase": (phase := _phase(scan.day, index)),
        "covid_status_at_scan": _status_at_scan(status, phase),
        "days_from_index": _days(index, scan.day),
        "days_from_admission": _days(admitted, scan.day),
        "died_28": _died_within(28, died, index, death, alive),
        "died_60": _died_within(60, died, index, death, alive),
        "worst_outcome": _worst(events),
        "los_to_death": _days(admitted, death),
        "observed_from_admission": None if death else _days(admitted, alive),
        "observed_days": _days(scan.day, death if died else alive),
    }
    for name, (_, when) in EVENTS.items():
        row[name] = _word(events[name])
        row[f"{name}_days"] = _days(scan.day, values.get(when)) if events[name] else None
    row |= {column: _word(values.get(field)) for column, field in PLAIN.items()}
    return row | _oxygen(values) | _film(values, patient, scan)


def _events(values: Values) -> dict[str, bool | None]:
    """Yes where the answer or a date says so; ITU also where only an intubation or an APACHE score does."""
    events: dict[str, bool | None] = {
        name: True if values.get(when) else values.get(answer) for name, (answer, when) in EVENTS.items()
    }
    if events["itu_admission"] is None and (events["intubated"] or values.get("apache")):
        events["itu_admission"] = True
    return events


def covid_status(values: Values, patient: PatientFacts) -> str | None:
    if patient.kind == "data":
        return "conflict" if values.get("final_covid_positive") is False else "positive"
    if patient.kind == "":
        return None
    results = {value for name, value in values.items() if name.startswith("swab_status") and value is not None}
    return "positive_swab" if True in results else "negative" if results else "negative_unconfirmed"


def index_date(values: Values, patient: PatientFacts) -> date | None:
    """The first positive sample; else the first positive result; else, with a full record, admission."""
    positive = [n for n in (1, 2) if values.get(f"rt_pcr_{n}_positive")]
    ordinals = {1: "1st", 2: "2nd"}
    sampled = [values.get("date_of_positive_covid_swab")]
    sampled += [values.get(f"date_of_acquisition_of_{ordinals[n]}_rt_pcr") for n in positive]
    sampled += [
        values.get(name.replace("status", "date")) for name in values if name.startswith("swab_status") and values[name]
    ]
    resulted = [values.get(f"date_of_result_of_{ordinals[n]}_rt_pcr") for n in positive]
    for days in (sampled, resulted, [values.get("date_of_admission")]):
        known = [day for day in days if day]
        if known:
            return min(known)
    return None


def _phase(day: date | None, index: date | None) -> str | None:
    days = _days(index, day)
    return None if days is None else "pre" if days < -14 else "acute" if days <= 28 else "post"


def _status_at_scan(status: str | None, phase: str | None) -> str | None:
    """A scan from before the infection shows none, and one that cannot be placed may."""
    if status in ("positive", "positive_swab", "conflict"):
        at = {"pre": "pre_covid", "acute": "positive", "post": "post_covid", None: "unknown"}[phase]
        return "conflict" if status == "conflict" and at in ("positive", "post_covid") else at
    return "unknown" if status == "negative_unconfirmed" else status


def _last_seen_alive(values: Values, patient: PatientFacts) -> date | None:
    """The later of the date on record and the last scan; of those with a full record."""
    if patient.kind != "data":
        return None
    days = [values.get("date_last_known_alive"), *(scan.day for scan in patient.scans)]
    return max((day for day in days if day), default=None)


def _died_within(
    limit: int, died: bool | None, index: date | None, death: date | None, alive: date | None
) -> str | None:
    """`limit` days from the index date; a day before it is allowed."""
    if index is None:
        return None
    days = _days(index, death)
    if died and days is not None:
        return None if days < -1 else "yes" if days <= limit else "no"
    return "no" if alive and (alive - index).days >= limit else None


def _worst(events: Mapping[str, bool | None]) -> float | None:
    if all(event is None for event in events.values()):
        return None
    return 3.0 if events["died"] else 2.0 if events["intubated"] else 1.0 if events["itu_admission"] else 0.0


def _oxygen(values: Values) -> dict[str, Any]:
    """Each from its own cell, else from the PaO2 cell where that holds it."""
    kind, number = values.get("pao2") or ("", None)
    return {name: values[name] if values.get(name) is not None else number if kind == name else None for name in OXYGEN}


def _film(values: Values, patient: PatientFacts, scan: ScanFacts) -> dict[str, Any]:
    """Severity and code of the recorded film of that day; a day off only where no film lies on the day itself."""
    nothing = {"cxr_severity": None, "covid_code": None}
    if scan.tree != "xray" or scan.day is None:
        return nothing
    taken = {other.day for other in patient.scans if other.tree == "xray"}
    recorded = {number: values.get(f"date_of_film_{number}") for number in (1, 2)}
    found = [number for number, day in recorded.items() if day == scan.day]
    if not found:
        found = [n for n, day in recorded.items() if day and day not in taken and abs((day - scan.day).days) == 1]
    return {column: _only(values.get(f"{column}_{n}") for n in found) for column in ("cxr_severity", "covid_code")}


def _only(values: Any) -> float | None:
    """What all say; None where they differ: two films of a day, of which one is blank."""
    different = set(values)
    return float(value) if len(different) == 1 and (value := different.pop()) is not None else None


def _days(start: date | None, end: date | None) -> float | None:
    return float((end - start).days) if start and end else None


def _word(value: Any) -> Any:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value
