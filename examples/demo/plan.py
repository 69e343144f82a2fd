"""Who is in the archive: sides and severities in equal numbers, then sites, dates, views, visits and re-uploads."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np

from examples.demo.lesions import Disease, Side, draw_disease, draw_progress
from examples.demo.patient import VirtualPatient, draw_patient
from examples.demo.radiograph import View
from examples.demo.scanners import SITES, Site

# Portable AP films are commoner among the very ill: a shortcut that a search engine must not fall for.
AP_PROBABILITY = {0: 0.35, 1: 0.35, 2: 0.50, 3: 0.70}

_LATERAL_SHARE, _SECOND_VISIT_SHARE, _DUPLICATE_SHARE = 0.15, 0.25, 0.06
_FIRST_DAY, _DAYS = date(2020, 3, 12), 340

# The three questions of the demonstration, whose patients are not in the archive.
UNSEEN = ((Side.RIGHT, 2), (Side.BOTH, 3), (Side.LEFT, 1))


@dataclass(frozen=True)
class Visit:
    number: int  # from 1
    day: date
    disease: Disease
    views: tuple[View, ...]
    duplicated: bool  # the frontal film was uploaded twice


@dataclass(frozen=True)
class PatientPlan:
    """One virtual patient with all that is to be made of them."""

    seed: int
    index: int
    pseudonym: str
    archived: bool  # False for an unseen patient, kept for questions
    body: VirtualPatient
    site: Site
    admitted: date
    visits: tuple[Visit, ...]

    @property
    def positive(self) -> bool:
        return self.visits[0].disease.side is not Side.NONE

    def rng(self, purpose: str) -> np.random.Generator:
        """A generator of its own for every purpose, so that one draw more here changes nothing there."""
        return np.random.default_rng([self.seed, self.index, *purpose.encode()])

    def uid(self, *parts: str) -> str:
        """A valid UID that depends on nothing but the seed, the patient and what it names (PS3.5 B.2)."""
        name = "/".join([str(self.seed), self.pseudonym, *parts])
        return f"2.25.{int.from_bytes(hashlib.sha256(name.encode()).digest()[:15], 'big')}"


def plan_archive(patients: int, seed: int) -> list[PatientPlan]:
    """Return the plans of `patients` archived patients and then of the three unseen ones."""
    rng = np.random.default_rng([seed, 0])
    wanted = _balanced(rng, patients)
    lateral = _chosen(rng, patients, _LATERAL_SHARE)
    again = _chosen(rng, patients, _SECOND_VISIT_SHARE)
    doubled = _chosen(rng, patients, _DUPLICATE_SHARE * 1.4)  # of patients; of films it comes to about six per cent
    plans = [
        _plan_patient(seed, index, side, severity, index in lateral, index in again, index in doubled, archived=True)
        for index, (side, severity) in enumerate(wanted)
    ]
    for number, (side, severity) in enumerate(UNSEEN):
        plans.append(_plan_patient(seed, 1_000_000 + number, side, severity, False, False, False, archived=False))
    return plans


def _plan_patient(
    seed: int,
    index: int,
    side: Side,
    severity: int,
    lateral: bool,
    again: bool,
    doubled: bool,
    *,
    archived: bool,
) -> PatientPlan:
    rng = np.random.default_rng([seed, 1, index])
    body = draw_patient(rng)
    site = SITES[int(rng.integers(len(SITES)))]
    admitted = _FIRST_DAY + timedelta(days=int(rng.integers(_DAYS)))
    disease = draw_disease(rng, side, severity)
    first_day = admitted + timedelta(days=int(rng.integers(0, 3)))
    first = (_frontal(rng, severity), View.LATERAL) if lateral else (_frontal(rng, severity),)
    visits = [Visit(1, first_day, disease, first, doubled)]
    if again:
        later = disease if side is Side.NONE else draw_progress(rng, disease, _changed(rng, severity))
        day = first_day + timedelta(days=int(rng.integers(3, 11)))
        visits.append(Visit(2, day, later, (_frontal(rng, later.severity),), False))
    return PatientPlan(seed, index, _pseudonym(rng, index), archived, body, site, admitted, tuple(visits))


def _balanced(rng: np.random.Generator, patients: int) -> list[tuple[Side, int]]:
    """Every side as often as every other, and every severity as often within a side, in random order."""
    turns = [(side, 0 if side is Side.NONE else 1 + turn % 3) for turn in range(patients) for side in Side][:patients]
    return [turns[position] for position in rng.permutation(patients)]


def _chosen(rng: np.random.Generator, patients: int, share: float) -> set[int]:
    return {int(index) for index in rng.permutation(patients)[: round(share * patients)]}


def _frontal(rng: np.random.Generator, severity: int) -> View:
    return View.AP if rng.random() < AP_PROBABILITY[severity] else View.PA


def _changed(rng: np.random.Generator, severity: int) -> int:
    """One grade better or worse; mild disease that gets better stays mild."""
    return int(np.clip(severity + rng.choice([-1, 1]), 1, 3))


def _pseudonym(rng: np.random.Generator, index: int) -> str:
    if index % 2:
        return f"Covid{uuid.UUID(bytes=rng.bytes(16), version=4)}"
    return f"Covid{1000 + index * 7 % 100_000 + index // 1_000_000 * 5000}"
