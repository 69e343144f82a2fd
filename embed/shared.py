"""Bytes that a decoding process reads where they lie, in memory, instead of being sent them through a pipe.

On Linux they are an anonymous file (memfd_create(2)): it is memory, has no name and no place on any disk, and is gone once
nobody holds it. Elsewhere, or where other processes may not look into this one, they are sent.
"""

import os
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

HAS_MEMFD = fcntl is not None and hasattr(os, "memfd_create")


class SharedBytes:
    """Filled by `write`, ended by `seal`, and then the same for whoever reads it."""

    def __init__(self) -> None:
        """Raises OSError."""
        self.size = 0
        self._here = bytearray()
        self._fd = os.memfd_create("upload", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING) if HAS_MEMFD else -1
        if HAS_MEMFD:
            weakref.finalize(self, os.close, self._fd)

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Add to the end. Raises OSError where there is no memory."""
        if not HAS_MEMFD:
            self._here += data
            self.size += len(data)
            return
        left = memoryview(data)
        while left:
            count = os.write(self._fd, left)
            self.size += count
            left = left[count:]

    def seal(self) -> "SharedBytes":
        """From here on nobody can change it, or cut it short under a reader's feet."""
        if HAS_MEMFD:
            fcntl.fcntl(self._fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)  # fmt: skip
        return self

    def read(self, start: int, count: int) -> bytes:
        """A copy of `count` bytes, or of those that there are. Raises OSError."""
        count = max(0, min(count, self.size - start))
        if self._fd < 0:
            return bytes(self._here[start : start + count])
        # not mapped: its pages would have to be faulted in one by one
        data = os.pread(self._fd, count, start)
        while len(data) < count:  # one call reads 2 GB at most
            more = os.pread(self._fd, count - len(data), start + len(data))
            if not more:
                raise OSError(f"an upload in memory ends after {start + len(data):,} of {self.size:,} bytes")
            data += more
        return data

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process of ours: where it lies, or all of it."""
        if HAS_MEMFD and Path("/proc/self/fd").stat().st_uid == os.geteuid():  # else they are root's, and closed to us
            return _opened, (f"/proc/{os.getpid()}/fd/{self._fd}", self.size)
        return _copied, (self.read(0, self.size),)


def _opened(path: str, size: int) -> SharedBytes:
    """As another process has it, which holds it until its answer is there."""
    found = SharedBytes.__new__(SharedBytes)
    found.size, found._here, found._fd = size, bytearray(), os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    weakref.finalize(found, os.close, found._fd)
    return found


def _copied(data: bytes) -> SharedBytes:
    found = SharedBytes()
    found.write(data)
    return found.seal()


@dataclass(frozen=True)
class Piece:
    """One file among shared bytes."""

    shared: SharedBytes
    start: int
    length: int

    def __len__(self) -> int:
        return self.length

    def __bytes__(self) -> bytes:
        return self.shared.read(self.start, self.length)

    def head(self, count: int) -> bytes:
        return self.shared.read(self.start, min(count, self.length))
