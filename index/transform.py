"""What is fitted on the archive and applied to every query: centring."""

import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.rows_file import BLOCK, Rows

FEWEST_ROWS = 20  # below this, a mean says more of chance than of what all films share


@dataclass(frozen=True, eq=False)
class Centring:
    """Subtracts the archive's mean signature and brings rows back to length 1: what all films share no longer counts.

    A row that equals the mean becomes zeros and is similar to nothing.
    """

    mean: npt.NDArray[np.float32]  # (d,)

    @classmethod
    def fit(cls, rows: Rows) -> "Centring":
        """As `fit_blocks`, of all rows at once."""
        return cls.fit_blocks(_blocks(rows))

    @classmethod
    def fit_blocks(cls, blocks: Iterable[Rows]) -> "Centring":
        """The centring of an archive, whose blocks are iterated twice; one that changes nothing where there are fewer than 20
        rows, or where a row all but equals the mean, as when (nearly) all are alike: the direction of what is left of it would be
        rounding error.
        """
        count, total = 0, np.float64(0)
        for block in blocks:
            count, total = count + len(block), total + block.sum(axis=0, dtype=np.float64)
        mean = np.asarray(total / count, np.float32)
        if count < FEWEST_ROWS or min(_lengths(block - mean).min() for block in blocks) < 1e-4:
            mean = np.zeros_like(mean)
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


def _blocks(rows: Rows) -> list[Rows]:
    """Views of a thousand rows: what is computed of them on the way is never as large as an archive."""
    return [rows[at : at + BLOCK] for at in range(0, len(rows), BLOCK)]


def _lengths(rows: Rows) -> Rows:
    return np.linalg.norm(rows, axis=1, keepdims=True).astype(np.float32, copy=False)
