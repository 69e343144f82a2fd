"""Disease of known side, severity and extent, inside the lungs of a virtual volume.

COVID-like: patchy ground glass near the pleura and towards the bases, thickening to consolidation in its cores.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from examples.demo.anatomy import Float
from examples.demo.volume import VirtualVolume

# Fraction of an affected lung that each severity involves. The gaps keep the grades apart.
EXTENT_RANGES = {0: (0.0, 0.0), 1: (0.05, 0.13), 2: (0.17, 0.31), 3: (0.38, 0.65)}

# Part of the involved lung that is consolidated rather than ground glass.
_SOLID_RANGES = {0: (0.0, 0.0), 1: (0.0, 0.15), 2: (0.1, 0.4), 3: (0.3, 0.65)}

_GLASS_HU, _SOLID_HU = -520.0, -20.0

_COARSE_MM = 5.0  # the pattern is made on a coarse grid, then enlarged
_ZONE_HEIGHT = {"lower": 0.24, "middle": 0.52, "upper": 0.82}  # of the lung's height, from its base


class Side(Enum):
    """The patient's own side."""

    NONE = "none"
    LEFT = "left"
    RIGHT = "right"
    BOTH = "both"


@dataclass(frozen=True)
class Disease:
    """What is in the lungs at one visit; a later visit keeps `seed`, so that the same patches grow or shrink."""

    side: Side
    severity: int  # 0 none, 1 mild, 2 moderate, 3 severe
    extent_right: float  # fraction of the right lung's volume involved
    extent_left: float
    zone: str  # "upper", "middle", "lower", "diffuse" or "none"
    solid: float  # part of the involved lung that is consolidated
    seed: int


def draw_disease(rng: np.random.Generator, side: Side, severity: int) -> Disease:
    """Return random disease of the wanted side and severity."""
    zone = "none" if side is Side.NONE else str(rng.choice(["lower", "middle", "upper"], p=[0.55, 0.28, 0.17]))
    if severity == 3 and rng.random() < 0.4:
        zone = "diffuse"
    right, left = _draw_extents(rng, side, severity)
    return Disease(
        side,
        severity,
        right,
        left,
        zone,
        float(rng.uniform(*_SOLID_RANGES[severity])),
        int(rng.integers(2**31)),
    )


def draw_progress(rng: np.random.Generator, before: Disease, severity: int) -> Disease:
    """Return the same disease at a later visit, grown or shrunk to `severity`."""
    right, left = _draw_extents(rng, before.side, severity)
    solid = float(rng.uniform(*_SOLID_RANGES[severity]))
    return Disease(before.side, severity, right, left, before.zone, solid, before.seed)


def _draw_extents(rng: np.random.Generator, side: Side, severity: int) -> tuple[float, float]:
    low, high = EXTENT_RANGES[severity]
    right, left = rng.uniform(low, high, 2)
    return (
        float(right) if side in (Side.RIGHT, Side.BOTH) else 0.0,
        float(left) if side in (Side.LEFT, Side.BOTH) else 0.0,
    )


def involvement(volume: VirtualVolume, disease: Disease) -> tuple[Float, Float]:
    """Return two (slices, rows, columns) fields in 0..1: how far each voxel is diseased, and how far it is solid."""
    rng = np.random.default_rng(disease.seed)
    pattern = _pattern(volume, disease, rng)
    solid_pattern = _enlarge(_noise(rng, _coarse_shape(volume), 9.0), volume.hu.shape)
    diseased, solid = np.zeros(volume.hu.shape, np.float32), np.zeros(volume.hu.shape, np.float32)
    for lung, extent in ((volume.right_lung, disease.extent_right), (volume.left_lung, disease.extent_left)):
        if extent > 0:
            scores = pattern[lung]
            edge = np.quantile(scores, 1 - extent)
            weight = 1 / (1 + np.exp(-np.clip((scores - edge) / 0.10, -30, 30)))
            diseased[lung] = np.where(weight < 0.02, 0, weight)
            core = scores + 0.6 * solid_pattern[lung]
            core_edge = np.quantile(core, 1 - extent * disease.solid)
            solid[lung] = (diseased[lung] > 0) / (1 + np.exp(-np.clip((core - core_edge) / 0.12, -30, 30)))
    return diseased, solid


def add_lesions(volume: VirtualVolume, disease: Disease) -> tuple[VirtualVolume, Float]:
    """Return the diseased volume and its involvement in 0..1; more than one half counts as involved."""
    involved = np.zeros(volume.hu.shape, np.float32)
    if disease.side is Side.NONE:
        return volume, involved
    box = volume.lung_box
    lungs = volume.cropped(box)
    diseased, solid = involvement(lungs, disease)
    rng = np.random.default_rng(disease.seed + 1)
    texture = np.clip(_enlarge(_noise(rng, _coarse_shape(lungs), 6.0), lungs.hu.shape), -2, 2)
    # Vessels stay visible through ground glass, and nothing that is denser than the disease is made lighter.
    inside = lungs.hu + diseased * np.maximum(_GLASS_HU + 70 * texture - lungs.hu, 0)
    inside += solid * np.maximum(_SOLID_HU + 40 * texture - inside, 0)
    hu = volume.hu.copy()
    hu[box], involved[box] = inside, diseased
    return volume.with_hu(hu), involved


def _pattern(volume: VirtualVolume, disease: Disease, rng: np.random.Generator) -> Float:
    """(slices, rows, columns) score: high where this patient's disease settles first."""
    shape = _coarse_shape(volume)
    patches = _noise(rng, shape, 22.0) + 0.55 * _noise(rng, shape, 10.0)
    lungs = _shrink((volume.right_lung | volume.left_lung).astype(np.float32), shape) > 0.5
    depth_mm = ndimage.distance_transform_edt(lungs, sampling=[_COARSE_MM] * 3)
    peripheral = np.exp(-depth_mm / 16.0) * rng.uniform(0.8, 2.2)
    rows = np.linspace(-1, 1, shape[1]).reshape(1, -1, 1)
    score = patches + peripheral + rng.uniform(0, 0.7) * rows  # gravity: towards the back
    if disease.zone in _ZONE_HEIGHT:
        slices = np.flatnonzero(lungs.any(axis=(1, 2)))
        height = (np.arange(shape[0]) - slices[0]) / max(slices[-1] - slices[0], 1)
        score = score + 2.6 * np.exp(-(((height - _ZONE_HEIGHT[disease.zone]) / 0.24) ** 2)).reshape(-1, 1, 1)
    fine = _enlarge(_noise(rng, shape, 5.0), volume.hu.shape)
    return (_enlarge(score.astype(np.float32), volume.hu.shape) + 0.25 * fine).astype(np.float32)


def _coarse_shape(volume: VirtualVolume) -> tuple[int, int, int]:
    slices, rows, columns = (
        max(2, round(size * mm / _COARSE_MM)) for size, mm in zip(volume.hu.shape, volume.spacing_mm, strict=True)
    )
    return slices, rows, columns


def _noise(rng: np.random.Generator, shape: tuple[int, int, int], scale_mm: float) -> Float:
    """Smooth noise of mean 0 and deviation 1."""
    field = ndimage.gaussian_filter(rng.standard_normal(shape, dtype=np.float32), scale_mm / _COARSE_MM / 1.5)
    normal: Float = (field - field.mean()) / field.std()
    return normal


def _enlarge(grid: Float, shape: tuple[int, ...]) -> Float:
    planes = np.stack([cv2.resize(plane, shape[:0:-1], interpolation=cv2.INTER_LINEAR) for plane in grid])
    flat = planes.reshape(len(planes), -1)
    enlarged: Float = cv2.resize(flat, (flat.shape[1], shape[0]), interpolation=cv2.INTER_LINEAR).reshape(shape)
    return enlarged


def _shrink(volume: Float, shape: tuple[int, int, int]) -> Float:
    indices = [
        np.linspace(0, size - 1, points).round().astype(int) for size, points in zip(volume.shape, shape, strict=True)
    ]
    small: Float = volume[np.ix_(*indices)]
    return small


def dominant_zone(volume: VirtualVolume, diseased: npt.NDArray[np.float32]) -> str:
    """The third of the lungs that holds most of the disease, or "none"; each zone is a third of the lungs' volume."""
    lungs = volume.right_lung | volume.left_lung
    involved = (diseased > 0.5).sum(axis=(1, 2))
    if not involved.any():
        return "none"
    below = np.cumsum(lungs.sum(axis=(1, 2))) / lungs.sum()  # the share of lung up to each slice, from the base
    zone = np.digitize(below, [1 / 3, 2 / 3])
    return ("lower", "middle", "upper")[int(np.argmax(np.bincount(zone, weights=involved, minlength=3)))]
