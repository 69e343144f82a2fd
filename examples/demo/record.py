"""The clinical JSON of a patient under NCCID's raw keys, written by hands that do not all write alike."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

import numpy as np

from examples.demo.course import Course
from examples.demo.patient import Sex
from examples.demo.plan import PatientPlan

Record = dict[str, object]

_EXCEL_DAY_ZERO = date(1899, 12, 30)


@dataclass(frozen=True)
class Hand:
    """How one person fills in the form."""

    rng: np.random.Generator
    uk_dates: bool

    def day(self, day: date) -> object:
        """Mostly MM/DD/YYYY; UK order only where the day cannot be taken for a month."""
        luck = self.rng.random()
        if luck < 0.04:
            return str((day - _EXCEL_DAY_ZERO).days)
        if luck < 0.08:
            return day.isoformat()
        if day.day > 12 and (self.uk_dates or luck < 0.14):
            return day.strftime("%d/%m/%Y")
        return day.strftime("%m/%d/%Y")

    def number(self, value: float, day: date) -> object:
        luck = self.rng.random()
        if luck < 0.35:
            return str(value)
        if luck < 0.42:
            return f"[{value}] - {day.isoformat()}"
        return value

    def flag(self, value: bool) -> object:
        return [int(value), str(int(value)), float(value)][int(self.rng.choice(3, p=[0.6, 0.35, 0.05]))]

    def maybe(self, record: Record, key: str, value: object, *, filled: float = 0.85) -> None:
        """Fill a field in most records; an empty one is missing, null or blank."""
        luck = self.rng.random()
        if luck < filled:
            record[key] = value
        elif luck < filled + 0.05:
            record[key] = None if luck < filled + 0.025 else ""


def status_record(plan: PatientPlan) -> Record:
    """The short record of a negative control: no outcomes, and dates in UK order."""
    hand = Hand(plan.rng("record"), plan.site.uk_dates)
    record = _who(plan, hand)
    swab = plan.admitted.strftime("%d/%m/%Y")
    if hand.rng.random() < 0.15:
        record["SwabDates"] = [{"SwabDate": swab, "SwabStatus": "0"}]
    else:
        record["SwabStatus"] = hand.flag(False)
        record["SwabDate"] = swab
    return record


def data_record(plan: PatientPlan, course: Course) -> Record:
    """The full record of a positive patient."""
    hand = Hand(plan.rng("record"), plan.site.uk_dates)
    record = _who(plan, hand)
    record["Date of Positive Covid Swab"] = hand.day(course.swab)
    record["Date of admission"] = hand.day(plan.admitted)
    hand.maybe(record, "Date of acquisition of 1st RT-PCR", hand.day(course.swab), filled=0.6)
    hand.maybe(record, "1st RT-PCR result", hand.flag(True))
    hand.maybe(record, "Final COVID Status", hand.flag(True))
    _history(record, hand)
    _admission(record, hand, plan, course)
    _films(record, hand, plan)
    _outcomes(record, hand, course)
    return record


def _who(plan: PatientPlan, hand: Hand) -> Record:
    body = plan.body
    record: Record = {"Pseudonym": plan.pseudonym, "SubmittingCentre": plan.site.trust}
    hand.maybe(record, "Hospital", plan.site.hospital, filled=0.7)
    ages: list[object] = [body.age_years, str(body.age_years), body.age_years + 0.5]
    record["Age"] = ages[int(hand.rng.choice(3, p=[0.6, 0.32, 0.08]))]
    male = body.sex is Sex.MALE
    record["Sex"] = body.sex.value if hand.rng.random() < 0.15 else hand.flag(male)
    hand.maybe(record, "Ethnicity", str(hand.rng.choice(list("AABCHJKMNRSZ"))), filled=0.8)
    return record


def _history(record: Record, hand: Hand) -> None:
    for key, chance in (
        ("PMH hypertension", 0.42),
        ("PMH diabetes mellitus type II", 0.26),
        ("PMH CKD", 0.14),
        ("Current ACEi use", 0.2),
    ):
        hand.maybe(record, key, 2 if hand.rng.random() < 0.06 else hand.flag(hand.rng.random() < chance))
    hand.maybe(record, "PMH CVS disease", int(hand.rng.choice([0, 0, 0, 1, 2, 3, 4])))
    hand.maybe(record, "PMH Lung disease", int(hand.rng.choice([0, 0, 0, 1, 4, 5, 6])))
    hand.maybe(record, "Smoking status", str(hand.rng.choice([0, 0, 1, 1, 2, 3])))


def _admission(record: Record, hand: Hand, plan: PatientPlan, course: Course) -> None:
    day = plan.admitted
    hand.maybe(record, "Duration of symptoms", hand.number(int(hand.rng.integers(1, 15)), day))
    hand.maybe(record, "Respiratory rate on admission", hand.number(course.respiratory_rate, day))
    hand.maybe(record, "Heart rate on admission", hand.number(int(hand.rng.normal(92, 15)), day))
    hand.maybe(record, "Temperature on admission", hand.number(course.temperature_c, day))
    hand.maybe(record, "NEWS2 score on arrival", hand.number(course.news2, day))
    hand.maybe(record, "CRP on admission", "<4" if course.crp_mg_per_l < 4 else hand.number(course.crp_mg_per_l, day))
    hand.maybe(record, "Lymphocyte count on admission", hand.number(course.lymphocytes, day))
    fio2 = f"{course.fio2_percent / 100:.2f}" if hand.rng.random() < 0.2 else hand.number(course.fio2_percent, day)
    hand.maybe(record, "FiO2", fio2, filled=0.7)
    hand.maybe(record, "PaO2", hand.number(round(float(hand.rng.normal(9.5, 1.4)), 1), day), filled=0.4)


def _films(record: Record, hand: Hand, plan: PatientPlan) -> None:
    """Severity and code of the first two films; the header of the second severity is a typing error in the source."""
    for visit, when, severity, code in zip(
        plan.visits,
        ("Date of 1st CXR", "Date of 2nd CXR"),
        ("CXR severity", "CXR severity 3"),
        ("COVID CODE", "COVID CODE 2"),
        strict=False,
    ):
        record[when] = hand.day(visit.day)
        hand.maybe(record, severity, hand.number(visit.disease.severity, visit.day), filled=0.9)
        typical = hand.rng.random() < 0.4 + 0.2 * visit.disease.severity
        hand.maybe(record, code, 1 if typical else 2, filled=0.9)


def _outcomes(record: Record, hand: Hand, course: Course) -> None:
    """Unrecorded outcomes leave neither the flag nor the date."""
    for told, day, flag, when in (
        (course.itu_recorded, course.itu, "ITU admission", "Date of ITU admission"),
        (course.intubation_recorded, course.intubated, "Intubation", "Date of intubation"),
        (course.death_recorded, course.died, "Death", "Date of death"),
    ):
        if told:
            record[flag] = hand.flag(day is not None)
            if day is not None:
                record[when] = hand.day(day)
    if course.died is None and course.death_recorded:
        hand.maybe(record, "Date last known alive", hand.day(course.last_alive))
