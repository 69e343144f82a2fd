"""python -m examples.nccid --out DIR: write an archive in NCCID's layout, dirt and all, with its truth beside it."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from examples.nccid.archive import TRUTH, write_archive
from examples.nccid.options import TREES, Options

_DEFAULT = Options()
_DAY = click.DateTime(["%Y-%m-%d"])
_SHARE = click.FloatRange(0, 1)


@click.command()
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), required=True, help="A new or empty folder.")
@click.option("--patients", type=click.IntRange(1), default=_DEFAULT.patients, show_default=True)
@click.option(
    "--centres",
    type=click.IntRange(1),
    default=_DEFAULT.centres,
    show_default=True,
    help="The first six are those whose units are published.",
)
@click.option(
    "--seed", type=click.IntRange(0), default=_DEFAULT.seed, show_default=True, help="Same seed, same archive."
)
@click.option(
    "--dirt", type=_SHARE, default=_DEFAULT.dirt, show_default=True, help="Share of cells not written plainly."
)
@click.option(
    "--first",
    type=_DAY,
    default=str(_DEFAULT.first),
    show_default=True,
    help="First day of infections; films go back three years before.",
)
@click.option("--last", type=_DAY, default=str(_DEFAULT.last), show_default=True, help="Last day of infections.")
@click.option(
    "--tree",
    "trees",
    type=click.Choice(TREES),
    multiple=True,
    default=TREES,
    help="Modality trees to write; several times. Default: all.",
)
@click.option("--metadata/--no-metadata", default=True, show_default=True, help="Metadata JSON beside the images.")
@click.option("--training/--no-training", default=True, show_default=True, help="training/xray or xray.")
@click.option(
    "--positive",
    type=_SHARE,
    default=_DEFAULT.positive_share,
    show_default=True,
    help="Share of patients with a full record.",
)
@click.option("--broken", type=_SHARE, default=_DEFAULT.broken_share, show_default=True, help="Share of damaged files.")
@click.option(
    "--unpaired",
    type=_SHARE,
    default=_DEFAULT.unpaired_share,
    show_default=True,
    help="Share of patients without images or without a clinical file.",
)
@click.option(
    "--side",
    type=click.IntRange(0, 4096),
    default=_DEFAULT.side,
    show_default=True,
    help="Pixels a side; 0 writes headers alone.",
)
def main(
    out: Path,
    patients: int,
    centres: int,
    seed: int,
    dirt: float,
    first: datetime,
    last: datetime,
    trees: tuple[str, ...],
    metadata: bool,
    training: bool,
    positive: float,
    broken: float,
    unpaired: float,
    side: int,
) -> None:
    """Write an archive of invented patients in NCCID's layout; DIR/truth.parquet holds the expected value of every field."""
    if out.exists() and any(out.iterdir()):
        _stop(f"{out} already holds something; give --out a new or empty folder.", code=2)
    if last < first:
        _stop(f"--last {last:%Y-%m-%d} lies before --first {first:%Y-%m-%d}.", code=2)
    options = Options(
        patients, centres, seed, dirt, first.date(), last.date(), trees, metadata, training, positive, broken, unpaired, side
    )  # fmt: skip
    console = Console(stderr=True)
    columns = TextColumn("Writing patients"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    try:
        with Progress(*columns, console=console) as bar:
            task = bar.add_task("patients", total=patients)
            done = write_archive(out, options, progress=lambda: bar.advance(task))
    except OSError as error:
        _stop(f"The archive could not be written: {error}.", code=1)
    console.print(
        f"{len(done.rows)} scans of {patients} patients are in {out}; {TRUTH} tells what a reader should find of each."
    )


def _stop(sentence: str, *, code: int) -> None:
    click.echo(sentence, err=True)
    sys.exit(code)


if __name__ == "__main__":
    main()
