"""What should a film's signature be? Inputs, sizes and poolings compared in one run on the same films.

    python -m benchmarks.film_signatures CHOOSING... REPORTING

The archives are demonstration archives of different seeds (`python -m examples.demo --out DIR --seed N`): virtual patients whose
lesions' side and severity are known. The Hannover films are real, with ITU admission and CRP; half of their patients choose. Everything
is leave-one-patient-out; intervals resample patients. The choice: the highest mean of three skills on the choosing films, each 0 at
chance and 1 at best: (P@5 − chance)/(1 − chance) for the side, the severity's rank correlation, 2·AUC − 1 for the ITU among AP films. The
reporting archive and all of Hannover are shown beside it, and took no part, but that Hannover's choosing half is among the latter.
"""

import csv
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
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
from embed.prepare import resize, squash, stretch
from embed.read import read_scan
from embed.scan import Lungs, Pixels, Provenance, Scan
from embed.signature import opacity_profile, pool_grid, unit
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
    picture, inside = film.pixels, _mask(film)
    toned = stretch(picture, inside=inside)
    parts = []
    for mask in (film.lungs.right, film.lungs.left):
        top, bottom, left, right = _box(film, mask, MARGIN)
        parts.append(resize(toned[top:bottom, left:right], rows=side, columns=side // 2))
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
    return film.pixels[top:bottom, left:right], _mask(film)[top:bottom, left:right]


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
    return stretch(picture, inside=inside)


def _mask(film: Film) -> npt.NDArray[np.bool_]:
    assert film.lungs
    rows, columns = film.pixels.shape
    return cv2.resize(film.lungs.both.astype(np.uint8), (columns, rows), interpolation=cv2.INTER_NEAREST) > 0


INPUTS: dict[str, Callable[[Film, int], Pixels]] = {
    "whole film": whole,
    "lung crop": crop,
    "lung crop + contrast": contrast,
    "lung crop + contrast, shape kept": contrast_padded,
    "each lung's own crop + contrast": halves,
    "the crop, all but the lungs blanked": lungs_only,
    "the crop, lungs blanked": lungs_blanked,
}
SIDES = {"the crop, lungs blanked": (320,), "the crop, all but the lungs blanked": (320,)}
GRIDS = {"1×1": (1, 1), "2×2": (2, 2), "3×2": (3, 2), "3×3": (3, 3)}
OPACITIES = (0.0, 0.2, 0.4)


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
        labels = {
            "itu": "yes" if row["icu_admission_offset"] else "no",
            "view": row["projection"],
            "crp": row["crp_val"] or "nan",
        }
        films.append(_film(HANNOVER / "png" / f"{row['image_id']}.png", finder, row["patient_id"], labels))
    return films


def _film(path: Path, finder: FilmLungFinder, patient: str, labels: dict[str, str]) -> Film:
    pixels = read_scan(path, side=READ_SIDE).pixels[0]
    return Film(pixels, finder.find(pixels).lungs, patient, labels)


@cache
def _session() -> onnxruntime.InferenceSession:
    return onnxruntime.InferenceSession(MODEL.read_bytes(), providers=["CPUExecutionProvider"])


def opacities(films: Sequence[Film]) -> Rows:
    scans = (
        Scan(film.pixels[None], "xray", None, None, None, Provenance("film", ""), lungs=film.lungs) for film in films
    )
    return np.stack([opacity_profile(scan) for scan in scans])


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
    among_ap = np.flatnonzero(half.labels("view") == "ap")
    crp = half.labels("crp").astype(float)
    return {
        "itu": outcome_auc([neighbours(rows, half, k=10, allowed=among_ap)], half.labels("itu"), half.patients),
        "crp": rank_correlation([neighbours(rows, half, k=10)], crp, half.patients),
        "view": precision([neighbours(rows, half, k=5)], half.labels("view"), half.patients),
    }


def everyone(films: Sequence[Film]) -> Half:
    _, patients = np.unique([film.patient for film in films], return_inverse=True)
    return Half(patients.astype(np.int64), np.arange(len(films)), films)


def choosing_half(films: Sequence[Film]) -> Half:
    """Half of the patients are asked; neighbours come from all films of other patients."""
    whole = everyone(films)
    of_half = np.random.default_rng(0).permutation(int(whole.patients.max()) + 1) % 2
    return Half(whole.patients, np.flatnonzero(of_half[whole.patients] == 0), films)


def signatures(maps: Sequence[Maps], profiles: Rows, grid: tuple[int, int], opacity: float, *, centred: bool) -> Rows:
    rows = unit(pool_grid(np.stack(maps), grid=grid))
    rows = unit(np.concatenate([rows, np.float32(opacity) * profiles], axis=1)) if opacity else rows
    return Centring.fit(rows).apply(rows) if centred else rows


def words(metric: Metric) -> str:
    return f"{metric.value:.2f} ({metric.low:.2f}–{metric.high:.2f})"


def skill(virtual: Sequence[dict[str, Metric]], real: dict[str, Metric]) -> float:
    sides = [(one["side"].value - one["side"].chance) / (1 - one["side"].chance) for one in virtual]
    severities = [one["severity"].value for one in virtual]
    return float(np.mean([np.mean(sides), np.mean(severities), 2 * real["itu"].value - 1]))


def main(choosing: Sequence[Path], reporting: Path) -> None:
    finder = FilmLungFinder()
    virtual = [archive_films(folder, finder) for folder in (*choosing, reporting)]
    hannover = hannover_films(finder)
    profiles, real_profile = [opacities(films) for films in virtual], opacities(hannover)
    columns = ("input", "side", "cells", "opacity", "centred", "skill", "choosing: side, severity, ITU", "P@5 side", "chance",
               "severity", "ITU AUC, AP", "CRP", "P@5 view")  # fmt: skip
    found = []
    for title, see in INPUTS.items():
        for side in SIDES.get(title, (320, 448)):
            maps, real_maps = [maps_of(films, see, side) for films in virtual], maps_of(hannover, see, side)
            for grid_name, grid in GRIDS.items():
                for opacity in OPACITIES if see in (crop, contrast, contrast_padded, halves) else OPACITIES[:1]:
                    for centred in (True, False) if grid_name == "3×2" else (True,):
                        made = partial(signatures, grid=grid, opacity=opacity, centred=centred)
                        told = [
                            virtual_figures(made(*pair), everyone(films))
                            for pair, films in zip(zip(maps, profiles, strict=True), virtual, strict=True)
                        ]
                        rows = made(real_maps, real_profile)
                        chosen, whole = (
                            real_figures(rows, choosing_half(hannover)),
                            real_figures(rows, everyone(hannover)),
                        )
                        good, last = skill(told[:-1], chosen), told[-1]
                        first = f"{np.mean([one['side'].value for one in told[:-1]]):.2f}, "
                        first += (
                            f"{np.mean([one['severity'].value for one in told[:-1]]):.2f}, {chosen['itu'].value:.2f}"
                        )
                        found.append((good, (title, str(side), grid_name, f"{opacity:g}", "yes" if centred else "no", f"{good:.3f}",
                                      first, words(last["side"]), f"{last['side'].chance:.2f}", words(last["severity"]),
                                      words(whole["itu"]), words(whole["crp"]), words(whole["view"]))))  # fmt: skip
    table = Table(*columns, title="best skill on the choosing films first")
    for _, row in sorted(found, key=lambda one: -one[0]):
        table.add_row(*row)
    Console(width=220).print(table)


if __name__ == "__main__":
    *first, last = (Path(name) for name in sys.argv[1:])
    main(first, last)
