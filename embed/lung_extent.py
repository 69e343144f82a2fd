"""Where the lungs lie in an axial CT of which only a few coarse slices are decoded."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from embed.ct_lungs import Extent, find_lungs, lung_at_ends
from embed.scan import Flag, Pixels
from embed.slice_places import Places, evenly
from embed.undamaged import Damage, Decode, decode_undamaged, first_undamaged

COARSE_SLICES, COARSE_SIDE = 14, 128  # what the lungs are looked for in
END_SLICES = 3  # at each end, looked at until one is not damaged, for whether the lungs go on beyond the scan


def coarse_sample(decode: Decode, places: Places, damage: Damage) -> tuple[list[int], Pixels]:
    """The slices that the lungs are looked for in, by number, and their pixels. Raises `ScanError`."""
    return decode_undamaged(decode, evenly(places, COARSE_SLICES), places=places, damage=damage)


def shows_lungs(decode: Decode, places: Places) -> bool:
    """Whether lungs are found by the coarse sample alone. Raises `ScanError`."""
    return find_lungs(coarse_sample(decode, places, {})[1]) is not None


def lung_extent(sample: Sequence[int], coarse: Pixels, shape: tuple[int, int, int], places: Places) -> Extent | None:
    """Where the lungs lie in a volume of `shape`, by its coarse sample: first and last as `places`; None if none are found."""
    found = find_lungs(coarse)
    if found is None:
        return None
    down, across = shape[1] / coarse.shape[1], shape[2] / coarse.shape[2]
    ends = [-0.5, *(0.5 * (low + high) for low, high in pairwise(places[sample])), places[-1] + 0.5]
    return Extent(
        first=ends[int(found.first)],  # halfway to the neighbour on which no lung was seen
        last=ends[int(found.last) + 1],
        top=found.top * down,
        bottom=found.bottom * down,
        left=found.left * across,
        right=found.right * across,
        pairs=found.pairs,
        middle=found.middle * across,
    )


def cut_off_flags(decode: Decode, coarse: Pixels, extent: Extent, places: Places, damage: Damage) -> list[Flag]:
    """A flag where lung is seen on the very first or last slice; these are decoded only if the sample's own ends show lung."""
    last = len(places) - 1
    bottom = first_undamaged(decode, range(END_SLICES), damage) if extent.first == -0.5 else None
    from_top = range(last, last - END_SLICES, -1)
    top = first_undamaged(decode, from_top, damage) if extent.last == places[-1] + 0.5 else None
    if bottom is None and top is None:
        return []
    below, above = (end[1] if end else coarse[:0] for end in (bottom, top))
    shown_below, shown_above = lung_at_ends(np.concatenate([below, coarse, above]))
    names = ["lowest"] if bottom and shown_below else []
    names += ["highest"] if top and shown_above else []
    if not names:
        return []
    where = " and ".join(names)
    return [Flag("lungs-cut-off", f"lung is still seen on the {where} slice: the scan does not show the lungs whole")]
