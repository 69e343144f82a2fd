"""The clinical JSON of a virtual patient under NCCID's raw keys, in the hand of those who fill in its forms."""

from __future__ import annotations

from datetime import date

from examples.demo.course import Course
from examples.demo.patient import Sex
from examples.demo.plan import PatientPlan
from examples.nccid.centres import Habit
from examples.nccid.hand import Form, Hand, Near

Record = dict[str, object]

DIRT = 0.2  # share of cells not written plainly: a demonstration is to be read by people, too


def status_record(plan: PatientPlan) -> Record:
    """The short record of a negative control: no outcomes, and dates in UK order."""
    hand = _hand(plan)
    record = _who(plan, hand)
    swab = hand.day(plan.admitted, form=Form.STATUS).raw
    if hand.rng.random() < 0.15:
        record["SwabDates"] = [{"SwabDate": swab, "SwabStatus": "0"}]
    else:
        record["SwabStatus"] = hand.bit(False)
        record["SwabDate"] = swab
    return record


def data_record(plan: PatientPlan, course: Course) -> Record:
    """The full record of a positive patient."""
    hand = _hand(plan)
    record = _who(plan, hand)
    record["Date of Positive Covid Swab"] = hand.day(course.swab).raw
    record["Date of admission"] = hand.day(plan.admitted).raw
    _maybe(record, hand, "Date of acquisition of 1st RT-PCR", hand.day(course.swab).raw, filled=0.6)
    _maybe(record, hand, "1st RT-PCR result", hand.bit(True))
    _maybe(record, hand, "Final COVID Status", hand.bit(True))
    _history(record, hand)
    _admission(record, hand, plan, course)
    _films(record, hand, plan)
    _outcomes(record, hand, course)
    return record


def _hand(plan: PatientPlan) -> Hand:
    return Hand(
        plan.rng("record"),
        plan.site.trust,
        Habit.UK if plan.site.uk_dates else Habit.US,
        dirt=DIRT,
        scans=frozenset(visit.day for visit in plan.visits),
    )


def _number(hand: Hand, value: float, when: date) -> object:
    return hand.number(value, when, decimals=2).raw


def _maybe(record: Record, hand: Hand, key: str, value: object, *, filled: float = 0.85) -> None:
    """Fill a field in most records; an empty one is missing, null or blank."""
    if hand.rng.random() < filled:
        record[key] = value
    elif hand.rng.random() < 0.3:
        record[key] = hand.blank().raw


def _who(plan: PatientPlan, hand: Hand) -> Record:
    body = plan.body
    record: Record = {"Pseudonym": plan.pseudonym, "SubmittingCentre": plan.site.trust}
    _maybe(record, hand, "Hospital", plan.site.hospital, filled=0.7)
    ages: list[object] = [body.age_years, str(body.age_years), body.age_years + 0.5]
    record["Age"] = ages[int(hand.rng.choice(3, p=[0.6, 0.32, 0.08]))]
    male = body.sex is Sex.MALE
    record["Sex"] = body.sex.value if hand.rng.random() < 0.15 else hand.bit(male)
    _maybe(record, hand, "Ethnicity", str(hand.rng.choice(list("AABCHJKMNRSZ"))), filled=0.8)
    return record


def _history(record: Record, hand: Hand) -> None:
    for key, chance in (
        ("PMH hypertension", 0.42),
        ("PMH diabetes mellitus type II", 0.26),
        ("PMH CKD", 0.14),
        ("Current ACEi use", 0.2),
    ):
        _maybe(record, hand, key, 2 if hand.rng.random() < 0.06 else hand.bit(hand.rng.random() < chance))
    _maybe(record, hand, "PMH CVS disease", int(hand.rng.choice([0, 0, 0, 1, 2, 3, 4])))
    _maybe(record, hand, "PMH Lung disease", int(hand.rng.choice([0, 0, 0, 1, 4, 5, 6])))
    _maybe(record, hand, "Smoking status", str(hand.rng.choice([0, 0, 1, 1, 2, 3])))


def _admission(record: Record, hand: Hand, plan: PatientPlan, course: Course) -> None:
    day = plan.admitted
    _maybe(record, hand, "Duration of symptoms", _number(hand, int(hand.rng.integers(1, 15)), day))
    _maybe(record, hand, "Respiratory rate on admission", _number(hand, course.respiratory_rate, day))
    _maybe(record, hand, "Heart rate on admission", _number(hand, int(hand.rng.normal(92, 15)), day))
    _maybe(record, hand, "Temperature on admission", _number(hand, course.temperature_c, day))
    _maybe(record, hand, "NEWS2 score on arrival", _number(hand, course.news2, day))
    _maybe(
        record, hand, "CRP on admission", "<4" if course.crp_mg_per_l < 4 else _number(hand, course.crp_mg_per_l, day)
    )
    _maybe(record, hand, "Lymphocyte count on admission", _number(hand, course.lymphocytes, day))
    fio2 = f"{course.fio2_percent / 100:.2f}" if hand.rng.random() < 0.2 else _number(hand, course.fio2_percent, day)
    _maybe(record, hand, "FiO2", fio2, filled=0.7)
    _maybe(record, hand, "PaO2", _number(hand, round(float(hand.rng.normal(9.5, 1.4)), 1), day), filled=0.4)


def _films(record: Record, hand: Hand, plan: PatientPlan) -> None:
    """Severity and code of the first two films; the header of the second severity is a typing error in the source."""
    for visit, when, severity, code in zip(
        plan.visits,
        ("Date of 1st CXR", "Date of 2nd CXR"),
        ("CXR severity", "CXR severity 3"),
        ("COVID CODE", "COVID CODE 2"),
        strict=False,
    ):
        record[when] = hand.day(visit.day, near=Near.FILM).raw
        _maybe(record, hand, severity, hand.code(visit.disease.severity).raw, filled=0.9)
        typical = hand.rng.random() < 0.4 + 0.2 * visit.disease.severity
        _maybe(record, hand, code, 1 if typical else 2, filled=0.9)


def _outcomes(record: Record, hand: Hand, course: Course) -> None:
    """Unrecorded outcomes leave neither the flag nor the date."""
    for told, day, flag, when in (
        (course.itu_recorded, course.itu, "ITU admission", "Date of ITU admission"),
        (course.intubation_recorded, course.intubated, "Intubation", "Date of intubation"),
        (course.death_recorded, course.died, "Death", "Date of death"),
    ):
        if told:
            record[flag] = hand.bit(day is not None)
            if day is not None:
                record[when] = hand.day(day, near=Near.END if flag == "Death" else Near.STAY).raw
    if course.died is None and course.death_recorded:
        _maybe(record, hand, "Date last known alive", hand.day(course.last_alive, near=Near.NOWHERE).raw)
