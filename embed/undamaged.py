"""Slices that are wanted -> slices that can be decoded: a damaged one gives way to its nearest neighbour, on record."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence

import numpy as np

from embed.scan import DamagedScan, Flag, Pixels
from embed.slice_places import Places, nearest_to

MOST_DAMAGED = 0.25  # of the slices wanted; of a study with more damage than this nobody knows what it shows
NEIGHBOURS_TRIED = 6

Decode = Callable[[Sequence[int]], Pixels]  # slice numbers -> (n, rows, columns); raises `DamagedScan`
Damage = dict[int, DamagedScan]  # slice number -> why it cannot be decoded


def decode_undamaged(
    decode: Decode, wanted: Sequence[int], *, places: Places, damage: Damage
) -> tuple[list[int], Pixels]:
    """The numbers and pixels of the slices wanted, or of the nearest to a damaged one; where none of those decodes, fewer.

    What is found damaged is added to `damage`. Raises `DamagedScan` where more than a quarter of those wanted is.
    """
    if damage.keys().isdisjoint(wanted):
        try:
            return list(wanted), decode(wanted)
        except DamagedScan:
            pass  # one of them is damaged; which one, tells the next pass
    found: dict[int, Pixels] = {}
    lost = []
    for index in wanted:
        picture = first_undamaged(decode, [index], damage)
        if picture:
            found[index] = picture[1]
            continue
        lost.append(index)
        if len(lost) > MOST_DAMAGED * len(wanted):
            raise damage[lost[0]]
    for index in lost:
        others = [other for other in nearest_to(places, index) if other not in wanted and other not in found]
        picture = first_undamaged(decode, others[:NEIGHBOURS_TRIED], damage)
        if picture:
            found[picture[0]] = picture[1]
    indices = sorted(found)
    return indices, np.concatenate([found[index] for index in indices])


def first_undamaged(decode: Decode, candidates: Iterable[int], damage: Damage) -> tuple[int, Pixels] | None:
    """The first of the slices that can be decoded, and its pixels (1, rows, columns); the others go into `damage`."""
    for index in candidates:
        if index not in damage:
            try:
                return index, decode([index])
            except DamagedScan as error:
                damage[index] = error
    return None


def damage_flags(damage: Damage) -> list[Flag]:
    """A flag that tells which slices were found damaged, none where none was."""
    if not damage:
        return []
    reasons = Counter(error.reason for error in damage.values())
    why = ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
    numbers = ", ".join(str(index + 1) for index in sorted(damage))
    message = (
        f"{len(damage)} slices cannot be decoded ({why}; number {numbers}); the nearest that can were taken instead"
    )
    return [Flag("damaged-slices", message)]
