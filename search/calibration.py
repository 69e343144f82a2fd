"""What neighbours say of an outcome, as a forecast: how well it ranks, and whether its numbers may be believed.

Every figure takes weights (..., q), how often each query counts, and gives one number for each row of them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from search.intervals import Floats

Mask = npt.NDArray[np.bool_]
STEPS = 25  # of Newton's method; it needs about six
RIDGE = 1e-6  # keeps a slope finite where outcomes are separated
STEEPEST = 50.0


def auc(positive: Mask, score: Floats, weight: Floats | None = None) -> Floats:
    """Area under the ROC curve, ties counting a half. NaN where one class is missing."""
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    events = np.add.reduceat((weight * positive)[..., order], starts, axis=-1)
    others = np.add.reduceat((weight * ~positive)[..., order], starts, axis=-1)
    below = np.cumsum(others, axis=-1) - others
    return _ratio((events * (below + others / 2)).sum(axis=-1), events.sum(axis=-1) * others.sum(axis=-1))


def average_precision(positive: Mask, score: Floats, weight: Floats | None = None) -> Floats:
    """Area under the precision-recall curve as the sum over thresholds of precision times what recall rises by (AUPRC)."""
    weight = np.ones(len(score)) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    starts = np.flatnonzero(np.r_[True, np.diff(score[order]) != 0])
    events = np.add.reduceat((weight * positive)[..., order], starts, axis=-1)
    told = np.cumsum(np.add.reduceat(weight[..., order], starts, axis=-1), axis=-1)
    found = np.cumsum(events, axis=-1)
    precision = np.divide(found, told, out=np.zeros_like(found), where=told > 0)
    return _ratio((events * precision).sum(axis=-1), events.sum(axis=-1))


def brier(positive: Mask, predicted: Floats, weight: Floats | None = None) -> Floats:
    """Mean squared error of the forecast (G. W. Brier, 1950)."""
    weight = np.ones(len(predicted)) if weight is None else weight
    return _ratio((weight * (predicted - positive) ** 2).sum(axis=-1), weight.sum(axis=-1))


def calibration_slope(positive: Mask, predicted: Floats, weight: Floats | None = None) -> Floats:
    """The slope b of logit P(event) = a + b·logit(forecast) (D. R. Cox, 1958): below 1 the forecasts are too extreme. NaN where
    one outcome is missing.
    """
    return _logistic(positive, predicted, weight, with_slope=True)[1]


def calibration_intercept(positive: Mask, predicted: Floats, weight: Floats | None = None) -> Floats:
    """Calibration in the large, the intercept with the slope fixed at 1 (B. Van Calster et al., 2019): above 0 the forecasts are
    too low.
    """
    return _logistic(positive, predicted, weight, with_slope=False)[0]


OUTCOME_FIGURES: Mapping[str, Callable[[Mask, Floats, Floats | None], Floats]] = {
    "AUROC": auc,
    "AUPRC": average_precision,
    "Brier": brier,
    "calibration slope": calibration_slope,
    "calibration intercept": calibration_intercept,
}


def chance_of(figure: str, positive: Mask, rate: float) -> float:
    """What a forecast that is `rate` for everybody would score; NaN for calibration, where chance says nothing."""
    prevalence = float(np.mean(positive))
    constant = {"AUROC": 0.5, "AUPRC": prevalence, "Brier": float(np.mean((rate - positive) ** 2))}
    return constant.get(figure, float("nan"))


@dataclass(frozen=True)
class Bin:
    """Queries whose forecasts are alike, and how many of them met the outcome."""

    forecast: float  # mean
    observed: float  # share
    low: float
    high: float
    queries: int


def bins_of(predicted: Floats, *, most: int = 6) -> list[npt.NDArray[np.int64]]:
    """The queries in groups of about equal size by forecast; equal forecasts stay together."""
    levels, counts = np.unique(predicted, return_counts=True)
    ends = np.cumsum(counts)
    group = np.minimum((ends - counts / 2) * most // len(predicted), most - 1)
    of_level = np.searchsorted(levels, predicted)
    return [np.flatnonzero(group[of_level] == number) for number in np.unique(group)]


def correlation(a: Floats, b: Floats, weight: Floats) -> Floats:
    """Pearson's correlation with each query counted `weight` times; of ranks, Spearman's."""
    total = weight.sum(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore"):
        a = a - (weight * a).sum(axis=-1, keepdims=True) / total
        b = b - (weight * b).sum(axis=-1, keepdims=True) / total
    spread = np.sqrt((weight * a * a).sum(axis=-1) * (weight * b * b).sum(axis=-1))
    return _ratio((weight * a * b).sum(axis=-1), spread)


def _logistic(positive: Mask, predicted: Floats, weight: Floats | None, *, with_slope: bool) -> tuple[Floats, Floats]:
    """(intercepts, slopes) by Newton's method, all rows of weights at once."""
    weight = np.ones(len(predicted)) if weight is None else weight
    x = np.log(predicted / (1 - predicted))
    a = np.zeros(weight.shape[:-1])
    b = np.ones(weight.shape[:-1])
    for _ in range(STEPS):
        z = np.clip(a[..., None] + b[..., None] * x, -35, 35)
        p = 1 / (1 + np.exp(-z))
        residual, curve = weight * (positive - p), weight * p * (1 - p)
        g0, h00 = residual.sum(axis=-1), curve.sum(axis=-1) + RIDGE
        if not with_slope:
            step = np.clip(g0 / h00, -2, 2)
            a = a + step
            if np.abs(step).max(initial=0) < 1e-9:
                break
            continue
        g1 = (residual * x).sum(axis=-1)
        h01, h11 = (curve * x).sum(axis=-1), (curve * x * x).sum(axis=-1) + RIDGE
        det = np.maximum(h00 * h11 - h01 * h01, 1e-12)
        step0, step1 = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
        a, b = a + np.clip(step0, -2, 2), np.clip(b + np.clip(step1, -2, 2), -STEEPEST, STEEPEST)
        if max(np.abs(step0).max(initial=0), np.abs(step1).max(initial=0)) < 1e-9:
            break
    events, total = (weight * positive).sum(axis=-1), weight.sum(axis=-1)
    both = (events > 0) & (events < total)
    spread = np.ptp(x) > 0
    return np.where(both, a, np.nan), np.where(both & spread, b, np.nan)


def _ratio(above: Floats, below: Floats) -> Floats:
    return np.divide(above, below, out=np.full(np.shape(below), np.nan), where=np.asarray(below) > 0)
