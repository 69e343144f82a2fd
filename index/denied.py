"""Who was purged stays out: names as keyed digests only, so that nobody reads a name in the list.

Whoever can read the file can try names out, and pseudonyms are short: protect it like a list of names. A digest that is dear to try
(scrypt) would not help: running servers and builds digest every name of the archive, and would take as long as whoever guesses.
"""

import contextlib
import fcntl
import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Self

from index.owners import not_let_in

DENIED = "denied.json"


class DenyListError(Exception):
    """A deny-list that is there but cannot be read: nobody may be shown before it can."""


@dataclass(frozen=True)
class DenyList:
    """The digests of purged names in one index folder."""

    key: str = field(default="", repr=False)
    digests: Mapping[str, str] = field(default_factory=dict)  # digest -> the day of the purge

    @classmethod
    def read(cls, index: Path) -> Self:
        """The index's deny-list; an empty one where there is none. Raises `DenyListError`."""
        try:
            content = json.loads((index / DENIED).read_bytes())
            return cls(str(content["key"]), {str(digest): str(day) for digest, day in content["digests"].items()})
        except FileNotFoundError:
            return cls()
        except PermissionError as error:
            raise DenyListError(f"{index / DENIED}: cannot be read: {not_let_in(index / DENIED)}") from error
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DenyListError(f"{index / DENIED}: cannot be read ({error}); restore it from the backup") from error

    @classmethod
    def add(cls, index: Path, names: Iterable[str]) -> tuple["DenyList", int]:
        """Put names on the index's list, at once; (the list, how many of them were on it before). Two purges at once lose no name.

        Raises `DenyListError` or OSError; then the list is as it was.
        """
        names = frozenset(names)
        with _alone(index):
            before = cls.read(index)
            after = before.with_names(names, datetime.now(UTC).date())
            after.write(index)
        return after, sum(before.covers(name) for name in names)

    def covers(self, name: str) -> bool:
        return bool(self.digests) and self.digest(name) in self.digests

    def digest(self, name: str) -> str:
        """Keyed, so that it cannot be compared with those of another index, nor guessed without the file that holds the key."""
        return hmac.new(
            self.key.encode(), name.strip().casefold().encode("utf-8", "surrogateescape"), "sha256"
        ).hexdigest()

    def with_names(self, names: Iterable[str], day: date) -> "DenyList":
        keyed = self if self.key else DenyList(secrets.token_hex(32))
        added = {keyed.digest(name): day.isoformat() for name in names}
        return DenyList(keyed.key, added | dict(keyed.digests))

    def write(self, index: Path) -> None:
        """Replace the index's list at once. Raises OSError; then the old one is there, whole."""
        pending = index / f"{DENIED}.new"
        try:
            with pending.open("w") as stream:
                pending.chmod(0o640)  # before anything is in it
                json.dump({"key": self.key, "digests": dict(self.digests)}, stream, indent=1)
                stream.flush()
                os.fsync(stream.fileno())
            pending.replace(index / DENIED)
        except OSError:
            with contextlib.suppress(OSError):
                pending.unlink(missing_ok=True)
            raise
        with contextlib.suppress(OSError):  # it holds by now
            _flush(index)

    def fingerprint(self) -> str:
        """Changes whenever the list does."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest() if self.digests else ""


@contextlib.contextmanager
def _alone(index: Path) -> Iterator[None]:
    """For a read and a write that belong together; ends with its process."""
    handle = os.open(index, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _flush(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class LiveDenyList:
    """An index folder's deny-list as it is at any moment, for a server that runs meanwhile."""

    def __init__(self, index: Path) -> None:
        """Raises `DenyListError`."""
        self._index = index
        self._mark = self._look()
        self._list = DenyList.read(index)

    def covers(self, patient_id: str) -> bool:
        return self._list.covers(patient_id)

    def changed(self) -> bool:
        """Whether it has changed since the last call; then it is read anew. Raises `DenyListError`."""
        mark = self._look()
        if mark == self._mark:
            return False
        self._list = DenyList.read(self._index)
        self._mark = mark
        return True

    def _look(self) -> tuple[int, int, int] | None:
        try:
            found = (self._index / DENIED).stat()
        except OSError:
            return None
        return found.st_mtime_ns, found.st_size, found.st_ino
