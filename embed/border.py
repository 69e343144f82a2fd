"""What surrounds a film: the collimator's shadow or mask, where the header states it and where it shows as a flat strip."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pydicom

from embed.dicom import numbers
from embed.scan import Flag, Pixels

FLAT = 0.02  # of the grey range: how far from the border's level a border pixel may be
SHARE = 0.97  # of a row or column that must be border for it to be cut
MOST = 0.25  # of a side that may be cut from each end where the strip is white: a white-out lung can look so
MOST_DARK = 0.45  # the same where it is black or one flat grey: no part of a chest is that
LEAST_FIELD = 0.1  # of the film's area: a smaller stated field is not believed
# Display Shutter (PS3.3 C.7.6.11) and X-Ray Collimator (PS3.3 C.8.7.3): edges as 1-based columns and rows, vertices in pairs.
STATED_EDGES = (
    ("ShutterLeftVerticalEdge", "ShutterRightVerticalEdge", "ShutterUpperHorizontalEdge", "ShutterLowerHorizontalEdge"),
    (
        "CollimatorLeftVerticalEdge",
        "CollimatorRightVerticalEdge",
        "CollimatorUpperHorizontalEdge",
        "CollimatorLowerHorizontalEdge",
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
    top, bottom, tall = _inside(grey)
    left, right, wide = _inside(grey[top:bottom].T)
    flags = (Flag("border-not-cropped", f"a flat strip is too broad to be cut as border: {tall or wide}"),)
    flags = flags if tall or wide else ()
    if (top, bottom, left, right) == (0, rows, 0, columns):
        return Cropped(grey, (), flags)
    step = f"border cropped: {top} rows above, {rows - bottom} below, {left} columns left, {columns - right} right"
    return Cropped(grey[top:bottom, left:right], (step,), flags)


def crop_stated_field(grey: Pixels, ds: pydicom.Dataset) -> Cropped:
    """`grey` (rows, columns), shrunk from the stored film, within the shutter or collimator that the header states."""
    rows, columns = int(ds.Rows), int(ds.Columns)
    for left, right, top, bottom in _stated_fields(ds):
        if (left, right, top, bottom) == (1, columns, 1, rows):
            continue
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


def _stated_fields(ds: pydicom.Dataset) -> list[tuple[float, float, float, float]]:
    """(left, right, top, bottom) of each rectangle, or box around a polygon, that the header gives in full."""
    fields = []
    for edges in STATED_EDGES:
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


def _inside(grey: Pixels) -> tuple[int, int, str]:
    """(first, beyond last) row that is no border, and in words a strip that was too broad to cut."""
    first, above = _strip(grey)
    last, below = _strip(grey[::-1])
    if first + last >= len(grey):  # nothing but border: something else is the matter
        return 0, len(grey), ""
    return first, len(grey) - last, above or below


def _strip(grey: Pixels) -> tuple[int, str]:
    """(rows of flat border from the first row on that may be cut, a strip broader than that in words)."""
    level = float(np.median(grey[0]))
    white = level >= 1 - FLAT
    flat = _share(np.abs(grey - np.float32(level)) <= FLAT) >= SHARE
    if level <= FLAT or white:  # black beside white, as where a film ends within its collimator
        flat = np.maximum(_share(grey <= FLAT), _share(grey >= 1 - FLAT)) >= SHARE
    inside = np.flatnonzero(~flat)
    broad = int(inside[0]) if len(inside) else len(grey)
    most = int(len(grey) * (MOST if white else MOST_DARK))
    if broad > most:
        return 0, f"{broad / len(grey):.0%} of a side at grey {level:.2f}"
    return broad, ""


def _share(pixels: npt.NDArray[np.bool_]) -> Pixels:
    share: Pixels = pixels.mean(axis=1, dtype=np.float32)
    return share
