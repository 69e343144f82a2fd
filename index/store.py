"""The seam where vectors are searched: `VectorStore`, the table of stores, and the one order that all of them give."""

from collections.abc import Iterable
from importlib import import_module
from typing import BinaryIO, Protocol

import numpy as np
import numpy.typing as npt

Rows = npt.NDArray[np.float32]  # (n, d)
RowNumbers = npt.NDArray[np.int64]
Similarities = npt.NDArray[np.float64]

DECIMALS = 6  # similarities are compared at this precision: float32 signatures carry no more
PADDING = -1  # the row number where fewer than k rows were eligible


class VectorStore(Protocol):
    """Unit rows that answer "which are nearest?" exactly and in one order: similarity falling, then row number rising.

    Rows are stored in the order of their `case_id`, so that equal similarities are ordered by `case_id`.
    """

    count: int
    dim: int

    @classmethod
    def build(cls, rows: Rows) -> "VectorStore": ...

    @classmethod
    def build_of_blocks(cls, blocks: Iterable[Rows], count: int, dim: int) -> "VectorStore":
        """As of all rows at once, without a second copy of them. Raises ValueError where they are not `count` rows of `dim`."""

    @classmethod
    def read(cls, stream: BinaryIO) -> "VectorStore":
        """The store that `write` wrote. Only for content whose hash was checked. Raises ValueError or OSError."""

    def write(self, stream: BinaryIO) -> None:
        """Raises OSError."""

    def search(self, queries: Rows, *, k: int, allowed: RowNumbers | None = None) -> tuple[Similarities, RowNumbers]:
        """(similarities (q, k), row numbers (q, k)) among `allowed` rows (rising; None: all), padded with NaN and -1."""


STORES = {
    "faiss": "index.faiss_store:FaissStore",
    "numpy": "index.numpy_store:NumpyStore",
}
DEFAULT_STORE = "faiss"


def store_class(name: str) -> type[VectorStore]:
    """The store called `name`. Raises ValueError."""
    if name not in STORES:
        raise ValueError(f"no vector store is called {name!r}; there are: {', '.join(STORES)}")
    module, _, attribute = STORES[name].partition(":")
    found: type[VectorStore] = getattr(import_module(module), attribute)
    return found


def file_name(name: str) -> str:
    """The file that a store keeps in a snapshot."""
    return f"index.{name}"


def exact_similarities(rows: Rows, query: npt.NDArray[np.float32]) -> Similarities:
    """Inner products (n,) of `rows` (n, d) with `query` (d,) in double precision, at `DECIMALS`: what every store ranks by."""
    products: Similarities = np.round(rows.astype(np.float64) @ query.astype(np.float64), DECIMALS)
    return products + 0.0  # no negative zero


def filled(target: Rows, blocks: Iterable[Rows]) -> Rows:
    """`target` (n, d) with the rows of the blocks. Raises ValueError where they are not just as many."""
    at = 0
    for block in blocks:
        target[at : at + len(block)] = block
        at += len(block)
    if at != len(target):
        raise ValueError(f"expected {len(target)} rows, found {at}")
    return target


def best(similarities: Similarities, rows: RowNumbers, *, k: int) -> tuple[Similarities, RowNumbers]:
    """The first `k` of similarity falling, row number rising, padded."""
    order = np.lexsort((rows, -similarities))[:k]
    padding = k - len(order)
    return (
        np.concatenate([similarities[order], np.full(padding, np.nan)]),
        np.concatenate([rows[order], np.full(padding, PADDING, np.int64)]),
    )
