"""An intake and what reading its scans told -> the material of a report."""

from collections.abc import Iterable, Iterator, Sequence

from index.case import Case, Rejected
from index.intake import Intake
from index.reporting.material import RejectedScan, ReportedScan, Seen
from index.reporting.published import Published

Looked = tuple[Case, Seen | Rejected | None]  # None: not read


def gather(
    intake: Intake, refused: Iterable[Rejected], looked: Iterable[Looked]
) -> tuple[list[ReportedScan], list[RejectedScan]]:
    """(every scan, those rejected): a rejected scan counts as a scan without pixels, unless its very id is of no use."""
    only = next(iter(intake.cohorts)) if len(intake.cohorts) == 1 else None
    rejected = [RejectedScan(entry, only, None) for entry in refused]
    scans = []
    for case, outcome in looked:
        scans.append(ReportedScan.of(case, outcome if isinstance(outcome, Seen) else None))
        if isinstance(outcome, Rejected):
            rejected.append(RejectedScan(outcome, case.cohort, case.site))
    return scans, rejected


def iter_published(cases: Iterable[Case], published: Published) -> Iterator[Looked]:
    """Each case with what a published index knows of it."""
    for case in cases:
        yield case, published.seen.get((case.cohort, case.case_id)) or published.rejected.get(case.case_id)


def published_in_words(published: Published, scans: Sequence[ReportedScan], rejected: Sequence[RejectedScan]) -> str:
    """Where the pixels' facts are from, and how far archive and index have moved apart."""
    known = {(scan.case.cohort, scan.case.case_id) for scan in scans}
    read = sum(scan.seen is not None for scan in scans)
    reported = {entry.rejected.case_id for entry in rejected}
    new = sum(scan.seen is None and scan.case.case_id not in reported for scan in scans)
    gone = sum(key not in known for key in published.seen)
    return (
        f"Views, pixel hashes, doubts about pictures and rejected scans are those of the index {published.name}, built "
        f"{published.created}: {read:,} of these scans are in it, {new:,} came later or were left out, and {gone:,} of its scans are not "
        "among these."
    )
