"""A neighbour: one prior case in an answer."""

from dataclasses import dataclass

from index.case import Case, Event, State


@dataclass(frozen=True)
class Neighbour:
    """A case and how similar it is to the query."""

    rank: int  # from 1
    similarity: float  # cosine of the centred signatures, −1…1
    case: Case
    percentile: float | None = (
        None  # of `similarity` among the archive's own, 0 to 100; None: the index was built without
    )


def event_text(event: Event) -> str:
    """ "yes, day 4", "no" or "not recorded"."""
    if event.state is State.YES and event.days is not None:
        return f"yes, day {event.days}"
    return str(event.state).replace("_", " ")
