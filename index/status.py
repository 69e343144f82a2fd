"""What an operator asks first: which snapshots there are, which is published, who is building, what is denied."""

import fcntl
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from index.denied import DenyList
from index.lock import LOCK, told_of
from index.parts import PARTS
from index.retention import held
from index.snapshot import SnapshotError
from index.snapshot_writer import BUILDING


@dataclass(frozen=True)
class SnapshotStatus:
    """One line of the status."""

    name: str
    is_current: bool
    created: str
    scans: int
    patients: int
    encoder: str
    size_bytes: int
    note: str


@dataclass(frozen=True)
class Status:
    """All of an index folder."""

    snapshots: tuple[SnapshotStatus, ...]
    building: str  # who holds the lock, in words; empty where nobody does
    parts: int  # finished parts of an unfinished build
    denied: int  # names

    def lines(self) -> Iterator[str]:
        if not any(one.is_current for one in self.snapshots):
            yield "Nothing is published."
        if self.building:
            yield self.building
        if self.parts:
            yield f"{self.parts} finished parts of an unfinished build: the next one goes on from there."
        if self.denied:
            yield f"{self.denied:,} names are denied."


def status_of(index: Path) -> Status:
    """Raises `SnapshotError` or `DenyListError`."""
    if not index.is_dir():
        raise SnapshotError(f"{index}: no such index folder")
    denied = DenyList.read(index)
    snapshots = []
    for one in held(index):
        manifest = one.manifest
        if manifest is None:
            note = "cannot be read"
        elif manifest.denied != denied.fingerprint():
            note = "from before the last purge: no rollback to it"
        else:
            note = ""
        snapshots.append(
            SnapshotStatus(
                one.path.name,
                one.is_current,
                manifest.created if manifest else "",
                sum(manifest.cases.values()) if manifest else 0,
                manifest.patients if manifest else 0,
                manifest.encoder if manifest else "",
                one.size_bytes,
                note,
            )
        )
    parts = index / BUILDING / PARTS
    count = len([path for path in parts.iterdir() if not path.name.startswith(".")]) if parts.is_dir() else 0
    return Status(tuple(snapshots), _holder(index / BUILDING / LOCK), count, len(denied.digests))


def _holder(lock: Path) -> str:
    """Who works on the index now, by trying the lock for a moment."""
    try:
        with lock.open("r") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
                return ""
            except OSError:
                return told_of(json.loads(stream.read() or "{}"))
    except (OSError, ValueError):
        return ""
