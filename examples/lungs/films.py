"""Virtual films with their lungs known, for the lung finder to learn from: frontal ones, and what must not pass for one."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from enum import IntEnum

import cv2
import numpy as np
import numpy.typing as npt

from examples.demo.anatomy import HEART, Anatomy, Float
from examples.demo.film import draw_technique, expose, tone
from examples.demo.lesions import Disease, Side, add_lesions, draw_disease
from examples.demo.patient import draw_patient
from examples.demo.radiograph import Pose, View, line_integral, project, project_masks
from examples.demo.rendering import draw_pose
from examples.demo.scanners import SITES, Border
from examples.demo.volume import VirtualVolume, deform

SIDE = 192  # pixels of a stored film, both axes on their own
PIXEL_MM = 2.0
LEAST_LUNG_MM = 20.0  # of lung along the beam, to be drawn as lung
MOST_ABDOMEN_MM = 25.0  # along the beam: beyond it the film shows the diaphragm, not the lung behind it
WHITE_OUT_SHARE = 0.15  # of the patients have one lung filled
RIGHT, LEFT = 1, 2  # bits of a mask
LUNG_WINDOW_HU = (-1350.0, 150.0)


class Kind(IntEnum):
    """What a picture of the training set is."""

    FRONTAL = 0
    LATERAL = 1
    OTHER = 2  # a slice of CT


@dataclass(frozen=True, eq=False)
class Films:
    """Pictures of several patients, squashed to squares, with their lungs."""

    pictures: npt.NDArray[np.uint8]  # (n, SIDE, SIDE), bright = dense
    masks: npt.NDArray[np.uint8]  # (n, SIDE, SIDE): bit 1 the right lung, bit 2 the left; 0 where it is not frontal
    kinds: npt.NDArray[np.uint8]  # (n,) of `Kind`
    patients: npt.NDArray[np.int64]  # (n,)

    def only(self, chosen: npt.NDArray[np.bool_]) -> Films:
        return Films(self.pictures[chosen], self.masks[chosen], self.kinds[chosen], self.patients[chosen])


def grey_of(levels: npt.NDArray[np.uint8]) -> Float:
    """0 to 1, bright = dense."""
    return levels.astype(np.float32) / np.float32(255)


def lungs_of(mask: npt.NDArray[np.uint8], side: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """The right and the left lung of a mask of bits, at `side` pixels."""
    right, left = (
        cv2.resize((mask & bit > 0).astype(np.float32), (side, side), interpolation=cv2.INTER_AREA) > 0.5
        for bit in (RIGHT, LEFT)
    )
    return right, left


def make_films(
    anatomy: Anatomy, patients: range, *, seed: int, workers: int = 2, progress: Callable[[], None] = lambda: None
) -> Films:
    """A PA, an AP and a lateral film and a CT slice of each virtual patient. The same for the same seed and numbers."""
    found = []
    # Started afresh rather than forked: a forked child may inherit a lock of the parent's image library.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _start_worker, (anatomy,)) as pool:
        for films in pool.map(_work, [(seed, number) for number in patients]):
            found.append(films)
            progress()
    return Films(*(np.concatenate([getattr(one, name) for one in found]) for name in Films.__dataclass_fields__))


_worker_anatomy: list[Anatomy] = []


def _start_worker(anatomy: Anatomy) -> None:
    cv2.setNumThreads(1)
    _worker_anatomy[:] = [anatomy]


def _work(task: tuple[int, int]) -> Films:
    seed, number = task
    made = list(iter_patient(_worker_anatomy[0], np.random.default_rng([seed, number])))
    pictures, masks, kinds = zip(*made, strict=True)
    return Films(np.stack(pictures), np.stack(masks), np.array(kinds, np.uint8), np.full(len(made), number, np.int64))


def iter_patient(
    anatomy: Anatomy, rng: np.random.Generator
) -> Iterator[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8], Kind]]:
    """Yield (picture, mask, kind) of one random patient."""
    body = deform(anatomy, draw_patient(rng), inflation=float(rng.uniform(0.76, 1.06)))
    diseased, _ = add_lesions(body, _draw_disease(rng))
    site = SITES[int(rng.integers(len(SITES)))]
    for view in View:
        scanner = site.portable if view is View.AP else site.fixed
        if scanner.border is Border.CROPPED:  # which would leave the mask behind
            scanner = replace(scanner, border=Border.BLACK)
        pose = draw_pose(rng, body, view, scanner)
        technique = draw_technique(rng, view)
        path = project(diseased, pose, pixel_mm=PIXEL_MM)
        film = expose(path, scanner, technique, path_mm=PIXEL_MM, pixel_mm=PIXEL_MM)
        picture = _levels(tone(film, scanner.contrast * technique.contrast))
        if view is View.LATERAL:
            yield picture, np.zeros((SIDE, SIDE), np.uint8), Kind.LATERAL
        else:
            yield picture, visible_lungs(body, pose), Kind.FRONTAL
    yield _ct_slice(diseased, rng), np.zeros((SIDE, SIDE), np.uint8), Kind.OTHER


def visible_lungs(volume: VirtualVolume, pose: Pose) -> npt.NDArray[np.uint8]:
    """(SIDE, SIDE) bits: what a reader would outline as the right and the left lung on the film, behind the heart too.

    Lung that lies behind a dome of the diaphragm is left out, as in masks drawn by people.
    """
    abdomen = _line_of(_below_lungs(volume), volume, pose)
    lungs = project_masks(volume, pose, pixel_mm=PIXEL_MM)
    bits = np.zeros((SIDE, SIDE), np.uint8)
    for bit, thickness in zip((RIGHT, LEFT), lungs, strict=True):
        seen = ((thickness > LEAST_LUNG_MM) & (abdomen < MOST_ABDOMEN_MM)).astype(np.float32)
        bits |= np.uint8(bit) * _tidy(cv2.resize(seen, (SIDE, SIDE), interpolation=cv2.INTER_AREA) > 0.5)
    return bits


def _draw_disease(rng: np.random.Generator) -> Disease:
    side = (Side.NONE, Side.RIGHT, Side.LEFT, Side.BOTH)[int(rng.integers(4))]
    disease = draw_disease(rng, side, 0 if side is Side.NONE else int(rng.integers(1, 4)))
    if rng.random() >= WHITE_OUT_SHARE:
        return disease
    filled = float(rng.uniform(0.85, 1.0))
    right = rng.random() < 0.5
    return replace(
        disease,
        side=Side.BOTH,
        severity=3,
        extent_right=filled if right else float(rng.uniform(0.02, 0.4)),
        extent_left=float(rng.uniform(0.02, 0.4)) if right else filled,
        zone="diffuse",
        solid=float(rng.uniform(0.7, 1.0)),
    )


def _below_lungs(volume: VirtualVolume) -> npt.NDArray[np.bool_]:
    """The tissue under the lungs' lower surfaces; the heart, which also lies on the diaphragm, is no part of it."""
    below = np.zeros(volume.hu.shape, bool)
    for lung in (volume.right_lung, volume.left_lung):
        below |= ~np.logical_or.accumulate(lung, axis=0) & lung.any(axis=0)
    under: npt.NDArray[np.bool_] = below & ~(volume.labels == HEART).any(axis=0)
    return under


def _line_of(voxels: npt.NDArray[np.bool_], volume: VirtualVolume, pose: Pose) -> Float:
    return line_integral(volume, (plane.astype(np.float32) for plane in voxels), pose, PIXEL_MM)


def _tidy(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """The largest piece of a mask, its spikes and notches smoothed."""
    smooth = cv2.medianBlur(mask.astype(np.uint8), 9)
    count, pieces, stats, _ = cv2.connectedComponentsWithStats(smooth)
    if count < 2:
        return smooth
    largest: npt.NDArray[np.uint8] = (pieces == 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())).astype(np.uint8)
    return largest


def _ct_slice(volume: VirtualVolume, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
    """An axial, coronal or sagittal slice in the lung window: a screenshot that somebody took for a film."""
    axis = int(rng.integers(3))
    size = volume.hu.shape[axis]
    plane = np.take(volume.hu, int(rng.integers(size // 4, size * 3 // 4)), axis=axis)
    plane = plane if axis == 0 else plane[::-1]  # slices run from the feet up
    low, high = LUNG_WINDOW_HU
    return _levels(np.clip((plane - low) / (high - low), 0, 1))


def _levels(grey: Float) -> npt.NDArray[np.uint8]:
    small = cv2.resize(np.ascontiguousarray(grey, np.float32), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    levels: npt.NDArray[np.uint8] = np.rint(np.clip(small, 0, 1) * 255).astype(np.uint8)
    return levels
