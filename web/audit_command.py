"""`python -m web audit`: whether the audit is whole, and what it says, as a table."""

import csv
import json
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NoReturn, TextIO

import click

from web.audit import AuditError, Head, case_hash, iter_lines, verify

COLUMNS = ("n", "time", "action", "who", "id", "roles", "means", "purpose", "query", "filters", "snapshot", "cases", "request")  # fmt: skip
FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")  # what makes a spreadsheet compute a cell

AUDIT_OPTION = click.option(
    "--audit",
    "path",
    type=click.Path(path_type=Path),
    envvar="LIKEWISE_AUDIT",
    required=True,
    help="The audit's file.  [default: LIKEWISE_AUDIT]",
)


@click.group()
def audit() -> None:
    """Who asked what, when and why."""


@audit.command("verify")
@AUDIT_OPTION
@click.option("--noted", default=None, help="LINES:HASH as printed earlier and kept elsewhere: is it still part of it?")
def verify_audit(path: Path, noted: str | None) -> None:
    """Whether every line is as it was written and none is missing. Prints where it ends: note it elsewhere."""
    try:
        seen = {str(head) for head, _ in iter_lines(path)} if noted else set()
        head = verify(path)
    except AuditError as error:
        _stop(str(error), 1)
    if noted and noted not in seen and noted != str(Head()):
        _stop(f"{path}: {noted} is no part of it: the audit was written anew", 1)
    click.echo(f"whole: {head.lines} lines")
    click.echo(str(head))


@audit.command("export")
@AUDIT_OPTION
@click.option("--out", type=click.Path(path_type=Path), default=None, help="A CSV file.  [default: stdout]")
@click.option("--case", default=None, help="Only where this case_id was shown or opened.")
@click.option(
    "--secret-key", envvar="LIKEWISE_SECRET_KEY", default=None, help="With --case.  [default: LIKEWISE_SECRET_KEY]"
)
def export_audit(path: Path, out: Path | None, case: str | None, secret_key: str | None) -> None:
    """The audit as CSV, every line verified on the way. Stops with 1 at the first that is not as it was."""
    if case is not None and not secret_key:
        _stop("--case needs the server's secret key (LIKEWISE_SECRET_KEY): cases are keyed hashes", 2)
    wanted = case_hash(secret_key.encode(), case) if case is not None and secret_key else None
    entries = (entry for _, entry in iter_lines(path) if wanted is None or wanted in entry.get("cases", ()))
    try:
        if out is None:
            write_csv(sys.stdout, entries)
        else:
            with out.open("w", newline="", encoding="utf-8") as stream:
                write_csv(stream, entries)
    except AuditError as error:
        _stop(str(error), 1)
    except OSError as error:
        _stop(f"{out}: {error.strerror}", 2)


def write_csv(stream: TextIO, entries: Iterable[dict[str, Any]]) -> None:
    table = csv.writer(stream)
    table.writerow(COLUMNS)
    for entry in entries:
        table.writerow(_cells(entry))


def _cells(entry: dict[str, Any]) -> Iterator[str]:
    for column in COLUMNS:
        value = entry.get(column)
        if value is None:
            text = ""
        elif isinstance(value, list):
            text = " ".join(map(str, value))
        elif isinstance(value, dict):
            text = json.dumps(value, sort_keys=True, ensure_ascii=False) if value else ""
        else:
            text = str(value)
        yield safe_cell(text)


def safe_cell(text: str) -> str:
    """What a spreadsheet shows as it is: a leading quote keeps it from being computed."""
    return f"'{text}" if text.startswith(FORMULA) else text


def _stop(message: str, code: int) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(code)
