"""One build of an index folder, from taking stock to publication; whoever uses it reads and signs what is unread."""

import contextlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq

from index.case import Rejected
from index.checks import Checked, Limits, check_against_previous, check_counts, doubts_of_counts, in_words
from index.denied import DenyList, DenyListError
from index.intake import Intake
from index.known import Known, open_known
from index.lock import IndexLock
from index.manifest import IndexManifest
from index.parts import PartWriter, finished_parts, remove_parts
from index.previous import is_whole, open_earlier, require_deny_list
from index.readings import Facts, Reading, Seen
from index.retention import held, prune
from index.snapshot import Snapshot, SnapshotError
from index.snapshot_writer import BUILDING, REJECTED, Build, SnapshotWriter, prepare_index_folder, sweep
from index.spool import Planned, Spool
from index.stock import Stock, take_stock

SPOOL = "cases.spool"


@dataclass(frozen=True)
class BuildOptions:
    """What the one who starts a build may choose."""

    limits: Limits = field(default_factory=Limits)
    keep: int = 3  # whole snapshots, the new one among them
    full: bool = False  # forget what is known
    dry_run: bool = False  # change nothing in an index; the lock alone is taken


class Building:
    """Holds the index's lock for as long as it lives. Use it in `with`; all raise `SnapshotError`, and the published snapshot
    stays as it was.
    """

    def __init__(self, index: Path, build: Build, options: BuildOptions) -> None:
        self._index = index
        self._build = build
        self._options = options
        self._stack = ExitStack()
        self.notes: list[str] = []  # what is told of the state in which the index was found
        self.warnings: list[str] = []  # and what of it has to be looked at
        self._kept = self._news = 0  # outcomes of reading, and of them those that differ from what is published
        self._is_read = False

    def __enter__(self) -> Self:
        try:
            with self._stack:
                self._enter()
                self._stack = self._stack.pop_all()
        except (OSError, DenyListError) as error:
            raise SnapshotError(str(error)) from error
        return self

    def _enter(self) -> None:
        prepare_index_folder(self._index)
        building = self._index / BUILDING
        lock = self._stack.enter_context(IndexLock(building, purpose="build"))
        is_dry = self._options.dry_run
        if not is_dry:
            sweep(self._index)
        if self._options.full and not is_dry:
            remove_parts(building)
        self.denied = DenyList.read(self._index)
        self.warnings += require_deny_list(self._index, self.denied)
        self._earlier = open_earlier(self._index)
        self._previous = self._earlier.published
        self.warnings += self._earlier.warnings
        parts = [] if self._options.full else finished_parts(building, self._build.fingerprint, clear=not is_dry)
        self._tell_of_the_last(lock, len(parts))
        reusable = None if self._options.full else self._earlier.known
        if reusable and reusable.manifest.fingerprint != self._build.fingerprint:
            self.notes.append("another encoder or preparation than before: every scan is read again")
            reusable = None
        self._known: Known = self._stack.enter_context(open_known(reusable, parts))
        self._old_parts = parts
        self._spool = self._stack.enter_context(Spool(building / SPOOL))
        self._parts = PartWriter(building, self._build.fingerprint)

    def _tell_of_the_last(self, lock: IndexLock, parts: int) -> None:
        """What of an earlier build was found, and of one that was killed also when it had begun."""
        going_on = f"going on from {parts} finished parts" if parts else ""
        if lock.took_over and lock.took_over_purpose != "build":
            self.warnings.append(f"{lock.took_over}; it is not complete: run it again")
        elif lock.took_over:
            self.notes.append(f"{lock.took_over}; {going_on or 'it had finished no part'}")
        elif parts:
            self.notes.append(f"{going_on} of an earlier build")

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk: what is held is read again next time
            self._parts.flush()
        self._stack.close()

    def take_stock(self, intake: Intake, content_of: Callable[[Path], str]) -> Stock:
        """What the cohorts offer, beside what is known. Raises also `CohortError`."""
        before = self._earlier.known or self._earlier.compared
        published = self._ids(before) if before else []
        try:
            self._stock = take_stock(intake, self._known, published, self._spool, content_of)
        except OSError as error:
            raise SnapshotError(f"{self._index / BUILDING}: cannot be written ({error})") from error
        compared = self._earlier.compared
        self.warnings += doubts_of_counts(intake.counts, compared.manifest.counts if compared else None)
        if self._stock.unreadable:
            self.warnings.append(
                f"{self._stock.unreadable:,} scans that are in the index can no longer be read, for want of rights; they stay as "
                "they were. Let the build's user read them"
            )
        self._build = replace(
            self._build,
            counts=intake.counts,
            exclusions=intake.exclusions.sha256 or "",
            denied=self.denied.fingerprint(),
            seen=intake.seen,
            excluded=intake.excluded,
        )
        return self._stock

    def is_unchanged(self) -> bool:
        """Whether a new snapshot would hold the very same as the published one. What has to be read may be so too, once it was read:
        a file that is missing still, a scan whose own header excludes it.
        """
        stock, previous = self._stock, self._previous
        is_pending = stock.unread and not self._is_read
        if previous is None or self._options.full or is_pending or self._news:
            return False
        if stock.records_changed or stock.restamped or stock.resumed:
            return False
        by_header = stock.unread - self._kept
        build = replace(self._build, seen=self._build.seen - by_header, excluded=self._build.excluded + by_header)
        manifest = previous.manifest
        same = all(
            getattr(manifest, name) == getattr(build, name)
            for name in (
                "encoder", "fingerprint", "cohorts", "endpoints", "code_version", "store", "counts", "exclusions", "denied",
                "seen", "excluded",
            )
        )  # fmt: skip
        return (
            same and not stock.withdrawn and _refusals(previous) == sorted((r.case_id, r.reason) for r in stock.refused)
        )

    def unread(self) -> Iterator[Planned]:
        """The cases whose scans have to be read."""
        self._is_read = True
        return self._spool.unread()

    def keep(self, planned: Planned, outcome: Reading | Rejected) -> bool:
        """What reading a case's scan gave: kept at once in memory, and on disk a part at a time; whether that was now."""
        before = self._parts.written
        seen = self._seen(planned, outcome.facts if isinstance(outcome, Reading) else outcome)
        self._kept += 1
        self._news += not self._known.failed_alike(seen)
        try:
            self._parts.add((seen, outcome if isinstance(outcome, Reading) else None))
        except OSError as error:
            raise SnapshotError(f"{self._index / BUILDING}: cannot be written ({error})") from error
        return self._parts.written > before

    def publish(self) -> tuple[IndexManifest, Sequence[Rejected], Checked]:
        """Assemble, verify, check and publish; (the manifest, who was rejected, what the checks found)."""
        found: list[Checked] = []

        def check(new: Snapshot) -> Checked:
            found.append(check_against_previous(new, self._earlier.compared, self._options.limits))
            return found[-1]

        try:
            self._parts.flush()
            new = [
                path
                for path in finished_parts(self._index / BUILDING, self._build.fingerprint)
                if path not in self._old_parts
            ]
            writer = SnapshotWriter(self._index, self._build.endpoints)
        except OSError as error:
            raise SnapshotError(f"{self._index / BUILDING}: cannot be written ({error})") from error
        try:
            with open_known(None, new) as read_now:
                self._assemble(writer, read_now)
            self._known.forget()  # nobody asks any more, and what follows needs the room
            self._check_counts(writer)
            manifest = writer.publish(self._build, check)
        except BaseException:
            writer.discard()
            raise
        remove_parts(self._index / BUILDING)
        return manifest, writer.rejected, self._pruned(found[0], manifest.name)

    def forget_parts(self) -> None:
        """Give up what was read: it says nothing new."""
        self._parts.forget()
        remove_parts(self._index / BUILDING)

    def _pruned(self, checked: Checked, published: str) -> Checked:
        """The snapshot is published by now: what fails here is only told."""
        told = []
        try:
            keep, damaged = self._to_keep(published)
            told += [
                f"the snapshot {name} is damaged; it is kept beside {self._options.keep} whole ones" for name in damaged
            ]
            prune(self._index, keep=keep)
        except OSError as error:
            told.append(f"old snapshots could not be removed ({error}); see to it and run `python -m index prune`")
        return replace(checked, warnings=(*checked.warnings, *told))

    def _to_keep(self, published: str) -> tuple[int, list[str]]:
        """(how many of the newest snapshots there are down to the last whole one that is to be kept, the damaged among them)."""
        snapshots = held(self._index)
        if len(snapshots) <= self._options.keep:
            return self._options.keep, []  # none would go
        whole, damaged = {published, *([self._previous.manifest.name] if self._previous else [])}, []
        found = 0
        for place, one in enumerate(snapshots, 1):
            if one.path.name in whole or is_whole(one.path):
                found += 1
            else:
                damaged.append(one.path.name)
            if found == self._options.keep:
                return place, damaged
        return len(snapshots), damaged

    @property
    def is_new_list(self) -> bool:
        """Whether the exclusion list is another than that of the snapshot before."""
        before = self._earlier.compared
        return before is None or before.manifest.exclusions != self._build.exclusions

    def published(self) -> IndexManifest | None:
        return self._previous.manifest if self._previous else None

    def _assemble(self, writer: SnapshotWriter, read_now: Known) -> None:
        """Every case with its reading, whether known before or read just now; one without was excluded by its own header."""
        for refused in self._stock.refused:
            writer.reject(refused)
        excluded = self._build.excluded
        for planned in self._spool:
            case_id = planned.case.case_id
            source, place = self._known, planned.known
            if place is None:
                source = read_now
                place = (
                    read_now.find(case_id, planned.stamp, passing=True) if planned.stamp else read_now.failed(case_id)
                )
            if place is None:
                excluded += 1
                continue
            outcome = source.outcome(place)
            if isinstance(outcome, Reading):
                seen = self._seen(planned, outcome.facts, source.at(place, "facts"))
                writer.add(planned.case, seen, outcome)
            else:
                rejected = Rejected.of(planned.case, outcome.reason, outcome.message)
                writer.reject(rejected, self._seen(planned, rejected))
        seen_now = self._build.seen - (excluded - self._build.excluded)
        self._build = replace(self._build, excluded=excluded, seen=seen_now)

    @staticmethod
    def _seen(planned: Planned, outcome: Facts | Rejected, facts: str = "") -> Seen:
        case = planned.case
        return Seen(case.case_id, planned.stamp, planned.record, outcome, case.files[0], facts)

    def _check_counts(self, writer: SnapshotWriter) -> None:
        if not writer.indexed:
            reasons = in_words(Counter(one.reason for one in writer.rejected))
            told = f" ({reasons})" if reasons else ""
            raise SnapshotError(f"none of the {self._build.seen} scans could be read{told}; nothing was published")
        compared = self._earlier.compared
        previous = compared.manifest if compared else None
        check_counts(
            indexed=writer.indexed,
            rejected=Counter(one.reason for one in writer.rejected),
            seen=self._build.seen,
            before=sum(previous.cases.values()) if previous else 0,
            excused=max(0, self._build.excluded - previous.excluded) if previous else 0,
            limits=self._options.limits,
        )

    @staticmethod
    def _ids(snapshot: Snapshot) -> Iterator[str]:
        for kind in snapshot.manifest.cases:
            yield from snapshot.catalogue.values("case_id", kind)


def _refusals(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(case_id, reason) of those refused before reading."""
    table = pq.ParquetFile(snapshot.checked(REJECTED)).read(columns=["case_id", "reason"])
    pairs = zip(table.column("case_id").to_pylist(), table.column("reason").to_pylist(), strict=True)
    return sorted(pair for pair in pairs if pair[1] in ("unusable-name", "repeated-case-id"))
