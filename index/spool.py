"""Cases on disk instead of in memory, for as long as a build needs them again."""

import contextlib
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from index.case import Case
from index.known import Place


@dataclass(frozen=True)
class Planned:
    """A case to be indexed: its files' stamp, its record's digest, and where its reading lies, if it is known."""

    case: Case
    stamp: str
    record: str
    known: Place | None


class Spool:
    """Written once, read as often as needed. Our own file, removed with the build: nobody else's pickles are ever read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream = path.open("wb")

    def add(self, planned: Planned) -> None:
        """Raises OSError."""
        pickle.dump(planned, self._stream, protocol=pickle.HIGHEST_PROTOCOL)

    def __iter__(self) -> Iterator[Planned]:
        self._stream.flush()
        with self._path.open("rb") as stream:
            while stream.peek(1):
                planned: Planned = pickle.load(stream)
                yield planned

    def close(self) -> None:
        with contextlib.suppress(OSError):  # a full disk takes no more, and nobody needs it
            self._stream.close()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
