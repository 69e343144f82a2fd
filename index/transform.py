"""What is fitted on the archive and applied to every query: centring."""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]  # (n, d)
BLOCK = 1000
FEWEST_ROWS = 20  # below this, a mean says more of chance than of what all films share


@dataclass(frozen=True, eq=False)
class Centring:
    """Subtracts the archive's mean signature and brings rows back to length 1: what all films share no longer counts.

    A row that equals the mean becomes zeros and is similar to nothing.
    """

    mean: npt.NDArray[np.float32]  # (d,)

    @classmethod
    def fit(cls, rows: Rows) -> "Centring":
        """The centring of an archive; one that changes nothing where there are fewer than 20 rows, or where a row all but
        equals the mean, as when (nearly) all are alike: the direction of what is left of it would be rounding error.
        """
        mean = rows.mean(axis=0, dtype=np.float64).astype(np.float32)
        if len(rows) < FEWEST_ROWS or min(_lengths(part - mean).min() for part in _blocks(rows)) < 1e-4:
            mean = np.zeros(rows.shape[1], np.float32)
        return cls(mean)

    def apply(self, rows: Rows) -> Rows:
        centred = np.subtract(rows, self.mean, dtype=np.float32)
        for part in _blocks(centred):
            length = _lengths(part)
            part[:] = np.divide(part, length, out=np.zeros_like(part), where=length > 1e-6)
        return centred

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, mean=self.mean)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Centring":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(arrays["mean"].astype(np.float32))


def _blocks(rows: Rows) -> Iterator[Rows]:
    """Views of a thousand rows: what is computed of them on the way is never as large as an archive."""
    return (rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK))


def _lengths(rows: Rows) -> Rows:
    return np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32, copy=False)
