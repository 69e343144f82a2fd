"""What to doubt of a radiograph by looking at it: size, saturation, polarity, and whether it is a frontal chest at all.

The picture is compared, coarsely, with the mean of virtual frontal films (`python -m benchmarks.frontal_template`). That tells an
inverted film from an upright one, and a chest from something else, but not a lateral from a frontal film: how often it is
wrong is counted by `python -m benchmarks.film_checks` and told in docs/decoding.md. It flags, it never refuses.
"""

from functools import cache
from pathlib import Path

import cv2
import numpy as np

from embed.scan import Flag, Pixels

TEMPLATE = Path(__file__).with_name("frontal_template.npy")
SIDE = 24  # pixels at which pictures are compared
SHIFTS = (-2, -1, 0, 1, 2)  # of those pixels, tried in both directions
TINY = 256  # pixels of the shorter side: below, an icon or a thumbnail
SATURATED = 0.35  # share of pixels at black or white
LEAST_LIKENESS = 0.35  # in either polarity; 98 of 100 Hannover films lie above 0.4


def doubts(grey: Pixels, *, stored_shape: tuple[int, ...]) -> list[Flag]:
    """The flags of a grey film (rows, columns), 0 to 1, bright = dense, that was stored at `stored_shape`."""
    flags = []
    if min(stored_shape) < TINY:
        flags.append(Flag("tiny", f"stored at only {stored_shape[1]}×{stored_shape[0]} pixels"))
    saturated = float(((grey <= 0.001) | (grey >= 0.999)).mean())
    if saturated > SATURATED:
        flags.append(Flag("saturated", f"{saturated:.0%} of the pixels are black or white"))
    likeness = likeness_to_frontal(grey)
    if abs(likeness) < LEAST_LIKENESS:
        flags.append(Flag("not-frontal", "it does not look like a frontal chest film, nor like an inverted one"))
    elif likeness < 0:
        flags.append(Flag("polarity-doubtful", "it looks like a chest film with black and white exchanged"))
    return flags


def likeness_to_frontal(grey: Pixels) -> float:
    """The correlation with the mean frontal film, −1 to 1, at the shift where it is strongest; negative: inverted."""
    picture, template = coarse(grey), _template()
    found = [_correlation(picture, template, down, right) for down in SHIFTS for right in SHIFTS]
    return max(found, key=abs)


def coarse(grey: Pixels) -> Pixels:
    """A picture at 24×24 pixels, blurred, with mean 0 and spread 1."""
    small = cv2.resize(grey, (SIDE, SIDE), interpolation=cv2.INTER_AREA).astype(np.float32)
    small = cv2.GaussianBlur(small, (0, 0), 1)
    return (small - small.mean()) / max(float(small.std()), 1e-6)


def _correlation(picture: Pixels, template: Pixels, down: int, right: int) -> float:
    """Of the parts that overlap when the picture is moved."""
    moved = picture[max(0, -down) : SIDE + min(0, -down), max(0, -right) : SIDE + min(0, -right)]
    under = template[max(0, down) : SIDE + min(0, down), max(0, right) : SIDE + min(0, right)]
    a, b = moved - moved.mean(), under - under.mean()
    spread = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum()) / spread if spread > 0 else 0.0


@cache
def _template() -> Pixels:
    template: Pixels = np.load(TEMPLATE, allow_pickle=False)
    return template
