"""One build at a time: a lock that ends with its process, however that ends, and says who holds it."""

import errno
import fcntl
import json
import os
import socket
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

from index.owners import not_let_in
from index.snapshot import SnapshotError

LOCK = "LOCK"


class LockedError(SnapshotError):
    """Another build or purge works on the index; the message says which."""


class IndexLock:
    """Held for as long as something writes into an index folder. Use it in `with`. Raises `LockedError`, `SnapshotError` or OSError.

    The lock is the kernel's (flock), so that a killed build leaves none; `took_over` says which that was.
    """

    def __init__(self, building: Path, *, purpose: str) -> None:
        building.mkdir(parents=True, exist_ok=True)
        self._path = building / LOCK
        self._purpose = purpose
        self.took_over: str | None = None
        self.took_over_purpose = ""  # "build", "purge"…

    def __enter__(self) -> Self:
        try:
            self._file = self._path.open("a+")
        except PermissionError as error:  # left by a build that another user ran by hand
            raise SnapshotError(f"{self._path}: cannot be written to: {not_let_in(self._path)}") from error
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = told_of(self._read())
            self._file.close()
            if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
                raise LockedError(f"{self._path.parent.parent}: {holder}; wait for it, or stop it first") from error
            raise
        left = self._read()
        self.took_over = _killed(left) if left else None
        self.took_over_purpose = str(left.get("purpose", ""))
        self._file.truncate(0)
        said = {"purpose": self._purpose, "pid": os.getpid(), "host": socket.gethostname()}
        self._file.write(json.dumps(said | {"since": datetime.now(UTC).isoformat(timespec="seconds")}))
        self._file.flush()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.truncate(0)
        self._file.close()

    def _read(self) -> dict[str, Any]:
        self._file.seek(0)
        return holder_in(self._file)


def _killed(holder: dict[str, Any]) -> str:
    return (
        f"the {holder.get('purpose', 'build')} started at {holder.get('since', 'an unknown time')} by process "
        f"{holder.get('pid', '?')} on {holder.get('host', '?')} was killed"
    )


def holder_in(lock: IO[str]) -> dict[str, Any]:
    """What a lock's file says of who holds it; nothing where it says nothing that makes sense."""
    try:
        found = json.loads(lock.read() or "{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def told_of(holder: dict[str, Any]) -> str:
    if not holder:
        return "something else works on this index"
    return (
        f"a {holder.get('purpose', 'build')} works on this index since {holder.get('since', 'an unknown time')}: "
        f"process {holder.get('pid', '?')} on {holder.get('host', '?')}"
    )
