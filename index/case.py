"""A case: one archived scan's record, and what happened to the patient."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date
from enum import StrEnum
from typing import Self


class State(StrEnum):
    """What a record says of a yes-or-no question. *Not recorded* is never *no*."""

    YES = "yes"
    NO = "no"
    NOT_RECORDED = "not_recorded"


@dataclass(frozen=True)
class Endpoint:
    """One outcome that a cohort declares: `died`, `itu_admission`, `relapse`…"""

    name: str  # a catalogue column: lower case, digits, underscores
    title: str  # for people: "ITU admission"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", self.name):
            raise ValueError(f"endpoint name {self.name!r}: use lower-case letters, digits and underscores")


@dataclass(frozen=True)
class Event:
    """Whether an endpoint was met, and when it is known, how many days after the scan (negative: before it)."""

    state: State
    days: int | None = None


@dataclass(frozen=True)
class Outcome:
    """Each endpoint's event, and for how many days after the scan the patient was observed."""

    events: Mapping[str, Event]
    observed_days: int | None = None


@dataclass(frozen=True)
class Case:
    """One archived scan. What the cohort does not know is None; the build adds what the scan itself states.

    Identifiers are kept out of `repr`, so that they cannot reach a log by accident.
    """

    case_id: str = field(repr=False)  # stable, from the instance or series UID, never a row number
    patient_id: str = field(repr=False)  # a pseudonym
    cohort: str
    files: tuple[str, ...] = field(
        repr=False
    )  # paths or URLs: one for a radiograph, a folder or the slices of a series
    outcome: Outcome
    site: str | None = None
    modality: str | None = None
    view: str | None = None  # PA, AP or LATERAL
    scan_date: date | None = None
    age_years: float | None = None
    sex: str | None = None  # "F" or "M"
    manufacturer: str | None = None
    scanner: str | None = None
    clinical: Mapping[str, float | str | None] = field(
        default_factory=dict, repr=False
    )  # further columns of the catalogue
    uids: frozenset[str] = field(
        default=frozenset(), repr=False
    )  # of study, series and instances, as the cohort knows them


@dataclass(frozen=True)
class Rejected:
    """A scan that did not become a case, and why."""

    case_id: str = field(repr=False)
    file: str = field(repr=False)
    reason: str  # short and countable
    message: str

    @classmethod
    def of(cls, case: Case, reason: str, message: str) -> Self:
        """The rejection of `case`, in text that any file and terminal takes: names of files need not be valid UTF-8."""
        return cls(_valid(case.case_id), _valid(case.files[0]), reason, _valid(message))


def _valid(text: str) -> str:
    return text.replace("\0", "\\x00").encode("utf-8", "backslashreplace").decode("utf-8")
