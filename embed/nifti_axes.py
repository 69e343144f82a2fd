"""How a NIfTI's stored axes lie in the patient, by its affine: which runs where, how far apart, and what to doubt of that."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.scan import DamagedScan, Flag

MM_PER_UNIT = {1: 1000.0, 2: 1.0, 3: 0.001}  # NIFTI_UNITS_METER, _MM, _MICRON of nifti1.h
UNIT_NAMES = {1: "metres", 2: "millimetres", 3: "microns"}
SPATIAL_UNIT = 0x07  # bits of xyzt_units; the others are of time
PLAUSIBLE_MM = (0.1, 20.0)  # between neighbouring voxels of a chest CT or MR
OBLIQUE_DEGREES = 10.0
SHEARED_DEGREES = 1.0  # beyond what rounding of an affine makes
LEAST_DETERMINANT = 1e-6  # of the affine's directions; 0 where they lie in one plane


@dataclass(frozen=True)
class Axes:
    """How to turn a stored volume so that it runs as `Scan` says, and the millimetres between its voxels then."""

    order: tuple[int, int, int]  # which stored axis runs along slices, rows, columns
    ways: tuple[int, int, int]  # 1, or -1 where it runs against ours
    spacing_mm: tuple[float, float, float]
    step: str
    flags: tuple[Flag, ...]


def axes_of(header: Any) -> Axes:
    """The axes by sform, qform or NIfTI's default, in that order. Raises `DamagedScan` where they do not span space."""
    import nibabel

    affine = header.get_best_affine()
    sizes = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.isfinite(affine).all() or not sizes.all():
        raise _not_invertible()
    directions = affine[:3, :3] / sizes
    if abs(np.linalg.det(directions)) < LEAST_DETERMINANT:
        raise _not_invertible()
    runs = nibabel.io_orientation(affine)  # for each stored axis: which of right, front, head, and which way
    head, front, right = (int(np.flatnonzero(runs[:, 0] == axis)[0]) for axis in (2, 1, 0))
    order = (head, front, right)
    # NIfTI's right, front and head grow; ours go right to left and front to back, so those two run against it.
    ways = (int(runs[head, 1]), -int(runs[front, 1]), -int(runs[right, 1]))
    unit = int(header["xyzt_units"]) & SPATIAL_UNIT
    mm = sizes * MM_PER_UNIT.get(unit, 1.0)
    flags = []
    if not (int(header["qform_code"]) or int(header["sform_code"])):
        flags.append(Flag("no-orientation", "neither qform nor sform is stated; the axes are taken as NIfTI's default"))
    flags += _angle_flags(directions, runs[:, 0].astype(int)) + _unit_flags(mm, unit)
    step = f"NIfTI axes {''.join(nibabel.aff2axcodes(affine))} turned to feet–head, front–back, right–left"
    if unit in (1, 3):
        step += f", voxel sizes given in {UNIT_NAMES[unit]}"
    return Axes(order, ways, (float(mm[head]), float(mm[front]), float(mm[right])), step, tuple(flags))


def _angle_flags(directions: npt.NDArray[np.float64], runs_along: npt.NDArray[np.int64]) -> list[Flag]:
    """`directions` are the stored axes as columns, of length 1; each runs along that axis of the patient."""
    flags = []
    along = np.abs(directions[runs_along, np.arange(3)])
    tilt = float(np.degrees(np.arccos(np.clip(along, 0, 1))).max())
    if tilt > OBLIQUE_DEGREES:
        flags.append(
            Flag(
                "oblique", f"the volume lies {tilt:.0f}° off the patient's axes; its slices are used as they are stored"
            )
        )
    pairs = np.abs((directions.T @ directions)[np.triu_indices(3, 1)])
    lean = float(np.degrees(np.arcsin(np.clip(pairs, 0, 1))).max())
    if lean > SHEARED_DEGREES:
        flags.append(
            Flag("sheared", f"the volume's axes are {lean:.1f}° from meeting at right angles; it was not straightened")
        )
    return flags


def _unit_flags(mm: npt.NDArray[np.float64], unit: int) -> list[Flag]:
    low, high = PLAUSIBLE_MM
    if low <= mm.min() and mm.max() <= high:
        return []
    said = f"given in {UNIT_NAMES[unit]}" if unit in UNIT_NAMES else "of no stated unit, taken as millimetres"
    sizes = "×".join(f"{size:.3g}" for size in mm)
    return [Flag("voxel-size-doubtful", f"the voxel sizes, {said}, make voxels of {sizes} mm, unlikely of a chest")]


def _not_invertible() -> DamagedScan:
    return DamagedScan(
        "damaged-orientation", "the affine of the NIfTI header is not invertible; export the volume again"
    )
