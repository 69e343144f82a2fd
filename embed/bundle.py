"""Paths or an uploaded zip -> the files in them, to be read one at a time. Nothing is ever unpacked to disk."""

import io
import os
import re
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from embed.limits import MAX_BUNDLE_BYTES, MAX_BUNDLE_FILES, MAX_FILE_BYTES, MAX_INFLATED_BYTES
from embed.scan import DamagedScan, ScanError, UnsupportedScan

ZIP_MAGIC = (b"PK\x03\x04", b"PK\x05\x06")
ENCRYPTED = 0x1  # bit 0 of a zip member's general purpose flags
DEEPEST_FOLDER = 50
# A blank slice deflates a thousandfold, so a high ratio is only absurd when what comes out is large.
ABSURD_RATIO, ABSURD_BYTES = 200, 64 * 2**20


@dataclass(frozen=True)
class Member:
    """One file of a bundle. The functions raise `ScanError` when it cannot be read."""

    name: str  # for messages only
    read: Callable[[], bytes]
    head: Callable[[int], bytes]  # at most so many first bytes
    size: Callable[[], int]  # bytes in all; of a zip's member, as the zip declares


@dataclass(frozen=True)
class Dropped:
    """A file that was left out, and why."""

    name: str
    reason: str  # short and countable, as of a `ScanError`
    message: str


@dataclass(frozen=True)
class Bundle:
    members: list[Member]
    dropped: list[Dropped]


def open_bundle(paths: Sequence[Path]) -> Bundle:
    """The files named, in the folders named (sorted; no hidden ones, no links followed) and in the zips named.

    A link is followed only where it is itself one of `paths`. Raises `ScanError` for a path that does not exist,
    a bundle without a file, or one beyond the limits.
    """
    members: list[Member] = []
    dropped: list[Dropped] = []
    for path in paths:
        for found in _open_path(path):
            (members if isinstance(found, Member) else dropped).append(found)  # type: ignore[arg-type]
            if len(members) + len(dropped) > MAX_BUNDLE_FILES:
                raise UnsupportedScan(
                    "too-many-files", f"more than {MAX_BUNDLE_FILES:,} files; send one study at a time"
                )
    return _unless_empty(Bundle(members, dropped))


def bundle_from_zip_bytes(data: bytes) -> Bundle:
    """The files of an uploaded zip, as `open_bundle`."""
    found = list(_open_zip(io.BytesIO(data), "zip"))
    return _unless_empty(
        Bundle([one for one in found if isinstance(one, Member)], [one for one in found if isinstance(one, Dropped)])
    )


def is_zip(data: bytes) -> bool:
    return data.startswith(ZIP_MAGIC)


def _unless_empty(bundle: Bundle) -> Bundle:
    if not bundle.members:
        why = f": {bundle.dropped[0].message}" if bundle.dropped else ""
        raise UnsupportedScan("empty-folder", f"no file to read ({len(bundle.dropped)} left out{why})")
    return bundle


def _open_path(path: Path) -> Iterator[Member | Dropped]:
    if not path.exists():
        raise ScanError("missing-file", f"{path}: no such file or folder")
    if path.is_dir():
        yield from _walk_folder(path)
    elif not path.is_file():
        yield Dropped(str(path), "not-a-file", f"{path} is neither a file nor a folder")
    elif is_zip(_read_file(str(path), 4)):
        yield from _open_zip(path, path.name)
    else:
        yield _file_member(str(path), str(path))


def _walk_folder(folder: Path, below: str = "") -> Iterator[Member | Dropped]:
    if below.count("/") > DEEPEST_FOLDER:
        yield Dropped(below, "too-deep", f"{below} lies more than {DEEPEST_FOLDER} folders deep")
        return
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        yield Dropped(below, "unreadable-folder", f"{folder}: {error.strerror}")
        return
    for entry in entries:
        name = below + entry.name
        if entry.name.startswith(".") or entry.name.upper() == "DICOMDIR":
            continue
        if entry.is_symlink():
            yield Dropped(name, "link", f"{name} is a symbolic link; links are not followed")
        elif entry.is_dir(follow_symlinks=False):
            yield from _walk_folder(Path(entry.path), name + "/")
        elif entry.is_file(follow_symlinks=False):
            yield _file_member(entry.path, name)
        else:
            yield Dropped(name, "not-a-file", f"{name} is not a regular file")


def _file_member(path: str, name: str) -> Member:
    return Member(name, read=partial(_read_file, path), head=partial(_read_file, path), size=partial(_size_of, path))


def _size_of(path: str) -> int:
    try:
        return os.stat(path).st_size  # noqa: PTH116 (a Path costs as much as the asking)
    except OSError as error:
        raise ScanError("unreadable-file", f"{path}: {error.strerror}") from error


def _read_file(path: str, size: int | None = None) -> bytes:
    """The whole file, or its first `size` bytes."""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 (a Path costs as much as the reading)
            length = os.fstat(file.fileno()).st_size
            if size is None and length > MAX_FILE_BYTES:
                raise UnsupportedScan("too-large", f"{path} has {length:,} bytes; at most {MAX_FILE_BYTES:,} are read")
            return file.read(length if size is None else size)  # asking for more would reserve it
    except OSError as error:
        raise ScanError("unreadable-file", f"{path}: {error.strerror}") from error


def _open_zip(source: Path | io.BytesIO, label: str) -> Iterator[Member | Dropped]:
    try:
        archive = zipfile.ZipFile(source)
        infos = [info for info in archive.infolist() if not info.is_dir() and not _is_hidden(info.filename)]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise DamagedScan("damaged-zip", f"{label} cannot be read as a zip ({error}); send it again") from error
    if len(infos) > MAX_BUNDLE_FILES:
        raise UnsupportedScan(
            "too-many-files", f"{label} holds {len(infos):,} files; at most {MAX_BUNDLE_FILES:,} are read"
        )
    total = sum(info.file_size for info in infos)
    if total > MAX_BUNDLE_BYTES:
        raise UnsupportedScan("too-large", f"{label} unpacks to {total:,} bytes; at most {MAX_BUNDLE_BYTES:,} are read")
    for info in sorted(infos, key=lambda info: info.filename):
        name = f"{label}:{info.filename}"
        refused = _why_not(info)
        if refused:
            yield Dropped(name, refused[0], f"{name} {refused[1]}")
        else:
            read = partial(_read_zipped, archive, info)
            yield Member(name, read=partial(read, info.file_size), head=read, size=partial(_declared_size, info))


def _declared_size(info: zipfile.ZipInfo) -> int:
    return info.file_size


def _is_hidden(name: str) -> bool:
    parts = PurePosixPath(name.replace("\\", "/")).parts
    hidden = any((part.startswith(".") and part != "..") or part == "__MACOSX" for part in parts)
    return hidden or (bool(parts) and parts[-1].upper() == "DICOMDIR")


def _why_not(info: zipfile.ZipInfo) -> tuple[str, str] | None:
    """(reason, the rest of the sentence) for a member that is not read."""
    path = PurePosixPath(info.filename.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:", info.filename):
        return "unsafe-name", "has a name that leaves its folder"
    if stat.S_ISLNK(info.external_attr >> 16):
        return "link", "is a symbolic link; links are not followed"
    if info.flag_bits & ENCRYPTED:
        return "encrypted", "is encrypted; send it without a password"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return "unsupported-zip", "is neither stored nor deflated"  # LZMA may ask for gigabytes before its first byte
    if path.suffix.lower() == ".zip":
        return "nested-zip", "is a zip within a zip; send it on its own"
    absurd = info.file_size > ABSURD_BYTES and info.file_size > ABSURD_RATIO * max(info.compress_size, 1)
    if info.file_size > MAX_INFLATED_BYTES or absurd:
        return "too-large", f"unpacks from {info.compress_size:,} to {info.file_size:,} bytes"
    return None


def _read_zipped(archive: zipfile.ZipFile, info: zipfile.ZipInfo, size: int) -> bytes:
    """The first `size` bytes of a member; zipfile itself never gives more than the size declared."""
    try:
        with archive.open(info) as file:
            return file.read(size)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError) as error:
        raise DamagedScan("damaged-zip", f"{info.filename} cannot be unpacked ({error}); send the zip again") from error
