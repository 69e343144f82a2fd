"""What happened to a patient, in full and without doubt: infection, stay, outcome, measurements, and every scan."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from examples.nccid.centres import Centre, Machine
from examples.nccid.options import Options

Rng = np.random.Generator

ETHNICITY = {
    **dict.fromkeys(("A", "B", "C", "C2", "CA", "CY"), "White"), **dict.fromkeys(("D", "E", "F", "G", "GA"), "Multiple"),
    **dict.fromkeys(("H", "J", "K", "L", "LA", "R"), "Asian"), **dict.fromkeys(("M", "N", "P", "PA"), "Black"),
    **dict.fromkeys(("S", "SA"), "Other"),
}  # fmt: skip


@dataclass(frozen=True)
class Study:
    """One examination; a film may be recorded with severity and code as the stay's first or second."""

    tree: str  # xray, ct, mri or unknown
    day: date
    series: int
    slices: int  # in each series
    number: int  # within the patient: where its UIDs come from
    copy_of: int | None = None  # uploaded again under new UIDs
    archived: bool = True  # False: it was taken, but never sent


@dataclass(frozen=True)
class Film:
    """What the record says of the first or second film of the stay."""

    day: date
    severity: int  # 1 mild .. 3 severe
    code: int  # 0 normal, 1 classic, 2 indeterminate, 3 not COVID


@dataclass(frozen=True)
class Swab:
    day: date
    positive: bool | None  # None: no result was written down


@dataclass(frozen=True)
class Test:
    """One RT-PCR."""

    acquired: date
    resulted: date
    positive: bool


@dataclass(frozen=True)
class Course:
    """The stay of a patient with a full record."""

    positive_swab: date | None
    tests: tuple[Test, ...]
    final_positive: bool
    admitted: date
    itu: date | None
    intubated: date | None
    died: date | None
    last_alive: date
    films: tuple[Film, ...]  # the first two
    measured: Mapping[str, float]  # by names of catalogue columns, in their units; codes and counts too
    history: Mapping[str, bool]


@dataclass(frozen=True)
class Patient:
    index: int
    pseudonym: str
    centre: Centre
    former: Centre | None  # which sent an older file
    sex: str
    age_years: int
    ethnicity: str  # letter or sub-code
    course: Course | None  # None: a control
    swabs: tuple[Swab, ...]  # of the status file, which a former control keeps
    studies: tuple[Study, ...]
    machine: Machine

    @property
    def needs_header_sex(self) -> bool:
        """Whether some record may hold the sex inverted, so that only the images can tell."""
        return any(centre.inverts_sex for centre in (self.centre, self.former) if centre)

    @property
    def archived(self) -> tuple[Study, ...]:
        return tuple(study for study in self.studies if study.archived)


def draw_patient(index: int, centres: Sequence[Centre], options: Options, rng: Rng) -> Patient:
    centre = centres[int(rng.integers(len(centres)))]
    former = centres[int(rng.integers(len(centres)))] if rng.random() < 0.03 else None
    infected = options.first + timedelta(days=int(rng.integers((options.last - options.first).days + 1)))
    age = int(rng.integers(0, 18)) if centre.is_childrens else int(np.clip(rng.normal(64, 17), 16, 102))
    course = draw_course(rng, infected, age) if rng.random() < options.positive_share else None
    swabs = _swabs(rng, infected, control=course is None) if course is None or rng.random() < 0.06 else ()
    return Patient(
        index,
        _pseudonym(rng, index),
        centre,
        former if course and former is not centre else None,
        "F" if rng.random() < 0.46 else "M",
        age,
        tuple(ETHNICITY)[int(rng.integers(len(ETHNICITY)))],
        course,
        swabs,
        _studies(rng, infected, course),
        centre.machines[int(rng.integers(len(centre.machines)))],
    )


def draw_course(rng: Rng, infected: date, age: int) -> Course:
    """`infected` is the day of the first positive sample."""
    conflict = rng.random() < 0.03  # a full record, and at the end it was not COVID
    admitted = infected + timedelta(days=int(rng.integers(-20, 0) if rng.random() < 0.08 else rng.integers(0, 7)))
    films = _films(rng, admitted)
    itu = admitted + timedelta(days=int(rng.integers(0, 9))) if rng.random() < 0.25 else None
    intubated = itu + timedelta(days=int(rng.integers(-1, 6))) if itu and rng.random() < 0.6 else None
    if intubated and intubated < admitted:
        intubated = admitted
    latest = max(day for day in (admitted, infected, itu, intubated, *(film.day for film in films)) if day)
    died = latest + timedelta(days=int(rng.exponential(16)) + 1) if rng.random() < 0.1 + age / 350 else None
    last_alive = died or latest + timedelta(days=int(rng.integers(0, 130)))
    severity = films[0].severity
    return Course(
        *_tests(rng, infected, conflict=conflict),
        final_positive=not conflict,
        admitted=admitted,
        itu=itu,
        intubated=intubated,
        died=died,
        last_alive=last_alive,
        films=films,
        measured=_measured(rng, severity),
        history={
            name: bool(rng.random() < chance)
            for name, chance in (
                ("pmh_hypertension", 0.42), ("pmh_ckd", 0.16), ("pmh_diabetes_type_2", 0.26), ("current_acei", 0.2),
                ("current_arb", 0.12), ("current_nsaid", 0.1),
            )
        },
    )  # fmt: skip


def _tests(rng: Rng, infected: date, *, conflict: bool) -> tuple[date | None, tuple[Test, ...]]:
    """The day written as that of the positive swab (the result's, at many centres), and one or two RT-PCRs."""

    def test(day: date, positive: bool) -> Test:
        return Test(day, day + timedelta(days=int(rng.integers(0, 4))), positive)

    if conflict:
        return None, (test(infected, False), test(infected + timedelta(days=int(rng.integers(1, 6))), False))
    luck = rng.random()
    if luck < 0.12:  # the second told
        first, second = test(infected - timedelta(days=int(rng.integers(1, 6))), False), test(infected, True)
        return infected, (first, second)
    if luck < 0.15:  # positive after two negatives
        day = infected - timedelta(days=4)
        return infected, (test(day, False), test(day + timedelta(days=2), False))
    first = test(infected, True)
    second = test(infected + timedelta(days=int(rng.integers(1, 15))), bool(rng.random() < 0.7))
    swab = (infected, infected, infected, first.resulted, second.acquired if second.positive else infected)
    return swab[int(rng.integers(len(swab)))], (first, second)[: 1 + int(rng.random() < 0.4)]


def _films(rng: Rng, admitted: date) -> tuple[Film, ...]:
    first = admitted + timedelta(days=int(rng.integers(0, 3)))
    count = 1 + int(rng.random() < 0.6)
    gap = 0 if rng.random() < 0.06 else int(rng.integers(1, 8))
    days = (first, first + timedelta(days=gap))[:count]
    return tuple(Film(day, int(rng.integers(1, 4)), int(rng.integers(0, 4))) for day in days)


def _studies(rng: Rng, infected: date, course: Course | None) -> tuple[Study, ...]:
    """Positive: the stay's films, years before and months after it too; a control: within three weeks of the swab."""
    drawn: list[tuple[str, date]] = []
    copies: dict[int, int] = {}

    def add(tree: str, day: date) -> None:
        drawn.append((tree, day))

    if course is None:
        for _ in range(1 + int(rng.integers(0, 3))):
            add("xray", infected + timedelta(days=int(rng.integers(-21, 22))))
    else:
        for film in course.films:
            add("xray", film.day)
        end = course.died or course.last_alive
        later = [
            course.films[-1].day + timedelta(days=int(rng.integers(0, 12))) for _ in range(int(rng.integers(0, 4)))
        ]
        later += [infected + timedelta(days=int(rng.integers(35, 240)))] if rng.random() < 0.2 else []
        for day in later:
            if course.died is None or day <= end:
                add("xray", day)
        if rng.random() < 0.35:
            for _ in range(1 + int(rng.integers(0, 3))):
                add("xray", infected - timedelta(days=int(rng.integers(25, 1090))))
    stay = drawn[0][1]
    if rng.random() < 0.18:
        add("ct", stay)
    if rng.random() < 0.01:
        add("mri", stay)
    if rng.random() < 0.03:
        add("unknown", stay)
    if rng.random() < 0.04:
        copies[len(drawn)] = 0
        add("xray", stay)
    missing = int(rng.integers(len(drawn))) if len(drawn) > 1 and not copies and rng.random() < 0.03 else -1
    return tuple(
        Study(
            tree,
            day,
            1 + int(tree == "ct" and rng.random() < 0.4),
            3 if tree in ("ct", "mri") else 1,
            number,
            copies.get(number),
            number != missing,
        )
        for number, (tree, day) in enumerate(drawn)
    )


def _swabs(rng: Rng, day: date, *, control: bool) -> tuple[Swab, ...]:
    if control and rng.random() < 0.03:
        return (Swab(day, None),)
    if control and rng.random() < 0.03:
        return (Swab(day, True),) if rng.random() < 0.5 else (Swab(day - timedelta(days=5), False), Swab(day, True))
    count = 1 + int(rng.random() < 0.2) + int(rng.random() < 0.1)
    before = 0 if control else 10
    return tuple(Swab(day + timedelta(days=3 * number - before), False) for number in range(count))


def _measured(rng: Rng, severity: int) -> dict[str, float]:
    lymphocytes = float(np.clip(rng.lognormal(0.2 - 0.2 * severity, 0.4), 0.1, 6))
    return {
        "smoking_status": float(rng.integers(0, 3)),
        "pack_years": float(rng.integers(0, 80)),
        "ckd_stage": float(rng.integers(2, 6)),
        "pmh_cvs_disease": float(rng.integers(0, 5)),
        "pmh_lung_disease": float(rng.integers(0, 6)),
        "symptom_days": float(rng.integers(0, 22)),
        "respiratory_rate": float(np.clip(rng.normal(17 + 3 * severity, 4), 8, 60).round()),
        "heart_rate": float(np.clip(rng.normal(92, 18), 40, 190).round()),
        "systolic_mmhg": float(np.clip(rng.normal(132, 20), 95, 220).round()),
        "diastolic_mmhg": float(np.clip(rng.normal(74, 9), 40, 90).round()),
        "temperature_c": round(float(np.clip(rng.normal(37.8, 0.9), 34, 41)), 1),
        "news2": float(rng.integers(0, 18)),
        "apache": float(rng.integers(3, 45)),
        "wcc": round(float(rng.lognormal(2, 0.4)), 1),
        "lymphocytes": round(lymphocytes, 2),
        "platelets": float(np.clip(rng.normal(230, 80), 20, 900).round()),
        "crp": round(float(np.clip(rng.lognormal(3.3 + 0.5 * severity, 0.8), 0.6, 700)), 1),
        "d_dimer": float(np.clip(rng.lognormal(6.8, 1), 110, 25_000).round()),
        "fibrinogen": round(float(np.clip(rng.normal(5, 1.4), 1, 12)), 1),
        "ferritin": float(np.clip(rng.lognormal(6.4, 0.9), 8, 40_000).round()),
        "ferritin_2": float(np.clip(rng.lognormal(6.4, 0.9), 8, 40_000).round()),
        "urea": round(float(np.clip(rng.lognormal(1.9, 0.5), 1.2, 60)), 1),
        "creatinine": float(np.clip(rng.lognormal(4.4, 0.45), 25, 1000).round()),
        "troponin_i": float(np.clip(rng.lognormal(2.7, 1.2), 2, 30_000).round()),
        "troponin_t": float(np.clip(rng.lognormal(2.7, 1.1), 3, 9_000).round()),
        "fio2_percent": float(rng.integers(21, 51)),
        "pao2_kpa": round(float(np.clip(rng.normal(9.6, 1.6), 4, 19)), 1),
        "o2_saturation_percent": float(np.clip(rng.normal(94, 4), 60, 100).round()),
    }


def _pseudonym(rng: Rng, index: int) -> str:
    if index % 2:
        return f"Covid{uuid.UUID(bytes=rng.bytes(16), version=4)}"
    return f"Covid{1000 + index}"
