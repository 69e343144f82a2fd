"""Does similarity carry outcome? Metrics over leave-one-patient-out neighbours, each with interval and chance level."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.stats import rankdata

from index.store import PADDING
from search.study import Block

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
REPLICATES = 1000
SEED = 20261124


@dataclass(frozen=True)
class Metric:
    """A figure with its patient-level bootstrap 95 % interval and what chance alone would give."""

    name: str
    value: float
    low: float
    high: float
    chance: float
    queries: int
    patients: int


@dataclass(frozen=True, eq=False)
class Figure:
    """A figure over queries that can be computed again with each query counted `weight` times."""

    name: str
    of: Callable[[Floats], float]  # weights (queries,) -> the figure
    queries: Codes  # which cases were asked
    patients: Codes  # whose they are
    chance: float


def auc(positive: npt.NDArray[np.bool_], score: Floats, weight: Floats | None = None) -> float:
    """Area under the ROC curve, ties counting a half; each case counts `weight` times. NaN where one class is missing."""
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    events = np.add.reduceat((weight * positive)[order], starts)
    others = np.add.reduceat((weight * ~positive)[order], starts)
    pairs = events.sum() * others.sum()
    below = np.cumsum(others) - others
    return float((events * (below + others / 2)).sum() / pairs) if pairs > 0 else float("nan")


def outcome_auc(blocks: list[Block], states: npt.NDArray[np.object_], patients: Codes) -> Figure:
    """How well the share of neighbours that met an endpoint ranks the queries' own outcome. Not recorded counts nowhere."""
    score, query = _per_query(blocks, np.array([{"yes": 1.0, "no": 0.0}.get(state, np.nan) for state in states]))
    known = np.isin(states[query].astype(str), ("yes", "no")) & ~np.isnan(score)
    score, query = score[known], query[known]
    positive = states[query] == "yes"
    if positive.all() or not positive.any():
        raise ValueError(
            f"all of the {len(positive)} queries with a recorded outcome have the same one; an AUC needs both"
        )
    return Figure("AUC", lambda weight: auc(positive, score, weight), query, patients[query], 0.5)


def precision(blocks: list[Block], labels: npt.NDArray[np.object_], patients: Codes) -> Figure:
    """P@k: the mean share of a query's neighbours with its own label; chance is that label's share of the other patients."""
    codes = np.unique([str(label) for label in labels], return_inverse=True)[1]
    known = np.array([isinstance(label, str) for label in labels], bool)
    shares, chances, queries = [], [], []
    for block in blocks:
        gallery = block.allowed[known[block.allowed]]
        per_patient = _label_shares(codes[gallery], patients[gallery], (int(patients.max()) + 1, int(codes.max()) + 1))
        total = per_patient.sum(axis=0)
        for query, rows in zip(block.queries, block.rows, strict=True):
            rows = rows[(rows != PADDING)]
            rows = rows[known[rows]]
            if not known[query] or not len(rows):
                continue
            shares.append(np.mean(codes[rows] == codes[query]))
            others = total - per_patient[patients[query]]
            chances.append(others[codes[query]] / others.sum())
            queries.append(query)
    if not queries:
        raise ValueError("no query has a label and neighbours with one")
    share = np.array(shares)
    asked = np.array(queries, np.int64)
    name = f"P@{blocks[0].rows.shape[1]}"
    return Figure(name, lambda weight: _mean(share, weight), asked, patients[asked], float(np.mean(chances)))


def rank_correlation(blocks: list[Block], values: Floats, patients: Codes) -> Figure:
    """Spearman's correlation between a query's value and the mean of its neighbours' values; chance is 0."""
    mean, query = _per_query(blocks, values)
    known = ~np.isnan(mean) & ~np.isnan(values[query])
    mean, query = mean[known], query[known]
    own = rankdata(values[query])
    theirs = rankdata(mean)
    return Figure("rank correlation", lambda weight: _correlation(own, theirs, weight), query, patients[query], 0.0)


def bootstrapped(figure: Figure) -> Metric:
    """The figure with a percentile interval from resampling patients, all queries of a patient together (B. Efron, 1979)."""
    replicates = [figure.of(weight) for weight in _weights(figure)]
    value = figure.of(np.ones(len(figure.queries)))
    patients = len(np.unique(figure.patients))
    return Metric(figure.name, value, *_interval(replicates), figure.chance, len(figure.queries), patients)


def paired_difference(figure: Figure, other: Figure) -> Metric:
    """How much larger the figure is than the other, with the interval of the difference when the same patients are drawn for both.

    Raises `ValueError` unless both were asked of the same queries.
    """
    if not np.array_equal(figure.queries, other.queries):
        raise ValueError("the two figures are of different queries; compare them on the same films")
    replicates = [figure.of(weight) - other.of(weight) for weight in _weights(figure)]
    ones = np.ones(len(figure.queries))
    patients = len(np.unique(figure.patients))
    value = figure.of(ones) - other.of(ones)
    return Metric(f"difference in {figure.name}", value, *_interval(replicates), 0.0, len(figure.queries), patients)


def _weights(figure: Figure) -> Iterator[Floats]:
    """How often each query counts in each of the resamplings of the patients, the same for the same patients."""
    if not len(figure.queries):
        raise ValueError(f"{figure.name}: no query has a recorded value and neighbours with one")
    names, code = np.unique(figure.patients, return_inverse=True)
    rng = np.random.default_rng(SEED)
    for counts in rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES):
        yield counts[code].astype(np.float64)


def _interval(replicates: Sequence[float]) -> tuple[float, float]:
    if np.isnan(replicates).all():
        return float("nan"), float("nan")
    low, high = np.nanpercentile(replicates, (2.5, 97.5))
    return float(low), float(high)


def _per_query(blocks: list[Block], values: Floats) -> tuple[Floats, Codes]:
    """(the mean of the known values of each query's neighbours, the queries)."""
    queries = np.concatenate([block.queries for block in blocks])
    found = np.concatenate([np.where(block.rows == PADDING, np.nan, values[block.rows]) for block in blocks])
    counted = (~np.isnan(found)).sum(axis=1)
    total = np.nansum(found, axis=1)
    return np.divide(total, counted, out=np.full(len(total), np.nan), where=counted > 0), queries


def _label_shares(codes: Codes, patients: Codes, shape: tuple[int, int]) -> Floats:
    """(patients, labels): which share of each patient's cases has each label, since a neighbour is one case a patient."""
    shares = np.zeros(shape)
    np.add.at(shares, (patients, codes), 1)
    cases = shares.sum(axis=1, keepdims=True)
    return np.divide(shares, cases, out=shares, where=cases > 0)


def _mean(values: Floats, weight: Floats) -> float:
    return float((values * weight).sum() / weight.sum()) if weight.sum() else float("nan")


def _correlation(a: Floats, b: Floats, weight: Floats) -> float:
    a = a - _mean(a, weight)
    b = b - _mean(b, weight)
    spread = np.sqrt((weight * a * a).sum() * (weight * b * b).sum())
    return float((weight * a * b).sum() / spread) if spread else float("nan")
