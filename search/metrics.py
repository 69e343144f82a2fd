"""Metrics of one ranking, each with what a random order of the same gallery would give.

A ranking is of patients, each by their nearest case whose target is recorded, the best first. N is its length, R how many of it are
relevant, which is: have the query's own value.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from search.intervals import Floats
from search.random_order import RandomOrder

Mask = npt.NDArray[np.bool_]
CUTOFFS = (1, 3, 5, 10, 20)
DEPTH = 100  # to which average precision looks
GRADED = "nDCG"


def cutoffs(k: int) -> tuple[int, ...]:
    """The usual cutoffs, and `k`."""
    return tuple(sorted({*CUTOFFS, k}))


def names(k: int, *, graded: bool) -> list[str]:
    """The metrics' names in the order of `scores`."""
    at = [f"{name}@{cutoff}" for name in ("P", "Hit") for cutoff in cutoffs(k)]
    return [*at, "R-precision", f"mAP@{DEPTH}", *([f"{GRADED}@{k}"] if graded else [])]


def scores(relevant: Mask, k: int, *, gains: Floats | None = None) -> Floats:
    """Every metric of `names` for one ranking; NaN where the gallery is too small for a cutoff, or holds nothing relevant."""
    found = np.cumsum(relevant)
    at = np.array([found[c - 1] if c <= len(relevant) else np.nan for c in cutoffs(k)])
    values = [*(at / np.array(cutoffs(k))), *np.where(np.isnan(at), np.nan, at > 0)]
    values += [r_precision(relevant), average_precision(relevant)]
    return np.array(values if gains is None else [*values, ndcg(gains, k)])


def chances(
    order: RandomOrder,
    shares: Floats,
    relevant: int,
    k: int,
    *,
    gains: Floats | None = None,
    mean_gains: Floats | None = None,
) -> Floats:
    """What a random order of the same gallery gives for each metric of `names`.

    `shares` (N,): which share of each patient's cases is relevant, as `mean_gains` are their mean gains. How many of the ranking
    were `relevant`, and its `gains`, set what is ideal.
    """
    count = order.count
    fitting = np.array([c for c in cutoffs(k) if c <= count])
    at, hits = np.full(len(cutoffs(k)), np.nan), np.full(len(cutoffs(k)), np.nan)
    at[: len(fitting)] = order.sum_of_first(shares, fitting) / fitting
    hits[: len(fitting)] = [chance_hit(share * count, count, c) for share, c in zip(at, fitting, strict=False)]
    values = [*at, *hits]
    if relevant:
        values.append(float(order.sum_of_first(shares, np.array([relevant]))[0]) / relevant)
        values.append(_chance_average_precision(order, shares, relevant))
    else:
        values += [np.nan, np.nan]
    if gains is not None and mean_gains is not None:
        ideal = _discounted(np.sort(gains)[::-1], k)
        expected = np.diff(order.sum_of_first(mean_gains, np.arange(min(k, count) + 1)))
        values.append(_discounted(expected, k) / ideal if ideal and count >= k else np.nan)
    return np.array(values)


def r_precision(relevant: Mask) -> float:
    """The share of relevant ones among the first R; NaN where R is 0."""
    total = int(relevant.sum())
    return float(relevant[:total].mean()) if total else float("nan")


def average_precision(relevant: Mask, depth: int = DEPTH) -> float:
    """AP@depth = (1 / min(R, depth)) Σ over relevant ranks i ≤ depth of P@i; NaN where R is 0."""
    total = int(relevant.sum())
    if not total:
        return float("nan")
    ranks = np.flatnonzero(relevant[:depth]) + 1
    return float((np.arange(1, len(ranks) + 1) / ranks).sum() / min(total, depth))


def ndcg(gains: Floats, k: int) -> float:
    """Σ gain / log2(rank + 1) over the first `k`, divided by the best order's of the whole gallery (K. Järvelin, J. Kekäläinen,
    2002); NaN where nothing has a gain or fewer than `k` are ranked.
    """
    ideal = _discounted(np.sort(gains)[::-1], k)
    return _discounted(gains, k) / ideal if ideal and len(gains) >= k else float("nan")


def chance_hit(relevant: float, count: int, k: int) -> float:
    """The chance that a random order has a relevant one among its first `k` (hypergeometric; `relevant` may be a mean)."""
    drawn = np.arange(k)
    missed = np.clip((count - relevant - drawn) / (count - drawn), 0, 1)
    return float(1 - missed.prod())


def _chance_average_precision(order: RandomOrder, shares: Floats, relevant: int) -> float:
    """The expected AP@depth: of each rank, P(relevant) times the expected share of relevant ones up to there."""
    i = np.arange(1, min(order.count, DEPTH) + 1)
    first = order.sum_of_first(shares, np.arange(len(i) + 1))
    others = np.clip((first[1:] / i * order.count - 1) / max(1, order.count - 1), 0, 1)
    expected = float((np.diff(first) * (1 + (i - 1) * others) / i).sum())
    return min(1.0, expected / min(relevant, DEPTH))


def tenths(relevant: Mask) -> Floats:
    """The share of relevant ones in each tenth of the ranking, the most similar first (10,); NaN where fewer than 10 are ranked."""
    if len(relevant) < 10:
        return np.full(10, np.nan)
    starts = np.linspace(0, len(relevant), 11).astype(np.int64)
    return np.add.reduceat(relevant.astype(np.float64), starts[:-1]) / np.diff(starts)


def hubness(counts: Sequence[int] | npt.NDArray[np.int64]) -> tuple[float, float, int]:
    """(skewness of how often a case is retrieved (Radovanović et al., 2010), the share that never is, the most of one)."""
    found = np.asarray(counts, np.float64)
    spread = found.std()
    skewness = float((((found - found.mean()) / spread) ** 3).mean()) if spread else 0.0
    return skewness, float((found == 0).mean()), int(found.max())


def _discounts(k: int) -> Floats:
    discounts: Floats = 1 / np.log2(np.arange(2, k + 2))
    return discounts


def _discounted(gains: Floats, k: int) -> float:
    first = gains[:k]
    return float((first * _discounts(len(first))).sum())
