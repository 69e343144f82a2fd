"""Where the lungs lie in a chest CT, by thresholds and connected pieces on a coarse sample of its slices."""

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from embed.scan import Pixels

Mask = npt.NDArray[np.bool_]

AIRY_HU = -400  # below: lung or gas; above: tissue, and lung that disease has filled
GAS_HU = -960  # half of a gas-filled bowel or windpipe lies below this; of a lung, even an emphysematous one, much less
LEAST_OF_BODY = 0.08  # lungs fill at least so much of the body in their largest slice
LEAST_OF_LARGEST_SLICE = 0.04  # a slice with less lung than this, beside the one with most, is beyond their ends
CUT_OFF = 0.05  # of the largest slice's lung on the scan's last slice: 12 mm above the base's tip, 5 mm below the apex
PAIRED = 0.15  # of the larger one's area in a slice: the second piece is the other lung
SECOND_LUNG = 0.15  # of the first one's volume; smaller pieces are not lungs


@dataclass(frozen=True)
class Extent:
    """The lungs' bounding box in a volume: from the lowest base to the apices, ends in rows and columns excluded."""

    first: float
    last: float
    top: float
    bottom: float
    left: float
    right: float
    pairs: (
        float  # share of the slices that show two lungs: of a chest most, next to none where one is filled or left out
    )
    middle: float  # the body's midline, in columns: the patient's right lung lies before it, the left one beyond


def find_lungs(hu: Pixels) -> Extent | None:
    """The extent of the lungs in an axial sample (slices, rows, columns) in HU; None where there are none.

    `first` and `last` are the first and last slice of the sample that shows lung.
    """
    body = np.stack([_body(plane) for plane in hu])
    lungs = _largest_two(_airy(hu, body))
    areas, whole = lungs.sum(axis=(1, 2)), body.sum(axis=(1, 2))
    most = int(areas.argmax())
    if areas[most] == 0 or areas[most] < LEAST_OF_BODY * whole[most]:
        return None
    shown = _run_around(areas >= LEAST_OF_LARGEST_SLICE * areas[most], most)
    kept = lungs[shown[0] : shown[1] + 1]
    rows, columns = np.flatnonzero(kept.any(axis=(0, 2))), np.flatnonzero(kept.any(axis=(0, 1)))
    middle = _midline(body[shown[0] : shown[1] + 1])
    return Extent(shown[0], shown[1], rows[0], rows[-1] + 1, columns[0], columns[-1] + 1, _pairs(kept), middle)


def _pairs(lungs: Mask) -> float:
    """In how many of the slices the lungs are two pieces of comparable size."""
    paired = 0
    for plane in lungs:
        _, _, stats, _ = cv2.connectedComponentsWithStats(plane.astype(np.uint8), connectivity=8)
        areas = np.sort(stats[1:, cv2.CC_STAT_AREA])[::-1]
        paired += len(areas) > 1 and areas[1] > PAIRED * areas[0]
    return paired / len(lungs)


def _midline(body: Mask) -> float:
    """The column that halves the body's width on most slices: where it lies does not depend on what fills either lung."""
    ends = [(hit[0], hit[-1] + 1) for hit in (np.flatnonzero(plane.any(axis=0)) for plane in body) if len(hit)]
    return float(np.median([(first + beyond) / 2 for first, beyond in ends]))


def lung_at_ends(hu: Pixels) -> tuple[bool, bool]:
    """Whether the first and the last slice of an axial sample in HU show so much lung that it must go on beyond them."""
    lungs = _largest_two(_airy(hu, np.stack([_body(plane) for plane in hu])))
    areas = lungs.sum(axis=(1, 2))
    enough = max(1.0, CUT_OFF * float(areas.max()))
    return bool(areas[0] >= enough), bool(areas[-1] >= enough)


def _body(plane: Pixels) -> Mask:
    """The largest solid piece of a slice, its holes filled: table, clothes and the air outside are left out."""
    solid = cv2.morphologyEx((plane > AIRY_HU).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 2), np.uint8))
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(solid, connectivity=4)
    if count < 2:
        return np.zeros(plane.shape, bool)
    largest = pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())
    outside = np.pad((~largest).astype(np.uint8), 1, constant_values=1)
    cv2.floodFill(outside, None, (0, 0), 2, flags=4)
    filled: Mask = outside[1:-1, 1:-1] != 2
    return filled


def _airy(hu: Pixels, body: Mask) -> Mask:
    """What is airy inside the body, without the pieces that are plain gas: windpipe, stomach, bowel."""
    airy: Mask = body & (hu < AIRY_HU)
    for plane, inside in zip(hu, airy, strict=True):
        _, pieces = cv2.connectedComponents(inside.astype(np.uint8), connectivity=4)
        sizes, gas = np.bincount(pieces.ravel()), np.bincount(pieces.ravel(), weights=(plane < GAS_HU).ravel())
        inside &= (gas <= sizes / 2)[pieces]
    return airy


def _largest_two(airy: Mask) -> Mask:
    pieces, count = ndimage.label(airy)
    if count == 0:
        return airy
    sizes = np.bincount(pieces.ravel())[1:]
    order = np.argsort(-sizes, kind="stable")[:2]
    lungs: Mask = np.isin(pieces, [index + 1 for index in order if sizes[index] >= SECOND_LUNG * sizes[order[0]]])
    return lungs


def _run_around(shown: npt.NDArray[np.bool_], middle: int) -> tuple[int, int]:
    """The first and last of the unbroken run of true values that holds `middle`."""
    gaps = np.flatnonzero(~shown)
    before, after = gaps[gaps < middle], gaps[gaps > middle]
    return (int(before[-1]) + 1 if len(before) else 0), (int(after[0]) - 1 if len(after) else len(shown) - 1)
