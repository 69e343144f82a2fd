"""From an encoder's output to the unit vector that is stored: pooling and length."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from embed.prepare import encoder_view
from embed.scan import Pixels, Scan

Rows = npt.NDArray[np.float32]  # (n, d)
BANDS = 6  # of the opacity profile, from apex to base
FILM_SIDE = 128  # pixels at which a film's opacity is measured: means of areas need no more
HAZY_HU = (-600, -250)
SIDES_APART = np.float32(2)  # how much the difference of right and left counts beside their sum


def unit(rows: Rows) -> Rows:
    """Each row at length 1; a row of zeros stays zeros."""
    length = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, length, out=np.zeros_like(rows), where=length > 0)


def pool_grid(maps: npt.NDArray[np.float32], *, grid: tuple[int, int]) -> Rows:
    """Feature maps (n, channels, rows, columns) -> the means of `grid` equal areas, side by side (n, areas·channels)."""
    down, across = (np.array_split(np.arange(size), cells) for size, cells in zip(maps.shape[2:], grid, strict=True))
    areas = [maps[:, :, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(2, 3)) for r in down for c in across]
    return np.concatenate(areas, axis=1).astype(np.float32)


def opacity_profile(scan: Scan) -> Rows:
    """How dense each lung is in six bands from apex to base (12,): sums of right and left, then their differences, counted double.

    Of a film whose lungs are known it is the mean grey of their pixels, with the contrast that they set: what a reader calls a zone's
    opacity. Of CT it is the share of high attenuation areas, −600 to −250 HU, among what is below (D. J. Lederer et al., 2009: Cigarette
    smoking is associated with subclinical parenchymal lung disease). Of anything else, the mean grey of each half.
    """
    if scan.kind == "ct":
        bands = [_along(_hazy_shares(half)) for half in _halves(scan.pixels)]
    elif len(scan.pixels) > 1:
        bands = [_along(half.mean(axis=(1, 2))) for half in _halves(scan.pixels)]
    else:
        (seen,) = encoder_view(scan, side=FILM_SIDE)
        bands = [_down(seen.picture, lung) for lung in (seen.right, seen.left)]
    right, left = bands
    return np.concatenate([right + left, SIDES_APART * (right - left)]).astype(np.float32)


def _halves(pixels: Pixels) -> tuple[Pixels, Pixels]:
    """The right and the left half of a volume that was cropped about the midline."""
    middle = pixels.shape[2] // 2
    return pixels[:, :, :middle], pixels[:, :, middle:]


def _hazy_shares(hu: Pixels) -> Rows:
    """In each slice (n,), how much of what is airy is hazy."""
    airy = np.maximum((hu < HAZY_HU[1]).sum(axis=(1, 2)), 1)
    shares: Rows = (((hu >= HAZY_HU[0]) & (hu < HAZY_HU[1])).sum(axis=(1, 2)) / airy).astype(np.float32)
    return shares


def _along(values: Rows) -> Rows:
    """One value a slice from feet to head (n,) -> the mean in each of six equal parts, from the apex down (6,)."""
    from_apex = np.interp(np.linspace(0, 1, 4 * BANDS), np.linspace(0, 1, len(values)), values[::-1])
    return from_apex.reshape(BANDS, -1).mean(axis=1)


def _down(picture: Pixels, lung: npt.NDArray[np.bool_]) -> Rows:
    """The mean of the lung's pixels in each of six equal parts of its height (6,). Every row between its ends shows some of it."""
    hit = np.flatnonzero(lung.any(axis=1))
    rows = np.array_split(np.arange(hit[0], hit[-1] + 1), BANDS)
    return np.array([picture[part][lung[part]].mean() for part in rows], np.float32)


def pool_slices(rows: Rows, counts: Sequence[int]) -> Rows:
    """Consecutive groups of `counts` slice rows (n, d) -> one unit row each (groups, d): their mean.

    Measured against maximum, generalised mean and mixtures on virtual CT patients: docs/encoders.md.
    """
    starts = np.cumsum([0, *counts])[:-1]
    means = np.add.reduceat(rows, starts, axis=0) / np.array(counts, np.float32)[:, None]
    return unit(means.astype(np.float32))
