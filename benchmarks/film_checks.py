"""How often what `embed.film` sees of a film is wrong: real and virtual films as they are, inverted, turned and mirrored.

    python -m benchmarks.film_checks [ARCHIVE of `make demo`, build/demo/archive]

All Hannover films are frontal, upright and unmirrored; two of three of their patients were seen by the lung finder's training, so
they are counted apart from those that were held out. The archive's truth.csv knows the views of its films.
"""

import csv
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from embed.film import look_at_film
from embed.read import read_scan
from embed.scan import Pixels
from examples.lungs.real_films import held_out_patients

SIDE = 448
HANNOVER = Path(__file__).parents[2] / "shared" / "data" / "hannover"
FRONTAL = ("PA", "AP")
FLAGS = ("no-lungs", "not-frontal", "polarity-doubtful", "turned", "mirrored")
CHANGES: dict[str, tuple[Callable[[Pixels], Pixels], set[str]]] = {
    "as it is": (lambda grey: grey, set()),
    "inverted": (lambda grey: 1 - grey, {"polarity-doubtful"}),
    "a quarter turn": (lambda grey: np.rot90(grey), {"turned"}),
    "mirrored": (lambda grey: grey[:, ::-1], {"mirrored"}),
}


@dataclass(frozen=True, eq=False)
class Film:
    grey: Pixels  # (rows, columns), 0 to 1
    group: str
    frontal: bool


def main(archive: Path) -> None:
    films = [*iter_hannover(), *iter_archive(archive)]
    table = Table("films", "number", *FLAGS, "not flagged as wanted", title="flags raised by looking at the picture")
    for group in dict.fromkeys(film.group for film in films):
        for change, (apply, wanted) in CHANGES.items():
            found = [(film, codes_of(apply(film.grey))) for film in films if film.group == group]
            wrong = sum(not is_right(codes, film, wanted) for film, codes in found)
            counts = [str(sum(flag in codes for _, codes in found)) for flag in FLAGS]
            table.add_row(f"{group}, {change}", str(len(found)), *counts, f"{wrong} ({wrong / len(found):.0%})")
    Console(width=140).print(table)


def codes_of(grey: Pixels) -> set[str]:
    film = look_at_film(np.ascontiguousarray(grey), view=None, oriented=False, stored_shape=(SIDE, SIDE))
    return {flag.code for flag in film.flags} & set(FLAGS)


def is_right(codes: set[str], film: Film, wanted: set[str]) -> bool:
    """Of a frontal film, just the flags that are wanted; of any other, that no lungs are found."""
    return codes == wanted if film.frontal else "no-lungs" in codes


def iter_hannover() -> Iterator[Film]:
    with (HANNOVER / "data.csv").open(newline="", encoding="utf-8") as table:
        rows = list(csv.DictReader(table))
    held_out = held_out_patients({row["patient_id"] for row in rows})
    for row in sorted(rows, key=lambda row: row["patient_id"] in held_out):
        grey = read_scan(HANNOVER / "png" / f"{row['image_id']}.png", side=SIDE).pixels[0]
        yield Film(
            grey, "Hannover, held out" if row["patient_id"] in held_out else "Hannover, trained on", frontal=True
        )


def iter_archive(archive: Path) -> Iterator[Film]:
    if not (archive / "truth.csv").is_file():
        raise SystemExit(f"{archive / 'truth.csv'} is missing; run `make demo`, or name the folder of its archive")
    with (archive / "truth.csv").open(newline="", encoding="utf-8") as table:
        rows = sorted(csv.DictReader(table), key=lambda row: row["view"] not in FRONTAL)
    for row in rows:
        frontal = row["view"] in FRONTAL
        grey = read_scan(archive / row["file"], side=SIDE).pixels[0]
        yield Film(grey, "demo frontal" if frontal else "demo lateral", frontal=frontal)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("build/demo/archive"))
