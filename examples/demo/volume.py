"""A virtual patient's body as a volume: the scanned chest, deformed to their build and to one breath."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import cv2
import numpy as np
import numpy.typing as npt

from examples.demo.anatomy import AIR_HU, HEART, LEFT_LOBES, RIGHT_LOBES, Anatomy, Float, Labels
from examples.demo.patient import VirtualPatient

# The working volume is wider than the scan, for large people, and taller, for a neck.
_WIDTH_MM, _NECK_SLICES = 410.0, 20

# Landmarks of the scan, in slices: top of the lungs, bottom of the lungs, and where the shoulders begin.
_APEX, _BASE, _SHOULDERS = 122.0, 37.0, 112.0

# The rib cage of the scan as a rounded box about its centre, half axes in mm and the roundness of the box.
_RIBS_ROWS_MM, _RIBSwide_MM, _ROUNDNESS = 108.0, 137.0, 2.4

_HEART_REACH_MM = 62.0

# Height of the nipples in slices, and a mixture of fat and gland.
_NIPPLES, _BREAST_HU = 74, -60.0


@dataclass(frozen=True, eq=False)
class VirtualVolume:
    """A deformed chest: axes as in `Anatomy`, everything on one grid."""

    hu: Float  # (slices, rows, columns) Hounsfield units
    labels: Labels  # (slices, rows, columns) lobes and heart, as in `Anatomy`
    spacing_mm: tuple[float, float, float]
    bone_scale: float

    @cached_property
    def right_lung(self) -> npt.NDArray[np.bool_]:
        return (self.labels >= RIGHT_LOBES[0]) & (self.labels <= RIGHT_LOBES[-1])

    @cached_property
    def left_lung(self) -> npt.NDArray[np.bool_]:
        return (self.labels >= LEFT_LOBES[0]) & (self.labels <= LEFT_LOBES[-1])

    @cached_property
    def lung_box(self) -> tuple[slice, slice, slice]:
        """The box around both lungs, in voxels."""
        lungs = self.right_lung | self.left_lung
        across: npt.NDArray[np.bool_] = np.any(lungs, axis=0)
        hits = [np.flatnonzero(side) for side in (lungs.any(axis=(1, 2)), across.any(axis=1), across.any(axis=0))]
        z, y, x = (slice(int(hit[0]), int(hit[-1]) + 1) for hit in hits)
        return z, y, x

    @property
    def lung_centre_mm(self) -> tuple[float, float, float]:
        """Middle of both lungs, in mm from the volume's first voxel, along slices, rows and columns."""
        z, y, x = (
            (side.start + side.stop - 1) / 2 * mm for side, mm in zip(self.lung_box, self.spacing_mm, strict=True)
        )
        return z, y, x

    @property
    def lung_size_mm(self) -> tuple[float, float, float]:
        z, y, x = ((side.stop - side.start) * mm for side, mm in zip(self.lung_box, self.spacing_mm, strict=True))
        return z, y, x

    def cropped(self, box: tuple[slice, slice, slice]) -> VirtualVolume:
        return replace(self, hu=self.hu[box], labels=self.labels[box])

    def with_hu(self, hu: Float) -> VirtualVolume:
        return replace(self, hu=hu)


def deform(anatomy: Anatomy, patient: VirtualPatient, *, inflation: float) -> VirtualVolume:
    """Return the patient's chest at one breath: `inflation` 1.0 is the deep breath of the scan, 0.75 a poor one."""
    slice_mm, row_mm, column_mm = anatomy.spacing_mm
    warp = _warp_field(anatomy, patient)
    hu, labels = _warp_slices(anatomy, patient.fat_scale, warp[1] / row_mm, warp[2] / column_mm)
    hu, labels = _warp_heights(hu, labels, inflation, warp[0] / slice_mm)
    spacing = (slice_mm * patient.height_scale, row_mm * patient.depth_scale, column_mm * patient.width_scale)
    volume = VirtualVolume(hu, labels, spacing, patient.bone_scale)
    _ventilate(volume, (1 / inflation) ** 0.8, patient.lung_offset_hu)
    _slope_shoulders(volume, patient.shoulder_slope_mm)
    if patient.breast_mm > 0:
        _add_breasts(volume, patient.breast_mm)
    return volume


def _warp_field(anatomy: Anatomy, patient: VirtualPatient) -> Float:
    """(3, 20, 20, 24) displacement in mm on a coarse grid over the output volume: the random warp and the heart."""
    coarse = (20, 20, 24)
    field = np.stack([_resize3(component, coarse) for component in patient.warp_mm])
    shape = (
        anatomy.hu.shape[0] + _NECK_SLICES,
        anatomy.hu.shape[1],
        round(_WIDTH_MM / anatomy.spacing_mm[2]),
    )
    heart = np.array([np.mean(axis) for axis in np.nonzero(anatomy.labels == HEART)])
    heart[2] += (shape[2] - anatomy.hu.shape[2]) / 2
    away = [
        (np.linspace(0, size - 1, points) - centre) * mm
        for size, points, centre, mm in zip(shape, coarse, heart, anatomy.spacing_mm, strict=True)
    ]
    offsets = np.meshgrid(*away, indexing="ij")
    near = np.exp(-sum(offset**2 for offset in offsets) / (2 * _HEART_REACH_MM**2))
    moved: Float = (field - patient.heart_scale * near * np.stack(offsets)).astype(np.float32)
    return moved


def _warp_slices(anatomy: Anatomy, fat_scale: float, rows: Float, columns: Float) -> tuple[Float, Labels]:
    """Move each slice's voxels within it; `rows` and `columns` are coarse displacements in voxels."""
    slices, height, width = anatomy.hu.shape
    wide = round(_WIDTH_MM / anatomy.spacing_mm[2])
    y, x = np.meshgrid(np.arange(height), np.arange(wide), indexing="ij")
    y_mm = (y - height / 2) * anatomy.spacing_mm[1]
    x_mm = (x - wide / 2) * anatomy.spacing_mm[2]
    reach = np.abs(y_mm / _RIBS_ROWS_MM) ** _ROUNDNESS + np.abs(x_mm / _RIBSwide_MM) ** _ROUNDNESS
    reach = np.maximum(reach ** (1 / _ROUNDNESS), 1e-6)
    shrink = np.where(reach > 1, (1 + (reach - 1) / fat_scale) / reach, 1.0)
    base_y = ((y - height / 2) * shrink + height / 2).astype(np.float32)
    base_x = ((x - wide / 2) * shrink + width / 2).astype(np.float32)

    total = slices + _NECK_SLICES
    hu = np.empty((total, height, wide), dtype=np.float32)
    labels = np.zeros((total, height, wide), dtype=np.uint8)
    for index in range(total):
        at = index / (total - 1) * (rows.shape[0] - 1)
        map_y = base_y + cv2.resize(_between(rows, at), (wide, height), interpolation=cv2.INTER_CUBIC)
        map_x = base_x + cv2.resize(_between(columns, at), (wide, height), interpolation=cv2.INTER_CUBIC)
        source = min(index, slices - 1)
        cv2.remap(anatomy.hu[source], map_x, map_y, cv2.INTER_LINEAR, dst=hu[index],
                  borderMode=cv2.BORDER_CONSTANT, borderValue=AIR_HU)  # fmt: skip
        if source == index:
            cv2.remap(anatomy.labels[source], map_x, map_y, cv2.INTER_NEAREST, dst=labels[index],
                      borderMode=cv2.BORDER_CONSTANT, borderValue=0)  # fmt: skip
    return hu, labels


def _warp_heights(hu: Float, labels: Labels, inflation: float, rise: Float) -> tuple[Float, Labels]:
    """Move voxels up and down: the lungs keep their top and shorten to `inflation`; the belly follows."""
    slices, height, width = hu.shape
    below = _APEX - np.arange(slices)
    length = _APEX - _BASE
    squeezed = np.where(below < length * inflation, below / inflation, below + length * (1 - inflation))
    source = np.where(below > 0, _APEX - squeezed, np.arange(slices)).astype(np.float32)
    x = np.broadcast_to(np.arange(width, dtype=np.float32), (slices, width))
    out_hu, out_labels = np.empty_like(hu), np.empty_like(labels)
    for row in range(height):
        at = row / (height - 1) * (rise.shape[1] - 1)
        map_z = source[:, None] + cv2.resize(_between(rise.transpose(1, 0, 2), at), (width, slices),
                                             interpolation=cv2.INTER_CUBIC)  # fmt: skip
        out_hu[:, row] = cv2.remap(np.ascontiguousarray(hu[:, row]), x, map_z, cv2.INTER_LINEAR,
                                   borderMode=cv2.BORDER_REPLICATE)  # fmt: skip
        out_labels[:, row] = cv2.remap(np.ascontiguousarray(labels[:, row]), x, map_z, cv2.INTER_NEAREST,
                                       borderMode=cv2.BORDER_CONSTANT, borderValue=0)  # fmt: skip
    return out_hu, out_labels


def _ventilate(volume: VirtualVolume, denser: float, offset_hu: float) -> None:
    """Change the lungs' density with their air, in place; the vessels keep theirs."""
    inside, labels = volume.hu[volume.lung_box], volume.labels[volume.lung_box]
    air = (labels > 0) & (labels < HEART) & (inside < -500)
    volume.hu[volume.lung_box] = np.where(air, (inside - AIR_HU) * denser + (AIR_HU + offset_hu), inside)


def _slope_shoulders(volume: VirtualVolume, slope_mm: float) -> None:
    """Cut the raised arms of the scan away along a falling shoulder line, in place."""
    slices, _, width = volume.hu.shape
    outward_mm = np.abs(np.arange(width) - width / 2) * volume.spacing_mm[2]
    top_mm = 95.0 - np.maximum(outward_mm - 62.0, 0) * slope_mm / 100
    above_mm = (np.arange(slices) - _SHOULDERS) * volume.spacing_mm[0]
    keep = np.clip((top_mm[None, :] - above_mm[:, None]) / 10 + 0.5, 0, 1)[:, None, :]
    first = int(_SHOULDERS) - 30
    shoulders = volume.hu[first:]
    shoulders -= AIR_HU
    shoulders *= keep[first:].astype(np.float32)
    shoulders += AIR_HU


def _add_breasts(volume: VirtualVolume, radius_mm: float) -> None:
    """Thicken the chest wall in front by two rounded cushions of fat and gland, in place."""
    slices, columns = (np.arange(volume.hu.shape[axis]) * volume.spacing_mm[axis] for axis in (0, 2))
    level_mm = _NIPPLES * volume.spacing_mm[0]
    thickness_mm = np.zeros((len(slices), len(columns)))
    for outward in (-1, 1):
        centre_mm = columns[-1] / 2 + outward * (48 + 0.5 * radius_mm)
        above = (slices - level_mm)[:, None]
        tall = np.where(above > 0, 1.35, 0.85) * radius_mm  # a breast hangs: steep below, gentle above
        squared = (above / tall) ** 2 + ((columns[None, :] - centre_mm) / radius_mm) ** 2
        thickness_mm = np.maximum(thickness_mm, 0.62 * radius_mm * np.clip(1 - squared, 0, None) ** 0.75)
    around = np.flatnonzero(thickness_mm.any(axis=1))
    level = slice(int(around[0]), int(around[-1]) + 1)
    chest, thickness_mm = volume.hu[level], thickness_mm[level, None, :]
    body = chest > -400
    skin = np.where(body.any(axis=1), body.argmax(axis=1), -1)[:, None, :]  # first row of the body
    row = np.arange(chest.shape[1], dtype=np.float32).reshape(1, -1, 1)
    cover = np.clip(row - (skin - thickness_mm / volume.spacing_mm[1]), 0, 1)
    outside = (row < skin) & (thickness_mm > 0)
    chest[outside] = (AIR_HU + (_BREAST_HU - AIR_HU) * cover)[outside]


def _between(stack: Float, at: float) -> Float:
    """The plane at a fractional index of the first axis."""
    low = min(int(at), stack.shape[0] - 2)
    plane: Float = np.ascontiguousarray(stack[low] * (low + 1 - at) + stack[low + 1] * (at - low))
    return plane


def _resize3(grid: npt.NDArray[np.floating], shape: tuple[int, int, int]) -> Float:
    """Cubic resize of a small 3-D grid."""
    flat = np.stack(
        [cv2.resize(plane, shape[:0:-1], interpolation=cv2.INTER_CUBIC) for plane in grid.astype(np.float32)]
    )
    whole = cv2.resize(flat.reshape(flat.shape[0], -1), (shape[1] * shape[2], shape[0]), interpolation=cv2.INTER_CUBIC)
    resized: Float = whole.reshape(shape).astype(np.float32)
    return resized
