"""What should a film's signature be? Inputs, sizes and poolings compared in one run on the same films.

    python -m benchmarks.film_signatures CHOOSING REPORTING

CHOOSING and REPORTING are demonstration archives of different seeds (`python -m examples.demo --out DIR --seed N`): virtual patients
whose lesions' side and severity are known. The Hannover films are real, with ITU admission; half of their patients choose, half report.
Everything is leave-one-patient-out; intervals resample patients. The choice: the highest mean of three skills on the choosing films, each 0
at chance and 1 at best: (P@5 − chance)/(1 − chance) for the side, the severity's rank correlation, 2·AUC − 1 for the ITU among AP films.
"""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console
from rich.progress import track
from rich.table import Table

from embed.encoders.efficientnet_lite import MODEL
from embed.film_lungs import SIDE, FilmLungFinder
from embed.prepare import squash, stretch
from embed.read import read_scan
from embed.scan import Lungs, Pixels
from embed.signature import unit
from index.numpy_store import NumpyStore
from index.transform import Centring
from search.evaluation import Metric, outcome_auc, precision, rank_correlation
from search.nearest import nearest_patients
from search.study import Block

HANNOVER = Path(__file__).parents[2] / "shared" / "data" / "hannover"
READ_SIDE = 640
MARGIN = 0.06
Maps = npt.NDArray[np.float32]  # (192, rows, columns)
Rows = npt.NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Film:
    pixels: Pixels  # (rows, columns)
    lungs: Lungs | None
    patient: str
    labels: dict[str, str]


# ---- what the encoder sees -------------------------------------------------------------------------------------------------


def whole(film: Film, side: int) -> Pixels:
    return squash(stretch(film.pixels), side=side)


def crop(film: Film, side: int) -> Pixels:
    return squash(stretch(_cut(film)[0]), side=side) if film.lungs else whole(film, side)


def contrast(film: Film, side: int) -> Pixels:
    """Cropped to both lungs, contrast from the lungs' pixels."""
    return squash(_toned(*_cut(film)), side=side) if film.lungs else whole(film, side)


def contrast_padded(film: Film, side: int) -> Pixels:
    """The same, its shape kept: the shorter side is filled from the film around."""
    return squash(_toned(*_cut(film, square=True)), side=side) if film.lungs else whole(film, side)


def halves(film: Film, side: int) -> Pixels:
    """Each lung's own box on its own half of the picture: apices, bases and walls lie at the same places in all films."""
    if not film.lungs:
        return whole(film, side)
    tone = _tone_of(film)
    parts = []
    for mask in (film.lungs.right, film.lungs.left):
        top, bottom, left, right = _box(film, mask, MARGIN)
        part = tone(film.pixels[top:bottom, left:right])
        parts.append(_resized(part, (side // 2, side)))
    return np.concatenate(parts, axis=1)


def lungs_only(film: Film, side: int) -> Pixels:
    return _blanked(film, side, lungs=False)


def lungs_blanked(film: Film, side: int) -> Pixels:
    return _blanked(film, side, lungs=True)


def _blanked(film: Film, side: int, *, lungs: bool) -> Pixels:
    """The crop with the lungs, or all but them, set to the lungs' mean."""
    if not film.lungs:
        return whole(film, side)
    picture, inside = _cut(film)
    toned = _toned(picture, inside)
    toned = np.where(inside == lungs, toned[inside].mean(), toned)
    return squash(toned.astype(np.float32), side=side)


def _cut(film: Film, *, square: bool = False) -> tuple[Pixels, npt.NDArray[np.bool_]]:
    """(the crop, where in it the lungs are)."""
    assert film.lungs
    top, bottom, left, right = _box(film, film.lungs.both, MARGIN)
    rows, columns = film.pixels.shape
    if square:
        high, wide = bottom - top, right - left
        more = abs(high - wide) // 2
        if high < wide:
            top, bottom = max(0, top - more), min(rows, bottom + more)
        else:
            left, right = max(0, left - more), min(columns, right + more)
    mask = _resized(film.lungs.both.astype(np.float32), (columns, rows)) > 0.5
    return film.pixels[top:bottom, left:right], mask[top:bottom, left:right]


def _box(film: Film, mask: npt.NDArray[np.bool_], margin: float) -> tuple[int, int, int, int]:
    rows, columns = film.pixels.shape
    down, across = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    top, bottom, left, right = down[0] / SIDE, (down[-1] + 1) / SIDE, across[0] / SIDE, (across[-1] + 1) / SIDE
    high, wide = margin * (bottom - top), margin * (right - left)
    return (
        max(0, round((top - high) * rows)), min(rows, round((bottom + high) * rows)),
        max(0, round((left - wide) * columns)), min(columns, round((right + wide) * columns)),
    )  # fmt: skip


def _toned(picture: Pixels, inside: npt.NDArray[np.bool_]) -> Pixels:
    low, high = np.percentile(picture[inside], (1, 99))
    return np.clip((picture - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)


def _tone_of(film: Film) -> Callable[[Pixels], Pixels]:
    low, high = np.percentile(_cut(film)[0][_cut(film)[1]], (1, 99))
    return lambda picture: np.clip((picture - np.float32(low)) / np.float32(max(high - low, 1e-6)), 0, 1)


def _resized(picture: Pixels, size: tuple[int, int]) -> Pixels:
    shrinks = size[0] <= picture.shape[1]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR).astype(np.float32)


INPUTS: dict[str, Callable[[Film, int], Pixels]] = {
    "whole film": whole,
    "lung crop": crop,
    "lung crop + contrast": contrast,
    "lung crop + contrast, shape kept": contrast_padded,
    "each lung's own crop + contrast": halves,
    "all but the lungs blanked": lungs_only,
    "the lungs blanked": lungs_blanked,
}
SIDES = {"whole film": (320, 448), "lung crop + contrast": (320, 448), "each lung's own crop + contrast": (320, 448)}
GRIDS = {"1×1": (1, 1), "2×2": (2, 2), "3×2": (3, 2), "3×3": (3, 3), "4×4": (4, 4)}


POOLINGS = {
    **{name: (grid, 1.0) for name, grid in GRIDS.items()},
    "2×2, sides apart ×2": ((2, 2), 2.0),
    "3×2, sides apart ×2": ((3, 2), 2.0),
    "4×4, sides apart ×2": ((4, 4), 2.0),
}


def pooled(maps: Maps, grid: tuple[int, int], apart: float = 1.0) -> Rows:
    """(channels, rows, columns) -> the mean of each cell, side by side.

    `apart` other than 1: each cell becomes its sum with the cell opposite, and `apart` times its difference from it.
    """
    down, across = (np.array_split(np.arange(size), cells) for size, cells in zip(maps.shape[1:], grid, strict=True))
    cells = np.stack([
        np.stack([maps[:, r[0] : r[-1] + 1, c[0] : c[-1] + 1].mean(axis=(1, 2)) for c in across]) for r in down
    ])  # fmt: skip
    if apart != 1:
        right, left = cells[:, : grid[1] // 2], cells[:, ::-1][:, : grid[1] // 2]
        cells = np.stack([right + left, apart * (right - left)]) / np.float32(np.sqrt(2))
    return cells.ravel()


# ---- films and figures -----------------------------------------------------------------------------------------------------


def archive_films(folder: Path, finder: FilmLungFinder) -> list[Film]:
    with (folder / "truth.csv").open(newline="", encoding="utf-8") as table:
        rows = [row for row in csv.DictReader(table) if row["view"] in ("PA", "AP") and row["split"] == "archive"]
    return [_film(folder / row["file"], finder, row["patient_id"], row) for row in track(rows, folder.name)]


def hannover_films(finder: FilmLungFinder) -> list[Film]:
    with (HANNOVER / "data.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    films = []
    for row in track(rows, "Hannover"):
        labels = {"itu": "yes" if row["icu_admission_offset"] else "no", "view": row["projection"]}
        films.append(_film(HANNOVER / "png" / f"{row['image_id']}.png", finder, row["patient_id"], labels))
    return films


def _film(path: Path, finder: FilmLungFinder, patient: str, labels: dict[str, str]) -> Film:
    pixels = read_scan(path, side=READ_SIDE).pixels[0]
    return Film(pixels, finder.find(pixels).lungs, patient, labels)


@cache
def _session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL.read_bytes(), providers=["CPUExecutionProvider"])


def maps_of(films: Sequence[Film], see: Callable[[Film, int], Pixels], side: int) -> list[Maps]:
    found = []
    for film in track(films, f"{see.__name__} {side}"):
        picture = (np.broadcast_to(see(film, side), (1, 3, side, side)) - 0.5) / 0.5
        found.append(_session().run(None, {"pixels": picture.astype(np.float32)})[0][0])
    return found


@dataclass(frozen=True, eq=False)
class Half:
    """Films among which neighbours are sought; figures are over `asked` of them."""

    patients: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int64]  # rows
    films: Sequence[Film]

    def labels(self, name: str) -> npt.NDArray[np.object_]:
        return np.array([film.labels[name] for film in self.films], dtype=object)


def neighbours(rows: Rows, half: Half, *, k: int, allowed: npt.NDArray[np.int64] | None = None) -> Block:
    everyone = np.arange(len(rows)) if allowed is None else allowed
    asked = np.intersect1d(half.asked, everyone)
    similarities, found = nearest_patients(
        NumpyStore.build(rows), rows[asked], k=k, patients=half.patients, own=half.patients[asked], allowed=everyone
    )
    return Block(asked, everyone, found, similarities)


def virtual_figures(rows: Rows, half: Half) -> dict[str, Metric]:
    block = neighbours(rows, half, k=5)
    severity = half.labels("severity").astype(float)
    return {
        "side": precision([block], half.labels("side"), half.patients),
        "severity": rank_correlation([block], severity, half.patients),
    }


def real_figures(rows: Rows, half: Half) -> dict[str, Metric]:
    frontal_ap = np.flatnonzero(half.labels("view") == "ap")
    itu = outcome_auc([neighbours(rows, half, k=10, allowed=frontal_ap)], half.labels("itu"), half.patients)
    view = precision([neighbours(rows, half, k=5)], half.labels("view"), half.patients)
    return {"itu": itu, "view": view}


def halves_of(films: Sequence[Film]) -> dict[str, Half]:
    """By patient: the films that are asked; neighbours come from all films of other patients."""
    names, patients = np.unique([film.patient for film in films], return_inverse=True)
    of_half = np.random.default_rng(0).permutation(len(names)) % 2
    return {
        half: Half(patients.astype(np.int64), np.flatnonzero(of_half[patients] == number), films)
        for number, half in enumerate(("choose", "report"))
    }


def signatures(maps: Sequence[Maps], grid: tuple[int, int], apart: float, *, centred: bool = True) -> Rows:
    rows = unit(np.stack([pooled(one, grid, apart) for one in maps]).astype(np.float32))
    return Centring.fit(rows).apply(rows) if centred else rows


def words(metric: Metric) -> str:
    return f"{metric.value:.2f} ({metric.low:.2f}–{metric.high:.2f})"


def skill(virtual: dict[str, Metric], real: dict[str, Metric]) -> float:
    side = (virtual["side"].value - virtual["side"].chance) / (1 - virtual["side"].chance)
    return float(np.mean([side, virtual["severity"].value, 2 * real["itu"].value - 1]))


def main(choosing: Path, reporting: Path) -> None:
    finder = FilmLungFinder()
    films = {"choose": archive_films(choosing, finder), "report": archive_films(reporting, finder)}
    hannover = hannover_films(finder)
    for name, of_set in (*films.items(), ("Hannover", hannover)):
        print(
            f"{name}: lungs found on {sum(film.lungs is not None for film in of_set)} of {len(of_set)} frontal films",
            flush=True,
        )
    tables = {half: Table("input", "side", "cells", "centred", "skill", "P@5 side", "severity", "ITU AUC, AP", "P@5 view", title=half)
              for half in ("choose", "report", "report, all Hannover")}  # fmt: skip
    for title, see in INPUTS.items():
        for side in SIDES.get(title, (448,)):
            maps = {half: maps_of(films[half], see, side) for half in films}
            real_maps = maps_of(hannover, see, side)
            for grid_name, (grid, apart) in POOLINGS.items():
                for centred in (True, False) if grid_name == "2×2" else (True,):
                    real_rows = signatures(real_maps, grid, apart, centred=centred)
                    half_of = halves_of(hannover)
                    half_of["all"] = Half(half_of["choose"].patients, np.arange(len(hannover)), hannover)
                    for half in ("choose", "report", "all"):
                        virtual_set = films["choose" if half == "choose" else "report"]
                        virtual_maps = maps["choose" if half == "choose" else "report"]
                        _, patients = np.unique([film.patient for film in virtual_set], return_inverse=True)
                        everyone = Half(patients.astype(np.int64), np.arange(len(virtual_set)), virtual_set)
                        virtual = virtual_figures(signatures(virtual_maps, grid, apart, centred=centred), everyone)
                        real = real_figures(real_rows, half_of[half])
                        row = (title, str(side), grid_name, "yes" if centred else "no", f"{skill(virtual, real):.3f}",
                               f"{words(virtual['side'])}/{virtual['side'].chance:.2f}", words(virtual["severity"]),
                               words(real["itu"]), f"{words(real['view'])}/{real['view'].chance:.2f}")  # fmt: skip
                        tables["report, all Hannover" if half == "all" else half].add_row(*row)
    for table in tables.values():
        Console(width=170).print(table)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
