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
        for folder, _, names in os.walk(self._root / path, onerror=_raised, followlinks=True):
            relative = os.path.relpath(folder, self._root)
            found += [f"{relative}/{name}" if relative != "." else name for name in names]
        return sorted(found)

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


def _raised(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError | NotADirectoryError):
        raise error
