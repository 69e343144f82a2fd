"""A small picture of a scan, for people to recognise it by."""

import cv2
import numpy as np

from embed.prepare import grey_slices, shrink
from embed.scan import Scan

SIDE = 256  # pixels, the shorter side
LONGEST = 4 * SIDE  # of a strip longer than any film, the beginning
QUALITY = 85


def preview_jpeg(scan: Scan) -> bytes:
    """The middle slice as an 8-bit JPEG, its shorter side 256 pixels, white = dense."""
    grey = grey_slices(scan)
    small = shrink(grey[len(grey) // 2], side=SIDE)[:LONGEST, :LONGEST]
    levels = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    done, encoded = cv2.imencode(".jpg", levels, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
    assert done
    return encoded.tobytes()
