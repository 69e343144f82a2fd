"""How an archive lies in its space: hubness, each case's likeness to its nearest other patient, answers to ask again tomorrow."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.store import DECIMALS, VectorStore

Rows = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

SAMPLED = 1000  # cases that ask; all of a smaller archive
SPARE = 32  # scans of one patient up to which a query asks for as many more, and its own are dropped
HUB_K = 10
ANSWERS, ANSWER_K = 50, 5  # known-answer queries kept with a snapshot, and their neighbours
PERCENTILES = 101


@dataclass(frozen=True)
class Health:
    """Of one kind of scan."""

    hubness: float  # skewness of how often a case is among the 10 nearest of others (Radovanović et al., 2010: Hubs in space)
    likeness: tuple[float, ...]  # percentiles 0 to 100 of the similarity to the nearest case of another patient
    answers: tuple[dict[str, Any], ...]  # {"case_id", "neighbours": [case_id, …], "similarities": […]}


def health_of(store: VectorStore, vectors: Callable[[Codes], Rows], patients: Codes, case_ids: Sequence[str]) -> Health:
    """`vectors` gives the unit rows (n, d) of some row numbers as the store holds them, `patients` (n,) whose they are."""
    asked = _spread(store.count, SAMPLED)
    counts = np.zeros(store.count)
    nearest: list[float] = []
    answers: list[dict[str, Any]] = []
    kept = set(_spread(store.count, ANSWERS).tolist())
    found = _others(store, vectors(asked), patients, patients[asked], k=max(HUB_K, ANSWER_K))
    for query, (similarities, rows) in zip(asked.tolist(), found, strict=True):
        if not len(rows):
            continue
        counts[rows[:HUB_K]] += 1
        nearest.append(float(similarities[0]))
        if query in kept:
            told = {
                "neighbours": [case_ids[row] for row in rows[:ANSWER_K]],
                "similarities": similarities[:ANSWER_K].tolist(),
            }
            answers.append({"case_id": case_ids[query]} | told)
    if not nearest:  # all scans are of one patient
        return Health(0.0, (), ())
    spread = _skewness(counts)
    likeness = np.percentile(nearest, np.linspace(0, 100, PERCENTILES))
    return Health(spread, tuple(round(float(value), DECIMALS) for value in likeness), tuple(answers))


def _skewness(values: npt.NDArray[np.float64]) -> float:
    """The third standardised moment; 0 where all are equal. By hand: importing scipy.stats takes a second."""
    deviations = values - values.mean()
    variance = float(np.mean(deviations**2))
    return float(np.mean(deviations**3)) / variance**1.5 if variance > 0 else 0.0


def kept_answers(
    answers: Sequence[Mapping[str, Any]],
    store: VectorStore,
    vectors: Callable[[Codes], Rows],
    patients: Codes,
    case_ids: Sequence[str],
    before: set[str],
) -> tuple[float, int]:
    """(the share of the neighbours of known answers that are found again among the cases that were there `before`, of how many).

    1.0 where nothing can be asked.
    """
    places = {case_id: row for row, case_id in enumerate(case_ids)}
    was_there = np.array([case_id in before for case_id in case_ids], bool)
    found, total = 0, 0
    for answer in answers:
        row = places.get(answer["case_id"])
        expected = {places[name] for name in answer["neighbours"] if name in places}
        if row is None or not expected:
            continue
        allowed = np.flatnonzero(was_there & (patients != patients[row]))
        _, numbers = store.search(vectors(np.array([row])), k=len(expected), allowed=allowed)
        found += len(set(numbers[0].tolist()) & expected)
        total += len(expected)
    return (found / total, total) if total else (1.0, 0)


def shift(new: Sequence[str | None], old: Sequence[str | None]) -> float:
    """Total variation distance, 0 to 1, between the shares of values in two groups."""
    if not len(new) or not len(old):
        return 0.0
    values = {*new, *old}
    return sum(abs(list(new).count(v) / len(new) - list(old).count(v) / len(old)) for v in values) / 2


def _others(
    store: VectorStore, queries: Rows, patients: Codes, own: Codes, *, k: int
) -> Iterator[tuple[npt.NDArray[np.float64], Codes]]:
    """Of each query (similarities, row numbers) of its `k` nearest among the scans of patients other than its `own`."""
    scans = np.bincount(patients)[own]
    few = int(scans.max(initial=0)) if scans.max(initial=0) <= SPARE else SPARE
    similarities, rows = store.search(queries, k=min(k + few, store.count))
    for place, patient in enumerate(own.tolist()):
        if scans[place] <= few:
            is_other = patients[rows[place]] != patient
            yield similarities[place][is_other][:k], rows[place][is_other][:k]
        else:
            allowed = np.flatnonzero(patients != patient)
            told, numbers = store.search(queries[[place]], k=min(k, len(allowed)), allowed=allowed)
            yield told[0], numbers[0]


def _spread(count: int, wanted: int) -> Codes:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64)) if count else np.zeros(0, np.int64)
