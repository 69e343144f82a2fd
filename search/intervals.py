"""How sure a figure is: patients drawn again with replacement, all queries of a patient together."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int64]
REPLICATES = 1000
SEED = 20261124
BOUNDS = (2.5, 97.5)  # percentiles of a 95 % interval
AT_ONCE = 100  # replicates whose weights of every query are held at a time


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


class Draws:
    """How often each patient of an archive is drawn in each replicate: one set of draws for every figure of a report, so that
    differences and ratios of figures are of the same patients.
    """

    def __init__(self, patients: Codes, *, replicates: int = REPLICATES, seed: int = SEED) -> None:
        """`patients`: whose the queries are, in any order."""
        self.patients = np.unique(patients)
        rng = np.random.default_rng(seed)
        share = np.full(len(self.patients), 1 / len(self.patients))
        self.counts = rng.multinomial(len(self.patients), share, size=replicates).astype(np.float32)

    def sums(self, values: Floats, patients: Codes) -> Floats:
        """The sums of `values` (q, m) over the queries in each replicate (replicates, m); of NaN nothing is added."""
        mine = np.zeros((len(self.patients), values.shape[1]))
        np.add.at(mine, np.searchsorted(self.patients, patients), np.nan_to_num(values))
        return (self.counts @ mine.astype(np.float32)).astype(np.float64)

    def iter_weights(self, patients: Codes) -> Iterator[Floats]:
        """How often each query counts (some replicates, q), until all replicates were told."""
        places = np.searchsorted(self.patients, patients)
        for start in range(0, len(self.counts), AT_ONCE):
            yield self.counts[start : start + AT_ONCE, places].astype(np.float64)


def interval(replicates: Sequence[float] | Floats) -> tuple[float, float]:
    """(low, high) of the 95 % percentile interval (B. Efron, 1979); NaN where no replicate has a value."""
    found = np.asarray(replicates, np.float64)
    found = found[~np.isnan(found)]
    if not len(found):
        return float("nan"), float("nan")
    low, high = np.percentile(found, BOUNDS)
    return float(low), float(high)


def bootstrapped(figure: Figure) -> Metric:
    """The figure with a percentile interval from resampling patients, all queries of a patient together (B. Efron, 1979)."""
    replicates = [figure.of(weight) for weight in _weights(figure)]
    value = figure.of(np.ones(len(figure.queries)))
    patients = len(np.unique(figure.patients))
    return Metric(figure.name, value, *interval(replicates), figure.chance, len(figure.queries), patients)


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
    return Metric(f"difference in {figure.name}", value, *interval(replicates), 0.0, len(figure.queries), patients)


def _weights(figure: Figure) -> Iterator[Floats]:
    """How often each query counts in each of the resamplings of the patients, the same for the same patients."""
    if not len(figure.queries):
        raise ValueError(f"{figure.name}: no query has a recorded value and neighbours with one")
    names, code = np.unique(figure.patients, return_inverse=True)
    rng = np.random.default_rng(SEED)
    for counts in rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=REPLICATES):
        yield counts[code].astype(np.float64)
