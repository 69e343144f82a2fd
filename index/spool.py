"""Cases on disk instead of in memory, for as long as a build needs them again."""

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from index.case import Case
from index.known import Place

TOGETHER = 256  # cases


@dataclass(frozen=True)
class Planned:
    """A case to be indexed: its files' stamp, its record's digest, and where its reading lies, if it is known."""

    case: Case
    stamp: str
    record: str
    known: Place | None


class Spool:
    """Written once, read as often as needed. Our own files, removed with the build: nobody else's pickles are ever read."""

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._all = _Pile(path)
        self._unread = _Pile(path.with_suffix(".unread"))

    def add(self, planned: Planned) -> None:
        """Raises OSError."""
        self._all.add(planned)
        if planned.known is None:
            self._unread.add(planned)

    def __iter__(self) -> Iterator[Planned]:
        return iter(self._all)

    def unread(self) -> Iterator[Planned]:
        """Those whose reading is not known: mostly few, and so found without going through all."""
        return iter(self._unread)

    def close(self) -> None:
        self._all.close()
        self._unread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Pile:
    """One file of pickles, each of some cases: they share the names of classes and whatever texts they have in common."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("wb")
        self._held: list[Planned] = []

    def add(self, planned: Planned) -> None:
        self._held.append(planned)
        if len(self._held) >= TOGETHER:
            self._flush()

    def __iter__(self) -> Iterator[Planned]:
        self._flush()
        self._stream.flush()
        with self._path.open("rb") as stream:
            while stream.peek(1):
                some: list[Planned] = pickle.load(stream)
                yield from some

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk takes no more, and nobody needs it
            self._stream.close()
        self._path.unlink(missing_ok=True)

    def _flush(self) -> None:
        if self._held:
            pickle.dump(self._held, self._stream, protocol=pickle.HIGHEST_PROTOCOL)
            self._held = []
