"""Who was purged stays out: names as keyed digests only, so that the list itself tells nobody's name."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Self

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
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DenyListError(f"{index / DENIED}: cannot be read ({error}); restore it from the backup") from error

    def covers(self, name: str) -> bool:
        return bool(self.digests) and self.digest(name) in self.digests

    def digest(self, name: str) -> str:
        """Keyed, so that digests cannot be compared with those of another index or guessed without the file."""
        return hmac.new(
            self.key.encode(), name.strip().casefold().encode("utf-8", "surrogateescape"), "sha256"
        ).hexdigest()

    def with_names(self, names: Iterable[str], day: date) -> "DenyList":
        keyed = self if self.key else DenyList(secrets.token_hex(32))
        added = {keyed.digest(name): day.isoformat() for name in names}
        return DenyList(keyed.key, added | dict(keyed.digests))

    def write(self, index: Path) -> None:
        """Replace the index's list at once. Raises OSError."""
        pending = index / f"{DENIED}.new"
        with pending.open("w") as stream:
            json.dump({"key": self.key, "digests": dict(self.digests)}, stream, indent=1)
            stream.flush()
            os.fsync(stream.fileno())
        pending.chmod(0o640)
        pending.replace(index / DENIED)

    def fingerprint(self) -> str:
        """Changes whenever the list does."""
        return hashlib.sha256("".join(sorted(self.digests)).encode()).hexdigest() if self.digests else ""


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
