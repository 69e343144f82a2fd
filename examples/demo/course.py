"""What happened to a patient: outcomes that follow severity and age by chance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from examples.demo.plan import PatientPlan


@dataclass(frozen=True)
class Course:
    swab: date
    itu: date | None
    intubated: date | None
    died: date | None
    last_alive: date
    itu_recorded: bool
    intubation_recorded: bool
    death_recorded: bool
    crp_mg_per_l: float
    news2: int
    respiratory_rate: int
    temperature_c: float
    lymphocytes: float
    fio2_percent: int

    def recorded(self) -> dict[str, str]:
        """Each outcome as a reader of the record must find it: "yes", "no" or "not_recorded"."""
        known = {
            "died": (self.died, self.death_recorded),
            "itu_admission": (self.itu, self.itu_recorded),
            "intubated": (self.intubated, self.intubation_recorded),
        }
        return {name: ("yes" if day else "no") if told else "not_recorded" for name, (day, told) in known.items()}


def draw_course(plan: PatientPlan) -> Course:
    """Return the course of a positive patient; severe disease: about 60 % reach intensive care and 35 % die."""
    rng = plan.rng("course")
    worst = max(visit.disease.severity for visit in plan.visits)
    age = plan.body.age_years
    itu_chance = _logistic(-4.7 + 1.7 * worst - (1.5 if age > 85 else 0))
    itu = plan.admitted + timedelta(days=int(rng.integers(0, 7))) if rng.random() < itu_chance else None
    intubated = itu + timedelta(days=int(rng.integers(0, 3))) if itu and rng.random() < 0.6 else None
    death_chance = _logistic(-5.0 + 1.35 * worst + 0.05 * (age - 62) + (0.6 if itu else 0))
    earliest = max(plan.visits[-1].day, intubated or itu or plan.admitted)
    died = earliest + timedelta(days=int(rng.integers(2, 26))) if rng.random() < death_chance else None
    last_alive = died or earliest + timedelta(days=int(rng.integers(10, 70)))
    return Course(
        swab=plan.admitted - timedelta(days=int(rng.integers(0, 5))),
        itu=itu,
        intubated=intubated,
        died=died,
        last_alive=last_alive,
        itu_recorded=bool(rng.random() > 0.08),
        intubation_recorded=bool(rng.random() > 0.12),
        death_recorded=bool(rng.random() > 0.06),
        crp_mg_per_l=round(float(rng.lognormal(3.2 + 0.5 * worst, 0.5)), 1),
        news2=int(np.clip(rng.normal(1 + 2.0 * worst, 1.6), 0, 17)),
        respiratory_rate=int(np.clip(rng.normal(16 + 3.5 * worst, 3), 12, 44)),
        temperature_c=round(float(np.clip(rng.normal(37.8, 0.8), 35.2, 40.3)), 1),
        lymphocytes=round(float(rng.lognormal(0.25 - 0.2 * worst, 0.35)), 2),
        fio2_percent=int([21, 24, 40, 60][worst] if rng.random() < 0.6 else 21),
    )


def _logistic(value: float) -> float:
    return float(1 / (1 + np.exp(-value)))
