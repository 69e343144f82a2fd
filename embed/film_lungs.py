"""Where the lungs lie on a frontal radiograph, by a small network, and whether it is one; docs/lungs.md is its card.

What the network says is not believed blindly: lungs that are missing, broken, oddly sized or unsure are reported as a reason, and the
film is then used whole.
"""

import json
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from embed.prepare import squash, stretch
from embed.scan import Lungs, Pixels

Mask = npt.NDArray[np.bool_]

MODEL = Path(__file__).with_name("film_lungs.onnx")
SIDE = 128  # pixels of the square that the film is squashed to
LEAST_FRONTAL = 0.5  # probability that the picture is a frontal chest film
LEAST_TURNED = 0.9  # probability of a quarter turn before the film is turned upright
LEAST_CERTAINTY = 0.75  # of a lung's pixels; see `certainty`
LEAST_QUALITY = 0.8  # the probability of a frontal film times the certainty of the less sure lung
LEAST_TALL, MOST_TALL = 0.5, 1.7  # height over width of both lungs together; two films one above the other are taller
LEAST_AREA, MOST_AREA = 0.02, 0.45  # of the film, a lung
MOST_UNEQUAL = 4.0  # one lung's area over the other's
TAILS = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (5, 5))  # what is thinner is no lung
LEAST_WHOLE = 0.85  # of a lung's pixels that hang together


@dataclass(frozen=True, eq=False)
class Finding:
    """What the network says of a picture."""

    lungs: Lungs | None
    reason: str  # why there are no lungs, in words; "" where there are
    frontal: float  # probabilities
    inverted: float
    mirrored: float
    turns: int  # quarter turns, anticlockwise, by which the picture stands away from upright


class FilmLungFinder:
    """Safe for threads. The same picture always gets the same answer."""

    def __init__(self, model: Path = MODEL) -> None:
        """Raises `OSError` or `ValueError` for a network that is missing or not the one that its card describes."""
        import onnxruntime  # not before it is needed: reading a CT needs no network

        weights = model.read_bytes()
        self.card: dict[str, Any] = json.loads(model.with_suffix(".json").read_text(encoding="utf-8"))
        if sha256(weights).hexdigest() != self.card["sha256"]:
            raise ValueError(f"{model} is not the network that its card describes; install the release again")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(weights, options, providers=["CPUExecutionProvider"])

    def find(self, grey: Pixels) -> Finding:
        """The lungs on a picture (rows, columns), 0 to 1, bright = dense, that stands upright or `turns` away from it."""
        probability, frontal, inverted, mirrored, turns = self._look(grey)
        quarter = int(turns.argmax())
        if turns[quarter] < LEAST_TURNED:
            quarter = 0
        finding = Finding(None, "", frontal, inverted, mirrored, quarter)
        if frontal < LEAST_FRONTAL:
            return _without(finding, f"it does not look like a frontal chest film (probability {frontal:.2f})")
        if quarter:
            return _without(finding, "the film does not stand upright")
        masks = [_largest_piece(plane > 0.5) for plane in probability]
        doubt = _doubt(masks, probability) or shape_doubt(masks[0] | masks[1], grey.shape)
        quality = frontal * min(certainty(plane) for plane in probability)
        if not doubt and quality < LEAST_QUALITY:
            doubt = f"the lungs' outlines are unsure (quality {quality:.2f})"
        if doubt:
            return _without(finding, doubt)
        return Finding(Lungs(masks[0], masks[1], quality), "", frontal, inverted, mirrored, quarter)

    def _look(self, grey: Pixels) -> tuple[Pixels, float, float, float, Pixels]:
        """(lungs (2, SIDE, SIDE), frontal, inverted, mirrored, turns (4,)), all probabilities."""
        picture = stretch(squash(grey, side=SIDE))[None, None]
        lungs, frontal, inverted, mirrored, turns = self._session.run(None, {"picture": picture})
        return lungs[0], float(frontal[0, 0]), float(inverted[0, 0]), float(mirrored[0, 0]), turns[0]


@cache
def film_lung_finder() -> FilmLungFinder:
    """The shipped one, loaded at the first film."""
    return FilmLungFinder()


def certainty(probability: Pixels) -> float:
    """How sure the network is of a lung, 0 to 1: the Dice overlap between its probabilities and its mask."""
    mask = probability > 0.5
    total = float(probability.sum()) + int(mask.sum())
    return 2 * float(probability[mask].sum()) / total if total else 0.0


def _doubt(masks: list[Mask], probability: Pixels) -> str:
    """Why these are not the two lungs of a frontal film, or ""."""
    names = ("right", "left")
    areas = [float(mask.mean()) for mask in masks]
    for name, mask, area, plane in zip(names, masks, areas, probability, strict=True):
        if area < LEAST_AREA:
            return f"no {name} lung was found"
        if area > MOST_AREA:
            return f"what was found as the {name} lung covers {area:.0%} of the film"
        if certainty(plane) < LEAST_CERTAINTY:
            return f"the {name} lung's outline is unsure ({certainty(plane):.2f})"
        if mask.sum() < LEAST_WHOLE * (plane > 0.5).sum():
            return f"what was found as the {name} lung is in pieces"
    if max(areas) > MOST_UNEQUAL * min(areas):
        return f"one lung was found {max(areas) / min(areas):.1f} times as large as the other"
    middles = [float(np.flatnonzero(mask.any(axis=0)).mean()) for mask in masks]
    return "" if middles[0] < middles[1] else "the lungs were found on each other's side"


def shape_doubt(both: Mask, shape: tuple[int, ...]) -> str:
    """Why lungs of that outline on a picture of that shape are too tall or too wide for one chest, or ""."""
    high, wide = (float(np.ptp(np.flatnonzero(both.any(axis=axis))) + 1) for axis in (1, 0))
    tall = high * shape[0] / (wide * shape[1])
    if LEAST_TALL <= tall <= MOST_TALL:
        return ""
    return f"the lungs are {tall:.1f} times as tall as wide, which no one chest is"


def _without(finding: Finding, reason: str) -> Finding:
    return Finding(None, reason, finding.frontal, finding.inverted, finding.mirrored, finding.turns)


def _largest_piece(mask: Mask) -> Mask:
    """The largest connected piece without thin tails, such as into gas beneath the diaphragm, its holes filled."""
    compact = cv2.morphologyEx(mask.astype(np.uint8), cv2.MORPH_OPEN, TAILS)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(compact, connectivity=4)
    if count < 2:
        return np.zeros(mask.shape, bool)
    largest = (pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    outlines, _ = cv2.findContours(largest, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(largest, outlines, -1, 1, cv2.FILLED)
    filled: Mask = largest.astype(bool)
    return filled
