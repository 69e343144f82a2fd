"""What an operator asks first: which snapshots there are, which is published, who is building, what is denied."""

import fcntl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from index.denied import DenyList
from index.folder import BUILDING, is_index
from index.lock import LOCK, holder_in, told_of
from index.owners import not_let_in
from index.parts import PARTS
from index.retention import held, trust_of
from index.snapshot import CURRENT, SnapshotError

T = TypeVar("T")


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
    unread: tuple[str, ...] = ()  # what could not be looked at, and why

    def lines(self) -> Iterator[str]:
        if not any(one.is_current for one in self.snapshots) and not self.unread:
            yield "Nothing is published."
        yield from self.unread
        if self.building:
            yield self.building
        if self.parts:
            yield f"{self.parts} finished parts of an unfinished build: the next one goes on from there."
        if self.denied:
            yield f"{self.denied:,} names are denied."


def status_of(index: Path) -> Status:
    """Raises `SnapshotError`, `DenyListError`, or OSError where not even the snapshots can be listed."""
    if not is_index(index):
        raise SnapshotError(f"{index}: {'no index' if index.is_dir() else 'no such'} folder")
    denied = DenyList.read(index)
    snapshots = []
    for one in held(index):
        manifest = one.manifest
        note = trust_of(manifest, denied) if manifest else one.unread
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
    unread: list[str] = []
    parts = _look(index / BUILDING / PARTS, _count, 0, unread)
    holder = _look(index / BUILDING / LOCK, _holder, "", unread)
    _look(index / CURRENT, Path.read_bytes, b"", unread)
    return Status(tuple(snapshots), holder, parts, len(denied.digests), tuple(unread))


def _look(path: Path, at: Callable[[Path], T], otherwise: T, unread: list[str]) -> T:
    """What is there; `otherwise` where nothing is, or it cannot be read, which `unread` then says."""
    try:
        return at(path)
    except FileNotFoundError:
        return otherwise
    except PermissionError:
        unread.append(f"{path.name} cannot be read: {not_let_in(path)}")
    except OSError as error:
        unread.append(f"{path.name} cannot be read: {error.strerror}")
    return otherwise


def _count(folder: Path) -> int:
    return sum(not path.name.startswith(".") for path in folder.iterdir())


def _holder(lock: Path) -> str:
    """Who works on the index now, by trying the lock for a moment. Raises OSError."""
    with lock.open("r") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return ""
        except OSError:
            return told_of(holder_in(stream))
