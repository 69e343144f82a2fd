"""The nightly job: read every scan of the cohorts, sign it, and publish the index. The one place that joins embed and index.

Examples:

    python build_index.py --cohort nccid=/data/nccid --index /srv/likewise
    python build_index.py --cohort table=examples/hannover.toml --index /tmp/h --encoder histogram
"""

import json
import os
import signal
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice, tee
from pathlib import Path
from typing import NoReturn

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from embed.encoder import DEFAULT_ENCODER, Encoder, EncoderError, load_encoder
from embed.read import ReadRequest, read_request
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.case import Case, Rejected
from index.catalogue import Archived
from index.cohort import CohortError
from index.exclusions import NO_EXCLUSIONS, ExclusionError, Exclusions
from index.intake import Intake, take_in
from index.local_copies import LocalCopies, LocalCopy
from index.manifest import IndexManifest
from index.snapshot import SnapshotError
from index.snapshot_writer import Build, SnapshotWriter, prepare_index_folder
from index.store import DEFAULT_STORE, STORES

BATCH = 32  # scans encoded at a time
REJECTED_SHOWN = 20


class Stopped(BaseException):
    """Ctrl-C or SIGTERM: the build is given up, what it wrote is removed."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number  # as shells report it


@dataclass(frozen=True, eq=False)
class Read:
    """A case whose scan could be read."""

    case: Case
    scan: Scan
    preview: bytes


@click.command(epilog="Example: python build_index.py --cohort table=examples/hannover.toml --index /tmp/h")
@click.option(
    "--cohort",
    "cohorts",
    multiple=True,
    required=True,
    metavar="READER=PATH",
    help="nccid=FOLDER, nccid=s3://BUCKET/PREFIX or table=FILE.toml; may be given several times.",
)
@click.option(
    "--index",
    "index",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The index folder; made if it is not there.",
)
@click.option(
    "--exclude",
    "exclusion_list",
    type=click.Path(dir_okay=False, path_type=Path),
    help="A text file of withdrawn pseudonyms and study, series or instance UIDs, one a line, # for comments.",
)
@click.option(
    "--encoder",
    "encoder_name",
    default=DEFAULT_ENCODER,
    show_default=True,
    help="As `python -m embed encoders` lists them.",
)
@click.option(
    "--store",
    type=click.Choice(sorted(STORES)),
    default=DEFAULT_STORE,
    show_default=True,
    help="How vectors are searched.",
)
@click.option(
    "--workers",
    type=click.IntRange(1),
    default=os.cpu_count() or 1,
    show_default=True,
    help="Processes that read scans.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document on stdout.")
def main(
    cohorts: tuple[str, ...],
    index: Path,
    exclusion_list: Path | None,
    encoder_name: str,
    store: str,
    workers: int,
    as_json: bool,
) -> None:
    """Build the index of one or several cohorts and publish it. A file that cannot be read is listed and left out."""
    started = time.monotonic()
    console = Console(stderr=True)
    try:
        with _signals_raise():
            intake, encoder = _opened(cohorts, encoder_name, exclusion_list)
            build = Build(
                _absolute(encoder_name),
                encoder.fingerprint,
                intake.cohorts,
                intake.endpoints,
                _code_version(),
                store,
                intake.counts,
                intake.exclusions.sha256 or "",
            )
            prepare_index_folder(index)
            manifest, rejected = build_snapshot(intake, encoder, index, build, workers=workers, console=console)
    except (SnapshotError, EncoderError) as error:
        _fail(str(error), code=1)
    except Stopped as stopped:
        _fail("stopped; the published index is as it was", code=stopped.exit_code)
    _report(console, manifest, rejected, time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(_summary(manifest, rejected, time.monotonic() - started)))


def build_snapshot(
    intake: Intake, encoder: Encoder, index: Path, build: Build, *, workers: int, console: Console
) -> tuple[IndexManifest, list[Rejected]]:
    """Read, sign and publish the cases; (the manifest, what was rejected). Raises `SnapshotError`, the current index unchanged."""
    archived: list[Archived] = []
    signatures: list[npt.NDArray[np.float32]] = []
    rejected = list(intake.rejected)
    excluded = intake.excluded
    writer = SnapshotWriter(index)
    try:
        with _progress(console) as progress:
            outcomes = progress.track(
                iter_reads(intake.cases, side=encoder.side, workers=workers, exclusions=intake.exclusions),
                total=len(intake.cases),
                description="reading and signing",
            )
            for batch in _batches(outcomes, BATCH):
                read = [outcome for outcome in batch if isinstance(outcome, Read)]
                rejected += [outcome for outcome in batch if isinstance(outcome, Rejected)]
                excluded += sum(outcome is None for outcome in batch)
                if read:
                    signatures.append(encoder.encode([entry.scan for entry in read]))
                    archived += [_archived(entry) for entry in read]
                    writer.add_previews((entry.case.case_id, entry.preview) for entry in read)
        if not archived:
            _show_rejected(console, rejected)
            raise SnapshotError(f"none of the {intake.seen} scans could be read; nothing was published")
        manifest = writer.publish(
            build, archived, np.concatenate(signatures), rejected, seen=intake.seen, excluded=excluded
        )
    except BaseException:
        writer.discard()
        raise
    return manifest, rejected


def iter_reads(
    cases: Sequence[Case], *, side: int, workers: int, exclusions: Exclusions = NO_EXCLUSIONS
) -> Iterator[Read | Rejected | None]:
    """Each case's scan or its rejection, in the order of `cases`; None for one whose files turn out to be excluded.

    Files of a bucket are copied here for as long as they are read. Worker processes read, which may crash or hang.
    """
    with LocalCopies() as copies, IsolatedWorkers(read_request, workers=workers) as pool:
        decided = (
            (copy, _is_read(copy, exclusions)) for copy in copies.of(cases)
        )  # once: folders may change meanwhile
        asked, returned = tee(decided)
        answers = pool.map(ReadRequest(copy.paths, side) for copy, is_read in asked if is_read)
        for copy, is_read in returned:
            case = copy.case
            if copy.error:
                yield Rejected.of(case, "unreachable", f"could not be fetched ({copy.error}); run the build again")
            elif not is_read:
                yield None
            else:
                answer = next(answers)
                copy.remove()
                if isinstance(answer, ScanError):
                    yield Rejected.of(case, answer.reason, str(answer))
                elif exclusions.cover_any(_identifiers(answer.scan)):
                    yield None
                else:
                    yield Read(case, answer.scan, answer.preview)


def _is_read(copy: LocalCopy, exclusions: Exclusions) -> bool:
    """Whether it is there, and no file of it is excluded by its name: a CT study is left out whole for one slice."""
    return not copy.error and not (exclusions.names and exclusions.cover_any(copy.names()))


def _identifiers(scan: Scan) -> tuple[str | None, ...]:
    header = scan.header
    return header.patient_id, header.study_uid, header.series_uid, header.instance_uid


def _archived(entry: Read) -> Archived:
    """The case as it is indexed: what the cohort did not know is taken from the scan."""
    case, scan = entry.case, entry.scan
    completed = replace(
        case,
        modality=case.modality or scan.modality,
        view=case.view or scan.view,
        scan_date=case.scan_date or scan.header.scan_date,
        age_years=case.age_years if case.age_years is not None else scan.header.age_years,
        sex=case.sex or scan.header.sex,
        manufacturer=case.manufacturer or scan.header.manufacturer,
        scanner=case.scanner or scan.header.scanner,
    )
    identity = scan.identity
    return Archived(
        completed,
        scan.kind,
        scan.provenance.file_hash,
        tuple(flag.code for flag in scan.provenance.flags),
        pixel_hash=identity.exact if identity else None,
        perceptual_hash=identity.perceptual if identity else None,
    )


def _opened(cohorts: Sequence[str], encoder_name: str, exclusion_list: Path | None) -> tuple[Intake, Encoder]:
    """What a wrong command line would spoil; it is refused before any work."""
    try:
        encoder = load_encoder(encoder_name)
        exclusions = Exclusions.read(exclusion_list) if exclusion_list else NO_EXCLUSIONS
        intake = take_in(cohorts, exclusions)
    except (CohortError, EncoderError, ExclusionError) as error:
        _fail(str(error), code=2)
    if not intake.seen:
        left = f" but {intake.excluded} excluded ones" if intake.excluded else ""
        _fail(f"{', '.join(cohorts)}: no scans there{left}; expected at least one", code=2)
    return intake, encoder


def _absolute(encoder_name: str) -> str:
    """The encoder's name for the manifest, by which it is found from any folder: `onnx:PATH` with an absolute path."""
    key, colon, path = encoder_name.partition(":")
    return f"{key}:{Path(path).resolve()}" if colon else encoder_name


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Ctrl-C and SIGTERM raise `Stopped` meanwhile, unless whoever started us had them ignored (nohup)."""

    def stop(number: int, _: object) -> NoReturn:
        raise Stopped(number)

    heeded = [number for number in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, stop) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _batches(items: Iterable[Read | Rejected | None], size: int) -> Iterator[list[Read | Rejected | None]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _progress(console: Console) -> Progress:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=console, disable=not console.is_terminal)


def _report(console: Console, manifest: IndexManifest, rejected: Sequence[Rejected], seconds: float) -> None:
    _show_rejected(console, rejected)
    indexed = sum(manifest.cases.values())
    console.print(
        f"Published {manifest.name}: {indexed:,} of {manifest.seen:,} scans of {manifest.patients:,} patients, "
        f"{len(rejected):,} rejected, {manifest.excluded:,} excluded, {seconds:.0f} s, encoder {manifest.fingerprint}.",
        soft_wrap=True,
    )
    for what, count in manifest.counts.items():
        console.print(f"{count:,} {what}", soft_wrap=True)


def _show_rejected(console: Console, rejected: Sequence[Rejected]) -> None:
    if not rejected:
        return
    table = Table("reason", "file", "what was wrong", title=f"{len(rejected):,} rejected")
    for entry in rejected[:REJECTED_SHOWN]:
        cells = (entry.reason, Path(entry.file).name, entry.message)
        table.add_row(*(Text(cell) for cell in cells))  # a plain str is markup: "[x].png" would vanish
    console.print(table)
    if len(rejected) > REJECTED_SHOWN:
        console.print(f"… and {len(rejected) - REJECTED_SHOWN:,} more, all in the snapshot's rejected.parquet")


def _summary(manifest: IndexManifest, rejected: Sequence[Rejected], seconds: float) -> dict[str, object]:
    return {
        "snapshot": manifest.name,
        "encoder": manifest.fingerprint,
        "seen": manifest.seen,
        "cases": manifest.cases,
        "patients": manifest.patients,
        "rejected": manifest.rejected,
        "excluded": manifest.excluded,
        "counts": manifest.counts,
        "rejected_files": [vars(entry) for entry in rejected],
        "seconds": round(seconds, 1),
    }


def _code_version() -> str:
    try:
        return version("likewise")
    except PackageNotFoundError:
        return "unknown"


def _fail(message: str, *, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python build_index.py")
