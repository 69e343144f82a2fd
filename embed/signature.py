"""From an encoder's output to the unit vector that is stored: pooling and length."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embed.prepare import Seen
from embed.scan import Pixels

Rows = npt.NDArray[np.float32]  # (n, d)
BANDS = 6  # of the opacity profile, from apex to base


def unit(rows: Rows) -> Rows:
    """Each row at length 1; a row of zeros stays zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def pool_grid(maps: npt.NDArray[np.float32], *, grid: tuple[int, int], apart: float = 1.0) -> Rows:
    """Feature maps (n, channels, rows, columns) -> the means of `grid` equal areas, side by side (n, areas·channels).

    With `apart` other than 1, each area gives way to its sum with the area opposite, across the midline, and `apart` times its
    difference from it, so that which side is diseased counts for more.
    """
    down, across = (np.array_split(np.arange(size), cells) for size, cells in zip(maps.shape[2:], grid, strict=True))
    rows = [[maps[:, :, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(2, 3)) for c in across] for r in down]
    areas = np.array(rows)  # (rows, columns, n, channels)
    if apart != 1:
        right, left = areas[:, : grid[1] // 2], areas[:, ::-1][:, : grid[1] // 2]
        areas = np.stack([right + left, apart * (right - left)]) * np.float32(np.sqrt(0.5))
    return np.moveaxis(areas.reshape(-1, *maps.shape[:2]), 0, 1).reshape(len(maps), -1).astype(np.float32)


def opacity_profile(seen: Seen, *, apart: float) -> Rows:
    """How dense each lung is in six bands from apex to base: (12,), sums of right and left, then `apart` times their differences.

    Of films, whose contrast comes from the lungs, it is what a reader calls the zones' opacity.
    """
    bands = [
        [
            _mean_of(picture, lung)
            for picture, lung in zip(np.array_split(half, BANDS), np.array_split(mask, BANDS), strict=True)
        ]
        for half, mask in zip(np.split(seen.picture, 2, axis=1), np.split(seen.lung, 2, axis=1), strict=True)
    ]
    right, left = np.array(bands, np.float32)
    return np.concatenate([right + left, apart * (right - left)]).astype(np.float32)


def _mean_of(picture: Pixels, lung: npt.NDArray[np.bool_]) -> float:
    """The mean of the pixels of lung; of a band without any, of all: a box around a lung leaves none but by rounding."""
    return float(picture[lung].mean()) if lung.any() else float(picture.mean())


def pool_slices(rows: Rows, counts: Sequence[int]) -> Rows:
    """Consecutive groups of `counts` slice rows (n, d) -> one unit row each (groups, d): their mean.

    Measured against maximum, generalised mean and mixtures on virtual CT patients: docs/encoders.md.
    """
    starts = np.cumsum([0, *counts])[:-1]
    means = np.add.reduceat(rows, starts, axis=0) / np.array(counts, np.float32)[:, None]
    return unit(means.astype(np.float32))
