"""The oracle: every similarity computed, everything sorted. Slow, plain, and what the other stores are tested against."""

from collections.abc import Iterable
from typing import BinaryIO

import numpy as np

from index.store import DECIMALS, RowNumbers, Rows, Similarities, best, exact_similarities, filled

SLACK = 2 * 10.0**-DECIMALS  # between a product and the similarity that it is rounded to


class NumpyStore:
    """A matrix."""

    def __init__(self, rows: Rows) -> None:
        self._rows = rows
        self.count, self.dim = rows.shape

    @classmethod
    def build(cls, rows: Rows) -> "NumpyStore":
        return cls(np.ascontiguousarray(rows, np.float32))

    @classmethod
    def build_of_blocks(cls, blocks: Iterable[Rows], count: int, dim: int) -> "NumpyStore":
        return cls(filled(np.empty((count, dim), np.float32), blocks))

    @classmethod
    def read(cls, stream: BinaryIO) -> "NumpyStore":
        rows = np.load(stream, allow_pickle=False)
        if rows.ndim != 2 or rows.dtype != np.float32:
            raise ValueError(f"expected float32 rows, found {rows.dtype} of shape {rows.shape}")
        return cls(rows)

    def write(self, stream: BinaryIO) -> None:
        np.save(stream, self._rows)

    def search(self, queries: Rows, *, k: int, allowed: RowNumbers | None = None) -> tuple[Similarities, RowNumbers]:
        rows = np.arange(self.count) if allowed is None else allowed
        candidates = self._rows if allowed is None else self._rows[allowed]
        found = [best(exact_similarities(candidates, query), rows, k=k) for query in queries]
        if not found:
            return np.empty((0, k)), np.empty((0, k), np.int64)
        return np.stack([similarities for similarities, _ in found]), np.stack([numbers for _, numbers in found])


def exact_search(blocks: Iterable[Rows], queries: Rows, *, k: int) -> RowNumbers:
    """The row numbers (q, k) that the oracle finds, of rows that come in blocks and are not held."""
    kept = [(np.empty(0), np.empty(0, np.int64)) for _ in queries]
    wide = queries.astype(np.float64).T
    first = 0
    for block in blocks:
        products = (
            block.astype(np.float64) @ wide
        )  # (rows, q): not summed as the oracle sums, and so only to choose from
        for place, query in enumerate(queries):
            column = products[:, place]
            least = np.partition(column, -k)[-k] - SLACK if len(column) > k else -np.inf
            near = np.flatnonzero(column >= least)
            similarities, rows = kept[place]
            both = np.concatenate([similarities, exact_similarities(block[near], query)])
            kept[place] = best(both, np.concatenate([rows, first + near]), k=min(k, len(both)))
        first += len(block)
    return np.stack([rows for _, rows in kept])
