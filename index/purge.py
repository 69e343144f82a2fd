"""Purging withdrawn people from every snapshot, part and preview of an index; destroying an index; and the proof of either."""

import getpass
import hashlib
import json
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from index.case import Rejected
from index.denied import DenyList
from index.exclusions import Exclusions
from index.known import open_known
from index.lock import IndexLock
from index.parts import PARTS, remove_parts
from index.readings import Facts, ReadingTable
from index.retention import Held, held
from index.snapshot import CURRENT, READINGS, SNAPSHOTS, Snapshot, SnapshotError, open_snapshot
from index.snapshot_writer import (
    BUILDING,
    REJECTED,
    Build,
    SnapshotWriter,
    make_current,
    new_name,
    prepare_index_folder,
    sweep,
)

LONG_NAME = 8  # characters: shorter identifiers, such as "0", stand in many files by chance
CHUNK = 2**22  # bytes searched at a time


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


@dataclass(frozen=True)
class PurgeReport:
    """The proof of a purge. Names stand in it as keyed digests only."""

    when: str  # UTC
    by: str
    reason: str
    names: int
    digests: tuple[str, ...]
    snapshots: tuple[Rewritten, ...]
    parts_removed: int
    files_searched: int
    bytes_searched: int
    occurrences_left: int  # of names and of signatures, in all files of the index

    @property
    def is_complete(self) -> bool:
        return self.occurrences_left == 0

    def to_json(self) -> str:
        return signed(asdict(self))


def purge(
    index: Path, names: frozenset[str], *, reason: str, note: Callable[[str], None] = lambda text: None
) -> PurgeReport:
    """Deny the names at once, then rewrite every snapshot without their cases; the proof.

    A name is a pseudonym, or the UID of a study, series or instance. Raises `SnapshotError`, `DenyListError` or OSError:
    the deny-list holds by then, and the purge can be run again.
    """
    if not index.is_dir():
        raise SnapshotError(f"{index}: no such index folder")
    denied = DenyList.read(index).with_names(names, datetime.now(UTC).date())
    denied.write(index)
    note("denied from now on; running servers leave them out within seconds")
    prepare_index_folder(index)
    with IndexLock(index / BUILDING, purpose="purge"):
        sweep(index)
        parts = _count(index / BUILDING / PARTS)
        remove_parts(index / BUILDING)
        copies = _copies(index, denied)
        if copies:
            note(f"{len(copies)} cases hold the very picture of one of them under another name, and go with it")
            denied = denied.with_names(copies, datetime.now(UTC).date())
            denied.write(index)
        rewritten, traces = [], set[bytes]()
        for one in held(index):
            note(f"rewriting {one.path.name}")
            rewritten.append(_rewrite(index, one, denied, traces))
        found = _search(index, _spellings(names, index) | traces)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    digests = tuple(sorted(denied.digest(name) for name in names))
    return PurgeReport(now, _who(), reason, len(names), digests, tuple(rewritten), parts, *found)


def destroy(index: Path) -> dict[str, Any]:
    """Remove an index altogether; what a data-access agreement's certificate has to say of it. Raises `SnapshotError` or OSError."""
    if not (index / SNAPSHOTS).is_dir() or not (index / BUILDING).is_dir():
        raise SnapshotError(f"{index}: no index folder; nothing was removed")
    with IndexLock(index / BUILDING, purpose="destruction"):
        files = {
            str(path.relative_to(index)): {"bytes": path.stat().st_size, "sha256": _sha256(path)}
            for path in sorted(index.rglob("*"))
            if path.is_file() and path.parent != index / BUILDING
        }
        manifests = [one.manifest for one in held(index) if one.manifest]
        shutil.rmtree(index)
    return {
        "statement": "All files of this index were deleted. They were not overwritten: copies in backups, and blocks of a disk that "
        "is not encrypted, are outside of what this program can reach.",
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "by": _who(),
        "index": str(index),
        "archives": sorted({f"{name}={source}" for manifest in manifests for name, source in manifest.cohorts.items()}),
        "patients": max((manifest.patients for manifest in manifests), default=0),
        "still_there": index.exists(),
        "files": files,
    }


def signed(content: Mapping[str, Any]) -> str:
    """JSON with the sha256 of all the rest of it, by which a later change shows."""
    return json.dumps({**content, "sha256": _digest_of(content)}, indent=1, sort_keys=True) + "\n"


def is_untouched(text: str) -> bool:
    """Whether a report or certificate says what it said when it was signed."""
    try:
        content = json.loads(text)
        return content.pop("sha256") == _digest_of(content)
    except (ValueError, KeyError, TypeError, AttributeError):
        return False


def _digest_of(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _rewrite(index: Path, one: Held, denied: DenyList, traces: set[bytes]) -> Rewritten:
    """The snapshot without the denied, beside it, then in its place. `traces` gains what must not be found afterwards."""
    manifest_before = _sha256(one.path / "manifest.json") if (one.path / "manifest.json").is_file() else ""
    try:
        old = open_snapshot(one.path)
    except SnapshotError as error:  # nobody can say who is in it
        shutil.rmtree(one.path)
        if one.is_current:
            (index / CURRENT).unlink()
        return Rewritten(
            one.path.name, None, manifest_before, None, 0, 0, f"could not be read and was removed ({error})"
        )
    name = new_name(one.path.name.partition("-")[0])
    writer = SnapshotWriter(index, old.manifest.endpoints, name=name)
    try:
        cases, rejected = _copy(old, writer, Exclusions(denied=denied), traces)
        if not writer.indexed:
            writer.discard()
            shutil.rmtree(one.path)
            if one.is_current:
                (index / CURRENT).unlink()
            return Rewritten(one.path.name, None, manifest_before, None, cases, rejected, "nobody else was in it")
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
    if one.is_current:
        make_current(index, name)
    shutil.rmtree(one.path)
    after = _sha256(index / SNAPSHOTS / name / "manifest.json")
    return Rewritten(one.path.name, name, manifest_before, after, cases, rejected)


def _copy(old: Snapshot, writer: SnapshotWriter, out: Exclusions, traces: set[bytes]) -> tuple[int, int]:
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
                paths = {part for file in case.files for part in _parts(file)}
                if out.cover(case) or out.cover_any({*seen.outcome.identifiers, *paths}):
                    cases += 1
                    traces |= {reading.signature.tobytes(), case.case_id.encode()}
                    traces |= {name.encode() for name in seen.outcome.identifiers if len(name) >= LONG_NAME}
                else:
                    writer.add(case, seen, reading)
    for entry in pq.ParquetFile(old.checked(REJECTED)).read().to_pylist():
        refusal = Rejected(**entry)
        if out.cover_any((refusal.case_id, *_parts(refusal.file))):
            rejected += 1
            traces.add(refusal.case_id.encode())
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


def _parts(file: str) -> set[str]:
    """The folders and names in a path or URL, and the names without suffix: a pseudonym or a UID stands in one of them."""
    parts = set(file.replace("\\", "/").split("/"))
    return parts | {part.rpartition(".")[0] for part in parts}


def _spellings(names: Iterable[str], index: Path) -> set[bytes]:
    """The bytes that must not be found any more. A name in the index folder's own path is no trace."""
    own = str(index.resolve()).casefold()
    spelt = {
        form for name in names if name not in own for form in (name, name.upper(), name.lower(), name.capitalize())
    }
    return {form.encode("utf-8", "surrogateescape") for form in spelt}


def _search(index: Path, traces: set[bytes]) -> tuple[int, int, int]:
    """(files, bytes, occurrences of the traces in them)."""
    files = total = found = 0
    overlap = max((len(trace) for trace in traces), default=1) - 1
    for path in sorted(index.rglob("*")):
        if not path.is_file():
            continue
        files += 1
        total += path.stat().st_size
        tail = b""
        with path.open("rb") as stream:
            while block := stream.read(CHUNK):
                window = tail + block
                found += sum(trace in window for trace in traces)
                tail = window[-overlap:] if overlap else b""
    return files, total, found


def _count(folder: Path) -> int:
    return len(list(folder.iterdir())) if folder.is_dir() else 0


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _sha256(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
