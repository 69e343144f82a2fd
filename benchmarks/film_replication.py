"""Does the default signature of a film hold on archives that took no part in choosing it? All of them together, the whole film beside it.

    python -m benchmarks.film_replication ARCHIVE...

Demonstration archives of seeds that `benchmarks.film_signatures` did not see (`python -m examples.demo --out DIR --seed N`). Each is searched
on its own; a figure is the mean over the archives, its interval from resampling the patients of all.
"""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import click
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.film_signatures import (
    BEFORE,
    GRIDS,
    INPUTS,
    NOW,
    Film,
    archive_films,
    everyone,
    maps_of,
    opacities,
    signatures,
    virtual_figures,
    words,
)
from embed.film_lungs import FilmLungFinder
from search.intervals import Figure, Floats, bootstrapped, paired_difference

NAMES = ("side", "severity", "virtual itu")


def mean_of(figures: Sequence[Figure]) -> Figure:
    """The mean of a figure over archives that share no patient."""
    ends = np.cumsum([0, *(len(figure.queries) for figure in figures)])
    first = np.cumsum([0, *(int(figure.patients.max()) + 1 for figure in figures)])

    def of(weight: Floats) -> float:
        parts = pairwise(ends)
        return float(np.mean([figure.of(weight[a:b]) for figure, (a, b) in zip(figures, parts, strict=True)]))

    patients = np.concatenate([figure.patients + start for figure, start in zip(figures, first[:-1], strict=True)])
    asked = np.arange(ends[-1])
    return Figure(figures[0].name, of, asked, patients, float(np.mean([figure.chance for figure in figures])))


def figures_of(films: Sequence[Film], variant: tuple[str, ...]) -> dict[str, Figure]:
    """The figures of one archive's films, signed as `benchmarks.film_signatures` names it."""
    title, side, cells, opacity, centred = variant
    maps = maps_of(films, INPUTS[title], int(side))
    rows = signatures(maps, opacities(films), GRIDS[cells], float(opacity), centred=centred == "yes")
    return virtual_figures(rows, everyone(films))


@click.command(help=__doc__)
@click.argument("archives", nargs=-1, required=True, type=click.Path(path_type=Path, exists=True))
def main(archives: Sequence[Path]) -> None:
    finder = FilmLungFinder()
    each = [archive_films(folder, finder) for folder in archives]
    now, before = ([figures_of(films, variant) for films in each] for variant in (NOW, BEFORE))
    table = Table("archive", *(f"{name}: {which}" for name in NAMES for which in ("default", "whole film")), "chance of the side")  # fmt: skip
    for folder, new, old in zip(archives, now, before, strict=True):
        cells = [words(bootstrapped(figures[name])) for name in NAMES for figures in (new, old)]
        table.add_row(folder.name, *cells, f"{new['side'].chance:.3f}")
    Console(width=220).print(table)
    for name in NAMES:
        pooled, other = (mean_of([figures[name] for figures in which]) for which in (now, before))
        metric, difference = bootstrapped(pooled), paired_difference(pooled, other)
        lift = f", {metric.value / metric.chance:.2f} times chance" if metric.chance else ""
        print(
            f"{name}, all {len(archives)} archives ({metric.patients} patients): {metric.value:.3f} ({metric.low:.3f} to "
            f"{metric.high:.3f}), chance {metric.chance:.3f}{lift}; "
            f"whole film {bootstrapped(other).value:.3f}, difference {words(difference)}"
        )


if __name__ == "__main__":
    main()
