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
from index.denied import DenyList, DenyListError
from index.destruction import destroy as destroy_index
from index.exclusions import ExclusionError, Exclusions
from index.folder import BUILDING, is_index
from index.intake import Intake
from index.lock import IndexLock
from index.owners import not_let_in
from index.proof import ProofError, require_writable, write_proof
from index.purge import PurgeReport
from index.purge import purge as purge_names
from index.reporting.gathering import Looked, gather, iter_published, published_in_words
from index.reporting.material import COMPLETED, Material, Seen
from index.reporting.published import Published, read_published
from index.reporting.writing import ReportError, prepare_report_folder, write_report
from index.retention import held, trust_of
from index.retention import prune as clear_away
from index.retention import rollback as go_back
from index.snapshot import CURRENT, SnapshotError, current_folder
from index.snapshot import verify as verify_snapshot
from index.status import status_of
from index.terminal import code_version, progress_bar
from index.traces import Traces

SIDE = 320  # pixels: enough to read a scan by; what is reported is told by the stored values
NAMES_SHOWN, LINES_SHOWN = 5, 20
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
    "--index",
    "index",
    type=click.Path(path_type=Path, readable=False),
    required=True,
    help="The index folder, as for build_index.py.",
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


@main.command(
    epilog="""\b
Examples:
  python -m index verify --index /srv/likewise --all
  python -m index verify --index /srv/likewise --absent /etc/likewise/withdrawn.txt"""
)
@INDEX
@click.option("--snapshot", "name", help="This one instead of the published one.")
@click.option("--all", "every", is_flag=True, help="Every snapshot that is kept.")
@click.option(
    "--absent",
    "names",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Instead: that none of the names in this file, one a line, stands in any file of the index.",
)
def verify(index: Path, name: str | None, every: bool, names: Path | None) -> None:
    """Check every file of the published snapshot against its hash, that cases find themselves, and that it was made with the
    deny-list that the index has.
    """
    if sum((name is not None, every, names is not None)) > 1:
        _fail("--snapshot, --all and --absent exclude each other", code=2)
    with _refusals():
        if names:
            _verify_absent(index, names)
            return
        denied = DenyList.read(index)
        folders = [one.path for one in held(index)] if every else [_folder(index, name)]
        if not folders:
            raise SnapshotError(f"{index}: holds no snapshot")
    failed = 0
    for folder in folders:
        try:
            doubt = trust_of(verify_snapshot(folder).manifest, denied)
            click.echo(f"{folder.name}: whole" + (f", but {doubt}" if doubt else ""), err=bool(doubt))
            failed += bool(doubt)
        except SnapshotError as error:
            failed += 1
            click.echo(f"{folder.name}: {error}", err=True)
    if failed:
        sys.exit(1)


def _verify_absent(index: Path, names: Path) -> None:
    """Exits with code 1 where one of the names stands in a file of the index, or a file cannot be searched."""
    _require_index(index)
    listed = _listed(names).names
    found = Traces(listed).search(index)
    for file, count in found.where.items():
        click.echo(f"{file}: {count} of the names stand in it", err=True)
    if found.names:
        _fail(f"{len(found.names)} of {len(listed)} names stand in the index", code=1)
    click.echo(
        f"none of {len(listed)} names stands in any of {found.files:,} files, those of {len(held(index))} snapshots"
    )


@main.command(epilog="Example: python -m index rollback --index /srv/likewise")
@INDEX
@click.option("--to", "name", help="This snapshot instead of the one before the published one.")
def rollback(index: Path, name: str | None) -> None:
    """Publish an earlier snapshot again, after verifying it; never one that may hold a purged patient."""
    with _refusals(), _held_lock(index, "rollback"):
        _require_owner(index)
        click.echo(f"published {go_back(index, to=name)}")


@main.command(epilog="Example: python -m index prune --index /srv/likewise --keep 2")
@INDEX
@click.option("--keep", type=click.IntRange(1), default=3, show_default=True, help="How many of the newest stay.")
def prune(index: Path, keep: int) -> None:
    """Remove old snapshots; the published one always stays."""
    with _refusals(), _held_lock(index, "prune"):
        removed = clear_away(index, keep=keep)
        left = len(held(index))
    more = f"; --keep {left - 1} would remove one more" if not removed and left > 1 and keep > 1 else ""
    click.echo(f"removed {', '.join(removed) or 'nothing'}; {left} left{more}")


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

    Backups of the index and the archive itself are not touched. Exit code 1: not complete, and the message says whether they are denied
    already; run it again.
    """
    with _refusals():
        listed = _listed(names)
        if out.exists():
            raise ProofError(f"{out}: is there already, perhaps the proof of an earlier purge; give another name")
        require_writable(out, index)
        _require_index(index)
        _require_owner(index)
        proof = purge_names(index, listed.names, reason=reason, note=lambda text: click.echo(text, err=True))
        _tell_who_was_nobody(proof, DenyList.read(index), listed)
        try:
            write_proof(out, proof.to_json())
        except ProofError as error:
            click.echo(proof.to_json())
            _fail(f"{error}, and stands above instead: keep it. The purge itself is done", code=1)
    click.echo(f"{_removed(proof)}; {proof.occurrences_left} traces left in {proof.files_searched} files; wrote {out}")
    if not proof.is_complete:
        for file, count in proof.occurrences_in.items():
            click.echo(f"{file}: {count} traces", err=True)
        _fail("traces of the purged were still found; they are denied, but look at the proof", code=1)


def _removed(proof: PurgeReport) -> str:
    touched = [one for one in proof.snapshots if one.cases_removed or one.rejected_removed]
    scans = f"{_counted(proof.patients_removed, 'patient')} with {_counted(proof.scans_removed, 'scan')}"
    files = f" and {_counted(proof.files_rejected_removed, 'rejected file')}" if proof.files_rejected_removed else ""
    if not touched:
        read = _counted(len(proof.snapshots) - proof.unread, "snapshot")
        return f"nobody of them was in any of {read}{' that could be read' if proof.unread else ''}"
    return f"removed {scans}{files}, from {len(touched)} of {_counted(len(proof.snapshots), 'snapshot')}"


def _tell_who_was_nobody(proof: PurgeReport, denied: DenyList, listed: Exclusions) -> None:
    """Names that no snapshot held are said, for one may be misspelt; never in silence, never by name."""
    if proof.unread:
        said = f"{_counted(proof.unread, 'snapshot')} could not be read and went whole; whether a name was in it cannot be said"
        click.echo(f"Mind: {said}", err=True)
    lines = sorted(number for name, number in listed.lines.items() if denied.digest(name) in proof.digests_of_nobody)
    if not lines:
        return
    which = ", ".join(map(str, lines[:LINES_SHOWN])) + (", …" if len(lines) > LINES_SHOWN else "")
    before = f" ({proof.denied_before} of all were denied before)" if proof.denied_before else ""
    click.echo(
        f"Mind: {len(lines)} of {_counted(proof.names, 'name')} {'is' if len(lines) == 1 else 'are'} of nobody in any snapshot{before}; "
        f"denied all the same. Look for slips of the pen in line {which}",
        err=True,
    )


def _counted(number: int, what: str) -> str:
    return f"{number:,} {what}" + ("" if number == 1 else "s")


@main.command(epilog="Example: python -m index destroy --index /srv/likewise --certificate destroyed.json --yes")
@INDEX
@click.option(
    "--certificate", type=click.Path(dir_okay=False, path_type=Path), required=True, help="Where it is written (JSON)."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
def destroy(index: Path, certificate: Path, yes: bool) -> None:
    """Remove the index altogether and write the certificate that a data-access agreement asks for.

    The certificate is on the disk before anything is removed, and completed afterwards. Where that was interrupted, run the same again.
    """
    with _refusals():
        require_writable(certificate, index)
        if not yes:
            click.confirm(f"Remove {index.resolve()} with all of its snapshots?", abort=True)
        told = destroy_index(index, certificate)
    click.echo(f"the index in {told.folder} is gone; wrote {certificate}")
    if told.foreign:
        there = ", ".join(told.foreign[:NAMES_SHOWN]) + (", …" if len(told.foreign) > NAMES_SHOWN else "")
        click.echo(f"Mind: {told.folder} holds what is no index's, and that was left: {there}", err=True)
    elif told.is_folder_left:
        click.echo(f"Mind: the empty folder {told.folder} stays; it is a mount point, or not yours to remove", err=True)


@contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be done ends in one sentence."""
    try:
        yield
    except (ExclusionError, ProofError, BadUse) as error:
        _fail(str(error), code=2)
    except PermissionError as error:
        where = Path(str(error.filename or "."))
        _fail(f"{where}: {not_let_in(where)}", code=1)
    except (SnapshotError, DenyListError, OSError) as error:
        _fail(str(error), code=1)


class BadUse(Exception):
    """A file of the command line, or a user, with whom the command must not be run."""


def _listed(names: Path) -> Exclusions:
    listed = Exclusions.read(names)
    if not listed.names:
        raise ExclusionError(f"{names}: names nobody")
    return listed


def _require_index(index: Path) -> None:
    if not is_index(index):
        raise SnapshotError(f"{index}: {'no index' if index.is_dir() else 'no such'} folder")


def _require_owner(index: Path) -> None:
    """What root writes, the build's user could not read or replace. Raises `BadUse`."""
    if os.geteuid() == 0 and index.stat().st_uid != 0:
        owner = index.owner()
        raise BadUse(f"{index} belongs to {owner}, who could not read what root writes there; run this as {owner}")


@contextmanager
def _held_lock(index: Path, purpose: str) -> Iterator[None]:
    _require_index(index)
    with IndexLock(index / BUILDING, purpose=purpose):
        yield


def _folder(index: Path, name: str | None) -> Path:
    if name is None:
        there = [] if (index / CURRENT).exists() else held(index)
        if there:
            raise SnapshotError(
                f"{index}: nothing is published: CURRENT is missing, though {_counted(len(there), 'snapshot')} lie there; "
                f"`python -m index rollback --index {index} --to {there[0].path.name}` publishes that one after verifying it"
            )
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
