"""The projection of a volume onto a film: a divergent beam, one plane of the body at a time.

A plane lying at a distance d from the detector is enlarged by SID / (SID - d), where SID is the distance from source
to image; so a heart far from the film is large on an AP and small on a PA, as in life.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np

from examples.demo.anatomy import Float
from examples.demo.volume import VirtualVolume

_WATER_PER_MM = 0.0195  # linear attenuation at the mean energy of a chest exposure
_BONE_HU = 130.0  # what is denser gains and loses with mineral content and kilovoltage
_PLANE_MM = 2.8  # planes summed along the beam


class View(Enum):
    PA = "PA"
    AP = "AP"
    LATERAL = "LL"


# View -> (image right, towards the source) as (columns, rows) of the body: columns grow to the patient's left, rows to
# the back. All views are shown as they are read: patient's left on the viewer's right; a left lateral facing left.
_FRAMES = {
    View.PA: ((1.0, 0.0), (0.0, 1.0)),
    View.AP: ((1.0, 0.0), (0.0, -1.0)),
    View.LATERAL: ((0.0, 1.0), (-1.0, 0.0)),
}


@dataclass(frozen=True)
class Pose:
    """How the patient stood before the beam, and how the film was framed."""

    view: View
    source_mm: float  # from the source to the image
    turn_degrees: float  # about the body's long axis
    tilt_degrees: float  # in the film's plane
    lean_degrees: float  # forwards or backwards: a lordotic film
    offset_mm: tuple[float, float]  # of the lungs' middle from the film's middle: down, right
    film_mm: tuple[float, float]  # height and width
    bone_contrast: float = 1.0  # more at low kilovoltage


def project(volume: VirtualVolume, pose: Pose, *, pixel_mm: float = 1.0) -> Float:
    """Return the (rows, columns) line integral of attenuation, dimensionless, at `pixel_mm` on the detector."""
    whiter = np.float32(0.001 * (volume.bone_scale * pose.bone_contrast - 1))

    def attenuation(hu: Float) -> Float:
        density: Float = np.maximum(np.float32(0.001) * hu + np.maximum(hu - _BONE_HU, 0) * whiter + 1, 0)
        return density * np.float32(_WATER_PER_MM)

    return line_integral(volume, map(attenuation, volume.hu), pose, pixel_mm)


def project_masks(volume: VirtualVolume, pose: Pose, *, pixel_mm: float = 1.0) -> tuple[Float, Float]:
    """Return the thickness in mm of the right and of the left lung under every pixel of the film; > 0 is the mask."""
    right, left = (
        line_integral(volume, (plane.astype(np.float32) for plane in lung), pose, pixel_mm)
        for lung in (volume.right_lung, volume.left_lung)
    )
    return right, left


def line_integral(volume: VirtualVolume, density: Iterable[Float], pose: Pose, pixel_mm: float) -> Float:
    """Sum a density (per mm), given slice by slice on the volume's grid, along the beam."""
    planes, across_mm = _turned(volume, density, pose)
    rows, columns = (round(size / pixel_mm) for size in pose.film_mm)
    centre_z = volume.lung_centre_mm[0] / volume.spacing_mm[0]
    centre_u = (planes.shape[2] - 1) / 2
    tilt = np.deg2rad(pose.tilt_degrees)
    cos, sin = np.cos(tilt), np.sin(tilt)
    middle = np.array([rows / 2, columns / 2]) + np.array(pose.offset_mm) / pixel_mm
    lean = np.tan(np.deg2rad(pose.lean_degrees))
    half_depth = (len(planes) - 1) / 2 * _PLANE_MM
    total = np.zeros((rows, columns), np.float32)
    # Beyond the volume's ends the belly and the neck go on as they were.
    for index, plane in enumerate(planes):
        from_detector = index * _PLANE_MM + 1.0
        shrink = pixel_mm * (pose.source_mm - from_detector) / pose.source_mm
        down, right = shrink / volume.spacing_mm[0], shrink / across_mm
        lift = lean * (from_detector - half_depth) / volume.spacing_mm[0]
        inverse = np.array([
            [right * cos, right * sin, centre_u - right * (cos * middle[1] + sin * middle[0])],
            [down * sin, -down * cos, centre_z + lift - down * (sin * middle[1] - cos * middle[0])],
        ])  # fmt: skip
        warped = cv2.warpAffine(plane, inverse, (columns, rows), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
                                borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        cv2.accumulate(warped, total)
    y, x = np.ogrid[:rows, :columns]
    off_axis = ((y - rows / 2) ** 2 + (x - columns / 2) ** 2) * (pixel_mm / pose.source_mm) ** 2
    integral: Float = (total * _PLANE_MM * np.sqrt(1 + off_axis)).astype(np.float32)
    return integral


def _turned(volume: VirtualVolume, density: Iterable[Float], pose: Pose) -> tuple[Float, float]:
    """Resample to (planes from the detector to the source, slices, across the film); also the mm per sample across."""
    (right_x, right_y), (source_x, source_y) = (_rotated(axis, pose.turn_degrees) for axis in _FRAMES[pose.view])
    _, row_mm, column_mm = volume.spacing_mm
    slices, rows, columns = volume.hu.shape
    across_mm = column_mm
    sideways = pose.view is View.LATERAL
    half_across = (rows * row_mm / 2) * 1.05 if sideways else columns * column_mm / 2
    half_depth = columns * column_mm / 2 * 0.9 if sideways else rows * row_mm / 2 * 0.95
    across = np.arange(-half_across, half_across, across_mm)
    depth = np.arange(-half_depth, half_depth, _PLANE_MM)
    _, centre_y, centre_x = volume.lung_centre_mm
    x = centre_x + across[None, :] * right_x + depth[:, None] * source_x
    y = centre_y + across[None, :] * right_y + depth[:, None] * source_y
    map_x, map_y = (x / column_mm).astype(np.float32), (y / row_mm).astype(np.float32)
    turned = np.empty((len(depth), slices, len(across)), np.float32)
    for index, plane in enumerate(density):
        turned[:, index] = cv2.remap(
            plane, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=0
        )
    return turned, across_mm


def _rotated(axis: tuple[float, float], degrees: float) -> tuple[float, float]:
    cos, sin = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return float(cos * axis[0] - sin * axis[1]), float(sin * axis[0] + cos * axis[1])
