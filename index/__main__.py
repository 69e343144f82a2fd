"""`python -m index`: what is in an archive and in an index, for those who run them."""

import os
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from index.case import Case, Rejected
from index.cohort import CohortError
from index.exclusions import ExclusionError, Exclusions
from index.intake import Intake
from index.reporting.gathering import Looked, gather, iter_published, published_in_words
from index.reporting.material import COMPLETED, Material, Seen
from index.reporting.published import Published, read_published
from index.reporting.writing import ReportError, prepare_report_folder, write_report
from index.snapshot import SnapshotError

SIDE = 320  # pixels: enough to read a scan by; what is reported is told by the stored values
BAD_INPUT = (CohortError, ExclusionError, SnapshotError)


@click.group()
def main() -> None:
    """Archives and indexes, for those who run them."""


@main.command(
    epilog="""\b
Examples:
  python -m index report --cohort nccid=/data/nccid --index /srv/likewise --out /tmp/quality
  python -m index report --cohort table=examples/hannover.toml --out /tmp/hannover
  python -m index report --cohort nccid=/data/nccid --no-pixels --out /tmp/records"""
)
@click.option(
    "--cohort",
    "cohorts",
    multiple=True,
    required=True,
    metavar="READER=PATH",
    help="nccid=FOLDER or table=FILE.toml; may be given several times.",
)
@click.option(
    "--index",
    "index",
    type=click.Path(path_type=Path),
    default=None,
    help="Take what pixels tell from this index, instead of reading every scan.",
)
@click.option("--no-pixels", is_flag=True, help="Report the records only: no scan is read.")
@click.option(
    "--exclude",
    "exclusion_list",
    type=click.Path(path_type=Path),
    default=None,
    help="Who and what to leave out, as for build_index.py.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    required=True,
    help="Folder for report.html and its numbers as Parquet; made if it is not there.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes that read scans.",
)
def report(
    cohorts: tuple[str, ...], index: Path | None, no_pixels: bool, exclusion_list: Path | None, out: Path, workers: int
) -> None:
    """How complete and how consistent an archive is: one HTML page, and the same numbers as Parquet.

    The page needs no network. It names no patient; duplicates.parquet does.
    """
    if index and no_pixels:
        _fail("--index and --no-pixels exclude each other: an index is asked for what pixels tell", code=2)
    console = Console(stderr=True)
    try:
        published = read_published(index) if index else None
        exclusions = Exclusions.read(exclusion_list) if exclusion_list else Exclusions()
        with console.status("reading the records"):
            intake = Intake(cohorts, exclusions)
            cases, refused = intake.taken()
        if not intake.seen:
            raise CohortError(f"{', '.join(cohorts)}: no scans there; expected at least one")
        prepare_report_folder(out)
    except (*BAD_INPUT, ReportError) as error:
        _fail(str(error), code=2)
    if published and published.exclusions != (exclusions.sha256 or ""):
        click.echo(
            "Warning: the index was built with another exclusion list than this report; is --exclude missing?", err=True
        )
    material = _material(intake, cases, refused, published, no_pixels=no_pixels, workers=workers, console=console)
    try:
        page = write_report(material, out)
    except ReportError as error:
        _fail(str(error), code=1)
    click.echo(f"wrote {page}", err=True)


def _material(
    intake: Intake,
    cases: Sequence[Case],
    refused: Sequence[Rejected],
    published: Published | None,
    *,
    no_pixels: bool,
    workers: int,
    console: Console,
) -> Material:
    if published:
        scans, rejected = gather(intake, refused, iter_published(cases, published))
        pixels = published_in_words(published, scans, rejected)
    elif no_pixels:
        scans, rejected = gather(intake, refused, ((case, None) for case in cases))
        pixels = "No scan was read (--no-pixels): what only pixels or the scans' own headers tell is missing here."
    else:
        scans, rejected = gather(intake, refused, _iter_looks(intake, cases, workers=workers, console=console))
        pixels = "Every scan was read for this report."
    left_out = intake.excluded + len(cases) - len(scans)
    if intake.exclusions.sha256:
        pixels += f" The exclusion list covered {left_out:,} scans, which are not counted anywhere here."
    return Material(
        cohorts=intake.cohorts,
        endpoints=tuple(endpoint.name for endpoint in intake.endpoints),
        scans=scans,
        rejected=rejected,
        counts=intake.counts,
        pixels=pixels,
        pixels_read=not no_pixels,
        code_version=_code_version(),
        created=datetime.now(UTC),
    )


def _iter_looks(intake: Intake, cases: Sequence[Case], *, workers: int, console: Console) -> Iterator[Looked]:
    """Each case with what its pixels told, or its rejection; one whose files turn out to be excluded is left out."""
    from build_index import Read, iter_reads  # here, not above: no other command needs the readers of scans

    outcomes = iter_reads(cases, side=SIDE, workers=workers, exclusions=intake.exclusions)
    with _progress(console) as progress:
        counted = progress.track(outcomes, total=len(cases), description="reading scans")
        for case, outcome in zip(cases, counted, strict=True):
            if isinstance(outcome, Read):
                scan = outcome.scan
                stated = {"modality": scan.modality, "view": scan.view}
                known = {name: stated.get(name) or getattr(scan.header, name, None) for name in COMPLETED}
                flags = tuple(flag.code for flag in scan.provenance.flags)
                yield case, Seen(known, flags, scan.identity.exact if scan.identity else None)
            elif isinstance(outcome, Rejected):
                yield case, outcome


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _code_version() -> str:
    try:
        return version("likewise")
    except PackageNotFoundError:
        return "unknown"


def _fail(message: str, *, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m index")
