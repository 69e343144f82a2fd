"""`python -m search`: ask an index about scans, run a study, evaluate."""

import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

import click
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from embed.encoder import EncoderError
from embed.read import ReadAnswer, ReadRequest, read_request
from embed.sandbox import IsolatedWorkers
from embed.scan import Scan, ScanError
from index.catalogue import FilterError
from index.denied import DenyListError
from index.snapshot import SnapshotError
from search.answer import DEFAULT_K, Answer, Question, QuestionError
from search.capacity_command import capacity
from search.engine import SearchEngine
from search.evaluate_command import evaluate
from search.neighbour import Neighbour, event_text
from search.outcomes import OutcomeSummary
from search.study_command import study
from search.survival import Horizon, TimeToEvent

OPTIONAL = (
    "site",
    "date",
    "patient",
    "age, sex",
    "view",
    "case",
    "pct.",
)  # left out in this order where a terminal is narrow
PIPED_WIDTH = 160
ID_SHOWN = 10
BAD_INPUT = (DenyListError, EncoderError, FilterError, QuestionError, ScanError, SnapshotError)


@click.group()
def main() -> None:
    """Similar prior cases and their outcomes. Research use only: not a medical device."""


def asking(command: Callable[..., None]) -> Callable[..., None]:
    """The options that every question shares."""
    options = [
        click.option("--index", "index", type=click.Path(path_type=Path), required=True, help="The index folder."),
        click.option(
            "--encoder", "encoder", default=None, help="Where the encoder lies now, if not where the index says."
        ),
        click.option("-k", "k", type=int, default=None, help=f"Patients to return.  [default: {DEFAULT_K}]"),
        click.option(
            "--where",
            default=None,
            help="A condition over the catalogue's columns, such as \"age_years >= 60 and sex = 'F'\".",
        ),
        click.option("--any-view", is_flag=True, help="Also cases of another view than the query's."),
        click.option("--include-own", is_flag=True, help="Also the query's own patient."),
    ]
    for option in reversed(options):
        command = option(command)
    return command


@main.command(
    epilog="Example: python -m search query scan.dcm --index /srv/likewise -k 10 --where \"sex = 'F'\" --picture answer.png"
)
@click.argument("scans", nargs=-1, type=click.Path(path_type=Path))
@asking
@click.option("--case", "cases", multiple=True, help="Ask by an archived case instead: its case_id.")
@click.option("--together", is_flag=True, help="The scans are of one patient and make one question.")
@click.option(
    "--patient", default=None, help="Whose scans they are, where the files do not say: left out of the answer."
)
@click.option("--other-sites", is_flag=True, help="No cases of the query's own site, nor of an unknown one.")
@click.option(
    "--site",
    "sites",
    multiple=True,
    help="With --other-sites: the query's own site as the archive calls it, where the scan itself is not archived.",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False, path_type=Path),
    default=None,
    help="Write the query beside its neighbours as PNG.",
)
@click.option(
    "--json", "as_json", is_flag=True, help="One JSON document on stdout (a list where several questions were asked)."
)
def query(
    scans: tuple[Path, ...], index: Path, encoder: str | None, k: int | None, where: str | None, any_view: bool, include_own: bool,
    cases: tuple[str, ...], together: bool, patient: str | None, other_sites: bool, sites: tuple[str, ...], picture: Path | None, as_json: bool,
) -> None:  # fmt: skip
    """The patients whose scans look most like SCANS, and what happened to them.

    A scan is a file (DICOM, PNG, JPEG, NIfTI), or a folder or zip that holds the slices of a CT or MR study.
    """
    _check_query(
        scans, cases, together=together, patient=patient, picture=picture, other_sites=other_sites, sites=sites
    )
    question = Question(
        k=k, where=where, match_view=not any_view, include_own=include_own, patient_id=patient, other_sites=other_sites, sites=sites
    )  # fmt: skip
    try:
        if cases:
            engine = SearchEngine.open(index, encoder_name=encoder)
            answers = [engine.query_case(case_id, question) for case_id in cases]
        else:
            with IsolatedWorkers(read_request, workers=1) as reader:  # starts while the engine loads
                engine = SearchEngine.open(index, encoder_name=encoder)
                read = [_read(path, engine.encoder.side, reader) for path in scans]
            groups = [read] if together else [[scan] for scan in read]
            answers = [engine.query(group, question) for group in groups]
        if picture is not None:
            _save_pictures(answers, engine, picture)
    except BAD_INPUT as error:
        _fail(str(error), code=2)
    if as_json:
        documents = [answer.to_json() for answer in answers]
        click.echo(json.dumps(documents[0] if len(documents) == 1 else documents))
        return
    names = list(cases) or [path.name for path in scans]
    for answer, title in zip(answers, [", ".join(names)] if together else names, strict=True):
        _print_answer(answer, title)


main.add_command(capacity)
main.add_command(evaluate)
main.add_command(study)


def _check_query(
    scans: Sequence[Path], cases: Sequence[str], *, together: bool, patient: str | None, picture: Path | None, other_sites: bool,
    sites: Sequence[str],
) -> None:  # fmt: skip
    """Ends with what to say instead, where options contradict each other."""
    if bool(scans) == bool(cases):
        _fail("give scans, or archived cases with --case, and not both" if scans else "give a scan, or --case", code=2)
    if cases and (together or patient is not None or picture is not None):
        _fail("--together, --patient and --picture are for scans, not for --case", code=2)
    if sites and not other_sites:
        _fail("--site says which site --other-sites leaves out; give both", code=2)


def _read(path: Path, side: int, reader: IsolatedWorkers[ReadRequest, ReadAnswer]) -> Scan:
    """The scan of a file, folder or zip; a refusal names it."""
    try:
        return reader.run(ReadRequest((path,), side)).scan
    except ScanError as error:
        raise type(error)(error.reason, str(error) if str(path) in str(error) else f"{path}: {error}") from error


def _save_pictures(answers: Sequence[Answer], engine: SearchEngine, path: Path) -> None:
    from search.picture import save_answer

    for number, answer in enumerate(answers, start=1):
        target = path if len(answers) == 1 else path.with_stem(f"{path.stem}-{number}")
        try:
            save_answer(answer, engine.snapshot, target)
        except OSError as error:
            _fail(f"--picture {target}: cannot be written ({error.strerror})", code=2)
        click.echo(f"wrote {target}", err=True)


def _print_answer(answer: Answer, title: str) -> None:
    console = Console(width=None if sys.stdout.isatty() else PIPED_WIDTH, markup=False, highlight=False)
    if answer.kind == "xray":
        title += f" ({', '.join(view or 'view not known' for view in answer.views)})"
    title += f": {answer.eligible:,} eligible cases"
    if answer.sites_left_out:
        title += f", {', '.join(answer.sites_left_out)} left out"
    endpoints = {name: summary.endpoint.title for name, summary in answer.outcomes.items()}
    facts = [_facts(neighbour, endpoints) for neighbour in answer.neighbours]
    stated = [name for name in (facts[0] if facts else {}) if any(fact[name] for fact in facts)]
    widths = {name: 24 if name == "site" else max(len(name), *(len(fact[name]) for fact in facts)) for name in stated}
    for name in OPTIONAL:  # an outcome is never cut short: "not recorded" must not read as "no"
        if sum(widths.values()) + 2 * len(widths) > console.width:
            widths.pop(name, None)
    if sum(widths.values()) + 2 * len(widths) <= console.width:
        console.print(_table(title, facts, widths))
    else:
        console.print(title)
        for fact in facts:
            console.print(*(f"{name} {fact[name]}".strip() for name in stated), sep="\n  ", soft_wrap=True)
    for summary in answer.outcomes.values():
        console.print(_outcome_line(summary), soft_wrap=True)
        console.print(f"  {_time_line(summary.time)}", soft_wrap=True)
    for warning in answer.warnings:
        console.print(Text.assemble(("Mind: ", "yellow"), warning.message), soft_wrap=True)


def _table(title: str, facts: Sequence[dict[str, str]], widths: dict[str, int]) -> Table:
    table = Table(title=Text(title), box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    for name, width in widths.items():
        table.add_column(Text(name), no_wrap=True, min_width=width, max_width=width)
    for fact in facts:
        table.add_row(*(Text(fact[name]) for name in widths))
    return table


def _facts(neighbour: Neighbour, endpoints: dict[str, str]) -> dict[str, str]:
    """A neighbour's line of the table, by column; a column that is blank for all is left out."""
    case = neighbour.case
    person = (None if case.age_years is None else f"{case.age_years:.0f}", case.sex)
    return {
        "": str(neighbour.rank),
        "sim.": f"{neighbour.similarity:.3f}",
        "pct.": "" if neighbour.percentile is None else f"{neighbour.percentile:.0f}",
        "case": _shortened(case.case_id),
        "patient": _shortened(case.patient_id),
        "view": case.view or "",
        "site": case.site or "",
        "date": str(case.scan_date or ""),
        "age, sex": ", ".join(fact for fact in person if fact),
    } | {title: event_text(case.outcome.events[name]) for name, title in endpoints.items()}


def _shortened(name: str) -> str:
    """A long id by its end, where UIDs differ; `--json` has it whole."""
    return name if len(name) <= ID_SHOWN else "…" + name[1 - ID_SHOWN :]


def _outcome_line(summary: OutcomeSummary) -> str:
    title = summary.endpoint.title
    rate = summary.archive
    archive = (
        f"; whole eligible archive {rate.events} of {rate.known} patients ({rate.share:.0%})"
        if rate.share is not None
        else ""
    )
    if summary.events is None or summary.low is None or summary.high is None:
        return f"{title}: known for {summary.known} of {summary.asked}, too few to say{archive}"
    share = f"{summary.events} of {summary.known} known ({summary.events / summary.known:.0%}, 95 % interval {summary.low:.0%} to {summary.high:.0%})"
    return f"{title}: {share}{archive}"


def _time_line(time: TimeToEvent) -> str:
    """When it happened: "from the scan: …", and who is not in the curve and why."""
    apart = (
        (time.before_scan, "before the scan"),
        (time.undated, "on an unknown day"),
        (time.unobserved, "not, but unknown for how long"),
    )
    told = [f"{count} {what}" for count, what in apart if count]
    if time.reason is not None:
        return "; ".join([f"from the scan: {time.reason}", *told])
    free = [
        f"{horizon.survival:.0%} by day {horizon.days}{_band(horizon)}, {horizon.at_risk} at risk"
        for horizon in time.horizons
        if horizon.survival is not None
    ]
    curve = f"from the scan: {time.events} of {time.timed} timed; still without it {'; '.join(free)}"
    if time.median_days is not None and time.quartiles_days is not None:
        low, high = time.quartiles_days
        told.insert(0, f"where it came, median day {time.median_days:g} (quartiles {low:g} and {high:g})")
    return "; ".join([curve, *told])


def _band(horizon: Horizon) -> str:
    return "" if horizon.low is None or horizon.high is None else f" ({horizon.low:.0%} to {horizon.high:.0%})"


def _fail(message: str, *, code: int) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(code)


if __name__ == "__main__":
    main(prog_name="python -m search")
