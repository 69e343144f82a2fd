"""The nightly job: read every scan of the cohorts, sign it, and publish the index. The one place that joins embed and index.

Examples:

    python build_index.py --cohort nccid=/data/nccid --index /srv/likewise
    python build_index.py --cohort table=examples/hannover.toml --index /tmp/h --encoder histogram
"""

import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import NoReturn

import click
import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from embed.encoder import DEFAULT_ENCODER, Encoder, EncoderError, load_encoder
from embed.read import ReadRequest, read_request
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.case import Case, Endpoint
from index.catalogue import Archived
from index.cohort import Cohort, CohortError, open_cohort
from index.manifest import IndexManifest
from index.snapshot import Build, Rejected, SnapshotError, SnapshotWriter, prepare_index_folder
from index.store import DEFAULT_STORE, STORES

BATCH = 32  # scans encoded at a time
REJECTED_SHOWN = 20


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
    help="nccid=FOLDER or table=FILE.toml; may be given several times.",
)
@click.option(
    "--index",
    "index",
    type=click.Path(file_okay=False, path_type=Path),
    required=True,
    help="The index folder; made if it is not there.",
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
def main(cohorts: tuple[str, ...], index: Path, encoder_name: str, store: str, workers: int, as_json: bool) -> None:
    """Build the index of one or several cohorts and publish it. A file that cannot be read is listed and left out."""
    started = time.monotonic()
    console = Console(stderr=True)
    try:
        opened = [open_cohort(argument) for argument in cohorts]
        encoder = load_encoder(encoder_name)
        endpoints = _endpoints(opened)
        cases = [case for cohort in opened for case in cohort.iter_cases()]
    except (CohortError, EncoderError) as error:
        _fail(str(error), code=2)
    if not cases:
        _fail(f"{', '.join(cohorts)}: no scans there; expected at least one", code=2)
    build = Build(
        encoder_name, encoder.fingerprint, {c.name: c.source for c in opened}, endpoints, _code_version(), store
    )
    try:
        prepare_index_folder(index)
        manifest, rejected = build_snapshot(cases, encoder, index, build, workers=workers, console=console)
    except (SnapshotError, EncoderError) as error:
        _fail(str(error), code=1)
    _report(console, manifest, rejected, time.monotonic() - started)
    if as_json:
        click.echo(json.dumps(_summary(manifest, rejected, time.monotonic() - started)))


def build_snapshot(
    cases: Sequence[Case], encoder: Encoder, index: Path, build: Build, *, workers: int, console: Console
) -> tuple[IndexManifest, list[Rejected]]:
    """Read, sign and publish `cases`; (the manifest, what was rejected). Raises `SnapshotError`, the current index unchanged."""
    archived: list[Archived] = []
    signatures: list[npt.NDArray[np.float32]] = []
    rejected: list[Rejected] = []
    unique = list(_without_repeated_ids(cases, rejected))
    writer = SnapshotWriter(index)
    try:
        with _progress(console) as progress:
            outcomes = progress.track(
                iter_reads(unique, side=encoder.side, workers=workers),
                total=len(unique),
                description="reading and signing",
            )
            for batch in _batches(outcomes, BATCH):
                read = [outcome for outcome in batch if isinstance(outcome, Read)]
                rejected += [outcome for outcome in batch if isinstance(outcome, Rejected)]
                if read:
                    signatures.append(encoder.encode([entry.scan for entry in read]))
                    archived += [_archived(entry) for entry in read]
                    writer.add_previews((entry.case.case_id, entry.preview) for entry in read)
        if not archived:
            _show_rejected(console, rejected)
            raise SnapshotError(f"none of the {len(cases)} scans could be read; nothing was published")
        manifest = writer.publish(build, archived, np.concatenate(signatures), rejected, seen=len(cases))
    except BaseException:
        writer.discard()
        raise
    return manifest, rejected


def iter_reads(cases: Sequence[Case], *, side: int, workers: int) -> Iterator[Read | Rejected]:
    """Each case's scan or its rejection, in the order of `cases`, read by worker processes that may crash or hang."""
    with IsolatedWorkers(read_request, workers=workers) as pool:
        answers = pool.map(ReadRequest(case.files, side) for case in cases)
        for case, answer in zip(cases, answers, strict=True):
            if isinstance(answer, ScanError):
                yield Rejected(case.case_id, str(case.files[0]), answer.reason, str(answer))
            else:
                yield Read(case, answer.scan, answer.preview)


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
        scan.provenance.sha256,
        tuple(flag.code for flag in scan.provenance.flags),
        pixel_sha256=identity.sha256 if identity else None,
        perceptual_hash=identity.perceptual if identity else None,
    )


def _without_repeated_ids(cases: Iterable[Case], rejected: list[Rejected]) -> Iterator[Case]:
    seen: set[str] = set()
    for case in cases:
        if case.case_id in seen:
            rejected.append(
                Rejected(
                    case.case_id,
                    str(case.files[0]),
                    "repeated-case-id",
                    "another case has the same id; the first one was kept",
                )
            )
        else:
            seen.add(case.case_id)
            yield case


def _endpoints(cohorts: Sequence[Cohort]) -> tuple[Endpoint, ...]:
    """The endpoints of all cohorts, the first title of each name."""
    by_name: dict[str, Endpoint] = {}
    for cohort in cohorts:
        for endpoint in cohort.endpoints:
            by_name.setdefault(endpoint.name, endpoint)
    return tuple(by_name.values())


def _batches(items: Iterable[Read | Rejected], size: int) -> Iterator[list[Read | Rejected]]:
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
        f"{len(rejected):,} rejected, {seconds:.0f} s, encoder {manifest.fingerprint}.",
        soft_wrap=True,
    )


def _show_rejected(console: Console, rejected: Sequence[Rejected]) -> None:
    if not rejected:
        return
    table = Table("reason", "file", "what was wrong", title=f"{len(rejected):,} rejected")
    for entry in rejected[:REJECTED_SHOWN]:
        table.add_row(entry.reason, Path(entry.file).name, entry.message)
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
