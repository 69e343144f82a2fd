"""`python -m search study`: a study file or flags, into a folder."""

import dataclasses
import sys
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from embed.encoder import EncoderError
from embed.scan import ScanError
from index.catalogue import FilterError
from index.cohort import CohortError
from index.denied import DenyListError
from index.snapshot import SnapshotError
from search.answer import DEFAULT_K, QuestionError

BAD_INPUT = (CohortError, DenyListError, EncoderError, FilterError, QuestionError, ScanError, SnapshotError)
SOURCES = ("cohort", "folder", "table")

OPTIONS = [  # of `capacity` too
    click.argument("scans", nargs=-1, type=click.Path(path_type=Path)),
    click.option("--index", type=click.Path(path_type=Path), default=None, help="The index folder."),
    click.option("--snapshot", default=None, help="Which of the index's kept snapshots.  [default: the published one]"),
    click.option("--encoder", default=None, help="Where the encoder lies now, if not where the index says."),
    click.option("--cohort", default=None, metavar="READER=PATH", help="Ask every scan of a cohort, as build_index.py takes it."),
    click.option("--folder", default=None, type=click.Path(path_type=Path), help="Ask every file, folder or zip in a folder."),
    click.option("--table", default=None, type=click.Path(path_type=Path), help="Ask what a CSV lists: case_id of the archive, or file with patient_id, site, view, scan_date."),
    click.option("--asked", default=None, help="Of the archive, ask only cases that meet this condition.  [default: as --where]"),
    click.option("--kind", default=None, help="xray, ct or mr.  [default: xray]"),
    click.option("--where", default=None, help="Who may be a neighbour: a condition over the catalogue's columns."),
    click.option("--any-view", is_flag=True, help="Also cases of another view than the query's."),
    click.option("--other-sites", is_flag=True, help="No cases of the query's own site, nor of an unknown one."),
    click.option("--no-near-duplicates", is_flag=True, help="No patients with a film that looks like a copy of the query."),
    click.option("--earlier-only", is_flag=True, help="Only scans of an earlier day than the query's."),
    click.option("--workers", default=1, show_default=True, type=click.IntRange(min=1), help="Processes that read scans."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=None, help="Folder for the tables, methods.txt and run.json."),
    click.option("--include-own", is_flag=True, hidden=True),
]  # fmt: skip

OWN = [click.option("-k", "k", type=int, default=None, help=f"Patients to return.  [default: {DEFAULT_K}]")]


def _options(command: Any) -> Any:
    for option in reversed([*OPTIONS, *OWN]):
        command = option(command)
    return command


@click.command(
    epilog="Examples: python -m search study examples/study.toml; python -m search study --index /srv/likewise --out /tmp/study -k 20"
)
@_options
def study(scans: tuple[Path, ...], out: Path | None, include_own: bool, workers: int, **flags: Any) -> None:
    """Nearest neighbours of many scans as long tables: of a STUDY.TOML, of SCANS, or without any of the archive against itself.

    A study that was stopped goes on where it was when the same command is given again.
    """
    from search.study import Study  # pyarrow's readers take a while to import

    if include_own:
        fail("a study always leaves the query's own patient out; `query --include-own` shows it")
    try:
        described = described_study(scans, flags)
        out = out or described.out
        if out is None:
            fail("say with --out, or `out` in the study file, where the tables go")
        engine = opened_engine(described)
        made = Study(engine, described.plan, workers=workers)
        with progress_bar() as progress:
            task = progress.add_task("queries", total=made.queries)
            written = made.write(out, progress=lambda count: progress.advance(task, count))
    except BAD_INPUT as error:
        fail(str(error))
    except OSError as error:
        fail(f"{out}: cannot be written ({error.strerror})")
    click.echo(
        f"wrote {written} and beside it neighbours.csv, queries.parquet, queries.csv, methods.txt, run.json", err=True
    )


def progress_bar() -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=Console(stderr=True), disable=not sys.stderr.isatty())


def described_study(scans: tuple[Path, ...], flags: dict[str, Any]) -> Any:
    """The `StudyFile` of a study's file and flags; a flag goes before the file's entry. Raises `QuestionError`."""
    from search.study_plan import Exclusions, QuerySource, StudyFile, StudyPlan, read_study_file

    given = {name: flags[name] for name in SOURCES if flags.get(name) is not None}
    base = StudyFile(StudyPlan(), None, None, None, None)
    if len(scans) == 1 and scans[0].suffix == ".toml":
        base, scans = read_study_file(scans[0]), ()
    if len(given) + bool(scans) + (flags.get("asked") is not None) > 1:
        raise QuestionError(
            "give one set of queries: scans, --cohort, --folder, --table, or of the archive with --asked"
        )
    plan = base.plan
    for name, value in given.items():
        plan = dataclasses.replace(plan, source=QuerySource(name), queries=(str(value),), asked=None)
    if scans:
        plan = dataclasses.replace(plan, source=QuerySource.SCANS, queries=tuple(map(str, scans)), asked=None)
    if flags.get("asked") is not None:
        plan = dataclasses.replace(plan, source=QuerySource.ARCHIVE, queries=(), asked=flags["asked"])
    plan = dataclasses.replace(
        plan,
        **{name: flags[name] for name in ("kind", "k", "where") if flags.get(name) is not None},
        match_view=plan.match_view and not flags["any_view"],
        exclude=Exclusions(
            plan.exclude.own_site or flags["other_sites"],
            plan.exclude.near_duplicates or flags["no_near_duplicates"],
            plan.exclude.later_scans or flags["earlier_only"],
        ),
    )
    told = {name: flags[name] for name in ("index", "snapshot", "encoder") if flags.get(name) is not None}
    return dataclasses.replace(base, plan=plan, **told)


def opened_engine(described: Any) -> Any:
    """The engine of the index and snapshot that a study names. Raises `QuestionError`, `SnapshotError`, `EncoderError`."""
    from search.study_snapshot import open_engine

    if described.index is None:
        raise QuestionError("say with --index, or `index` in the study file, which index is searched")
    return open_engine(described.index, snapshot=described.snapshot, encoder_name=described.encoder)


def fail(message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(2)
