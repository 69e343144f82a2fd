"""The small JPEGs of a snapshot: one behind the other in one file, in the order in which they came, and where each lies."""

import hashlib
import os
from array import array
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np
import numpy.typing as npt

from index.parts import flush_path

PREVIEWS = "previews.bin"
PLACES = "previews.npy"  # of each kind (n, 2) int64, in the order of its rows: first byte, length
BLOCK_BYTES = 2**20

Places = npt.NDArray[np.int64]


class PreviewWriter:
    """Takes previews one by one. They are most of a snapshot: a thread of their own hashes them as they are meant to be written, then
    flushes them to the disk and reads them back, while the rest is made.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError."""
        self._path = path
        self._stream = path.open("wb", buffering=0)
        self._held = bytearray()
        self._ends = array("q", [0])
        self._hash = hashlib.sha256()
        self._thread = ThreadPoolExecutor(1)
        self._read_back: Future[str] | None = None

    def add(self, jpeg: bytes) -> None:
        """Raises OSError."""
        self._held += jpeg
        self._ends.append(self._ends[-1] + len(jpeg))
        if len(self._held) >= BLOCK_BYTES:
            self._flush()

    def close(self) -> None:
        """Raises OSError where the last could not be written."""
        if self._stream.closed:
            return
        try:
            self._flush()
            self._read_back = self._thread.submit(_settled_hash, self._path)
        finally:
            self._thread.shutdown(wait=False)
            self._stream.close()

    def places(self) -> Places:
        """Where each lies, in the order in which they came."""
        ends = np.frombuffer(self._ends, np.int64)
        return np.stack([ends[:-1], np.diff(ends)], axis=1)

    def sha256(self) -> str:
        """Of the file, once it is closed: it is on the disk, and is what was meant. Raises OSError."""
        assert self._read_back
        if self._read_back.result() != self._hash.hexdigest():
            raise OSError(f"{self._path}: reads back as other than was written")
        return self._hash.hexdigest()

    def _flush(self) -> None:
        block, self._held = self._held, bytearray()
        if block:
            self._thread.submit(self._hash.update, block)
        left = memoryview(block)
        while left:
            left = left[self._stream.write(left) :]


def _settled_hash(path: Path) -> str:
    flush_path(path)
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


class PreviewFile:
    """The previews of one kind by row. Close it, or the file stays open."""

    def __init__(self, path: Path, places: Path) -> None:
        """Raises OSError, or ValueError where `places` holds none."""
        self._places: Places = np.load(places, mmap_mode="r", allow_pickle=False)
        if self._places.ndim != 2 or self._places.shape[1] != 2 or self._places.dtype != np.int64:
            raise ValueError(f"{places}: expected first bytes and lengths, found {self._places.shape}")
        self._stream = path.open("rb", buffering=0)
        self._bytes = os.fstat(self._stream.fileno()).st_size

    def at(self, row: int) -> bytes:
        """Raises OSError, also where the file ends too early."""
        first, length = self._places[row].tolist()
        if not 0 <= first <= first + length <= self._bytes:
            raise OSError(f"{self._stream.name}: has no {length:,} bytes from {first:,}")
        self._stream.seek(first)
        jpeg = self._stream.read(length)
        if len(jpeg) < length:
            raise OSError(f"{self._stream.name}: ends within a preview")
        return jpeg

    def close(self) -> None:
        self._stream.close()
