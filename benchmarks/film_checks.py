"""How often embed.quality's flags are wrong: on the Hannover films and the demonstration archive's, as they are and inverted.

    python -m benchmarks.film_checks [ARCHIVE of `make demo`, build/demo/archive]

All Hannover films are frontal and upright in polarity; the archive's truth.csv knows the views of its own.
"""

import csv
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from embed.quality import doubts
from embed.read import read_scan
from embed.scan import Pixels

SIDE = 448
HANNOVER = Path(__file__).parents[2] / "shared" / "data" / "hannover"
FRONTAL = ("PA", "AP")
NOT_FRONTAL, POLARITY = "not-frontal", "polarity-doubtful"


@dataclass(frozen=True, eq=False)
class Film:
    grey: Pixels  # (rows, columns), 0 to 1
    group: str
    frontal: bool

    def codes(self, *, inverted: bool) -> set[str]:
        shown = 1 - self.grey if inverted else self.grey
        return {flag.code for flag in doubts(shown, stored_shape=(SIDE, SIDE))}


def main(archive: Path) -> None:
    films = [*iter_hannover(), *iter_archive(archive)]
    table = Table(
        "films", "number", NOT_FRONTAL, POLARITY, "wrong", title="flags raised, and how many films got a wrong answer"
    )
    for group in dict.fromkeys(film.group for film in films):
        of_group = [film for film in films if film.group == group]
        for inverted in (False, True):
            found = [film.codes(inverted=inverted) for film in of_group]
            wrong = sum(
                codes & {NOT_FRONTAL, POLARITY} != expected(film, inverted=inverted)
                for film, codes in zip(of_group, found, strict=True)
            )
            table.add_row(
                f"{group}, inverted" if inverted else group,
                str(len(found)),
                str(sum(NOT_FRONTAL in codes for codes in found)),
                str(sum(POLARITY in codes for codes in found)),
                f"{wrong} ({wrong / len(found):.0%})",
            )
    Console().print(table)


def expected(film: Film, *, inverted: bool) -> set[str]:
    """The flags that a flawless check would raise; the polarity of a lateral is not judged."""
    if not film.frontal:
        return {NOT_FRONTAL}
    return {POLARITY} if inverted else set()


def iter_hannover() -> Iterator[Film]:
    for path in sorted((HANNOVER / "png").glob("*.png")):
        yield Film(read_scan(path, side=SIDE).pixels[0], "Hannover frontal", frontal=True)


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
