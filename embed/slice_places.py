"""Where slices lie, and which of them lie evenly across a stretch: by place, so that missing slices shift none."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Places = npt.NDArray[np.float64]  # (slices,) growing, in usual distances between slices, 0 for the first one


def places_of(count: int, places_mm: Sequence[float] | None) -> Places:
    """Of `count` slices the places, 0, 1, 2 and so on where they lie evenly (`places_mm` is None)."""
    if places_mm is None:
        return np.arange(count, dtype=np.float64)
    placed = np.array(places_mm, np.float64)
    return (placed - placed[0]) / np.median(np.diff(placed))


def evenly(places: Places, wanted: int, first: float | None = None, last: float | None = None) -> list[int]:
    """The slices nearest to the middles of `wanted` equal parts of the stretch, by number; fewer where several share one.

    Without `first` and `last`, the stretch is the whole, half a slice beyond its ends.
    """
    low, high = -0.5 if first is None else first, places[-1] + 0.5 if last is None else last
    middles = low + (np.arange(wanted) + 0.5) * (high - low) / wanted
    between = np.interp(middles, places, np.arange(len(places)))  # halfway in mm is halfway here, too
    return [int(index) for index in np.unique(np.rint(between).astype(int))]


def nearest_to(places: Places, index: int) -> list[int]:
    """All other slices, the nearest first, of two as near the one nearer to the feet."""
    order = np.argsort(np.abs(places - places[index]), kind="stable")
    return [int(other) for other in order if other != index]
