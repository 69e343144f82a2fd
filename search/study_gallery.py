"""Among whom a group of queries finds its neighbours, and who of them is no stranger to the single query."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from embed.identity import BITS, SAME_PICTURE_DISTANCE, hash_bits
from index.store import PADDING, RowNumbers, Rows, Similarities, VectorStore, exact_similarities
from search.archive import Mask
from search.nearest import NOBODY, Codes

FLOAT32_ERROR = 1e-5  # more than a float32 inner product of unit rows can be off
SPARE = 12  # candidates beyond k, for the own patient and for patients with several cases
WIDENED = 4  # times as many are sought, once, for queries of which these are not enough
AT_ONCE = 64  # queries whose similarities to a whole gallery are held at a time
UNKNOWN_DAY = np.inf


@dataclass(frozen=True, eq=False)
class Asked:
    """Queries of one group: they search the same gallery."""

    signatures: Rows  # (q, d), centred
    own: Codes  # (q, m) the persons to leave out of each answer, padded with −1
    days: npt.NDArray[np.float64] | None = None  # (q,) only scans of an earlier day may answer; None: of any

    def __len__(self) -> int:
        return len(self.signatures)

    def part(self, places: npt.NDArray[np.int64]) -> "Asked":
        return Asked(self.signatures[places], self.own[places], None if self.days is None else self.days[places])


@dataclass(frozen=True, eq=False)
class Gallery:
    """Some rows of an archive that can be searched on their own: without a selector, a store is several times faster."""

    rows: RowNumbers  # (g,) of the archive, rising
    store: VectorStore  # of these rows only
    read: Callable[[], Rows]  # the vectors (g, d) of these rows, centred
    patients: Codes  # (g,) persons
    days: npt.NDArray[np.float64]  # (g,) of the scan, since 1970; infinite where it is not recorded

    @cached_property
    def vectors(self) -> Rows:
        """Read when the store's own candidates are not enough for a query, which is rare."""
        return self.read()

    def nearest(self, asked: Asked, *, k: int) -> tuple[Similarities, RowNumbers]:
        """(similarities (q, k), rows of the archive (q, k)): each query's `k` nearest persons by their nearest case.

        Exact, in the order of every store: similarity falling, row rising; padded with NaN and −1.
        """
        similarities = np.full((len(asked), k), np.nan)
        rows = np.full((len(asked), k), PADDING, np.int64)
        if not len(asked) or not len(self.rows):
            return similarities, rows
        pending, fetch = np.arange(len(asked)), k + SPARE
        while len(pending) and fetch <= WIDENED * (k + SPARE):
            fetch = min(fetch, len(self.rows))
            similarities[pending], rows[pending] = self._among_best(asked.part(pending), k, fetch)
            pending = pending[rows[pending, -1] == PADDING]
            if fetch == len(self.rows):
                return similarities, rows
            fetch *= WIDENED
        for start in range(0, len(pending), AT_ONCE):
            part = pending[start : start + AT_ONCE]
            similarities[part], rows[part] = self._among_all(asked.part(part), k)
        return similarities, rows

    def _among_best(self, asked: Asked, k: int, fetch: int) -> tuple[Similarities, RowNumbers]:
        """What the store's best `fetch` rows give; less than there is, where a query is left with fewer than `k` persons."""
        similarities = np.full((len(asked), k), np.nan)
        rows = np.full((len(asked), k), PADDING, np.int64)
        found, places = self.store.search(asked.signatures, k=fetch)
        kept = first_of_each_person(np.where(self._may_answer(asked, places), self.patients[places], NOBODY))
        taken = kept & (np.cumsum(kept, axis=1) <= k)
        query, candidate = np.nonzero(taken)
        rank = np.cumsum(taken, axis=1)[query, candidate] - 1
        similarities[query, rank] = found[query, candidate]
        rows[query, rank] = self.rows[places[query, candidate]]
        return similarities, rows

    def _may_answer(self, asked: Asked, places: npt.NDArray[np.int64]) -> Mask:
        """Which candidates (q, c) are strangers to their query and, where that is asked, older."""
        allowed: Mask = places != PADDING
        persons = self.patients[places]
        for column in asked.own.T:
            allowed &= persons != column[:, None]
        if asked.days is not None:
            allowed &= self.days[places] < asked.days[:, None]
        return allowed

    def _among_all(self, asked: Asked, k: int) -> tuple[Similarities, RowNumbers]:
        """The same for queries of which a store's best candidates are not enough: every row of the gallery is looked at."""
        similarities = np.full((len(asked), k), np.nan)
        rows = np.full((len(asked), k), PADDING, np.int64)
        rough = asked.signatures @ self.vectors.T
        everything = np.arange(len(self.rows))
        for number in range(len(asked)):
            one = asked.part(np.array([number]))
            eligible = np.flatnonzero(self._may_answer(one, everything[None])[0])
            order = eligible[np.argsort(-rough[number, eligible], kind="stable")]
            firsts = np.flatnonzero(first_of_each_person(self.patients[order][None])[0])[:k]
            if not len(firsts):
                continue
            lowest = rough[number, order[firsts[-1]]] - 2 * FLOAT32_ERROR  # below it nobody can be among the first k
            likely = np.sort(order[rough[number, order] >= lowest]) if len(firsts) == k else eligible
            exact = exact_similarities(self.vectors[likely], asked.signatures[number])
            ranked = np.argsort(-exact, kind="stable")
            best = ranked[first_of_each_person(self.patients[likely[ranked]][None])[0]][:k]
            similarities[number, : len(best)] = exact[best]
            rows[number, : len(best)] = self.rows[likely[best]]
        return similarities, rows


def first_of_each_person(persons: Codes) -> Mask:
    """Where in each line (q, c) a person other than `NOBODY` stands for the first time."""
    order = np.argsort(persons, axis=1, kind="stable")
    ranked = np.take_along_axis(persons, order, axis=1)
    new = np.ones(persons.shape, bool)
    new[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    first = np.empty(persons.shape, bool)
    np.put_along_axis(first, order, new & (ranked != NOBODY), axis=1)
    return first


class Copies:
    """Which persons have a film that looks like a copy of another: by the distance of stored perceptual hashes, as `evaluate` does."""

    def __init__(self, hashes: npt.NDArray[np.object_], patients: Codes) -> None:
        """`hashes` (n,): None where a case has none."""
        self._rows = np.array([row for row, text in enumerate(hashes) if text], np.int64)
        bits = hash_bits([text for text in hashes if text])
        self._signs = (2 * bits.astype(np.float32) - 1).reshape(len(self._rows), BITS)
        self._place = np.full(len(hashes), -1)
        self._place[self._rows] = np.arange(len(self._rows))
        self._patients = patients

    def persons(self, rows: RowNumbers) -> list[Codes]:
        """For each case the persons with a near copy of it, its own among them where it has a hash."""
        found = [np.zeros(0, np.int64)] * len(rows)
        hashed = np.flatnonzero(self._place[rows] >= 0)
        for start in range(0, len(hashed), AT_ONCE):
            part = hashed[start : start + AT_ONCE]
            alike = self._signs[self._place[rows[part]]] @ self._signs.T
            for place, near in zip(part, (BITS - alike) / 2 <= SAME_PICTURE_DISTANCE, strict=True):
                found[place] = np.unique(self._patients[self._rows[near]])
        return found


def padded(persons: list[Codes]) -> Codes:
    """Lists of persons as one array (q, m), padded with −1."""
    widest = max((len(one) for one in persons), default=0)
    own = np.full((len(persons), max(widest, 1)), NOBODY)
    for place, one in enumerate(persons):
        own[place, : len(one)] = one
    return own
