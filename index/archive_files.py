"""The files of an archive under one root: a folder, or a bucket by its URL. All that a cohort reader asks of either."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO, Protocol


class Files(Protocol):
    """Paths are relative to the root, with slashes. What cannot be read raises OSError; `FileNotFoundError` where nothing is."""

    root: str

    def folders(self, path: str) -> list[str]:
        """The names of the folders directly in one, sorted; none where it is not there."""
        ...

    def files_below(self, path: str) -> list[str]:
        """The paths of all files in a folder and below, sorted; none where it is not there."""
        ...

    def read_all(self, paths: Iterable[str]) -> Mapping[str, bytes | OSError]:
        """Each file's content, or why it has none."""
        ...

    def open(self, path: str) -> BinaryIO:
        """The file opened for reading: only what is read is fetched."""
        ...

    def location(self, path: str) -> str:
        """Where it lies, absolute: a path of this machine or a URL."""
        ...


def is_remote(location: str) -> bool:
    return "://" in location


def open_files(root: str) -> Files:
    """The files under a folder's path or a URL such as s3://bucket/prefix. Raises OSError."""
    if is_remote(root):
        from index.remote_files import RemoteFiles  # its libraries are an extra

        return RemoteFiles(root)
    return LocalFiles(Path(root))


class LocalFiles:
    """A folder of this machine."""

    def __init__(self, root: Path) -> None:
        self._root = root.resolve()
        self.root = str(self._root)

    def folders(self, path: str) -> list[str]:
        try:
            with os.scandir(self._root / path) as entries:
                return sorted(entry.name for entry in entries if entry.is_dir())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def files_below(self, path: str) -> list[str]:
        found: list[str] = []
        self._gather(path, frozenset(), found)
        return sorted(found)

    def _gather(self, path: str, above: frozenset[tuple[int, int]], found: list[str]) -> None:
        """Links are followed, but never into a folder that lies above."""
        try:
            stated = os.stat(self._root / path)  # noqa: PTH116
            with os.scandir(self._root / path) as entries:
                listed = list(entries)
        except (FileNotFoundError, NotADirectoryError):
            return
        place = (stated.st_dev, stated.st_ino)
        if place in above:
            return
        for entry in listed:
            below = f"{path}/{entry.name}" if path else entry.name
            if entry.is_dir():
                self._gather(below, above | {place}, found)
            else:
                found.append(below)

    def read_all(self, paths: Iterable[str]) -> dict[str, bytes | OSError]:
        return {path: self._read(path) for path in paths}

    def open(self, path: str) -> BinaryIO:
        return (self._root / path).open("rb")

    def location(self, path: str) -> str:
        return str(self._root / path)

    def _read(self, path: str) -> bytes | OSError:
        try:
            return (self._root / path).read_bytes()
        except OSError as error:
            return error
