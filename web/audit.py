"""The audit: who did what, when and why, one JSON line each, chained by hashes so that no line can change unseen.

Each line holds the hash of the line before and its own: SHA-256 over its canonical JSON (sorted keys, no spaces). How many
lines there are, and the last one's hash, stand in a second file beside it, so that a cut-off end shows too. Whoever can write
both files can make a new chain; the hash of a moment, noted elsewhere (`audit verify` prints it), shows that as well.

It holds no patient data: cases and conditions are keyed hashes, a query is the hash of its pixels.
"""

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_SH, flock
from io import FileIO
from pathlib import Path
from typing import Any

from flask import g, has_request_context

from web.principal import Principal

START = "0" * 64  # the hash before the first line
LONGEST_PURPOSE = 200
HASHED_FILTERS = ("where",)  # may quote a pseudonym
REPAIRED = "audit-repaired"


class AuditError(Exception):
    """The audit cannot be written or is not whole; nothing that has to be recorded may go on."""


@dataclass(frozen=True)
class Head:
    """Where an audit ends."""

    lines: int = 0
    hash: str = START
    size: int = 0  # bytes

    def __str__(self) -> str:
        return f"{self.lines}:{self.hash}"


class AuditLog:
    """Appends to the audit of one server, from any of its processes and threads."""

    def __init__(self, path: Path, key: str | bytes) -> None:
        """`key`: what case hashes are keyed with. Raises `AuditError` where nothing could be written."""
        self._path = path
        self._key = key.encode() if isinstance(key, str) else key
        with _opened(path, LOCK_EX) as stream:
            _resume(path, stream)

    def record(
        self,
        action: str,
        *,
        query: str | None = None,
        filters: Mapping[str, object] | None = None,
        snapshot: str | None = None,
        cases: Iterable[str] = (),
        purpose: str | None = None,
        principal: Principal | None = None,
        request_id: str | None = None,
    ) -> None:
        """Writes one line and has it on the disk before it returns. Raises `AuditError`.

        `query`: a hash of its pixels. `cases`: their `case_id`s, of which only keyed hashes are kept. The principal and the
        request are those of the request that is served, unless they are given, as a thread has to.
        """
        if has_request_context():
            principal = principal or getattr(g, "principal", None)
            request_id = request_id or getattr(g, "request_id", None)
        entry = {
            "action": action,
            "who": principal.name if principal else None,
            "id": principal.id if principal else None,
            "roles": sorted(principal.roles) if principal else [],
            "means": principal.means if principal else None,
            "request": request_id,
            "purpose": cleaned_purpose(purpose),
            "query": query,
            "filters": self._filters(filters or {}),
            "snapshot": snapshot,
            "cases": [self.case_hash(case) for case in cases],
        }
        append(self._path, entry)

    def case_hash(self, case_id: str) -> str:
        """What stands for a case; the same one at any time while the server's secret key is."""
        return case_hash(self._key, case_id)

    def _filters(self, filters: Mapping[str, object]) -> dict[str, object]:
        """As they are, but hashes of what may quote a pseudonym."""
        return {
            name: f"#{case_hash(self._key, str(value))}" if name in HASHED_FILTERS and value is not None else value
            for name, value in filters.items()
        }


def case_hash(key: bytes, case_id: str) -> str:
    """Keyed, so that whoever has a list of names cannot look them up in an audit."""
    return hmac.new(key, b"case\0" + case_id.encode("utf-8", "surrogateescape"), "sha256").hexdigest()[:32]


def cleaned_purpose(purpose: str | None) -> str | None:
    """What was typed, on one line of at most 200 characters."""
    if purpose is None:
        return None
    words = "".join(letter if letter.isprintable() else " " for letter in purpose).split()
    return " ".join(words)[:LONGEST_PURPOSE] or None


def append(path: Path, entry: Mapping[str, object], *, now: datetime | None = None) -> Head:
    """Adds a line to the end; where the audit then ends. Raises `AuditError`, and then nothing was added."""
    with _opened(path, LOCK_EX) as stream:
        return _add(path, stream, _resume(path, stream), entry, now or datetime.now(UTC))


def verify(path: Path) -> Head:
    """Where an audit ends, if every line of it is as it was written and none is missing. Raises `AuditError`."""
    head = Head()
    for end, _ in iter_lines(path):
        head = end
    return head


def iter_lines(path: Path) -> Iterator[tuple[Head, dict[str, Any]]]:
    """Each line once it has been verified, and where the audit ended with it. Raises `AuditError` at the first fault,
    and after the last line where the end is not the one that was noted.

    What is appended meanwhile is left for another time.
    """
    with _opened(path, LOCK_SH, create=False) as stream:
        noted, size = _read_head(path), os.fstat(stream.fileno()).st_size
    if noted is None:
        if size:
            raise AuditError(f"{head_path(path)} is missing: whether the end of the audit is whole cannot be told")
        return
    head, passed = Head(), noted == Head()
    with path.open("rb") as stream:
        while head.size < size:
            line = stream.readline()
            head, entry = _checked(line, head, path)
            passed = passed or head == noted
            if head.lines == noted.lines and head != noted:
                raise AuditError(f"{path}: line {head.lines} is not the one that was noted in {head_path(path).name}")
            yield head, entry
    if not passed:
        raise AuditError(
            f"{path}: ends after line {head.lines}, but {noted.lines} had been written: the end is cut off"
        )


def head_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.head")


def _checked(line: bytes, head: Head, path: Path) -> tuple[Head, dict[str, Any]]:
    """The next line and where it ends. Raises `AuditError`."""
    number = head.lines + 1
    try:
        entry = json.loads(line)
        said = entry.pop("hash")
        whole = line.endswith(b"\n") and line == _line(entry | {"hash": said})
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AuditError(f"{path}: line {number} cannot be read") from error
    if not whole or said != _hash(entry):
        raise AuditError(f"{path}: line {number} was changed")
    if entry.get("n") != number or entry.get("prev") != head.hash:
        raise AuditError(f"{path}: line {number} does not follow line {head.lines}: a line was removed, added or moved")
    return Head(number, said, head.size + len(line)), entry


def _resume(path: Path, stream: FileIO) -> Head:
    """Where the audit ends, after whatever a crash left has been put right. Raises `AuditError`. Needs the lock.

    A whole line beyond the noted head was written before a crash kept it from being noted: it counts. A torn one was
    promised to nobody: it is cut off, and a line says so.
    """
    size, head = os.fstat(stream.fileno()).st_size, _read_head(path)
    if head is None:
        if size:
            raise AuditError(f"{head_path(path)} is missing; run `python -m web audit verify`")
        head = Head()
        _write_head(path, head)
    if size < head.size:
        raise AuditError(f"{path} is shorter than it was; run `python -m web audit verify`")
    if size == head.size:
        return head
    stream.seek(head.size)
    rest = stream.read()
    whole, torn = rest[: rest.rfind(b"\n") + 1], rest[rest.rfind(b"\n") + 1 :]
    for line in whole.splitlines(keepends=True):
        head, _ = _checked(line, head, path)
    _write_head(path, head)
    if torn:
        os.ftruncate(stream.fileno(), head.size)
        return _add(path, stream, head, {"action": REPAIRED, "bytes": len(torn)}, datetime.now(UTC))
    return head


def _add(path: Path, stream: FileIO, head: Head, entry: Mapping[str, object], now: datetime) -> Head:
    """Line first, then head: `_resume` knows what a crash between them leaves."""
    numbered = {
        "n": head.lines + 1,
        "time": now.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        **entry,
        "prev": head.hash,
    }
    try:
        said = _hash(numbered)
        line = _line(numbered | {"hash": said})
    except (TypeError, ValueError) as error:
        raise AuditError(f"what was to be recorded of {entry.get('action')!r} is no JSON ({error})") from error
    try:
        written = os.write(stream.fileno(), line)
        if written < len(line):
            raise OSError(None, "the disk is full")
        os.fsync(stream.fileno())
    except OSError as error:
        os.ftruncate(stream.fileno(), head.size)
        raise AuditError(f"{path}: cannot be written to ({error.strerror})") from error
    new = Head(head.lines + 1, said, head.size + len(line))
    try:
        _write_head(path, new)
    except AuditError:
        os.ftruncate(stream.fileno(), head.size)
        raise
    return new


def _canonical(entry: Mapping[str, object]) -> bytes:
    return json.dumps(entry, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False).encode()


def _hash(entry: Mapping[str, object]) -> str:
    return hashlib.sha256(_canonical(entry)).hexdigest()


def _line(entry: Mapping[str, object]) -> bytes:
    return _canonical(entry) + b"\n"


def _read_head(path: Path) -> Head | None:
    """None where there is no such file. Raises `AuditError`."""
    try:
        lines, said, size = head_path(path).read_text().split()
        return Head(int(lines), said, int(size))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise AuditError(f"{head_path(path)}: cannot be read ({type(error).__name__})") from error


def _write_head(path: Path, head: Head) -> None:
    """Replaces it at once. Raises `AuditError`."""
    pending = path.with_name(f"{path.name}.head.new")
    try:
        handle = os.open(pending, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)
        with os.fdopen(handle, "w") as stream:
            stream.write(f"{head.lines} {head.hash} {head.size}\n")
            stream.flush()
            os.fsync(handle)
        pending.replace(head_path(path))
    except OSError as error:
        raise AuditError(f"{head_path(path)}: cannot be written to ({error.strerror})") from error


@contextmanager
def _opened(path: Path, lock: int, *, create: bool = True) -> Iterator[FileIO]:
    """The audit under the kernel's lock, which other processes and threads wait for. Raises `AuditError`."""
    flags = (os.O_RDWR | os.O_APPEND | os.O_CREAT) if create else os.O_RDONLY
    try:
        handle = os.open(path, flags | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise AuditError(f"{path}: cannot be opened ({error.strerror})") from error
    with FileIO(handle, "r+b" if create else "rb") as stream:
        flock(stream, lock)
        yield stream
