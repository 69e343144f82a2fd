"""Exact flat search with FAISS, re-ranked in double precision so that its order is the oracle's."""

from collections.abc import Iterable
from typing import BinaryIO

import faiss
import numpy as np
import numpy.typing as npt

from index.store import RowNumbers, Rows, Similarities, best, exact_similarities, filled

SPARE = 32  # candidates beyond k, so that one pass nearly always holds every tie of the k-th
FLOAT32_ERROR = 1e-5  # more than a float32 inner product of unit rows can be off, by any summation order


class FaissStore:
    """FAISS's flat inner-product index. FAISS finds candidates; their similarities are computed anew and sorted by the rule."""

    def __init__(self, index: faiss.IndexFlat) -> None:
        self._index = index
        self.count, self.dim = int(index.ntotal), int(index.d)
        self._rows = faiss.rev_swig_ptr(index.get_xb(), self.count * self.dim).reshape(self.count, self.dim)

    @classmethod
    def build(cls, rows: Rows) -> "FaissStore":
        return cls.build_of_blocks([rows], *rows.shape)

    @classmethod
    def build_of_blocks(cls, blocks: Iterable[Rows], count: int, dim: int) -> "FaissStore":
        index = faiss.IndexFlatIP(dim)
        index.codes.resize(count * index.code_size)  # add() would double its room again and again
        index.ntotal = count
        store = cls(index)
        filled(store._rows, blocks)
        return store

    @classmethod
    def read(cls, stream: BinaryIO) -> "FaissStore":
        try:
            index = faiss.read_index(faiss.PyCallbackIOReader(stream.read))
        except RuntimeError as error:
            raise ValueError(f"FAISS cannot read it ({error})") from error
        if not isinstance(index, faiss.IndexFlat) or index.metric_type != faiss.METRIC_INNER_PRODUCT:
            raise ValueError(f"expected a flat inner-product index, found {type(index).__name__}")
        return cls(index)

    def write(self, stream: BinaryIO) -> None:
        # not serialize_index: SimpleITK, imported later, takes over its std::vector
        faiss.write_index(self._index, faiss.PyCallbackIOWriter(stream.write))

    def search(self, queries: Rows, *, k: int, allowed: RowNumbers | None = None) -> tuple[Similarities, RowNumbers]:
        eligible = self.count if allowed is None else len(allowed)
        similarities = np.full((len(queries), k), np.nan)
        numbers = np.full((len(queries), k), -1, np.int64)
        pending = np.arange(len(queries)) if eligible else np.empty(0, np.int64)
        wanted = k + SPARE
        while len(pending):
            wanted = min(wanted, eligible)
            rough, found = self._candidates(queries[pending], wanted, allowed)
            unsure = []
            for place, query in enumerate(pending):
                exact = exact_similarities(self._rows[found[place]], queries[query])
                similarities[query], numbers[query] = best(exact, found[place], k=k)
                if wanted < eligible and rough[place, -1] > similarities[query, -1] - FLOAT32_ERROR:
                    unsure.append(query)  # a row that FAISS left out could tie with the k-th
            pending = np.array(unsure, np.int64)
            wanted *= 4
        return similarities, numbers

    def _candidates(
        self, queries: Rows, wanted: int, allowed: RowNumbers | None
    ) -> tuple[npt.NDArray[np.float32], RowNumbers]:
        if allowed is None:
            return self._index.search(queries, wanted)
        bits = np.zeros(self.count, bool)
        bits[allowed] = True
        bitmap = np.packbits(bits, bitorder="little")
        selector = faiss.IDSelectorBitmap(bitmap)  # one per call: FAISS changes shared parameters while it searches
        return self._index.search(queries, wanted, params=faiss.SearchParameters(sel=selector))
