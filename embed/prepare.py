"""Pure steps on arrays between a scan and what an encoder eats."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.scan import Lungs, Pixels, Scan

STRETCH_PERCENTILES = (1.0, 99.0)
LUNG_MARGIN = 0.06  # of the lungs' box, on every side
LUNG_WINDOW_HU = (-1350.0, 150.0)  # centre −600, width 1500, as radiologists read lungs


@dataclass(frozen=True, eq=False)
class Seen:
    """What an encoder sees of a slice, and where each lung is on it: a half of the square each, where that is not known."""

    picture: Pixels  # (side, side), 0 to 1
    right: npt.NDArray[np.bool_]  # (side, side), the patient's right
    left: npt.NDArray[np.bool_]


def shrink(picture: npt.NDArray[Any], *, side: int) -> Pixels:
    """`picture` (rows, columns) area-averaged until its shorter side is `side`, as float32; a smaller one is left alone."""
    rows, columns = picture.shape
    if min(rows, columns) <= side:
        return picture.astype(np.float32)
    scale = side / min(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    known = picture if picture.dtype in (np.uint8, np.uint16, np.int16) else picture.astype(np.float32)
    if known.dtype != np.uint8 and rows % 2 == columns % 2 == 0 and scale <= 1 / 3:
        # exact halves first: OpenCV averages 2×2 blocks twice as fast, and on films 0.06 of 255 grey levels apart in the mean
        known = cv2.resize(known, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(known, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def grey_slices(scan: Scan) -> Pixels:
    """A scan's slices as grey from 0 to 1 (slices, rows, columns): CT in the lung window, all else as it is."""
    if scan.kind != "ct":
        return scan.pixels
    low = LUNG_WINDOW_HU[0]
    return np.clip((scan.pixels - low) / (LUNG_WINDOW_HU[1] - low), 0, 1).astype(np.float32)


def stretch(picture: Pixels, *, inside: npt.NDArray[np.bool_] | None = None) -> Pixels:
    """`picture` with its 1st to 99th percentile, or that of the pixels `inside`, stretched onto 0…1: exposure and window matter less."""
    low, high = np.percentile(picture if inside is None else picture[inside], STRETCH_PERCENTILES)
    if high <= low:
        return picture
    return np.clip((picture - np.float32(low)) / np.float32(high - low), 0, 1)


def lung_box(lungs: Lungs, rows: int, columns: int) -> tuple[slice, slice]:
    """The rows and columns of a picture of that size which hold both lungs and a margin."""
    ends, grid = [], len(lungs.right)
    for shown, size in ((lungs.both.any(axis=1), rows), (lungs.both.any(axis=0), columns)):
        hit = np.flatnonzero(shown)
        first, beyond = hit[0] / grid, (hit[-1] + 1) / grid
        margin = LUNG_MARGIN * (beyond - first)
        ends.append(slice(max(0, round((first - margin) * size)), min(size, round((beyond + margin) * size))))
    return ends[0], ends[1]


def lung_view(picture: Pixels, lungs: Lungs, *, side: int) -> Seen:
    """`picture` (rows, columns) cropped to both lungs, with the contrast of their own pixels, as a square of `side` pixels.

    Both axes are stretched on their own, so that a tall and a wide chest fill it alike.
    """
    right, left = (
        cv2.resize(lung.astype(np.uint8), picture.shape[::-1], interpolation=cv2.INTER_NEAREST)
        for lung in (lungs.right, lungs.left)
    )
    box = lung_box(lungs, *picture.shape)
    toned = stretch(picture[box], inside=(right | left)[box] > 0)
    masks = [squash(lung[box].astype(np.float32), side=side) > 0.5 for lung in (right, left)]
    return Seen(squash(toned, side=side), masks[0], masks[1])


def resize(picture: Pixels, *, rows: int, columns: int) -> Pixels:
    """`picture` at that size, both axes on their own; area-averaged where it shrinks."""
    way = cv2.INTER_AREA if rows <= picture.shape[0] and columns <= picture.shape[1] else cv2.INTER_LINEAR
    return cv2.resize(picture, (columns, rows), interpolation=way).astype(np.float32)


def squash(picture: Pixels, *, side: int) -> Pixels:
    """`picture` (rows, columns) resized to a square of `side` pixels."""
    return resize(picture, rows=side, columns=side)


def encoder_view(scan: Scan, *, side: int) -> list[Seen]:
    """What an encoder eats: each slice a square of `side` pixels.

    A film is cropped to its lungs, or taken whole where they were not found. CT, cropped about the midline when it was read, and
    MR have their own scale.
    """
    if scan.lungs is not None:
        return [lung_view(plane, scan.lungs, side=side) for plane in scan.pixels]
    right = np.zeros((side, side), bool)
    right[:, : side // 2] = True
    grey = grey_slices(scan)
    return [Seen(squash(stretch(plane) if scan.kind == "xray" else plane, side=side), right, ~right) for plane in grey]
