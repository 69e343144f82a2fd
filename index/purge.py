"""Purging withdrawn people from every snapshot, part and preview of an index, and the proof of it."""

import re
import shutil
import socket
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyarrow.parquet as pq

from index.case import Rejected
from index.denied import DENIED, DenyList
from index.exclusions import Exclusions
from index.folder import BUILDING, is_index
from index.known import open_known
from index.lock import IndexLock
from index.owners import me, not_let_in
from index.parts import PARTS, remove_parts
from index.proof import sha256_of, signed
from index.readings import Facts, ReadingTable
from index.retention import Held, held
from index.snapshot import CURRENT, READINGS, SNAPSHOTS, Snapshot, SnapshotError, open_snapshot
from index.snapshot_writer import REJECTED, Build, SnapshotWriter, make_current, name_after, prepare_index_folder, sweep
from index.traces import LONG_NAME, Traces, parts_of

REWRITTEN = re.compile(r"([0-9TZ]+-[0-9]{6})(?:-[0-9a-f]{4})?")  # a build's name of a snapshot, or `name_after` it


@dataclass(frozen=True)
class Rewritten:
    """What became of one snapshot."""

    before: str
    after: str | None  # None where nobody was left in it, or it could not be read
    manifest_before: str  # sha256
    manifest_after: str | None
    cases_removed: int
    rejected_removed: int
    note: str = ""
    is_unread: bool = False  # nobody can say who was in it


@dataclass(frozen=True)
class PurgeReport:
    """The proof of a purge. Names stand in it as keyed digests only."""

    when: str  # UTC
    by: str
    reason: str
    names: int
    digests: tuple[str, ...]
    digests_of_nobody: tuple[str, ...]  # of the names that no snapshot held; empty where one could not be read
    denied_before: int  # of the names
    patients_removed: int  # each counted once, in however many snapshots they were
    scans_removed: int
    files_rejected_removed: int
    snapshots: tuple[Rewritten, ...]
    parts_removed: int
    files_searched: int
    bytes_searched: int
    occurrences_left: int  # of names and of signatures, in all files of the index
    occurrences_in: dict[str, int]  # file -> how many of them

    @property
    def is_complete(self) -> bool:
        return self.occurrences_left == 0

    @property
    def unread(self) -> int:
        """How many snapshots were removed whole, since they could not be read."""
        return sum(one.is_unread for one in self.snapshots)

    def to_json(self) -> str:
        return signed(asdict(self))


@dataclass
class _Removed:
    """Who and what was left out, over all snapshots; only in memory."""

    met: set[str] = field(default_factory=set)  # folded: all names under which they were known
    patients: set[tuple[str, str]] = field(default_factory=set)  # (cohort, pseudonym)
    scans: set[str] = field(default_factory=set)  # case ids
    files: set[str] = field(default_factory=set)  # that had been rejected
    identifiers: set[str] = field(default_factory=set)  # of the scans' headers
    signatures: set[bytes] = field(default_factory=set)

    def meet(self, names: Iterable[str | None]) -> None:
        self.met |= {name.strip().casefold() for name in names if name}


def purge(
    index: Path, names: frozenset[str], *, reason: str, note: Callable[[str], None] = lambda text: None
) -> PurgeReport:
    """Deny the names at once, then rewrite every snapshot without their cases; the proof.

    A name is a pseudonym, or the UID of a study, series or instance. Raises `SnapshotError` or `DenyListError`, whose message says whether
    the names are denied by then; the purge can be run again.
    """
    if not is_index(index):
        raise SnapshotError(f"{index}: no index folder; nobody is denied, nothing was removed")
    try:
        was_lost = not DenyList.read(index).digests and any(one.denied for one in held(index))
        denied, denied_before = DenyList.add(index, names)
    except OSError as error:
        raise SnapshotError(f"{_told(error, index / DENIED)}; nobody is denied, nothing was removed") from error
    if was_lost:
        note(
            "Mind: denied.json was missing, though snapshots were made with one: only the names of this list are denied from now on. "
            "Purge all who were purged before as well, or they come back with the next build"
        )
    note("denied from now on; running servers leave them out within seconds")
    try:
        return _purge(index, names, denied, denied_before, reason, note)
    except (OSError, SnapshotError) as error:
        told = _told(error, index) if isinstance(error, OSError) else str(error)
        raise SnapshotError(
            f"{told}. The deny-list holds: nobody of them is shown or indexed again. But their data still lie in the index. Mend that (on a "
            "full disk `python -m index prune --keep 1` makes room) and run the same purge again"
        ) from error


def _purge(
    index: Path,
    names: frozenset[str],
    denied: DenyList,
    denied_before: int,
    reason: str,
    note: Callable[[str], None],
) -> PurgeReport:
    prepare_index_folder(index)
    with IndexLock(index / BUILDING, purpose="purge"):
        sweep(index)
        parts = _count(index / BUILDING / PARTS)
        remove_parts(index / BUILDING)
        copies = _copies(index, denied)
        if copies:
            note(f"{len(copies)} cases hold the very picture of one of them under another name, and go with it")
            denied, _ = DenyList.add(index, copies)
        rewritten, removed = [], _Removed()
        for one, *leftovers in _groups(held(index)):
            note(f"rewriting {one.path.name}")
            rewritten += _rewrite(index, one, leftovers, denied, removed)
        found = _traces(index, names, removed).search(index)
    is_known = not any(one.is_unread for one in rewritten)  # else a name may be of somebody in what could not be read
    nobody = {name for name in names if is_known and name.strip().casefold() not in removed.met}
    return PurgeReport(
        when=datetime.now(UTC).isoformat(timespec="seconds"),
        by=f"{me()}@{socket.gethostname()}",
        reason=reason,
        names=len(names),
        digests=tuple(sorted(denied.digest(name) for name in names)),
        digests_of_nobody=tuple(sorted(denied.digest(name) for name in nobody)),
        denied_before=denied_before,
        patients_removed=len(removed.patients),
        scans_removed=len(removed.scans),
        files_rejected_removed=len(removed.files),
        snapshots=tuple(rewritten),
        parts_removed=parts,
        files_searched=found.files,
        bytes_searched=found.bytes,
        occurrences_left=found.occurrences,
        occurrences_in=found.where,
    )


def _told(error: OSError, path: Path) -> str:
    """What the system said, with the file's name, which a full disk's errors lack."""
    where = Path(str(error.filename)) if error.filename else path
    if isinstance(error, PermissionError):
        return f"{where}: {not_let_in(where)}"
    return f"{where}: cannot be written ({error.strerror or error})"


def _groups(snapshots: Sequence[Held]) -> list[list[Held]]:
    """Each snapshot, the newest first, followed by the rewritings of it that purges left which were killed before they removed it."""
    groups: dict[str, list[Held]] = {}
    for one in snapshots:
        name = REWRITTEN.fullmatch(one.path.name)
        groups.setdefault(name[1] if name else one.path.name, []).append(one)
    return [sorted(group, key=_written_ns) for group in groups.values()]


def _written_ns(one: Held) -> int:
    try:
        return (one.path / "manifest.json").stat().st_mtime_ns
    except OSError:
        return 0


def _rewrite(index: Path, one: Held, leftovers: Sequence[Held], denied: DenyList, removed: _Removed) -> list[Rewritten]:
    """The snapshot without the denied, beside it, then in its place and that of what earlier purges left of it. `removed` gains who was
    left out. Raises `SnapshotError` where the published one cannot be read: it is not for a purge to leave clinicians without any.
    """
    manifest_before = sha256_of(one.path / "manifest.json") if (one.path / "manifest.json").is_file() else ""
    try:
        old = open_snapshot(one.path)
        old.check_all()
    except SnapshotError as error:
        if isinstance(error.__cause__, PermissionError):
            raise SnapshotError(_told(error.__cause__, one.path)) from error  # who may read it must say who is in it
        if one.is_current:
            raise SnapshotError(
                f"{error}. It is the published snapshot: build first, which publishes a whole one beside it"
            ) from error
        shutil.rmtree(one.path)
        said = f"could not be read, so that nobody can say who is in it, and was removed ({error})"
        whole = Rewritten(one.path.name, None, manifest_before, None, 0, 0, said, is_unread=True)
        return [whole, *(_rewrite(index, leftovers[0], leftovers[1:], denied, removed) if leftovers else ())]
    is_current = any(each.is_current for each in (one, *leftovers))
    name = name_after(one.path.name)
    writer = SnapshotWriter(index, old.manifest.endpoints, name=name)
    try:
        cases, rejected = _copy(old, writer, Exclusions(denied=denied), removed)
        if not writer.indexed:
            writer.discard()
            if is_current:
                (index / CURRENT).unlink()
            _remove(one, *leftovers)
            return [Rewritten(one.path.name, None, manifest_before, None, cases, rejected, "nobody else was in it")]
        manifest = old.manifest
        build = Build(
            manifest.encoder,
            manifest.fingerprint,
            manifest.cohorts,
            manifest.endpoints,
            manifest.code_version,
            manifest.store,
            manifest.counts,
            manifest.exclusions,
            denied.fingerprint(),
            manifest.seen - cases - rejected,
            manifest.excluded + cases + rejected,
        )
        writer.finish(build, created=manifest.created)
        writer.move_in()
    except BaseException:
        writer.discard()
        raise
    if is_current:
        make_current(index, name)
    _remove(one, *leftovers)
    after = sha256_of(index / SNAPSHOTS / name / "manifest.json")
    return [Rewritten(one.path.name, name, manifest_before, after, cases, rejected)]


def _remove(*snapshots: Held) -> None:
    """The oldest last: until then a purge that is run again begins from it, and counts whom it removes."""
    for one in reversed(snapshots):
        shutil.rmtree(one.path)


def _copy(old: Snapshot, writer: SnapshotWriter, out: Exclusions, removed: _Removed) -> tuple[int, int]:
    """(cases left out, rejected left out)."""
    cases = rejected = 0
    table = ReadingTable(old.checked(READINGS))
    with open_known(old, []) as known:
        for kind, _, count in old.catalogue.kinds():
            for row in range(count):
                case = old.catalogue.case(kind, row)
                place = table.place(case.case_id)
                if place is None:
                    raise SnapshotError(
                        f"{old.path}: {READINGS} lacks a case; rebuild the index with --full, then purge again"
                    )
                seen, reading = table.seen(place), known.reading((0, place))
                assert isinstance(seen.outcome, Facts)
                paths = {part for file in case.files for part in parts_of(file)}
                theirs = {case.patient_id, case.case_id, *case.uids, *seen.outcome.identifiers, *paths}
                if out.cover_any(theirs):
                    cases += 1
                    removed.meet(theirs)
                    removed.patients.add((case.cohort, case.patient_id))
                    removed.scans.add(case.case_id)
                    removed.identifiers.update(seen.outcome.identifiers)
                    removed.signatures.add(reading.signature.tobytes())
                else:
                    writer.add(case, seen, reading)
    for entry in pq.ParquetFile(old.checked(REJECTED)).read().to_pylist():
        refusal = Rejected(**entry)
        theirs = {refusal.case_id, *parts_of(refusal.file)}
        if out.cover_any(theirs):
            rejected += 1
            removed.meet(theirs)
            removed.files.add(refusal.case_id)
            continue
        place = table.place(refusal.case_id)
        seen_of = table.seen(place) if place is not None else None
        is_own = seen_of is not None and isinstance(seen_of.outcome, Rejected)
        writer.reject(refusal, seen_of if is_own else None)
    return cases, rejected


def _copies(index: Path, denied: DenyList) -> set[str]:
    """The ids of cases with the very pixels of a denied person's: one picture is of one person, under whatever name."""
    out = Exclusions(denied=denied)
    pictures: set[str] = set()
    owners: list[tuple[str, str]] = []  # (pixel hash, case id) of those who are not denied
    for one in held(index):
        try:
            catalogue = open_snapshot(one.path).catalogue
        except SnapshotError:  # it will be removed
            continue
        for kind, _, _ in catalogue.kinds():
            columns = (catalogue.values(name, kind) for name in ("pixel_hash", "case_id", "patient_id"))
            for pixels, case_id, patient_id in zip(*columns, strict=True):
                if pixels and out.cover_any((case_id, patient_id)):
                    pictures.add(pixels)
                elif pixels:
                    owners.append((pixels, case_id))
    return {case_id for pixels, case_id in owners if pixels in pictures}


def _traces(index: Path, names: Iterable[str], removed: _Removed) -> Traces:
    """What must not be found any more. Of the headers' identifiers, those that nobody who stays has too: a study's other scans share its
    UID, and some archives give everybody the same Patient ID. A name in the index folder's own path is no trace.
    """
    own = str(index.resolve()).casefold()
    theirs = {name for name in removed.identifiers if len(name) >= LONG_NAME}
    if theirs:
        for one in held(index):
            table = ReadingTable(open_snapshot(one.path).checked(READINGS))
            for place in range(len(table)):
                outcome = table.seen(place).outcome
                if isinstance(outcome, Facts):
                    theirs.difference_update(outcome.identifiers)
    told = {name for name in names if name.casefold() not in own}
    return Traces(told | removed.scans | removed.files | theirs, removed.signatures)


def _count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.is_dir() else 0
