"""One build of an index folder, from taking stock to publication; whoever uses it reads and signs what is unread."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Self

import pyarrow.parquet as pq

from index.case import Rejected
from index.checks import Checked, Limits, check_against_previous, check_counts
from index.denied import DenyList, DenyListError
from index.intake import Intake
from index.known import Known, open_known
from index.lock import IndexLock
from index.manifest import IndexManifest
from index.parts import PartWriter, finished_parts, remove_parts
from index.readings import Facts, Reading, Seen
from index.retention import prune
from index.snapshot import Snapshot, SnapshotError, current_folder, open_snapshot
from index.snapshot_writer import BUILDING, REJECTED, Build, SnapshotWriter, prepare_index_folder, sweep
from index.spool import Planned, Spool
from index.stock import Stock, take_stock

SPOOL = "cases.spool"


@dataclass(frozen=True)
class BuildOptions:
    """What the one who starts a build may choose."""

    limits: Limits = field(default_factory=Limits)
    keep: int = 3  # snapshots, the new one among them
    full: bool = False  # forget what is known


class Building:
    """Holds the index's lock for as long as it lives. Use it in `with`; all raise `SnapshotError`, and the published snapshot
    stays as it was.
    """

    def __init__(self, index: Path, build: Build, options: BuildOptions) -> None:
        self._index = index
        self._build = build
        self._options = options
        self._stack = ExitStack()
        self.notes: list[str] = []  # what is worth telling of the state in which the index was found
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
        if lock.took_over:
            self.notes.append(f"an earlier one ended without an end: {lock.took_over}")
        sweep(self._index)
        if self._options.full:
            remove_parts(building)
        self.denied = DenyList.read(self._index)
        self._previous = self._open_previous()
        parts = finished_parts(building, self._build.fingerprint)
        if parts:
            self.notes.append(f"going on from {len(parts)} finished parts of an earlier build")
        reusable = None if self._options.full else self._previous
        if reusable and reusable.manifest.fingerprint != self._build.fingerprint:
            self.notes.append("another encoder or preparation than before: every scan is read again")
            reusable = None
        self._known: Known = self._stack.enter_context(open_known(reusable, parts))
        self._old_parts = parts
        self._spool = self._stack.enter_context(Spool(building / SPOOL))
        self._parts = PartWriter(building, self._build.fingerprint)

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # a full disk: what is held is read again next time
            self._parts.flush()
        self._stack.close()

    def take_stock(self, intake: Intake, content_of: Callable[[Path], str]) -> Stock:
        """What the cohorts offer, beside what is known. Raises also `CohortError`."""
        published = self._ids(self._previous) if self._previous else []
        try:
            self._stock = take_stock(intake, self._known, published, self._spool, content_of)
        except OSError as error:
            raise SnapshotError(f"{self._index / BUILDING}: cannot be written ({error})") from error
        self._intake = intake
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
        return (planned for planned in self._spool if planned.known is None)

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
            found.append(check_against_previous(new, self._previous, self._options.limits))
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
            self._check_counts(writer)
            manifest = writer.publish(self._build, check)
        except BaseException:
            writer.discard()
            raise
        remove_parts(self._index / BUILDING)
        return manifest, writer.rejected, self._pruned(found[0])

    def forget_parts(self) -> None:
        """Give up what was read: it says nothing new."""
        self._parts.forget()
        remove_parts(self._index / BUILDING)

    def _pruned(self, checked: Checked) -> Checked:
        """The snapshot is published by now: what fails here is only told."""
        try:
            prune(self._index, keep=self._options.keep)
        except OSError as error:
            told = f"old snapshots could not be removed ({error}); see to it and run `python -m index prune`"
            return replace(checked, warnings=(*checked.warnings, told))
        return checked

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
                writer.add(planned.case, self._seen(planned, outcome.facts), outcome)
            else:
                rejected = Rejected.of(planned.case, outcome.reason, outcome.message)
                writer.reject(rejected, self._seen(planned, rejected))
        seen_now = self._build.seen - (excluded - self._build.excluded)
        self._build = replace(self._build, excluded=excluded, seen=seen_now)

    @staticmethod
    def _seen(planned: Planned, outcome: Facts | Rejected) -> Seen:
        case = planned.case
        return Seen(case.case_id, planned.stamp, planned.record, outcome, case.files[0])

    def _check_counts(self, writer: SnapshotWriter) -> None:
        if not writer.indexed:
            raise SnapshotError(f"none of the {self._build.seen} scans could be read; nothing was published")
        previous = self._previous.manifest if self._previous else None
        check_counts(
            indexed=writer.indexed,
            rejected=len(writer.rejected),
            seen=self._build.seen,
            before=sum(previous.cases.values()) if previous else 0,
            excused=max(0, self._build.excluded - previous.excluded) if previous else 0,
            limits=self._options.limits,
        )

    def _open_previous(self) -> Snapshot | None:
        try:
            current_folder(self._index)
        except SnapshotError:
            return None  # the first build
        try:
            snapshot = open_snapshot(current_folder(self._index), to_search=False)
            for name in snapshot.manifest.files:
                snapshot.checked(name)
            return snapshot
        except SnapshotError as error:
            self.notes.append(f"the published snapshot cannot be used ({error}); everything is read again")
            return None

    @staticmethod
    def _ids(snapshot: Snapshot) -> Iterator[str]:
        for kind in snapshot.manifest.cases:
            yield from snapshot.catalogue.values("case_id", kind)


def _refusals(snapshot: Snapshot) -> list[tuple[str, str]]:
    """(case_id, reason) of those refused before reading."""
    table = pq.ParquetFile(snapshot.checked(REJECTED)).read(columns=["case_id", "reason"])
    pairs = zip(table.column("case_id").to_pylist(), table.column("reason").to_pylist(), strict=True)
    return sorted(pair for pair in pairs if pair[1] in ("unusable-name", "repeated-case-id"))
