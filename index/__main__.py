"""`python -m index`: what is in an archive and in an index, for those who run them."""

import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import NoReturn

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from index.case import Case, Rejected
from index.cohort import CohortError
from index.denied import DenyListError
from index.exclusions import ExclusionError, Exclusions
from index.intake import Intake
from index.lock import IndexLock
from index.purge import destroy as destroy_index
from index.purge import purge as purge_names
from index.purge import signed
from index.reporting.gathering import Looked, gather, iter_published, published_in_words
from index.reporting.material import COMPLETED, Material, Seen
from index.reporting.published import Published, read_published
from index.reporting.writing import ReportError, prepare_report_folder, write_report
from index.retention import held
from index.retention import prune as clear_away
from index.retention import rollback as go_back
from index.snapshot import SNAPSHOTS, SnapshotError, current_folder
from index.snapshot import verify as verify_snapshot
from index.snapshot_writer import BUILDING
from index.status import status_of
from index.terminal import code_version, progress_bar

SIDE = 320  # pixels: enough to read a scan by; what is reported is told by the stored values
PIPED_WIDTH = 160  # columns of a table that is not shown on a terminal
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


INDEX = click.option(
    "--index", "index", type=click.Path(path_type=Path), required=True, help="The index folder, as for build_index.py."
)


@main.command(epilog="Example: python -m index status --index /srv/likewise")
@INDEX
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout.")
def status(index: Path, as_json: bool) -> None:
    """Which snapshots there are, which is published, who is building."""
    with _refusals():
        told = status_of(index)
    if as_json:
        click.echo(json.dumps(asdict(told)))
        return
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH)
    table = Table("", "snapshot", "built", "scans", "patients", "encoder", "MB", "note", box=SIMPLE_HEAD)
    for one in told.snapshots:
        cells = ("→" if one.is_current else "", one.name, one.created, one.scans, one.patients, one.encoder, f"{one.size_bytes / 1e6:,.0f}", one.note)  # fmt: skip
        table.add_row(*(Text(str(cell)) for cell in cells))
    console.print(table)
    for line in told.lines():
        console.print(line, soft_wrap=True, markup=False)


@main.command(epilog="Example: python -m index verify --index /srv/likewise --all")
@INDEX
@click.option("--snapshot", "name", help="This one instead of the published one.")
@click.option("--all", "every", is_flag=True, help="Every snapshot that is kept.")
def verify(index: Path, name: str | None, every: bool) -> None:
    """Check every file of the published snapshot against its hash, and that cases find themselves."""
    with _refusals():
        folders = [one.path for one in held(index)] if every else [_folder(index, name)]
    failed = 0
    for folder in folders:
        try:
            verify_snapshot(folder)
            click.echo(f"{folder.name}: whole")
        except SnapshotError as error:
            failed += 1
            click.echo(f"{folder.name}: {error}", err=True)
    if failed:
        sys.exit(1)


@main.command(epilog="Example: python -m index rollback --index /srv/likewise")
@INDEX
@click.option("--to", "name", help="This snapshot instead of the one before the published one.")
def rollback(index: Path, name: str | None) -> None:
    """Publish an earlier snapshot again, after verifying it; never one that may hold a purged patient."""
    with _refusals(), _held_lock(index, "rollback"):
        click.echo(f"published {go_back(index, to=name)}")


@main.command(epilog="Example: python -m index prune --index /srv/likewise --keep 2")
@INDEX
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="How many of the newest stay.")
def prune(index: Path, keep: int) -> None:
    """Remove old snapshots; the published one always stays."""
    with _refusals(), _held_lock(index, "prune"):
        removed = clear_away(index, keep=keep)
    click.echo(f"removed {', '.join(removed) or 'nothing'}")


@main.command(
    epilog="Example: python -m index purge --index /srv/likewise --patients withdrawn.txt --reason 'request 17' --out proof.json"
)
@INDEX
@click.option(
    "--patients",
    "names",
    type=click.Path(dir_okay=False, path_type=Path),
    required=True,
    help="A text file of pseudonyms, or UIDs of studies, series or instances, one a line, # for comments.",
)
@click.option("--reason", default="", help="Goes into the proof; no names.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where the proof is written (JSON)."
)
def purge(index: Path, names: Path, reason: str, out: Path) -> None:
    """Remove people from every snapshot, part and preview; running servers leave them out at once, later builds too.

    Backups of the index and the archive itself are not touched. Exit code 1: something of them was still found.
    """
    with _refusals():
        listed = Exclusions.read(names).names
        if not listed:
            raise ExclusionError(f"{names}: names nobody")
        _require_writable(out, index)
        proof = purge_names(index, listed, reason=reason, note=lambda text: click.echo(text, err=True))
        out.write_text(proof.to_json(), encoding="utf-8")
    removed = sum(one.cases_removed for one in proof.snapshots)
    click.echo(
        f"{removed:,} cases removed from {len(proof.snapshots)} snapshots; {proof.occurrences_left} traces left in "
        f"{proof.files_searched} files; wrote {out}"
    )
    if not proof.is_complete:
        _fail("traces of the purged were still found; they are denied, but look at the proof", code=1)


@main.command(epilog="Example: python -m index destroy --index /srv/likewise --certificate destroyed.json --yes")
@INDEX
@click.option(
    "--certificate", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where it is written (JSON)."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(index: Path, certificate: Path, yes: bool) -> None:
    """Remove the index altogether and write the certificate that a data-access agreement asks for."""
    with _refusals():
        _require_writable(certificate, index)
        if not yes:
            click.confirm(f"Remove {index} with all of its snapshots?", abort=True)
        certificate.write_text(signed(destroy_index(index)), encoding="utf-8")
    click.echo(f"{index} is gone; wrote {certificate}")


@contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be done ends in one sentence."""
    try:
        yield
    except (ExclusionError, BadPath) as error:
        _fail(str(error), code=2)
    except (SnapshotError, DenyListError, OSError) as error:
        _fail(str(error), code=1)


class BadPath(Exception):
    """A file of the command line that cannot be used."""


def _require_writable(path: Path, index: Path) -> None:
    """Before anything is removed: the proof can be written, and not into what is removed."""
    if path.resolve().is_relative_to(index.resolve()):
        raise BadPath(f"{path} lies in the index; write it elsewhere")
    try:
        with path.open("a", encoding="utf-8"):
            pass
    except OSError as error:
        raise BadPath(f"{path}: cannot be written ({error.strerror})") from error


@contextmanager
def _held_lock(index: Path, purpose: str) -> Iterator[None]:
    if not (index / SNAPSHOTS).is_dir():
        raise SnapshotError(f"{index}: no index folder")
    with IndexLock(index / BUILDING, purpose=purpose):
        yield


def _folder(index: Path, name: str | None) -> Path:
    if name is None:
        return current_folder(index)
    found = [one.path for one in held(index) if one.path.name == name]
    if not found:
        raise SnapshotError(f"{index}: holds no snapshot {name!r}; see python -m index status")
    return found[0]


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
        code_version=code_version(),
        created=datetime.now(UTC),
    )


def _iter_looks(intake: Intake, cases: Sequence[Case], *, workers: int, console: Console) -> Iterator[Looked]:
    """Each case with what its pixels told, or its rejection; one whose files turn out to be excluded is left out."""
    from build_index import Read, iter_reads  # here, not above: no other command needs the readers of scans

    outcomes = iter_reads(cases, side=SIDE, workers=workers, exclusions=intake.exclusions)
    with progress_bar(console) as progress:
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


def _fail(message: str, *, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m index")
