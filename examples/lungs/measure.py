"""How well the lung finder does on patients it was not trained on: Dice a lung with interval, and what passes for a frontal film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from embed.film_lungs import SIDE, FilmLungFinder
from examples.lungs.films import Films, Kind, grey_of, lungs_of
from examples.lungs.real_films import RealFilm

RESAMPLES = 2000


def measure(model: Path, virtual: Films, real: Sequence[RealFilm]) -> dict[str, Any]:
    """Dice and failures on the films given, as the card tells them; intervals resample patients."""
    finder = FilmLungFinder(model)
    frontal = virtual.kinds == Kind.FRONTAL
    outlined = [film for film in real if film.mask is not None]
    masks = [film.mask for film in outlined if film.mask is not None]
    return {
        "virtual": _dice(finder, virtual.pictures[frontal], virtual.masks[frontal], virtual.patients[frontal]),
        "real": _dice(finder, [film.picture for film in outlined], masks, [film.patient for film in outlined]),
        "passed": {
            "virtual frontal": _passed(finder, virtual.pictures[frontal]),
            "real frontal": _passed(finder, [film.picture for film in real]),
            "virtual lateral": _passed(finder, virtual.pictures[virtual.kinds == Kind.LATERAL]),
            "CT slices": _passed(finder, virtual.pictures[virtual.kinds == Kind.OTHER]),
        },
    }


def dice(found: npt.NDArray[np.bool_], wanted: npt.NDArray[np.bool_]) -> float:
    """Twice the overlap of two masks over the sum of their areas (Dice 1945); 1 for two empty ones."""
    total = int(found.sum()) + int(wanted.sum())
    return 2 * int((found & wanted).sum()) / total if total else 1.0


def _dice(finder: FilmLungFinder, pictures: Any, masks: Any, patients: Any) -> dict[str, Any]:
    """The mean Dice of both lungs together, and of each; a film without lungs found counts as 0."""
    scores = []
    for picture, mask in zip(pictures, masks, strict=True):
        right, left = lungs_of(mask, SIDE)
        lungs = finder.find(grey_of(picture)).lungs
        if lungs is None:
            scores.append((0.0, 0.0, 0.0))
            continue
        scores.append((
            dice(lungs.both, right | left), dice(lungs.right, right), dice(lungs.left, left)
        ))  # fmt: skip
    table = np.array(scores)
    found = table[:, 0] > 0
    return {
        "films": len(table),
        "patients": len(set(np.asarray(patients).tolist())),
        "not_found": int((~found).sum()),
        **{
            name: _with_interval(table[:, column], np.asarray(patients))
            for column, name in enumerate(("both", "right", "left"))
        },
        "both_where_found": _with_interval(table[found, 0], np.asarray(patients)[found]),
    }


def _with_interval(values: npt.NDArray[np.float64], patients: npt.NDArray[Any]) -> list[float]:
    """[mean, low, high]: the 95 % interval of a bootstrap over patients."""
    rng = np.random.default_rng(0)
    names, numbers = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(numbers, values), np.bincount(numbers)
    drawn = rng.integers(0, len(names), (RESAMPLES, len(names)))
    low, high = np.percentile(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1), [2.5, 97.5])
    return [round(float(number), 4) for number in (values.mean(), low, high)]


def _passed(finder: FilmLungFinder, pictures: Any) -> str:
    passed = sum(finder.find(grey_of(picture)).lungs is not None for picture in pictures)
    return f"{passed} of {len(pictures)}"
