"""The rows of a signatures.npy without holding them all: an archive's may be larger than memory."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]  # (n, d)
BLOCK = 1000


class RowsFile:
    """Iterating it gives blocks of a thousand rows, read and not mapped: mapped pages stay with the process. Iterate as often as
    needed.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError, or ValueError where it does not hold rows of 32-bit floats."""
        self._path = path
        with path.open("rb") as stream:
            if np.lib.format.read_magic(stream) != (1, 0):
                raise ValueError(f"{path}: no array of version 1.0")
            self.shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(stream)
            self._start = stream.tell()
        if len(self.shape) != 2 or is_fortran or dtype != np.dtype("<f4"):
            raise ValueError(f"{path}: expected rows of float32, found {dtype} of shape {self.shape}")

    def __len__(self) -> int:
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Rows]:
        """Raises OSError, or ValueError where the file ends too early."""
        count, dim = self.shape
        with self._path.open("rb") as stream:
            stream.seek(self._start)
            for first in range(0, count, BLOCK):
                wanted = min(BLOCK, count - first)
                yield np.fromfile(stream, np.dtype("<f4"), wanted * dim).reshape(wanted, dim)

    def at(self, numbers: npt.NDArray[np.int64]) -> Rows:
        """The rows (n, d) of these numbers. Raises as iterating does."""
        dim = self.shape[1]
        found = np.empty((len(numbers), dim), np.float32)
        with self._path.open("rb") as stream:
            for place, number in enumerate(numbers.tolist()):
                stream.seek(self._start + number * dim * found.itemsize)
                found[place] = np.fromfile(stream, np.dtype("<f4"), dim)
        return found
