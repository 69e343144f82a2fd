"""What should a film's signature be? Inputs, sizes and poolings compared in one run on the same films.

    python -m benchmarks.film_signatures CHOOSING... REPORTING

The archives are demonstration archives of different seeds (`python -m examples.demo --out DIR --seed N`): virtual patients whose
lesions' side and severity are known. The Hannover films are real, with ITU admission and CRP; half of their patients choose,
half report. Everything
is leave-one-patient-out; intervals resample patients. The choice: the highest mean of three skills on the choosing films, each 0 at
chance and 1 at best: (P@5 − chance)/(1 − chance) for the side, the severity's rank correlation, 2·AUC − 1 for the ITU among AP films. The
reporting archive and the other half of Hannover took no part, and are shown beside it.
"""

import csv
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import product
from pathlib import Path

import click
import cv2
import numpy as np
import numpy.typing as npt
import onnxruntime
from rich.console import Console
from rich.progress import track
from rich.table import Table

from embed.encoders.efficientnet_lite import MODEL
from embed.film_lungs import SIDE, FilmLungFinder
from embed.prepare import LUNG_MARGIN, resize, squash, stretch
from embed.read import read_scan
from embed.scan import Lungs, Pixels, Provenance, Scan
from embed.signature import opacity_profile, pool_grid, unit
from index.numpy_store import NumpyStore
from index.transform import Centring
from search.agreement import outcome_auc, precision, rank_correlation
from search.intervals import Figure, Metric, bootstrapped, paired_difference
from search.nearest import nearest_patients
from search.study import Block

HANNOVER = Path(__file__).parents[2] / "shared" / "data" / "hannover"
READ_SIDE = 640
MARGIN = LUNG_MARGIN
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
BEFORE = ("whole film", "448", "2×2", "0", "yes")
NOW = ("lung crop + contrast", "320", "3×2", "0.4", "yes")


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
    """Films of which `asked` are asked and answer."""

    patients: npt.NDArray[np.int64]
    asked: npt.NDArray[np.int64]  # rows
    films: Sequence[Film]

    def labels(self, name: str) -> npt.NDArray[np.object_]:
        return np.array([film.labels[name] for film in self.films], dtype=object)


def neighbours(rows: Rows, half: Half, *, k: int, allowed: npt.NDArray[np.int64] | None = None) -> Block:
    asked = half.asked if allowed is None else np.intersect1d(half.asked, allowed)
    similarities, found = nearest_patients(
        NumpyStore.build(rows), rows[asked], k=k, patients=half.patients, own=half.patients[asked], allowed=asked
    )
    return Block(asked, asked, found, similarities)


def virtual_figures(rows: Rows, half: Half) -> dict[str, Figure]:
    block = neighbours(rows, half, k=5)
    severity = half.labels("severity").astype(float)
    return {
        "side": precision([block], half.labels("side"), half.patients),
        "severity": rank_correlation([block], severity, half.patients),
        "virtual itu": outcome_auc([neighbours(rows, half, k=10)], half.labels("itu_admission"), half.patients),
    }


def real_figures(rows: Rows, half: Half) -> dict[str, Figure]:
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


def half_of(films: Sequence[Film], number: int) -> Half:
    """Half of the patients, 0 or 1, among themselves."""
    whole = everyone(films)
    of_half = np.random.default_rng(0).permutation(int(whole.patients.max()) + 1) % 2
    return Half(whole.patients, np.flatnonzero(of_half[whole.patients] == number), films)


def signatures(maps: Sequence[Maps], profiles: Rows, grid: tuple[int, int], opacity: float, *, centred: bool) -> Rows:
    rows = unit(pool_grid(np.stack(maps), grid=grid))
    rows = unit(np.concatenate([rows, np.float32(opacity) * profiles], axis=1)) if opacity else rows
    return Centring.fit(rows).apply(rows) if centred else rows


def words(metric: Metric) -> str:
    return f"{metric.value:.2f} ({metric.low:.2f} to {metric.high:.2f})"


def value(figure: Figure) -> float:
    return figure.of(np.ones(len(figure.queries)))


def skill(virtual: Sequence[dict[str, Figure]], real: dict[str, Figure]) -> float:
    sides = [(value(one["side"]) - one["side"].chance) / (1 - one["side"].chance) for one in virtual]
    severities = [value(one["severity"]) for one in virtual]
    return float(np.mean([np.mean(sides), np.mean(severities), 2 * value(real["itu"]) - 1]))


@dataclass(frozen=True)
class Variant:
    """A way of signing, and its figures."""

    name: tuple[str, ...]  # input, side, cells, opacity, centred
    choosing: list[dict[str, Figure]]  # an archive each
    choosing_real: dict[str, Figure]
    reporting: dict[str, Figure]  # of the virtual archive and of the other half of Hannover together
    all_real: dict[str, Figure]  # of both halves of Hannover

    @property
    def skill(self) -> float:
        return skill(self.choosing, self.choosing_real)

    def told(self) -> tuple[str, ...]:
        first = (np.mean([value(one[name]) for one in self.choosing]) for name in ("side", "severity"))
        chose = ", ".join(f"{number:.2f}" for number in (*first, value(self.choosing_real["itu"])))
        last = (
            words(bootstrapped(self.reporting[name]))
            for name in ("side", "severity", "virtual itu", "itu", "crp", "view")
        )
        return *self.name, f"{self.skill:.3f}", chose, *last


def variants(inputs: Sequence[str], virtual: Sequence[Sequence[Film]], hannover: Sequence[Film]) -> Iterator[Variant]:
    profiles, real_profile = [opacities(films) for films in virtual], opacities(hannover)
    for title in inputs:
        see = INPUTS[title]
        for side in SIDES.get(title, (320, 448)):
            maps, real_maps = [maps_of(films, see, side) for films in virtual], maps_of(hannover, see, side)
            weights = OPACITIES if see in (crop, contrast, contrast_padded, halves) else OPACITIES[:1]
            for (cells, grid), opacity, centred in product(GRIDS.items(), weights, (True, False)):
                if not centred and cells != "3×2":
                    continue
                made = partial(signatures, grid=grid, opacity=opacity, centred=centred)
                figures = [
                    virtual_figures(made(*pair), everyone(films))
                    for pair, films in zip(zip(maps, profiles, strict=True), virtual, strict=True)
                ]
                rows = made(real_maps, real_profile)
                name = (title, str(side), cells, f"{opacity:g}", "yes" if centred else "no")
                choosing_real, reporting_real = (real_figures(rows, half_of(hannover, number)) for number in (0, 1))
                all_real = real_figures(rows, everyone(hannover))
                yield Variant(name, figures[:-1], choosing_real, figures[-1] | reporting_real, all_real)


@click.command(help=__doc__)
@click.argument("choosing", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
@click.argument("reporting", type=click.Path(path_type=Path, exists=True))
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Choice(list(INPUTS)),
    default=list(INPUTS),
    help="only this one; may be repeated",
)
def main(choosing: Sequence[Path], reporting: Path, inputs: Sequence[str]) -> None:
    finder = FilmLungFinder()
    virtual = [archive_films(folder, finder) for folder in (*choosing, reporting)]
    found = sorted(variants(inputs, virtual, hannover_films(finder)), key=lambda one: -one.skill)
    chance = found[0].reporting["side"].chance, found[0].reporting["view"].chance
    table = Table("input", "side", "cells", "opacity", "centred", "skill", "choosing: side, severity, ITU", f"P@5 side, chance {chance[0]:.2f}",
                  "severity", "virtual ITU AUC", "Hannover ITU AUC, AP", "CRP", f"P@5 view, chance {chance[1]:.2f}", title="best skill on the choosing films first")  # fmt: skip
    for variant in found:
        table.add_row(*variant.told())
    Console(width=220).print(table)
    before = next((one for one in found if one.name == BEFORE), None)
    now = next((one for one in found if one.name == NOW), None)
    if before and now:
        print(f"the default, {', '.join(NOW)}, less the one before, {', '.join(BEFORE)}, on the reporting films:")
        for name, figure in now.reporting.items():
            print(f"  {name}: {words(paired_difference(figure, before.reporting[name]))}")
        print("all of Hannover, half of which chose: now, before, difference")
        for name, figure in now.all_real.items():
            other = before.all_real[name]
            told = bootstrapped(figure), bootstrapped(other), paired_difference(figure, other)
            print(f"  {name}: " + ", ".join(words(metric) for metric in told))


if __name__ == "__main__":
    main()
