"""How an archive lies in its space: hubness, each case's likeness to its nearest other patient, answers to ask again tomorrow."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from index.store import DECIMALS

Rows = npt.NDArray[np.float32]
Codes = npt.NDArray[np.int64]

SAMPLED = 1000  # cases that ask; all of a smaller archive
AT_ONCE = 8  # of them at a time: the products of a block with 100,000 rows take 6 MB
HUB_K = 10
ANSWERS, ANSWER_K = 50, 5  # known-answer queries kept with a snapshot, and their neighbours
PERCENTILES = 101


@dataclass(frozen=True)
class Health:
    """Of one kind of scan."""

    hubness: float  # skewness of how often a case is among the 10 nearest of others (Radovanović et al., 2010: Hubs in space)
    likeness: tuple[float, ...]  # percentiles 0 to 100 of the similarity to the nearest case of another patient
    answers: tuple[dict[str, Any], ...]  # {"case_id", "neighbours": [case_id, …], "similarities": […]}


def health_of(rows: Rows, patients: Codes, case_ids: Sequence[str]) -> Health:
    """`rows` (n, d) are centred unit rows, `patients` (n,) whose they are."""
    asked = _spread(len(rows), SAMPLED)
    counts = np.zeros(len(rows))
    nearest: list[float] = []
    answers: list[dict[str, Any]] = []
    kept = set(_spread(len(rows), ANSWERS).tolist())
    for query, similarities in _others(rows, patients, asked):
        order = _first(similarities, max(HUB_K, ANSWER_K))
        if not len(order):
            continue
        counts[order[:HUB_K]] += 1
        nearest.append(float(similarities[order[0]]))
        if query in kept:
            best = order[:ANSWER_K]
            told = {
                "neighbours": [case_ids[row] for row in best],
                "similarities": [float(similarities[row]) for row in best],
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
    answers: Sequence[Mapping[str, Any]], rows: Rows, patients: Codes, case_ids: Sequence[str], before: set[str]
) -> tuple[float, int]:
    """(the share of the neighbours of known answers that are found again among the cases that were there `before`, of how many).

    1.0 where nothing can be asked.
    """
    places = {case_id: row for row, case_id in enumerate(case_ids)}
    was_there = np.array([case_id in before for case_id in case_ids], bool)
    found, total = 0, 0
    asked = [answer for answer in answers if answer["case_id"] in places]
    queries = np.array([places[answer["case_id"]] for answer in asked], np.int64)
    for answer, (_, similarities) in zip(asked, _others(rows, patients, queries), strict=True):
        expected = [places[name] for name in answer["neighbours"] if name in places]
        similarities = np.where(was_there, similarities, -np.inf)
        found += len(set(_first(similarities, len(expected)).tolist()) & set(expected))
        total += len(expected)
    return (found / total, total) if total else (1.0, 0)


def shift(new: Sequence[str | None], old: Sequence[str | None]) -> float:
    """Total variation distance, 0 to 1, between the shares of values in two groups."""
    if not len(new) or not len(old):
        return 0.0
    values = {*new, *old}
    return sum(abs(list(new).count(v) / len(new) - list(old).count(v) / len(old)) for v in values) / 2


def _others(rows: Rows, patients: Codes, queries: Codes) -> Iterator[tuple[int, npt.NDArray[np.float64]]]:
    """(a query's row, its similarities to all rows, −∞ for those of its own patient)."""
    for start in range(0, len(queries), AT_ONCE):
        block = queries[start : start + AT_ONCE]
        products = np.round((rows[block] @ rows.T).astype(np.float64), DECIMALS)
        for query, similarities in zip(block.tolist(), products, strict=True):
            similarities[patients == patients[query]] = -np.inf
            yield query, similarities


def _first(similarities: npt.NDArray[np.float64], k: int) -> Codes:
    """The `k` largest, the largest first; equal ones by row."""
    eligible = int(np.isfinite(similarities).sum())
    k = min(k, eligible)
    if not k:
        return np.zeros(0, np.int64)
    threshold = np.partition(similarities, -k)[-k]
    rows = np.flatnonzero(similarities >= threshold)
    return rows[np.lexsort((rows, -similarities[rows]))][:k]


def _spread(count: int, wanted: int) -> Codes:
    return np.unique(np.linspace(0, count - 1, min(wanted, count)).astype(np.int64)) if count else np.zeros(0, np.int64)
