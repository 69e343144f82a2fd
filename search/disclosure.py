"""Counts of people as they may leave the house: none below 8, the others rounded to 5, and none that others give away.

The rule of NHS Digital for hospital statistics (HES Analysis Guide: small numbers suppressed, others rounded to 5), with zero suppressed
as well: that nobody of a group met an outcome is told of every one of them.
"""

import math
from collections.abc import Sequence

FEWEST = 8
NEAREST = 5
HIDDEN = "<8"  # how a suppressed count is written


def released(count: float) -> int | None:
    """The count rounded to the nearest 5; None below 8."""
    if not count >= FEWEST:  # NaN too
        return None
    return math.floor(count / NEAREST + 0.5) * NEAREST


def released_of(part: float, whole: float) -> int | None:
    """The released part of a whole that is released too: None also where fewer than 8 are left over, who would be told apart by
    subtraction.
    """
    return released(part) if whole - part >= FEWEST else None


def released_parts(counts: Sequence[int]) -> list[int | None]:
    """The released counts of groups that make up a total which may be known.

    Where any is suppressed, the smallest others are too until the suppressed are at least two and together at least 8: one alone, or
    a few of whom the total leaves next to nobody, could be worked out from the rest.
    """
    hidden = {place for place, count in enumerate(counts) if count < FEWEST}
    shown = sorted((count, place) for place, count in enumerate(counts) if place not in hidden)
    while hidden and shown and (len(hidden) < 2 or sum(counts[place] for place in hidden) < FEWEST):
        hidden.add(shown.pop(0)[1])
    return [None if place in hidden else released(count) for place, count in enumerate(counts)]


def lower_end(count: float) -> int | None:
    """The lower end of an interval, rounded down to 5; None below 8."""
    found = math.floor(count / NEAREST) * NEAREST
    return found if found >= FEWEST else None


def upper_end(count: float) -> int | None:
    """The upper end of an interval, rounded up to 5; None below 8."""
    found = math.ceil(count / NEAREST) * NEAREST
    return found if found >= FEWEST else None


def text(count: float | None) -> str:
    """As it is written in a table."""
    return HIDDEN if count is None else f"{count:g}"
