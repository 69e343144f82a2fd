"""How many of a list of inpatients are expected to meet an endpoint in the next days, by what happened to those who looked alike.

Research only. A patient's chance is the cumulative incidence among their nearest neighbours (O. Aalen and S. Johansen, Scand. J. Stat.
5:141, 1978): death before the endpoint is a competing event, not an end of observation. It starts on the day on which the question
is asked, among neighbours who were still at risk so many days after their scan.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from index.case import State
from index.catalogue import Catalogue
from index.store import PADDING, RowNumbers
from search.nearest import Codes

Floats = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

HORIZON = 14  # days ahead
NEIGHBOURS = 30  # of each patient, unless somebody says how many
REPLICATES = 1000
WARDS = 200  # drawn from held-out patients
FEWEST_HELD_OUT = 20
PRIOR = 2.0  # how many neighbours the whole archive counts for: without it a few neighbours without events would promise certainty
UNEVEN, HOPELESS = 1.25, 2.0  # how many times as often one kind of course may be timed before it is said, and refused
SEED = 20261124
BOUNDS = (2.5, 97.5)
CENSORED, EVENT, COMPETING = 0, 1, 2


@dataclass(frozen=True, eq=False)
class Courses:
    """When each case's observation ended, in days after the scan, and by what. NaN: not known, so of no use here."""

    days: Floats  # (n,)
    causes: npt.NDArray[np.int64]  # (n,)

    @property
    def usable(self) -> Mask:
        return ~np.isnan(self.days)

    def take(self, rows: RowNumbers) -> "Courses":
        """Of some rows, of any shape; those that are padding are of no use."""
        days = np.where(rows == PADDING, np.nan, self.days[rows])
        return Courses(days, np.where(rows == PADDING, CENSORED, self.causes[rows]))


@dataclass(frozen=True, eq=False)
class Steps:
    """What happened on days 1, 2 … of a forecast: who was at risk on each day, met the endpoint, or died first (…, days)."""

    at_risk: Floats
    events: Floats
    competing: Floats


@dataclass(frozen=True, eq=False)
class Forecasts:
    """Some patients' chances (q, days), and in how many replicates each has met the endpoint by each day (replicates, q, days)."""

    chances: Floats
    drawn: Mask


@dataclass(frozen=True)
class Expected:
    """Of all on the list, how many are expected to meet the endpoint within so many days, with a 95 % prediction interval."""

    days: int
    patients: int
    expected: float
    low: float
    high: float


@dataclass(frozen=True)
class Calibration:
    """Held-out patients whose state on that day is known: how many were expected and how many did meet the endpoint.

    `coverage`: in which share of wards drawn from them the interval held the true number; NaN where they are too few.
    """

    days: int
    patients: int
    expected: float
    observed: int
    ward: int  # patients in each drawn ward
    coverage: float


def courses_of(catalogue: Catalogue, kind: str, endpoint: str, competing: str | None) -> Courses:
    """The courses of all cases of a kind. An event on an unknown day, or none for an unknown time, is of no use."""
    states, days = catalogue.values(endpoint, kind), _numbers(catalogue, kind, f"{endpoint}_days")
    observed = _numbers(catalogue, kind, "observed_days")
    ended = np.where(
        states == str(State.YES), days, np.where((states == str(State.NO)) & (observed >= 0), observed, np.nan)
    )
    causes = np.where(states == str(State.YES), EVENT, CENSORED)
    if competing is not None:
        died = (catalogue.values(competing, kind) == str(State.YES)) & (states == str(State.NO))
        known = died & ~np.isnan(when := _numbers(catalogue, kind, f"{competing}_days"))
        ended, causes = np.where(known, when, ended), np.where(known, COMPETING, causes)
    return Courses(ended, causes)


@dataclass(frozen=True)
class Timed:
    """Of the patients who met an endpoint, and of those who did not, the share whose course is timed; NaN where there are none."""

    met: float
    unmet: float

    @property
    def fault(self) -> str | None:
        """Why no rate can be had: one kind is hardly ever timed, so nearly all would seem to be of the other."""
        low, high = sorted((self.met, self.unmet))  # NaN compares false
        if not high > HOPELESS * low:
            return None
        met, unmet = self.percent
        if self.met > self.unmet:
            return f"of those who did not meet it only {unmet} % have a number of observed days, of those who did {met} % a day"
        return f"of those who met it only {met} % have a day, of those who did not {unmet} % a number of observed days"

    @property
    def percent(self) -> tuple[int, int]:
        """Of those who met it and of the others, rounded to 5, so that no count can be had from it."""
        met, unmet = (round(20 * share) * 5 for share in (self.met, self.unmet))
        return met, unmet

    @property
    def uneven(self) -> bool:
        """Whether one kind is timed so much more often than the other that rates are off by more than about a fifth."""
        return bool(max(self.met, self.unmet) > UNEVEN * min(self.met, self.unmet))


def timed_shares(catalogue: Catalogue, kind: str, endpoint: str, courses: Courses, rows: RowNumbers) -> Timed:
    """The shares among some rows, one a patient."""
    states, usable = catalogue.values(endpoint, kind)[rows], courses.usable[rows]
    met, unmet = usable[states == str(State.YES)], usable[states == str(State.NO)]
    return Timed(*(float(one.mean()) if len(one) else float("nan") for one in (met, unmet)))


def steps_of(courses: Courses, since_scan: npt.NDArray[np.int64], days: int = HORIZON) -> Steps:
    """Day by day from the day after `since_scan` (…,) days after the scan. Who is censored on a day was still at risk on it."""
    left = courses.days[..., None] - since_scan[..., None]  # NaN compares false
    day = np.arange(1, days + 1)
    on_it = left == day
    cause = courses.causes[..., None]
    return Steps(
        (left >= day).astype(float),
        (on_it & (cause == EVENT)).astype(float),
        (on_it & (cause == COMPETING)).astype(float),
    )


def incidence(steps: Steps, prior: Steps) -> Floats:
    """The cumulative incidence (…, days) where `prior`'s daily rates count as much as `PRIOR` patients at risk."""
    with np.errstate(invalid="ignore", divide="ignore"):
        before = np.nan_to_num(prior.events / prior.at_risk), np.nan_to_num(prior.competing / prior.at_risk)
    at_risk = steps.at_risk + PRIOR
    event, other = (steps.events + PRIOR * before[0]) / at_risk, (steps.competing + PRIOR * before[1]) / at_risk
    still = np.cumprod(1 - event - other, axis=-1)
    started = np.concatenate([np.ones((*still.shape[:-1], 1)), still[..., :-1]], axis=-1)
    found: Floats = np.cumsum(started * event, axis=-1)
    return found


def forecast(
    neighbours: RowNumbers, since_scan: npt.NDArray[np.int64], own: list[Codes], courses: Courses, persons: Codes, everybody: RowNumbers, *,
    replicates: int = REPLICATES,
) -> Forecasts:  # fmt: skip
    """The chances of patients with these neighbours (q, k), so many days after their scans, and replicates of what may happen.

    `everybody`: one usable row for each person of the archive, whose rates are the prior, the patient's `own` left out. In each
    replicate each person of the archive counts at random, exponentially (the Bayesian bootstrap, D. B. Rubin, 1981), as the same
    in the neighbourhoods of all patients, and each patient meets the endpoint or not at random.
    """
    rng = np.random.default_rng(SEED)
    known, code = np.unique(np.where(neighbours == PADDING, -1, persons[neighbours]), return_inverse=True)
    code = code.reshape(neighbours.shape)
    weights = rng.standard_exponential((replicates, len(known)), np.float32)
    luck = rng.random((replicates, len(neighbours)))
    chances = np.zeros((len(neighbours), HORIZON))
    drawn = np.zeros((replicates, len(neighbours), HORIZON), bool)
    priors = _Priors(courses, persons, everybody)
    for place, rows in enumerate(neighbours):
        landmark = int(since_scan[place])
        steps = steps_of(courses.take(rows), since_scan[[place]])
        prior = priors.without(own[place], landmark)
        chances[place] = incidence(_summed(steps), prior)
        weight = weights[:, code[place]].astype(float)
        weighted = Steps(weight @ steps.at_risk, weight @ steps.events, weight @ steps.competing)
        drawn[:, place] = luck[:, place, None] <= incidence(weighted, prior)
    return Forecasts(chances, drawn)


class _Priors:
    """What happened to everybody, so many days after their scans, but for a few."""

    def __init__(self, courses: Courses, persons: Codes, everybody: RowNumbers) -> None:
        self._courses, self._everybody = courses, everybody
        self._row_of = dict(zip(persons[everybody].tolist(), everybody.tolist(), strict=True))
        self._totals: dict[int, Steps] = {}

    def without(self, own: Codes, since_scan: int) -> Steps:
        if since_scan not in self._totals:
            self._totals[since_scan] = self._of(self._everybody, since_scan)
        total = self._totals[since_scan]
        mine = self._of(
            np.array([self._row_of[one] for one in own.tolist() if one in self._row_of], np.int64), since_scan
        )
        return Steps(total.at_risk - mine.at_risk, total.events - mine.events, total.competing - mine.competing)

    def _of(self, rows: RowNumbers, since_scan: int) -> Steps:
        return _summed(steps_of(self._courses.take(rows), np.array([since_scan])))


def expected_of(forecasts: Forecasts) -> list[Expected]:
    """Day by day the expected number and its interval."""
    totals = forecasts.drawn.sum(axis=1)
    patients = len(forecasts.chances)
    return [
        Expected(
            day + 1,
            patients,
            float(forecasts.chances[:, day].sum()),
            *map(float, np.percentile(totals[:, day], BOUNDS)),
        )
        for day in range(HORIZON)
    ]


def calibration_of(
    forecasts: Forecasts, courses: Courses, since_scan: npt.NDArray[np.int64], *, ward: int
) -> list[Calibration]:
    """The forecasts of held-out patients beside what happened to them; `courses` (q,) are their own."""
    return [_calibrated(day, forecasts, courses, since_scan, ward) for day in range(1, HORIZON + 1)]


def states_after(courses: Courses, since_scan: npt.NDArray[np.int64], day: int) -> tuple[Mask, Mask]:
    """(whose state so many days on is known, who has met the endpoint by then) (q,)."""
    left = courses.days - since_scan
    met = (courses.causes == EVENT) & (left <= day)
    died = (courses.causes == COMPETING) & (left <= day)
    return met | died | (left >= day), met


def at_risk(courses: Courses, since_scan: npt.NDArray[np.int64]) -> Mask:
    """Who was still observed, alive and without the event, when the question was asked (q,)."""
    still: Mask = courses.days - since_scan > 0
    return still


def _calibrated(
    day: int, forecasts: Forecasts, courses: Courses, since_scan: npt.NDArray[np.int64], ward: int
) -> Calibration:
    known, met = states_after(courses, since_scan, day)
    places = np.flatnonzero(known)
    expected = float(forecasts.chances[places, day - 1].sum())
    size = min(ward, len(places) // 2)
    coverage = float("nan")
    if len(places) >= FEWEST_HELD_OUT and size:
        rng = np.random.default_rng(SEED + day)
        held = 0
        for _ in range(WARDS):
            mine = rng.choice(places, size, replace=False)
            low, high = np.percentile(forecasts.drawn[:, mine, day - 1].sum(axis=1), BOUNDS)
            held += int(low <= met[mine].sum() <= high)
        coverage = held / WARDS
    return Calibration(day, len(places), expected, int(met[places].sum()), size, coverage)


def _summed(steps: Steps) -> Steps:
    return Steps(steps.at_risk.sum(axis=0), steps.events.sum(axis=0), steps.competing.sum(axis=0))


def _numbers(catalogue: Catalogue, kind: str, column: str) -> Floats:
    values: Floats = catalogue.values(column, kind).astype(np.float64)
    return values
