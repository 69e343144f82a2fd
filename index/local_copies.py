"""Cases whose files lie in a bucket -> the same files on this machine for as long as they are read; local ones as they are."""

import os
import shutil
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Self

from index.archive_files import is_remote
from index.case import Case

FETCHERS = 4
AHEAD = 8  # cases fetched before their turn


@dataclass(frozen=True)
class LocalCopy:
    """A case's files where they can be opened, or why they could not be fetched."""

    case: Case
    paths: tuple[Path, ...]
    error: OSError | None = None
    _folder: Path | None = None

    def remove(self) -> None:
        """Give back the space; what was local from the start stays."""
        if self._folder:
            shutil.rmtree(self._folder, ignore_errors=True)

    def names(self) -> Iterator[str]:
        """The names of all its files, without their suffixes."""
        for path in self.paths:
            if path.is_dir():
                yield from (Path(name).stem for _, _, names in os.walk(path) for name in names)
            else:
                yield path.stem


class LocalCopies:
    """Fetches a few cases ahead of whoever reads them. Close it, or use it in `with`: all copies are then gone."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="likewise-"))
        self._pool = ThreadPoolExecutor(FETCHERS)

    def of(self, cases: Iterable[Case]) -> Iterator[LocalCopy]:
        """Each case's copy, in their order."""
        remaining = iter(cases)
        ahead: deque[LocalCopy | Future[LocalCopy]] = deque(self._begun(case) for case in islice(remaining, AHEAD))
        while ahead:
            copy = ahead.popleft()
            yield copy.result() if isinstance(copy, Future) else copy
            ahead.extend(self._begun(case) for case in islice(remaining, 1))

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _begun(self, case: Case) -> LocalCopy | Future[LocalCopy]:
        if any(is_remote(location) for location in case.files):
            return self._pool.submit(self._fetched, case)
        return LocalCopy(case, tuple(Path(location) for location in case.files))

    def _fetched(self, case: Case) -> LocalCopy:
        from index.remote_files import fetch

        folder = Path(tempfile.mkdtemp(dir=self._folder))
        try:
            paths = tuple(fetch(location, folder) for location in case.files)
        except OSError as error:
            shutil.rmtree(folder, ignore_errors=True)
            return LocalCopy(case, (), error)
        return LocalCopy(case, paths, _folder=folder)
