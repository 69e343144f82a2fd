"""What is fitted on the archive and applied to every query: centring."""

import io
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]  # (n, d)
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
        if len(rows) < FEWEST_ROWS or np.linalg.norm(rows - mean, axis=1).min() < 1e-4:
            mean = np.zeros(rows.shape[1], np.float32)
        return cls(mean)

    def apply(self, rows: Rows) -> Rows:
        centred = rows - self.mean
        length = np.linalg.norm(centred, axis=1, keepdims=True)
        return np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-6)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.savez(buffer, mean=self.mean)
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes) -> "Centring":
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return cls(arrays["mean"].astype(np.float32))
