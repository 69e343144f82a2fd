"""python -m examples.demo --out DIR: make the demonstration archive."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.demo.anatomy import MissingAnatomy
from examples.demo.archive import build_archive
from examples.demo.plan import UNSEEN


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--patients", type=click.IntRange(4), default=96, show_default=True, help="Patients in the archive.")
@click.option("--seed", type=click.IntRange(0), default=7, show_default=True, help="Same seed, same archive.")
@click.option("--workers", type=click.IntRange(1), default=os.cpu_count() or 1, help="Processes; default: one a core.")
def main(out: Path, patients: int, seed: int, workers: int) -> None:
    """Make an archive of virtual patients in NCCID's layout, with the truth in DIR/truth.csv."""
    if out.exists() and any(out.iterdir()):
        _stop(f"{out} already holds something; give --out a new or empty folder.", code=2)
    console = Console(stderr=True)
    columns = TextColumn("Making patients"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("patients", total=patients + len(UNSEEN))
            rows = build_archive(out, patients=patients, seed=seed, workers=workers, progress=lambda: bar.advance(task))
    except MissingAnatomy as missing:
        _stop(f"{str(missing)[:1].upper()}{str(missing)[1:]}.", code=2)
    except OSError as error:
        _stop(f"The archive could not be written: {error}.", code=1)
    console.print(
        f"{len(rows)} films of {patients + len(UNSEEN)} patients are in {out}; truth.csv tells what is in each."
    )


def _stop(sentence: str, *, code: int) -> None:
    click.echo(sentence, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
