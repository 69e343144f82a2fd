"""The doubts that reading the clinical records left, as a cohort lists them in `clinical_flags`: `field:flag field:flag`."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from index.case import Case
from index.cohorts.cleaned import FLAGS
from index.reporting.material import ReportedScan

COLUMN = "clinical_flags"
UNKNOWN = "stated-unknown"
CONTRADICTIONS = frozenset(
    {
        "denied-but-dated",
        "final-status-negative",
        "headers-disagree",
        "implausible-order",
        "older-file-differs",
        "sex-not-of-scan",
        "two-films-that-day",
    }
)


class Gravity(StrEnum):
    """What a doubt is, the gravest first."""

    CONTRADICTION = "contradiction"  # two places say different things
    NOT_USED = "not used"  # something is written that cannot be understood or cannot be
    READING = "reading"  # how a cell was taken


@dataclass(frozen=True)
class ClinicalFlag:
    """One doubt about one field in one centre."""

    cohort: str
    centre: str | None
    field: str
    flag: str
    gravity: str  # of Gravity
    meaning: str
    patients: int
    scans: int


def is_doubt_column(name: str) -> bool:
    return name == COLUMN


def flags_by_field(case: Case) -> dict[str, list[str]]:
    """The codes of each field that has any."""
    text = case.clinical.get(COLUMN)
    found: dict[str, list[str]] = {}
    for entry in text.split() if isinstance(text, str) else ():
        field, colon, flag = entry.rpartition(":")
        if colon:
            found.setdefault(field, []).append(flag)
    return found


def clinical_flags(cohort: str, scans: Sequence[ReportedScan]) -> list[ClinicalFlag]:
    """The most frequent first."""
    patients: dict[tuple[str | None, str, str], set[tuple[str, str]]] = {}
    counts: Counter[tuple[str | None, str, str]] = Counter()
    for scan in scans:
        for field, flags in flags_by_field(scan.case).items():
            for flag in dict.fromkeys(flags):
                key = (scan.case.site, field, flag)
                counts[key] += 1
                patients.setdefault(key, set()).add(scan.patient)
    rows = [
        ClinicalFlag(
            cohort, site, field, flag, str(gravity_of(flag)), meaning_of(flag), len(patients[site, field, flag]), count
        )
        for (site, field, flag), count in counts.items()
    ]
    return sorted(rows, key=lambda row: (-row.patients, row.field, row.flag, row.centre or ""))


def gravity_of(flag: str) -> Gravity:
    if flag in CONTRADICTIONS:
        return Gravity.CONTRADICTION
    return Gravity.NOT_USED if meaning_of(flag).endswith("not used") else Gravity.READING


def meaning_of(flag: str) -> str:
    return FLAGS.get(flag, flag.replace("-", " "))
