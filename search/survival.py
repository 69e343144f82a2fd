"""Time to event by Kaplan and Meier, from the day of the scan.

Worked out here with NumPy: lifelines takes some 10 ms a curve, and a second to import. A test holds both equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.case import Event, Outcome, State

FEWEST_TIMED = 5  # below this no curve is drawn
HORIZONS = (7, 14, 28, 60)  # days from the scan
Z95 = 1.959963984540054  # the normal quantile of a two-sided 95 % interval


@dataclass(frozen=True)
class Step:
    """The estimate from this day on until the next step's.

    `low` and `high` are None where the formula has no band: while nobody has had the event, and once everybody has.
    """

    days: int
    survival: float  # the estimated share that has not had the event yet
    low: float | None  # 95 % band, exponential Greenwood
    high: float | None


@dataclass(frozen=True)
class Horizon:
    """The curve on a fixed day. `survival` is None beyond the last day on which anybody was observed."""

    days: int
    at_risk: int  # who had not had the event before that day, and was still observed on it
    survival: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class TimeToEvent:
    """When an endpoint was met after the scan, one vote a patient.

    Every neighbour whose endpoint is recorded is in one of `timed`, `before_scan`, `undated` and `unobserved`. Where
    fewer than 5 are timed, `reason` says so and the rest is empty.
    """

    timed: int  # an event on a known day from the scan on, or none for a known number of days
    before_scan: int  # had the event already: not at risk of it
    undated: int  # had the event on an unknown day
    unobserved: int  # no event, but not known for how long
    events: int | None  # of those timed
    steps: tuple[Step, ...] = ()
    horizons: tuple[Horizon, ...] = ()
    median_days: float | None = None  # among the timed events only, so always shorter than among all
    quartiles_days: tuple[float, float] | None = None
    reason: str | None = None  # why there is no curve


def time_to_event(outcomes: Sequence[Outcome], endpoint: str) -> TimeToEvent:
    """The times of one endpoint over the neighbours' outcomes. *Not recorded* is left out: nobody knows that it is *no*."""
    recorded = [(o.events[endpoint], o.observed_days) for o in outcomes]
    recorded = [(event, observed) for event, observed in recorded if event.state is not State.NOT_RECORDED]
    pairs = [(_day(event, observed), event.state is State.YES) for event, observed in recorded]
    timed = [(day, met) for day, met in pairs if day is not None and day >= 0]
    before = sum(met and day is not None and day < 0 for day, met in pairs)
    undated = sum(met and day is None for day, met in pairs)
    unobserved = len(pairs) - len(timed) - before - undated
    if len(timed) < FEWEST_TIMED:
        reason = f"timed for {len(timed)} of {len(outcomes)}, at least {FEWEST_TIMED} are needed"
        return TimeToEvent(len(timed), before, undated, unobserved, None, reason=reason)
    days = np.array([day for day, _ in timed], np.int64)
    met = np.array([met for _, met in timed], bool)
    steps = kaplan_meier(days, met)
    quartiles = [float(q) for q in np.percentile(days[met], (25, 50, 75))] if met.any() else None
    return TimeToEvent(
        len(timed), before, undated, unobserved, int(met.sum()), steps, tuple(_horizon(day, days, steps) for day in HORIZONS),
        quartiles[1] if quartiles else None, (quartiles[0], quartiles[2]) if quartiles else None,
    )  # fmt: skip


def kaplan_meier(days: npt.NDArray[np.int64], met: npt.NDArray[np.bool_]) -> tuple[Step, ...]:
    """The curve's steps, from day 0, one for each day with an event (E. L. Kaplan, P. Meier, J. Am. Stat. Assoc. 53:457,
    1958). Who is censored on a day was still at risk on it. The band is J. D. Kalbfleisch and R. L. Prentice's on the
    scale of log(−log S) (The Statistical Analysis of Failure Time Data, 1980), which stays within 0 and 1.
    """
    when, events = np.unique(days[met], return_counts=True)
    at_risk = len(days) - np.searchsorted(np.sort(days), when)
    survival = np.cumprod(1 - events / at_risk)
    steps = [] if len(when) and when[0] == 0 else [Step(0, 1.0, None, None)]
    greenwood = 0.0
    for day, died, exposed, share in zip(
        when.tolist(), events.tolist(), at_risk.tolist(), survival.tolist(), strict=True
    ):
        if died == exposed:
            steps.append(Step(day, 0.0, None, None))
            continue
        greenwood += died / (exposed * (exposed - died))
        half = Z95 * np.sqrt(greenwood) / -np.log(share)
        steps.append(Step(day, share, float(share ** np.exp(half)), float(share ** np.exp(-half))))
    return tuple(steps)


def _day(event: Event, observed_days: int | None) -> int | None:
    """The day of the event; without one, until when it had not come; None where that is not known."""
    if event.state is State.YES:
        return event.days
    return observed_days if observed_days is not None and observed_days >= 0 else None


def _horizon(day: int, days: npt.NDArray[np.int64], steps: Sequence[Step]) -> Horizon:
    step = [step for step in steps if step.days <= day][-1]
    at_risk = int((days >= day).sum())
    if not at_risk and step.survival > 0:
        return Horizon(day, 0, None, None, None)
    return Horizon(day, at_risk, step.survival, step.low, step.high)
