"""What reading the pixels showed: the same picture twice, doubts about pictures, and scans that were rejected."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from index.reporting.material import RejectedScan, ReportedScan


@dataclass(frozen=True)
class Duplicate:
    """A scan whose decoded values another scan has too. The one row of a report that holds identifiers."""

    group: int  # scans of one group hold the same picture
    across_patients: bool
    cohort: str
    centre: str | None
    modality: str | None
    patient_id: str
    case_id: str


@dataclass(frozen=True)
class DuplicateCount:
    """How many pictures are there more than once, within one patient or under several pseudonyms."""

    across_patients: bool
    pictures: int
    scans: int
    patients: int
    centres: int


@dataclass(frozen=True)
class ImageFlag:
    cohort: str
    centre: str | None
    modality: str | None
    flag: str
    scans: int


@dataclass(frozen=True)
class RejectedCount:
    cohort: str | None
    centre: str | None
    reason: str
    scans: int


def duplicates(scans: Iterable[ReportedScan]) -> list[Duplicate]:
    groups: dict[str, list[ReportedScan]] = {}
    for scan in scans:
        if scan.seen and scan.seen.pixel_hash:
            groups.setdefault(scan.seen.pixel_hash, []).append(scan)
    rows = []
    for number, group in enumerate((group for group in groups.values() if len(group) > 1), start=1):
        across = len({scan.patient for scan in group}) > 1
        for scan in group:
            case = scan.case
            rows.append(Duplicate(number, across, case.cohort, case.site, case.modality, case.patient_id, case.case_id))
    return rows


def duplicate_counts(found: Sequence[Duplicate]) -> list[DuplicateCount]:
    rows = []
    for across in (False, True):
        of_kind = [row for row in found if row.across_patients is across]
        patients = {(row.cohort, row.patient_id) for row in of_kind}
        centres = {(row.cohort, row.centre) for row in of_kind}
        pictures = {row.group for row in of_kind}
        rows.append(DuplicateCount(across, len(pictures), len(of_kind), len(patients), len(centres)))
    return rows


def image_flags(scans: Iterable[ReportedScan]) -> list[ImageFlag]:
    counts = Counter(
        (scan.case.cohort, scan.case.site, scan.case.modality, flag)
        for scan in scans
        if scan.seen
        for flag in dict.fromkeys(scan.seen.flags)
    )
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][3], str(item[0])))
    return [ImageFlag(*key, count) for key, count in ordered]


def rejected_counts(rejected: Iterable[RejectedScan]) -> list[RejectedCount]:
    counts = Counter((entry.cohort, entry.site, entry.rejected.reason) for entry in rejected)
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0][2], str(item[0])))
    return [RejectedCount(*key, count) for key, count in ordered]
