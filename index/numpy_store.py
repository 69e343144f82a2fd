"""The oracle: every similarity computed, everything sorted. Slow, plain, and what the other stores are tested against."""

import io

import numpy as np

from index.store import RowNumbers, Rows, Similarities, best, exact_similarities


class NumpyStore:
    """A matrix."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.count, self.dim = rows.shape

    @classmethod
    def build(cls, rows: Rows) -> "NumpyStore":
        return cls(np.ascontiguousarray(rows, np.float32))

    @classmethod
    def from_bytes(cls, content: bytes) -> "NumpyStore":
        rows = np.load(io.BytesIO(content), allow_pickle=False)
        if rows.ndim != 2 or rows.dtype != np.float32:
            raise ValueError(f"expected float32 rows, found {rows.dtype} of shape {rows.shape}")
        return cls(rows)

    def to_bytes(self) -> bytes:
        buffer = io.BytesIO()
        np.save(buffer, self._rows)
        return buffer.getvalue()

    def search(self, queries: Rows, *, k: int, allowed: RowNumbers | None = None) -> tuple[Similarities, RowNumbers]:
        rows = np.arange(self.count) if allowed is None else allowed
        candidates = self._rows if allowed is None else self._rows[allowed]
        found = [best(exact_similarities(candidates, query), rows, k=k) for query in queries]
        if not found:
            return np.empty((0, k)), np.empty((0, k), np.int64)
        return np.stack([similarities for similarities, _ in found]), np.stack([numbers for _, numbers in found])
