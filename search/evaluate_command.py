"""`python -m search evaluate`: a quick figure, a whole report, or two encoders compared."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from embed.encoder import EncoderError
from index.catalogue import FilterError
from index.denied import DenyListError
from index.reporting.writing import ReportError
from index.snapshot import SnapshotError
from search.answer import DEFAULT_K, QuestionError

QUERIES, REPLICATES = 2000, 1000
PIPED_WIDTH = 160
BAD_INPUT = (DenyListError, EncoderError, FilterError, QuestionError, ReportError, SnapshotError)

OPTIONS = [
    click.option("--index", type=click.Path(path_type=Path), default=None, help="The index folder."),
    click.option("--encoder", default=None, help="Where the encoder lies now, if not where the index says."),
    click.option("-k", "k", type=int, default=None, help=f"Patients to return.  [default: {DEFAULT_K}]"),
    click.option("--where", default=None, help="A condition over the catalogue's columns, such as \"age_years >= 60\"."),
    click.option("--kind", default="xray", show_default=True, help="Which scans of the archive are asked."),
    click.option("--target", "targets", multiple=True, help="What neighbours should share: an endpoint, or a column of text, grades or numbers. With --out, beside the archive's own targets."),
    click.option("--labels", type=click.Path(path_type=Path), default=None, help="A CSV with further columns, joined to the cases."),
    click.option("--label-key", default="case_id", show_default=True, help="The column of --labels that holds the case_id."),
    click.option("--out", type=click.Path(file_okay=False, path_type=Path), default=None, help="Folder for report.html and its numbers as Parquet."),
    click.option("--other", "others", multiple=True, type=click.Path(path_type=Path), help="With --out: another index of the same cases, as a baseline."),
    click.option("--pixels", is_flag=True, help="With --out: read every scan again, and sign it with its lungs blanked and with all but them."),
    click.option("--queries", default=QUERIES, show_default=True, type=click.IntRange(min=1), help="With --out or --compare: about how many scans are asked at most."),
    click.option("--replicates", default=REPLICATES, show_default=True, type=click.IntRange(min=20), help="With --out or --compare: how often patients are drawn again for an interval."),
    click.option("--compare", nargs=2, type=click.Path(path_type=Path), default=None, help="Two indexes of the same cases, instead of --index: is the second better?"),
    click.option("--any-view", is_flag=True, help="Without --out: also cases of another view than the query's."),
    click.option("--include-own", is_flag=True, hidden=True),
    click.option("--json", "as_json", is_flag=True, help="Without --out: one JSON document on stdout."),
]  # fmt: skip


def _options(command: Any) -> Any:
    for option in reversed(OPTIONS):
        command = option(command)
    return command


@click.command(epilog="Example: python -m search evaluate --index /tmp/h --out /tmp/report")
@_options
def evaluate(
    index: Path | None, encoder: str | None, k: int | None, where: str | None, kind: str, targets: tuple[str, ...], labels: Path | None,
    label_key: str, out: Path | None, others: tuple[Path, ...], pixels: bool, queries: int, replicates: int, compare: tuple[Path, Path] | None,
    any_view: bool, include_own: bool, as_json: bool,
) -> None:  # fmt: skip
    """How well neighbours of the archive's own cases (other patients only) agree with them, with intervals and chance.

    With --out a whole report: protocols, baselines, calibration, and a verdict on shortcuts. With --compare, whether another encoder
    is better.
    """
    from search import evaluation_runs as runs  # takes a second to import

    if include_own:
        _fail("--include-own would measure how well a patient finds itself; evaluation leaves the own patient out")
    if (index is None) == (compare is None):
        _fail("give --index, or two indexes with --compare")
    if out is None and (others or pixels):
        _fail("--other and --pixels are for the report: say with --out where it goes")
    if any_view and (out is not None or compare is not None):
        _fail("--any-view is for a quick figure; the report and --compare measure with and without it")
    if out is not None and as_json:
        _fail("--json is for figures on stdout; the report writes all of them as Parquet")
    request = runs.Request(encoder, k, where, kind, targets, labels, label_key, queries, replicates)
    try:
        with Progress(console=Console(stderr=True), disable=not sys.stderr.isatty()) as progress:
            if compare is not None:
                differences, asked = runs.compare(*compare, request, out, progress)
            elif index is not None and out is not None:
                said = runs.report(index, out, request, others=others, pixels=pixels, progress=progress)
            elif index is not None:
                found = runs.quick(index, request, match_view=not any_view)
    except BAD_INPUT as error:
        _fail(str(error))
    if compare is not None:
        if as_json:
            click.echo(json.dumps([_plain(row) for row in differences]))
        else:
            print_differences(differences, k=asked)
    elif out is not None:
        click.echo(said)
    elif as_json:
        click.echo(json.dumps({target: _plain(metric) for target, metric in found.items()}))
    else:
        print_metrics(found, k or DEFAULT_K)


def _plain(row: Any) -> dict[str, Any]:
    """A figure for JSON, which has no NaN (RFC 8259, section 6): null where there is none."""
    return {name: None if value != value else value for name, value in dataclasses.asdict(row).items()}


def print_metrics(found: dict[str, Any], k: int) -> None:
    table = Table("target", "metric", "value", "95 % interval", "chance", "queries", "patients", title=f"leave one patient out, k = {k}")  # fmt: skip
    for target, metric in found.items():
        table.add_row(
            target, metric.name, f"{metric.value:.3f}", f"{metric.low:.3f} to {metric.high:.3f}", f"{metric.chance:.3f}",
            str(metric.queries), str(metric.patients),
        )  # fmt: skip
    Console().print(table)


def print_differences(found: Sequence[Any], *, k: int) -> None:
    """The figures by which encoders are chosen; the others are in the Parquet file."""
    wanted = (f"P@{k}", f"nDCG@{k}", "mAP@100", "AUROC", "rank correlation")
    table = Table("protocol", "target", "metric", "first", "second", "second less first", "queries", "")
    for row in found:
        if row.metric in wanted:
            won = "better" if row.low > 0 else "worse" if row.high < 0 else ""
            table.add_row(
                row.protocol, row.target, row.metric, f"{row.other_value:.3f}", f"{row.value:.3f}",
                f"{row.difference:+.3f} ({row.low:+.3f} to {row.high:+.3f})", str(row.queries), won,
            )  # fmt: skip
    Console(width=None if sys.stdout.isatty() else PIPED_WIDTH).print(table)


def _fail(message: str) -> NoReturn:
    click.echo(f"Error: {message}", err=True)
    sys.exit(2)
