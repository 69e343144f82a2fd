"""What a build did, for whoever asks in the morning: a person, a monitor, a log."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from index.case import Rejected

LINES_SHOWN = 20


class BuildOutcome(StrEnum):
    """How a build ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"  # nothing differs from the published snapshot, which stays
    DRY_RUN = "dry-run"


@dataclass(frozen=True)
class BuildReport:
    """One build. Counts are of scans unless they say otherwise."""

    outcome: BuildOutcome
    snapshot: str  # the published one's name; of a dry run the one that stays, empty where there is none
    started: datetime  # UTC
    finished: datetime
    seconds: Mapping[str, float]  # stage -> duration: records, reading, assembling, checking, publishing
    cases: Mapping[str, int]  # kind -> how many are in the index
    patients: int
    seen: int  # offered by the cohorts and not excluded
    new: int
    changed: int  # whose files are others than last time
    records_changed: int  # whose record alone is
    unchanged: int
    withdrawn: int  # in the last snapshot, no longer offered or excluded now
    excluded: int
    rejected: Sequence[Rejected]
    counts: Mapping[str, int] = field(default_factory=dict)  # what else the cohorts found
    warnings: Sequence[str] = ()  # what the checks before publication found worth a look
    health: Mapping[str, float] = field(default_factory=dict)  # figures of the manifest, such as xray_hubness
    exclusion_lines: int = 0  # in the list of --exclude
    idle_lines: Sequence[int] = ()  # numbers of those that match nobody; names stay in the list

    def of_exclusions(self) -> str:
        """What is told of lines that match nobody; empty where each matches."""
        if not self.idle_lines:
            return ""
        shown = ", ".join(map(str, self.idle_lines[:LINES_SHOWN])) + (
            " …" if len(self.idle_lines) > LINES_SHOWN else ""
        )
        match = "matches" if len(self.idle_lines) == 1 else "match"
        return (
            f"{len(self.idle_lines):,} of {self.exclusion_lines:,} lines of the exclusion list {match} nobody who is offered "
            f"(line {shown})"
        )
