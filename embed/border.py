"""What surrounds a film: the collimator's shadow or mask, where the header states it and where it shows as a flat strip."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from embed.scan import Flag, Pixels

if TYPE_CHECKING:
    import pydicom

FLAT = 0.02  # of the picture's own range of grey: how far from the border's level a border pixel may be
SHARE = 0.97  # of a row or column that must be border for it to be cut
LIGHT = 0.75  # of the grey range: from here on a flat strip can be a lung filled with fluid, which many a VOI LUT shows below white
MOST = 0.25  # of a side that may be cut from each end where the strip is light
MOST_DARK = 0.45  # the same where it is black or one darker grey: no part of a chest is that flat
OVERHANG = 0.02  # of a side, that a stated field may reach beyond the film
LEAST_FIELD = 0.1  # of the film's area: a smaller stated field is not believed
# Display Shutter (PS3.3 C.7.6.11) and X-Ray Collimator (PS3.3 C.8.7.3): the edges of a RECTANGULAR one as 1-based columns and rows, vertices in pairs.
STATED_EDGES = (
    (
        "ShutterShape",
        (
            "ShutterLeftVerticalEdge",
            "ShutterRightVerticalEdge",
            "ShutterUpperHorizontalEdge",
            "ShutterLowerHorizontalEdge",
        ),
    ),
    (
        "CollimatorShape",
        (
            "CollimatorLeftVerticalEdge",
            "CollimatorRightVerticalEdge",
            "CollimatorUpperHorizontalEdge",
            "CollimatorLowerHorizontalEdge",
        ),
    ),
)
STATED_VERTICES = ("VerticesOfThePolygonalShutter", "VerticesOfThePolygonalCollimator")


@dataclass(frozen=True)
class Cropped:
    """A film without its border, what was done in words, and what was left undone."""

    pixels: Pixels  # (rows, columns)
    steps: tuple[str, ...]
    flags: tuple[Flag, ...]


def crop_border(grey: Pixels) -> Cropped:
    """`grey` (rows, columns), 0 to 1, without the flat strips at its edges, each end judged on its own."""
    rows, columns = grey.shape
    flat = FLAT * min(1.0, contrast_of(grey))  # in a faint picture, what differs little may be anatomy
    top, bottom, tall = _inside(grey, flat)
    left, right, wide = _inside(grey[top:bottom].T, flat)
    broad = tall or wide
    flags = (Flag("border-not-cropped", f"a flat strip is too broad to be cut as border: {broad}"),) if broad else ()
    if (top, bottom, left, right) == (0, rows, 0, columns):
        return Cropped(grey, (), flags)
    step = f"border cropped: {top} rows above, {rows - bottom} below, {left} columns left, {columns - right} right"
    return Cropped(grey[top:bottom, left:right], (step,), flags)


def contrast_of(grey: Pixels) -> float:
    """What lies between the 1st and the 99th percentile of a picture, looked at on every fourth row and column."""
    low, high = np.percentile(grey[::4, ::4], (1, 99))
    return float(high - low)


def crop_stated_field(grey: Pixels, ds: "pydicom.Dataset") -> Cropped:
    """`grey` (rows, columns), shrunk from the stored film, within the shutter or collimator that the header states."""
    rows, columns = int(ds.Rows), int(ds.Columns)
    for left, right, top, bottom in _stated_fields(ds):
        if left <= 1 and right >= columns and top <= 1 and bottom >= rows:
            continue  # wider than the film, as a detector's own edges are
        left, right = _onto(left, columns), _onto(right, columns)
        top, bottom = _onto(top, rows), _onto(bottom, rows)
        area = (right - left + 1) * (bottom - top + 1) / (rows * columns)
        if not (1 <= left < right <= columns and 1 <= top < bottom <= rows) or area < LEAST_FIELD:
            words = f"columns {left:g}–{right:g}, rows {top:g}–{bottom:g} of {columns}×{rows}"
            return Cropped(grey, (), (Flag("field-ignored", f"the stated shutter or collimator cannot be: {words}"),))
        down, across = grey.shape[0] / rows, grey.shape[1] / columns
        inside = grey[
            int(np.floor((top - 1) * down)) : int(np.ceil(bottom * down)),
            int(np.floor((left - 1) * across)) : int(np.ceil(right * across)),
        ]
        step = f"cropped to the stated field: columns {left:g}–{right:g}, rows {top:g}–{bottom:g} (PS3.3 C.7.6.11, C.8.7.3)"
        return Cropped(inside, (step,), ())
    return Cropped(grey, (), ())


def _onto(edge: float, length: int) -> float:
    """`edge`, or the film's first or last line where it reaches beyond it by little."""
    return min(max(edge, 1.0), float(length)) if -OVERHANG * length <= edge <= (1 + OVERHANG) * length + 1 else edge


def _stated_fields(ds: "pydicom.Dataset") -> list[tuple[float, float, float, float]]:
    """(left, right, top, bottom) of each rectangle, or box around a polygon, that the header gives in full."""
    from embed.dicom import numbers, text_of  # here, for whoever only compares pictures loads no decoder

    fields = []
    for shape, edges in STATED_EDGES:
        if "RECTANGULAR" not in (text_of(ds, shape) or "RECTANGULAR"):
            continue
        found = [numbers(ds.get(keyword)) for keyword in edges]
        if all(len(value) == 1 for value in found):
            left, right, top, bottom = (value[0] for value in found)
            fields.append((left, right, top, bottom))
    for keyword in STATED_VERTICES:
        vertices: Sequence[float] = numbers(ds.get(keyword))
        if len(vertices) >= 6 and len(vertices) % 2 == 0:
            across, down = vertices[1::2], vertices[::2]
            fields.append((min(across), max(across), min(down), max(down)))
    return fields


def _inside(grey: Pixels, within: float) -> tuple[int, int, str]:
    """(first, beyond last) row that is no border, and in words a strip that was too broad to cut."""
    first, above = _strip(grey, within)
    last, below = _strip(grey[::-1], within)
    if first + last >= len(grey):  # nothing but border: something else is the matter
        return 0, len(grey), ""
    return first, len(grey) - last, above or below


def _strip(grey: Pixels, within: float) -> tuple[int, str]:
    """(rows of flat border from the first row on that may be cut, a strip broader than that in words)."""
    level = float(np.median(grey[0]))
    if not _is_flat(grey[0], level, within):  # as on most films: nothing further needs a look
        return 0, ""
    own = _leading(_share(np.abs(grey - np.float32(level)) <= within) >= SHARE)
    most, least = int(len(grey) * (MOST if level >= LIGHT else MOST_DARK)), int(len(grey) * MOST)
    if level <= within or level >= 1 - within:  # black beside white, as where a film ends within its collimator
        black, white = _share(grey <= within), _share(grey >= 1 - within)
        both = _leading(np.maximum(black, white) >= SHARE)
        bright = int((white[:both] >= SHARE).sum())
        if both <= most and bright <= least:
            return both, ""
        if both > own and own <= most:
            return own, f"{both / len(grey):.0%} of a side, black and white"
    if own > most:
        return 0, f"{own / len(grey):.0%} of a side at grey {level:.2f}"
    return own, ""


def _is_flat(line: Pixels, level: float, within: float) -> bool:
    """Whether one line is border by the rules of `_strip`."""
    if level <= within or level >= 1 - within:
        return max(float((line <= within).mean()), float((line >= 1 - within).mean())) >= SHARE
    return float((np.abs(line - np.float32(level)) <= within).mean()) >= SHARE


def _leading(flat: npt.NDArray[np.bool_]) -> int:
    """How many rows are flat from the first on."""
    return len(flat) if flat.all() else int(np.argmin(flat))


def _share(pixels: npt.NDArray[np.bool_]) -> Pixels:
    share: Pixels = pixels.mean(axis=1, dtype=np.float32)
    return share
