"""Pure steps on arrays between a scan and what an encoder eats."""

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.scan import Pixels, Scan

STRETCH_PERCENTILES = (1.0, 99.0)
LUNG_WINDOW_HU = (-1350.0, 150.0)  # centre −600, width 1500, as radiologists read lungs


def shrink(picture: npt.NDArray[Any], *, side: int) -> Pixels:
    """`picture` (rows, columns) area-averaged until its shorter side is `side`, as float32; a smaller one is left alone."""
    rows, columns = picture.shape
    if min(rows, columns) <= side:
        return picture.astype(np.float32)
    scale = side / min(rows, columns)
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    known = picture if picture.dtype in (np.uint8, np.uint16, np.int16) else picture.astype(np.float32)
    if known.dtype != np.uint8 and rows % 2 == columns % 2 == 0 and scale <= 1 / 4:
        # exact halves first: OpenCV averages 2×2 blocks three times as fast, at most half a grey level of 255 apart
        known = cv2.resize(known, (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
    return cv2.resize(known, size, interpolation=cv2.INTER_AREA).astype(np.float32)


def grey_slices(scan: Scan) -> Pixels:
    """A scan's slices as grey from 0 to 1 (slices, rows, columns): CT in the lung window, all else as it is."""
    if scan.kind != "ct":
        return scan.pixels
    low = LUNG_WINDOW_HU[0]
    return np.clip((scan.pixels - low) / (LUNG_WINDOW_HU[1] - low), 0, 1).astype(np.float32)


def stretch(picture: Pixels) -> Pixels:
    """`picture` with its 1st to 99th percentile stretched onto 0…1, so that exposure and window matter less."""
    low, high = np.percentile(picture, STRETCH_PERCENTILES)
    if high <= low:
        return picture
    return np.clip((picture - np.float32(low)) / np.float32(high - low), 0, 1)


def squash(picture: Pixels, *, side: int) -> Pixels:
    """`picture` (rows, columns) resized to a square of `side` pixels, both axes on their own."""
    smaller = min(picture.shape) >= side
    return cv2.resize(picture, (side, side), interpolation=cv2.INTER_AREA if smaller else cv2.INTER_LINEAR).astype(
        np.float32
    )


def encoder_view(scan: Scan, *, side: int) -> list[Pixels]:
    """What an encoder eats: each slice a square of `side` pixels; films are stretched first, CT and MR have their own scale."""
    grey = grey_slices(scan)
    return [squash(stretch(plane) if scan.kind == "xray" else plane, side=side) for plane in grey]
