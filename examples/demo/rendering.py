"""From a patient's plan to their films: the one place where body, disease, pose and machine come together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from examples.demo.anatomy import Anatomy, Float
from examples.demo.film import Technique, draw_technique, expose
from examples.demo.lesions import add_lesions, dominant_zone
from examples.demo.plan import PatientPlan, Visit
from examples.demo.radiograph import Pose, View, project
from examples.demo.scanners import Border, Scanner
from examples.demo.volume import VirtualVolume, deform

_PANEL_MM = 430.0  # a side of a digital detector


@dataclass(frozen=True, eq=False)
class Film:
    pixels: Float  # (rows, columns) 0..1 the useful range, bright = dense
    pixel_mm: float
    contrast: float  # steepness of the response curve for this film
    view: View
    scanner: Scanner
    extent_right: float  # fraction of the right lung's volume that is involved
    extent_left: float
    zone: str  # the third of the lungs' volume with most of the disease


def iter_films(
    anatomy: Anatomy, plan: PatientPlan, visit: Visit, *, film_side: int | None = None, healthy: bool = False
) -> Iterator[Film]:
    """Yield the films of one visit; `healthy` leaves the disease out and everything else as it is.

    `film_side` sets the longest side in pixels for quick, small films.
    """
    rng = plan.rng(f"visit {visit.number}")
    frontal = visit.views[0]
    breath = rng.uniform(0.76, 0.98) if frontal is View.AP else rng.uniform(0.88, 1.06)
    body = deform(anatomy, plan.body, inflation=float(breath))
    diseased, involved = add_lesions(body, visit.disease)
    extents = [float((involved[lung] > 0.5).mean()) for lung in (body.right_lung, body.left_lung)]
    zone = dominant_zone(body, involved)
    for view in visit.views:
        scanner = plan.site.portable if view is View.AP else plan.site.fixed
        pose = draw_pose(rng, body, view, scanner)
        technique = draw_technique(rng, view)
        pixel_mm = scanner.pixel_mm if film_side is None else max(pose.film_mm) / film_side
        pixels = _taken(body if healthy else diseased, pose, scanner, technique, pixel_mm)
        contrast = scanner.contrast * technique.contrast
        yield Film(pixels, pixel_mm, contrast, view, scanner, extents[0], extents[1], zone)


def _taken(volume: VirtualVolume, pose: Pose, scanner: Scanner, technique: Technique, pixel_mm: float) -> Float:
    path_mm = max(1.0, pixel_mm)
    path = project(volume, pose, pixel_mm=path_mm)
    return expose(path, scanner, technique, path_mm=path_mm, pixel_mm=pixel_mm)


def draw_pose(rng: np.random.Generator, volume: VirtualVolume, view: View, scanner: Scanner) -> Pose:
    """Return how this exposure was set up: careful in the department, less so on the wards."""
    portable = view is View.AP
    source_mm = float(rng.uniform(950, 1300)) if portable else 1800.0
    turn, tilt, lean = rng.normal(0, 1, 3) * ((6.0, 3.5, 5.0) if portable else (2.5, 1.3, 2.0))
    margins = rng.uniform((22, 12, 8, 12), (50, 45, 45, 45))  # top, right, bottom, left of the lungs, in mm
    height_mm, width_mm = _lungs_on_film(volume, view, source_mm)
    wanted = (height_mm + margins[0] + margins[2], width_mm + margins[1] + margins[3])
    offset = ((margins[0] - margins[2]) / 2, (margins[3] - margins[1]) / 2)
    if scanner.modality == "DX":
        spare = 0.0 if scanner.border is Border.CROPPED else 16.0
        film_mm = (min(wanted[0] + spare, _PANEL_MM), min(wanted[1] + spare, _PANEL_MM))
    else:  # a cassette is as large as it is
        long, short = max(scanner.plate_mm), min(scanner.plate_mm)
        film_mm = (short, long) if wanted[1] > wanted[0] and wanted[0] < short + 15 else (long, short)
        offset = (offset[0] - max(0.0, film_mm[0] - wanted[0]) / 2, offset[1])
    return Pose(
        view=view,
        source_mm=source_mm,
        turn_degrees=float(turn),
        tilt_degrees=float(tilt),
        lean_degrees=float(lean),
        offset_mm=(float(offset[0]), float(offset[1])),
        film_mm=(float(film_mm[0]), float(film_mm[1])),
        bone_contrast=1.25 if portable else 1.0,
    )


def _lungs_on_film(volume: VirtualVolume, view: View, source_mm: float) -> tuple[float, float]:
    """Height and width of both lungs as the beam enlarges them."""
    enlarged = source_mm / (source_mm - volume.hu.shape[1] * volume.spacing_mm[1] / 2)
    height, depth, width = volume.lung_size_mm
    return height * enlarged, (depth if view is View.LATERAL else width) * enlarged
