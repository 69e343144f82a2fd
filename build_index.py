"""The nightly job: read every scan of the cohorts that is new or changed, sign it, and publish the index.

The one place that joins embed and index.

Examples:

    python build_index.py --cohort nccid=/data/nccid --index /srv/likewise
    python build_index.py --cohort table=examples/hannover.toml --index /tmp/h --encoder histogram
    python build_index.py --cohort nccid=/data/nccid --index /srv/likewise --dry-run
"""

import json
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from itertools import islice, tee
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NoReturn

import click
import pyarrow as pa
from rich.console import Console
from rich.table import Table
from rich.text import Text

from embed.encoder import DEFAULT_ENCODER, Encoder, EncoderError, load_encoder
from embed.file_hash import file_hash
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.build_report import BuildOutcome, BuildReport
from index.building import Building, BuildOptions
from index.case import Case, Rejected
from index.checks import Limits
from index.cohort import CohortError
from index.events import EventLog
from index.exclusions import NO_EXCLUSIONS, ExclusionError, Exclusions
from index.intake import Intake
from index.local_copies import LocalCopies, LocalCopy
from index.lock import LockedError
from index.manifest import IndexManifest
from index.metrics import write_failure, write_metrics
from index.morning import failure_report, morning_report, published_name, write_page
from index.readings import Facts, Reading
from index.snapshot import SnapshotError
from index.snapshot_writer import Build
from index.spool import Planned
from index.stock import Stock
from index.store import DEFAULT_STORE, STORES
from index.terminal import code_version, progress_bar

BATCH = 32  # scans encoded at a time
REJECTED_SHOWN = 20
GOES_ON = "what was read is kept, and the same command goes on from there"
IS_LOCKED = os.EX_TEMPFAIL  # the exit code of a build that found another one at work


class Stopped(BaseException):
    """Ctrl-C or SIGTERM: the build is given up; what it read in whole parts is used by the next."""

    def __init__(self, number: int) -> None:
        self.exit_code = 128 + number  # as shells report it
        self.name = "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


class WrongUseError(Exception):
    """A command line that cannot be followed; nothing was begun. Its cause is the error that shows it."""


@dataclass(frozen=True, eq=False)
class Read:
    """A case whose scan could be read."""

    case: Case
    scan: Scan
    preview: bytes


@dataclass(frozen=True)
class Told:
    """Where a build says what it does, beside the terminal."""

    console: Console
    events: EventLog
    metrics: Path | None = None
    morning: Path | None = None
    warnings: list[str] = field(default_factory=list)  # of the state in which the index and the archives were found


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
@click.option("--dry-run", is_flag=True, help="Say what is new, changed and gone; read and publish nothing.")
@click.option("--full", is_flag=True, help="Forget what is known and read every scan again.")
@click.option(
    "--keep", type=click.IntRange(1), default=3, show_default=True, help="Whole snapshots kept, the new one among them."
)
@click.option(
    "--allow-shrink", is_flag=True, help="Publish though the archive has lost more than a tenth of its scans."
)
@click.option("--allow-drift", is_flag=True, help="Publish though known queries find other neighbours than before.")
@click.option(
    "--allow-lost-records",
    is_flag=True,
    help="Publish though outcomes or clinical values of more than a tenth of the scans are gone.",
)
@click.option(
    "--max-rejected",
    type=click.FloatRange(0, 1),
    default=0.2,
    show_default=True,
    help="Publish nothing if a larger share of the scans is rejected.",
)
@click.option(
    "--events", "events_path", type=click.Path(dir_okay=False, path_type=Path), help="Append a JSON line per event."
)
@click.option("--metrics", type=click.Path(dir_okay=False, path_type=Path), help="Write Prometheus metrics (textfile).")
@click.option(
    "--morning", type=click.Path(dir_okay=False, path_type=Path), help="Write a report in Markdown for the morning."
)
@click.option("--json", "as_json", is_flag=True, help="Print the summary as one JSON document on stdout.")
def main(
    cohorts: tuple[str, ...],
    index: Path,
    exclusion_list: Path | None,
    encoder_name: str,
    store: str,
    workers: int,
    dry_run: bool,
    full: bool,
    keep: int,
    allow_shrink: bool,
    allow_drift: bool,
    allow_lost_records: bool,
    max_rejected: float,
    events_path: Path | None,
    metrics: Path | None,
    morning: Path | None,
    as_json: bool,
) -> None:
    """Build the index of one or several cohorts and publish it. Only scans that are new or changed are read; a file that
    cannot be read is listed and left out; whatever fails leaves the published index as it was.
    """
    told = Told(Console(stderr=True), EventLog.nowhere(), *((None, None) if dry_run else (metrics, morning)))
    limits = Limits(
        max_rejected=max_rejected,
        allow_shrink=allow_shrink,
        allow_drift=allow_drift,
        allow_lost_records=allow_lost_records,
    )
    options = BuildOptions(limits=limits, keep=keep, full=full, dry_run=dry_run)
    before = published_name(index)

    def failed(error: BaseException, message: str, *, code: int) -> NoReturn:
        _tell_failure(told, index, before, error, message, code=code)
        _fail(message, code=code)

    try:
        with _signals_raise():
            told = replace(told, events=_event_log(events_path))
            pa.set_memory_pool(pa.system_memory_pool())  # Arrow's own gives less of it back
            intake, encoder = _opened(cohorts, encoder_name, exclusion_list, index)
            told.events.build_started(cohorts=len(cohorts), encoder=encoder.fingerprint, full=full, dry_run=dry_run)
            build = Build(
                _absolute(encoder_name), encoder.fingerprint, intake.cohorts, intake.endpoints, code_version(), store
            )
            report = build_index(intake, encoder, index, build, options, told, workers=workers)
    except LockedError as error:  # the other build will tell how it went
        told.events.locked(exit_code=IS_LOCKED)
        _fail(str(error), code=IS_LOCKED)
    except WrongUseError as error:
        failed(error.__cause__ or error, str(error), code=2)
    except CohortError as error:
        failed(error, str(error), code=2)
    except (SnapshotError, EncoderError) as error:
        failed(error, str(error), code=1)
    except Stopped as stopped:
        failed(stopped, f"stopped by {stopped.name}; {_state(index, before)}; {GOES_ON}", code=stopped.exit_code)
    except OSError as error:  # whatever a failing disk does where nobody expected it
        failed(error, f"{error}; {_state(index, before)}", code=1)
    except Exception as error:
        message = f"a fault of the program ({type(error).__name__}), which the journal shows; {_state(index, before)}"
        _tell_failure(told, index, before, error, message, code=1)
        raise
    told.events.finished(report)
    report = _with_lost_events(report, told, events_path)
    _report(told, report)
    if as_json:
        click.echo(json.dumps(_summary(report)))


def build_index(
    intake: Intake, encoder: Encoder, index: Path, build: Build, options: BuildOptions, told: Told, *, workers: int
) -> BuildReport:
    """Read, sign and publish what is new; what was done. Raises `SnapshotError` or `CohortError`, the current index unchanged."""
    started, clock = datetime.now(UTC), _Stages()
    with ExitStack() as stack:
        if options.dry_run and not (index.exists() and any(index.iterdir())):  # that alone must not make one
            index = Path(stack.enter_context(TemporaryDirectory(prefix="likewise-dry-run-")))
        building = stack.enter_context(Building(index, build, options))
        stack.callback(lambda: told.warnings.extend(building.warnings))  # also where it fails
        for note in building.notes:
            told.console.print(note, soft_wrap=True)
        intake.exclusions = intake.exclusions.with_denied(building.denied)
        stock = building.take_stock(intake, lambda path: file_hash(path.read_bytes()))
        clock.mark("records")
        told.events.records_read(
            seen=intake.seen, excluded=intake.excluded, rejected=len(stock.refused), seconds=clock.seconds["records"]
        )
        if not intake.seen:
            left = f" but {intake.excluded} excluded ones" if intake.excluded else ""
            raise CohortError(f"{', '.join(intake.cohorts.values())}: no scans there{left}; expected at least one")
        previous = building.published()
        if options.dry_run or (building.is_unchanged() and previous):
            outcome = BuildOutcome.DRY_RUN if options.dry_run else BuildOutcome.UNCHANGED
            return _reported(outcome, previous, intake, stock, building, started, clock)
        _read_and_keep(building, stock, intake, encoder, told, workers=workers)
        clock.mark("reading")
        if building.is_unchanged() and previous:  # what could not be read, or is excluded, is so still
            building.forget_parts()
            return _reported(BuildOutcome.UNCHANGED, previous, intake, stock, building, started, clock)
        manifest, rejected, checked = building.publish()
        clock.mark("publishing")
        report = _reported(BuildOutcome.PUBLISHED, manifest, intake, stock, building, started, clock)
        warnings = (*report.warnings, *checked.warnings)
        told.events.checked(warnings=len(warnings), seconds=clock.seconds["publishing"])
        return replace(report, rejected=rejected, warnings=warnings, excluded=manifest.excluded, seen=manifest.seen)


def _read_and_keep(
    building: Building, stock: Stock, intake: Intake, encoder: Encoder, told: Told, *, workers: int
) -> None:
    asked, answered = tee(building.unread())
    outcomes = iter_reads(
        (planned.case for planned in asked), side=encoder.side, workers=workers, exclusions=intake.exclusions
    )
    done = parts = in_parts = 0
    with progress_bar(told.console) as progress:
        pairs = progress.track(
            zip(answered, outcomes, strict=True), total=stock.unread, description="reading and signing"
        )
        for batch in _batches(pairs, BATCH):
            written = 0
            for planned, outcome in _signed(batch, encoder):
                written += building.keep(planned, outcome)
            done += len(batch)
            parts += written
            if written:
                told.events.part_written(part=parts, scans=done - in_parts)
                in_parts = done
            told.events.progress(done, stock.unread)


def _signed(
    batch: Sequence[tuple[Planned, Read | Rejected | None]], encoder: Encoder
) -> Iterator[tuple[Planned, Reading | Rejected]]:
    """Each case with its reading or rejection; nothing of one that is excluded."""
    read = [outcome.scan for _, outcome in batch if isinstance(outcome, Read)]
    signatures = iter(encoder.encode(read) if read else ())
    for planned, outcome in batch:
        if isinstance(outcome, Read):
            yield planned, Reading(_facts(outcome.scan), next(signatures), outcome.preview)
        elif outcome is not None:
            yield planned, outcome


def _facts(scan: Scan) -> Facts:
    header, identity = scan.header, scan.identity
    return Facts(
        scan.kind,
        scan.provenance.file_hash,
        tuple(flag.code for flag in scan.provenance.flags),
        identity.exact if identity else None,
        identity.perceptual if identity else None,
        scan.modality,
        scan.view,
        header.scan_date,
        header.age_years,
        header.sex,
        header.manufacturer,
        header.scanner,
        tuple(name for name in _identifiers(scan) if name),
    )


def _reported(
    outcome: BuildOutcome,
    manifest: IndexManifest | None,
    intake: Intake,
    stock: Stock,
    building: Building,
    started: datetime,
    clock: "_Stages",
) -> BuildReport:
    exclusions = intake.exclusions
    report = BuildReport(
        outcome=outcome,
        snapshot=manifest.name if manifest else "",
        started=started,
        finished=datetime.now(UTC),
        seconds=clock.seconds,
        cases=manifest.cases if manifest else {},
        patients=manifest.patients if manifest else 0,
        seen=intake.seen,
        new=stock.new,
        changed=stock.changed,
        records_changed=stock.records_changed,
        unchanged=stock.unchanged,
        withdrawn=stock.withdrawn,
        excluded=intake.excluded,
        rejected=stock.refused,
        counts=intake.counts,
        health=manifest.health if manifest else {},
        warnings=tuple(building.warnings),
        exclusion_lines=len(exclusions.lines),
        idle_lines=exclusions.idle_lines(),
    )
    if report.idle_lines and building.is_new_list and not (stock.unread and outcome is BuildOutcome.DRY_RUN):
        # once, for who has just written it: those who are gone from the archive may well stay listed
        return replace(report, warnings=(*report.warnings, f"{report.of_exclusions()}: is it misspelt?"))
    return report


class _Stages:
    """How long each stage took."""

    def __init__(self) -> None:
        self._last = time.monotonic()
        self.seconds: dict[str, float] = {}

    def mark(self, stage: str) -> None:
        now = time.monotonic()
        self.seconds[stage] = round(now - self._last, 2)
        self._last = now


def iter_reads(
    cases: Iterable[Case], *, side: int, workers: int, exclusions: Exclusions = NO_EXCLUSIONS
) -> Iterator[Read | Rejected | None]:
    """Each case's scan or its rejection, in the order of `cases`; None for one whose files turn out to be excluded.

    Files of a bucket are copied here for as long as they are read. Worker processes read, which may crash or hang.
    """
    from embed.read import (  # all decoders, which the build of an unchanged archive never loads
        ReadRequest,
        read_request,
    )

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
    return not copy.error and not (exclusions.cover_somebody and exclusions.cover_any(copy.names()))


def _identifiers(scan: Scan) -> tuple[str | None, ...]:
    header = scan.header
    return header.patient_id, header.study_uid, header.series_uid, header.instance_uid


def _opened(
    cohorts: Sequence[str], encoder_name: str, exclusion_list: Path | None, index: Path
) -> tuple[Intake, Encoder]:
    """What a wrong command line would spoil; it is refused before any work."""
    try:
        encoder = load_encoder(encoder_name)
        intake = Intake(cohorts, Exclusions.read(exclusion_list) if exclusion_list else NO_EXCLUSIONS)
    except (CohortError, EncoderError, ExclusionError) as error:
        raise WrongUseError(str(error)) from error
    for source in intake.cohorts.values():
        if Path(source).is_dir() and index.resolve().is_relative_to(Path(source).resolve()):
            raise WrongUseError(
                f"{index}: lies in the archive {source}, into which nothing is written; choose an --index elsewhere"
            )
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


def _batches(
    items: Iterable[tuple[Planned, Read | Rejected | None]], size: int
) -> Iterator[list[tuple[Planned, Read | Rejected | None]]]:
    remaining = iter(items)
    while batch := list(islice(remaining, size)):
        yield batch


def _event_log(path: Path | None) -> EventLog:
    try:
        return EventLog.to_file(path) if path else EventLog.nowhere()
    except OSError as error:
        raise WrongUseError(f"--events {path}: cannot be written ({error.strerror})") from error


def _report(told: Told, report: BuildReport) -> None:
    """On the terminal, and in the files that were asked for. The index is published by now: what fails here is only told."""
    console = told.console
    _show_rejected(console, report.rejected)
    indexed = sum(report.cases.values())
    seconds = (report.finished - report.started).total_seconds()
    doing = f"{report.new:,} new, {report.changed:,} changed, {report.records_changed:,} with another record, {report.unchanged:,} as they were, {report.withdrawn:,} gone"
    if report.outcome is BuildOutcome.DRY_RUN:
        console.print(f"Dry run: {report.seen:,} scans: {doing}. Nothing was read or published.", soft_wrap=True)
    elif report.outcome is BuildOutcome.UNCHANGED:
        console.print(
            f"Nothing has changed: {report.snapshot} stays, {indexed:,} scans, {seconds:.0f} s.", soft_wrap=True
        )
    else:
        console.print(
            f"Published {report.snapshot}: {indexed:,} of {report.seen:,} scans of {report.patients:,} patients, "
            f"{len(report.rejected):,} rejected, {report.excluded:,} excluded; {doing}; {seconds:.0f} s.",
            soft_wrap=True,
        )
    for what, count in report.counts.items():
        console.print(f"{count:,} {what}", soft_wrap=True)
    if report.idle_lines:
        console.print(f"{report.of_exclusions()}.", soft_wrap=True)
    for warning in report.warnings:
        console.print(f"Mind: {warning}", style="yellow", soft_wrap=True)
    if report.outcome is BuildOutcome.DRY_RUN:
        return

    def put(path: Path) -> None:
        write_metrics(path, report, index_created=_created(report.snapshot))

    for fault in _put_down(told, put, lambda: morning_report(report)):
        console.print(f"Mind: the index is published, but {fault}", style="yellow", soft_wrap=True)


def _put_down(told: Told, metrics: Callable[[Path], None], page: Callable[[], str]) -> list[str]:
    """Write metrics and morning report, if they were asked for; what could not be, in words that name the file."""
    faults = []
    if told.metrics:
        try:
            metrics(told.metrics)
        except OSError as error:
            why = error.strerror or str(error)
            faults.append(f"{told.metrics}: cannot be written ({why}); its figures are of an earlier build")
    if told.morning:
        try:
            write_page(told.morning, page())
        except OSError as error:
            faults.append(error.strerror or str(error))
    return faults


def _with_lost_events(report: BuildReport, told: Told, path: Path | None) -> BuildReport:
    if not told.events.lost:
        return report
    warning = f"{told.events.lost} events could not be written to {path} ({told.events.why_lost})"
    return replace(report, warnings=(*report.warnings, warning))


def _created(snapshot: str) -> datetime:
    """When a snapshot was begun, by its name."""
    return datetime.strptime(snapshot.partition("-")[0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)


def _tell_failure(
    told: Told, index: Path, before: str | None, error: BaseException, message: str, *, code: int
) -> None:
    """In events, metrics and morning report. `before`: the snapshot that was published when the build began."""
    told.events.failed(error, exit_code=code)
    when, now = datetime.now(UTC), published_name(index)
    for warning in told.warnings:
        told.console.print(f"Mind: {warning}", style="yellow", soft_wrap=True)

    def page() -> str:
        return failure_report(
            when,
            message,
            snapshot=now,
            is_new=_is_new(before, now),
            warnings=told.warnings,
            was_stopped=isinstance(error, Stopped),
        )

    for fault in _put_down(told, lambda path: write_failure(path, when), page):
        click.echo(f"Error: {fault}", err=True)


def _state(index: Path, before: str | None) -> str:
    """What is published after a failure: it may come after the switch."""
    now = published_name(index)
    if _is_new(before, now):
        return f"but {now} is published by now"
    return "nothing is published yet" if now == "" else "the published index is as it was"


def _is_new(before: str | None, now: str | None) -> bool:
    return bool(now) and now != before


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


def _summary(report: BuildReport) -> dict[str, object]:
    reasons = sorted({entry.reason for entry in report.rejected})
    return {
        "outcome": report.outcome,
        "snapshot": report.snapshot,
        "seen": report.seen,
        "cases": report.cases,
        "patients": report.patients,
        "new": report.new,
        "changed": report.changed,
        "records_changed": report.records_changed,
        "unchanged": report.unchanged,
        "withdrawn": report.withdrawn,
        "excluded": report.excluded,
        "idle_exclusion_lines": list(report.idle_lines),
        "rejected": {reason: sum(entry.reason == reason for entry in report.rejected) for reason in reasons},
        "rejected_files": [asdict(entry) for entry in report.rejected],
        "counts": report.counts,
        "warnings": list(report.warnings),
        "health": report.health,
        "seconds": report.seconds,
    }


def _fail(message: str, *, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python build_index.py")
