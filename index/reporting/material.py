"""What a report is made of: every scan that the cohorts offer, with what reading its pixels added."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from index.case import Case, Rejected

# of a case: what a cohort that does not know it learns from the scan itself, as in a build
COMPLETED = ("modality", "view", "scan_date", "age_years", "sex", "manufacturer", "scanner")


@dataclass(frozen=True)
class Seen:
    """What reading one scan's pixels told."""

    known: Mapping[str, Any] = field(default_factory=dict, repr=False)  # of COMPLETED, what the scan states
    flags: tuple[str, ...] = ()
    pixel_hash: str | None = None


@dataclass(frozen=True)
class ReportedScan:
    """A case, completed from its scan where that was read."""

    case: Case
    seen: Seen | None = None  # None: its pixels were not read, or could not be

    @property
    def patient(self) -> tuple[str, str]:
        """A pseudonym is unique within its cohort only."""
        return self.case.cohort, self.case.patient_id

    @classmethod
    def of(cls, case: Case, seen: Seen | None) -> "ReportedScan":
        if seen is None:
            return cls(case)
        missing: dict[str, Any] = {name: seen.known.get(name) for name in COMPLETED if getattr(case, name) is None}
        return cls(replace(case, **missing), seen)


@dataclass(frozen=True)
class RejectedScan:
    """A rejection, and whose it is where the cohort tells."""

    rejected: Rejected
    cohort: str | None
    site: str | None


@dataclass(frozen=True)
class Material:
    """An archive as it was read."""

    cohorts: Mapping[str, str]  # name -> where it was read from
    endpoints: tuple[str, ...]
    scans: Sequence[ReportedScan]
    rejected: Sequence[RejectedScan]
    counts: Mapping[str, int]  # what the cohorts counted beside their cases
    pixels: str  # a sentence: where what pixels tell was taken from
    pixels_read: bool
    code_version: str
    created: datetime

    def scans_of(self, cohort: str) -> list[ReportedScan]:
        return [scan for scan in self.scans if scan.case.cohort == cohort]
