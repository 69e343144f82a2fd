"""The collimated border of a film, and air beside the body: flat strips at the edges that show nothing."""

import numpy as np

from embed.scan import Pixels

FLAT = 0.02  # of the grey range: how far from black or white a border pixel may be
SHARE = 0.97  # of a row or column that must be border for it to be cut
MOST = 0.25  # of a side that may be cut from each end: beyond it, something else is the matter


def crop_border(grey: Pixels) -> tuple[Pixels, str | None]:
    """`grey` (rows, columns) without flat black or white strips at its edges, and the step in words if any was cut."""
    black, white = grey <= FLAT, grey >= 1 - FLAT
    top, bottom = _inside(np.maximum(black.mean(axis=1), white.mean(axis=1)))
    left, right = _inside(np.maximum(black[top:bottom].mean(axis=0), white[top:bottom].mean(axis=0)))
    if (top, bottom, left, right) == (0, grey.shape[0], 0, grey.shape[1]):
        return grey, None
    rows, columns = grey.shape
    step = f"border cropped: {top} rows above, {rows - bottom} below, {left} columns left, {columns - right} right"
    return grey[top:bottom, left:right], step


def _inside(share: Pixels) -> tuple[int, int]:
    """(first, beyond last) line that is not border, cutting at most a quarter from each end."""
    inside = np.flatnonzero(share < SHARE)
    most = int(len(share) * MOST)
    if not len(inside) or inside[0] > most or inside[-1] < len(share) - 1 - most:
        return 0, len(share)
    return int(inside[0]), int(inside[-1]) + 1
