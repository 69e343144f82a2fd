"""What to doubt of a radiograph by looking at it: size, saturation, polarity, and whether it is a frontal chest at all.

The two scores were set by looking at the Hannover radiographs and virtual films, and are no more than a hint: most virtual laterals
and a fifth of inverted films pass unflagged (docs/decoding.md; `python -m benchmarks.film_checks`). They flag, they never refuse.
"""

import cv2
import numpy as np

from embed.scan import Flag, Pixels

TINY = 256  # pixels of the shorter side: below, an icon or a thumbnail
SATURATED = 0.35  # share of pixels at black or white
LEAST_POLARITY = -0.05  # mediastinum over lungs, of the grey range
LEAST_SYMMETRY = 0.4  # correlation of left and right


def doubts(grey: Pixels, *, stored_shape: tuple[int, ...]) -> list[Flag]:
    """The flags of a grey film (rows, columns), 0 to 1, bright = dense, that was stored at `stored_shape`."""
    flags = []
    if min(stored_shape) < TINY:
        flags.append(Flag("tiny", f"stored at only {stored_shape[1]}×{stored_shape[0]} pixels"))
    saturated = float(((grey <= 0.001) | (grey >= 0.999)).mean())
    if saturated > SATURATED:
        flags.append(Flag("saturated", f"{saturated:.0%} of the pixels are black or white"))
    if symmetry(grey) < LEAST_SYMMETRY:
        flags.append(
            Flag("not-frontal", "left and right differ as they do not on a frontal chest film: lateral, or no chest?")
        )
    if polarity(grey) < LEAST_POLARITY:
        flags.append(Flag("polarity-doubtful", "the middle is darker than the lungs beside it: is the film inverted?"))
    return flags


def polarity(grey: Pixels) -> float:
    """How much brighter the mediastinum is than the lungs beside it, −1 to 1; negative for an inverted chest film."""
    small = _small(grey)[6:22]
    lungs = np.r_["1", small[:, 5:12], small[:, 20:27]]
    return float(small[:, 14:18].mean() - lungs.mean())


def symmetry(grey: Pixels) -> float:
    """The correlation of the picture, roughly, with its mirror image, at the best of a few shifts, −1 to 1."""
    small = cv2.GaussianBlur(_small(grey), (0, 0), 1.5)
    best = -1.0
    for shift in range(-4, 5):
        moved = small[:, max(0, shift) : 32 + min(0, shift)]
        a, b = moved - moved.mean(), moved[:, ::-1] - moved.mean()
        spread = float((a * a).sum())
        best = max(best, float((a * b).sum()) / spread if spread > 0 else -1.0)
    return best


def _small(grey: Pixels) -> Pixels:
    resized: Pixels = cv2.resize(grey, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
    return resized
