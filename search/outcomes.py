"""What happened to the neighbours: counts of what is known, intervals, times, and the archive's own rate beside them."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from index.case import Endpoint, Outcome, State
from search.survival import Z95, TimeToEvent, time_to_event

FEWEST_KNOWN = 5  # below this nothing is said of a share


@dataclass(frozen=True)
class Rate:
    """How many of those whose outcome is recorded met an endpoint. *Not recorded* counts nowhere."""

    known: int
    events: int

    @property
    def share(self) -> float | None:
        return self.events / self.known if self.known else None


@dataclass(frozen=True)
class OutcomeSummary:
    """One endpoint among the neighbours, one vote a patient, with the whole eligible archive's rate beside it.

    Below 5 known outcomes `events`, `low` and `high` are None: nothing is said.
    """

    endpoint: Endpoint
    asked: int  # neighbours
    known: int
    events: int | None
    low: float | None  # Wilson 95 % interval of the share
    high: float | None
    archive: Rate
    time: TimeToEvent


def wilson_interval(events: int, known: int) -> tuple[float, float]:
    """The 95 % score interval of a share (E. B. Wilson, J. Am. Stat. Assoc. 22:209, 1927)."""
    if not 0 <= events <= known or known == 0:
        raise ValueError(f"{events} events of {known} is not a share")
    share = events / known
    denominator = 1 + Z95**2 / known
    centre = (share + Z95**2 / (2 * known)) / denominator
    half = Z95 * math.sqrt(share * (1 - share) / known + Z95**2 / (4 * known**2)) / denominator
    low, high = (
        (0.0 if events == 0 else centre - half),
        (1.0 if events == known else centre + half),
    )  # exact at the ends
    return low, high


def rate_of(states: Iterable[State]) -> Rate:
    counted = list(states)
    events = counted.count(State.YES)
    return Rate(known=events + counted.count(State.NO), events=events)


def patient_state(states: Iterable[State]) -> State:
    """One vote for a patient with several scans: *yes* if any says so, else *no* if any does."""
    found = set(states)
    return next((state for state in (State.YES, State.NO) if state in found), State.NOT_RECORDED)


def summarise(outcomes: Sequence[Outcome], endpoint: Endpoint, archive: Rate) -> OutcomeSummary:
    """The summary of one endpoint over the neighbours' outcomes."""
    rate = rate_of(outcome.events[endpoint.name].state for outcome in outcomes)
    time = time_to_event(outcomes, endpoint.name)
    if rate.known < FEWEST_KNOWN:
        return OutcomeSummary(endpoint, len(outcomes), rate.known, None, None, None, archive, time)
    low, high = wilson_interval(rate.events, rate.known)
    return OutcomeSummary(endpoint, len(outcomes), rate.known, rate.events, low, high, archive, time)
