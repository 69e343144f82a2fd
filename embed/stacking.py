"""Slices of one volume in any order -> a `Series`: sorted along their normal, each place once, and what is odd flagged."""

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from embed.limits import MAX_FRAME_PIXELS
from embed.scan import DamagedScan, Flag, UnsupportedScan
from embed.series_source import Series, padding_of
from embed.slices import Slice
from embed.volume import Facing

SAME_PLACE_MM = 0.01
UNEVEN, UNEVEN_MM = 0.1, 0.1001  # of the usual spacing, and never less than the last digit of positions given to 0.1 mm
UNEVEN_FLAGS = ("missing-slices", "uneven-spacing")
LEAST_TILT_DEGREES = 0.5
MOST_SIDEWAYS_MM = 3.0  # off the line through the slices: patients move less within one sweep
PLANES = ("sagittal", "coronal", "axial")  # by the axis (left, back, head) that the normal lies nearest to
# In each plane, along which axis and which way rows and columns run once turned.
ROWS_ALONG, COLUMNS_ALONG = ((2, -1), (2, -1), (1, 1)), ((1, 1), (0, 1), (0, 1))


def stack(group: Sequence[Slice]) -> Series:
    """The slices of one volume, sorted along their normal, each place once, with flags for what is odd about them."""
    flags = _flags_of_headers(group)
    ordered = sorted(group, key=lambda one: (one.acquisition, one.number or 0, one.instance_uid, one.frame))
    normal, facing, plane = _orientation(ordered[0], flags)
    places = _places(ordered, normal, flags)
    order = sorted(range(len(ordered)), key=lambda index: places[index])  # stable: the first acquired comes first
    kept = order[:1]
    for index in order[1:]:
        if places[index] - places[kept[-1]] > SAME_PLACE_MM:
            kept.append(index)
    if len(kept) < len(order):
        message = f"{len(order) - len(kept)} slices lie where another one does; the first acquired was kept"
        flags.append(Flag("duplicate-slices", message))
    slices = tuple(ordered[index] for index in kept)
    kept_places = [places[index] for index in kept]
    between = _between(slices, np.array(kept_places), flags)
    _check_tilt(slices, normal, flags)
    flags += _mixture(slices, np.array(kept_places), normal)
    spacing = None
    first = slices[0]
    if between and first.pixel_mm and min(first.pixel_mm) > 0:
        row_mm, column_mm = first.pixel_mm[::-1] if facing.transpose else first.pixel_mm
        spacing = between, row_mm, column_mm
    else:
        flags.append(Flag("no-spacing", "(0028,0030) Pixel Spacing or the distance between slices is not stated"))
    codes = {flag.code for flag in flags}
    extent = float(kept_places[-1] - kept_places[0]) if "no-positions" not in codes else 0.0
    uneven = not codes.isdisjoint(UNEVEN_FLAGS) and not _by_number(slices)
    return Series(slices, spacing, extent, tuple(kept_places) if uneven else None, facing, plane, tuple(flags))


def _flags_of_headers(group: Sequence[Slice]) -> list[Flag]:
    flags, first = [], group[0]
    if first.rows * first.columns > MAX_FRAME_PIXELS or min(first.rows, first.columns) < 1:
        raise UnsupportedScan(
            "too-large", f"slices of {first.rows}×{first.columns} pixels; at most {MAX_FRAME_PIXELS:,} are read"
        )
    if any("DERIVED" in one.image_type or "SECONDARY" in one.image_type[1:2] for one in group):
        flags.append(
            Flag("derived-image", "(0008,0008) Image Type is DERIVED or SECONDARY: not as first reconstructed")
        )
    if first.modality == "CT" and {one.rescale_type for one in group} - {"", "HU"}:
        flags.append(Flag("not-hounsfield", f"(0028,1054) Rescale Type is {first.rescale_type!r}; expected HU"))
    if first.modality == "CT" and any(one.padding and not padding_of(one) for one in group):
        flags.append(
            Flag("padding-in-tissue", "(0028,0120) Pixel Padding Value is a value of tissue; it was not applied")
        )
    if first.modality == "CT":
        flags += _rescale_outliers(group)
    return flags


def _mixture(slices: Sequence[Slice], places: npt.NDArray[np.float64], normal: npt.NDArray[np.float64]) -> list[Flag]:
    """Flags where neighbouring slices are not of one sweep: two acquisitions that alternate, or slices shifted sideways."""
    flags = []
    numbers = [one.acquisition for one in slices]
    switches, acquisitions = sum(one != other for one, other in pairwise(numbers)), len(set(numbers))
    if 1 < acquisitions <= len(slices) / 4 and switches >= 2 * acquisitions:
        message = f"slices of {acquisitions} acquisitions ((0020,0012)) alternate {switches} times: several sweeps in one series"
        flags.append(Flag("several-acquisitions", message))
    if len(slices) > 2 and all(one.position is not None for one in slices):
        corners = np.array([one.position for one in slices], float)
        sideways = corners - np.outer(corners @ normal, normal)
        line = np.polynomial.polynomial.polyfit(places, sideways, 1)
        off = np.abs(sideways - (line[0] + np.outer(places, line[1]))).max()
        if off > MOST_SIDEWAYS_MM:
            flags.append(
                Flag("slices-shifted", f"slices lie up to {off:.0f} mm off the line through them; not straightened")
            )
    return flags


def _rescale_outliers(group: Sequence[Slice]) -> list[Flag]:
    """A flag where most slices share one rescale and some do not; where all differ, the scanner meant it."""
    scales = Counter((one.slope, one.intercept) for one in group)
    usual, count = scales.most_common(1)[0]
    if count == len(group) or count <= len(group) / 2:
        return []
    message = (
        f"{len(group) - count} of {len(group)} slices have another (0028,1053) Rescale Slope or (0028,1052) Intercept "
        f"than the rest (×{usual[0]:g} {usual[1]:+g}); each was taken at its word"
    )
    return [Flag("rescale-outlier", message)]


def _orientation(one: Slice, flags: list[Flag]) -> tuple[npt.NDArray[np.float64], Facing, str]:
    """(the normal, towards head, back or left; how rows and columns must be turned; the plane)."""
    if one.orientation is None:
        flags.append(Flag("no-orientation", "(0020,0037) Image Orientation is not stated; taken as axial, face up"))
    across, down = np.array(one.orientation or (1, 0, 0, 0, 1, 0), float).reshape(2, 3)
    normal = np.cross(across, down)
    if abs(np.linalg.norm(normal) - 1) > 0.02 or abs(np.linalg.norm(across) - 1) > 0.02:
        raise DamagedScan(
            "damaged-orientation", f"(0020,0037) is {one.orientation}; expected two directions at right angles"
        )
    axis = int(np.abs(normal).argmax())
    if normal[axis] < 0:
        normal = -normal
    (row_axis, row_way), (column_axis, column_way) = ROWS_ALONG[axis], COLUMNS_ALONG[axis]
    transpose = abs(across[column_axis]) < abs(down[column_axis])
    if transpose:
        across, down = down, across
    facing = Facing(bool(transpose), bool(down[row_axis] * row_way < 0), bool(across[column_axis] * column_way < 0))
    return normal, facing, PLANES[axis]


def _places(ordered: Sequence[Slice], normal: npt.NDArray[np.float64], flags: list[Flag]) -> list[float]:
    """Where each slice lies along the normal, in mm; by the next best element where positions are missing."""
    if all(one.position is not None for one in ordered):
        return [float(place) for place in np.array([one.position for one in ordered]) @ normal]
    if all(one.location is not None for one in ordered):
        flags.append(
            Flag("no-positions", "(0020,0032) Image Position is missing; sorted by (0020,1041) Slice Location")
        )
        return [one.location or 0.0 for one in ordered]
    if len({one.number for one in ordered} - {None}) == len(ordered):
        flags.append(
            Flag("no-positions", "(0020,0032) Image Position is missing; sorted by (0020,0013) Instance Number")
        )
        return [float(one.number or 0) for one in ordered]
    raise DamagedScan(
        "no-positions", "the slices state neither positions, nor locations, nor distinct instance numbers"
    )


def _between(slices: Sequence[Slice], places: npt.NDArray[np.float64], flags: list[Flag]) -> float | None:
    """The usual distance between slices, in mm; gaps and unevenness are flagged."""
    gaps = np.diff(places)
    by_number = _by_number(slices)
    usual = float(np.median(gaps)) if len(gaps) else None
    if usual:
        steps = np.rint(gaps / usual)
        tolerance = max(UNEVEN * usual, UNEVEN_MM) if not by_number else 0.5
        whole = np.abs(gaps - steps * usual) <= tolerance
        missing = int((steps[whole & (steps > 1)] - 1).sum())
        if missing:
            flags.append(
                Flag("missing-slices", f"{missing} slices are missing in {int((whole & (steps > 1)).sum())} gaps")
            )
        uneven = gaps[~(whole & (steps >= 1))]
        if len(uneven):
            message = (
                f"{len(uneven)} of {len(gaps)} distances differ from {usual:g} mm: {uneven.min():g} to {uneven.max():g}"
            )
            flags.append(Flag("uneven-spacing", message))
    if by_number or usual is None:
        return slices[0].between_mm or slices[0].thickness_mm
    return usual


def _by_number(slices: Sequence[Slice]) -> bool:
    """Whether nothing but their instance numbers tells where the slices lie."""
    return any(one.position is None for one in slices) and any(one.location is None for one in slices)


def _check_tilt(slices: Sequence[Slice], normal: npt.NDArray[np.float64], flags: list[Flag]) -> None:
    """Flag a gantry that leaned: the line through the slices' corners is not their normal."""
    first, last = slices[0].position, slices[-1].position
    degrees = 0.0
    if first is not None and last is not None and first != last:
        line = np.subtract(last, first)
        degrees = float(np.degrees(np.arccos(np.clip(abs(line @ normal) / np.linalg.norm(line), 0, 1))))
    stated = max((one.tilt_degrees for one in slices), key=abs)
    if degrees > LEAST_TILT_DEGREES:
        flags.append(
            Flag("gantry-tilt", f"the slices lean {degrees:.1f}° from the line through them; not straightened")
        )
    elif abs(stated) > LEAST_TILT_DEGREES:
        flags.append(Flag("gantry-tilt", f"(0018,1120) Gantry Tilt is {stated:g}°, yet the slices lie square"))
