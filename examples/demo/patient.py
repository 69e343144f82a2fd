"""Who a virtual patient is: the build of their body, drawn once and kept for all of their films."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from examples.demo.anatomy import Float

# Control points of the smooth deformation, one every few centimetres: slices, rows, columns.
WARP_POINTS = (7, 5, 7)


class Sex(Enum):
    FEMALE = "F"
    MALE = "M"


@dataclass(frozen=True, eq=False)
class VirtualPatient:
    """Everything that makes one body differ from the scanned one; 1.0 leaves a scale as it was scanned."""

    sex: Sex
    age_years: int
    width_scale: float
    depth_scale: float
    height_scale: float
    fat_scale: float  # thickness of what lies outside the ribs
    heart_scale: float  # added to the heart's size: 0.1 is ten per cent larger
    breast_mm: float  # radius, 0 for none
    lung_offset_hu: float  # emphysema is negative, fibrosis and age positive
    bone_scale: float  # mineral content
    shoulder_slope_mm: float  # how far the shoulders fall per 100 mm outwards
    warp_mm: Float  # (3, *WARP_POINTS) smooth displacement along slices, rows, columns


def draw_patient(rng: np.random.Generator) -> VirtualPatient:
    """Return a random adult: sizes follow sex, bone and lung follow age."""
    sex = Sex.FEMALE if rng.random() < 0.45 else Sex.MALE
    age_years = int(np.clip(rng.normal(62, 17), 20, 97))
    female = sex is Sex.FEMALE
    size = rng.normal(0.94 if female else 1.02, 0.045)
    fat = float(np.clip(rng.lognormal(0.12, 0.30), 0.65, 2.1))
    return VirtualPatient(
        sex=sex,
        age_years=age_years,
        width_scale=float(size * rng.normal(1.0, 0.04)),
        depth_scale=float(size * rng.normal(1.0 + 0.002 * (age_years - 60), 0.06)),
        height_scale=float(size * rng.normal(1.0, 0.05)),
        fat_scale=fat,
        heart_scale=float(np.clip(rng.normal(0.02 + 0.0015 * (age_years - 60), 0.09), -0.16, 0.26)),
        breast_mm=float(rng.uniform(45, 62) + 14 * (fat - 1)) if female else 0.0,
        lung_offset_hu=float(np.clip(rng.normal(0, 22), -45, 55)),
        bone_scale=float(np.clip(rng.normal(1.1 - 0.004 * (age_years - 50), 0.1), 0.7, 1.35)),
        shoulder_slope_mm=float(rng.uniform(45, 85)),
        warp_mm=_draw_warp(rng),
    )


def _draw_warp(rng: np.random.Generator) -> Float:
    """Random control points; the two sides of the diaphragm also stand at their own heights."""
    warp = rng.normal(0, 1, (3, *WARP_POINTS)) * np.array([7.0, 5.0, 5.0]).reshape(3, 1, 1, 1)
    lower = np.linspace(1, 0, WARP_POINTS[0]).reshape(-1, 1, 1)  # feet first
    side = np.linspace(-1, 1, WARP_POINTS[2]).reshape(1, 1, -1)
    warp[0] += rng.normal(0, 7) * lower * side
    scoliosis = np.sin(np.linspace(0, np.pi * rng.uniform(1, 2), WARP_POINTS[0])).reshape(-1, 1, 1)
    warp[2] += rng.normal(0, 5) * scoliosis
    smooth: Float = warp.astype(np.float32)
    return smooth
