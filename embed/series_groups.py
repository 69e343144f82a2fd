"""Slices of a study -> those of one volume together: of one series, size and orientation."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence

import numpy as np

from embed.bundle import Dropped
from embed.slices import Slice, Vector

FEW_SLICES = 5  # of another orientation within a series: its localizer
SAME_WAY_DEGREES = 1.0  # some scanners' orientations jitter in the third decimal from slice to slice

Groups = dict[tuple[object, ...], list[Slice]]  # by direction, size and pixel spacing


def group_slices(slices: Iterable[Slice], dropped: list[Dropped]) -> list[list[Slice]]:
    """Slices of one series, size and orientation together; a few that stand askew to the rest are its localizer."""
    by_uid: dict[str, list[Slice]] = defaultdict(list)
    for one in slices:
        by_uid[one.series_uid].append(one)
    kept = []
    for members in by_uid.values():
        groups = _groups_of(members)
        largest = max(len(group) for group in groups.values())
        several = len({direction for direction, *_ in groups}) > 1
        for group in groups.values():
            if several and len(group) <= FEW_SLICES and (len(group) * 5 < largest or largest <= FEW_SLICES):
                message = f"{len(group)} slices in another orientation than the rest of their series: a localizer"
                dropped.extend(Dropped(name, "localizer", message) for name in file_names(group))
            else:
                kept.append(group)
    return kept


def file_names(group: Iterable[Slice]) -> list[str]:
    return sorted({one.member.name for one in group})


def _groups_of(members: Sequence[Slice]) -> Groups:
    directions = _directions(Counter(one.orientation for one in members if one.orientation))
    groups: Groups = defaultdict(list)
    for one in members:
        direction = directions[one.orientation] if one.orientation else None
        spacing = one.pixel_mm and tuple([round(number, 3) for number in one.pixel_mm])
        groups[(direction, one.rows, one.columns, spacing)].append(one)
    return groups


def _directions(counts: Counter[Vector]) -> dict[Vector, int]:
    """For each orientation the number of its cluster: all within a degree of the most frequent that is left.

    Whichever order the files came in, the clusters are the same.
    """
    ordered = sorted(counts, key=lambda orientation: (-counts[orientation], orientation))
    left = np.arange(len(ordered))
    vectors = np.array(ordered).reshape(-1, 2, 3)
    clusters: dict[Vector, int] = {}
    while len(left):
        # Of two unit vectors a small angle apart, the difference is as long as the angle in radians.
        apart = np.linalg.norm(vectors[left] - vectors[left[0]], axis=2).max(axis=1)
        near = apart <= np.radians(SAME_WAY_DEGREES)
        near[0] = True
        clusters.update({ordered[index]: int(left[0]) for index in left[near]})
        left = left[~near]
    return clusters
