"""`python -m search capacity`: how many of a list of inpatients are expected to meet an endpoint in the next two weeks."""

from datetime import date
from pathlib import Path
from typing import Any

import click

from search.capacity import NEIGHBOURS
from search.study_command import BAD_INPUT, OPTIONS, described_study, fail, opened_engine, progress_bar

OWN = [
    click.option("-k", "k", type=int, default=None, help=f"Neighbours of each patient.  [default: {NEIGHBOURS}]"),
    click.option("--endpoint", default="itu_admission", show_default=True, help="What is forecast: an endpoint of the index."),
    click.option("--today", type=click.DateTime(["%Y-%m-%d"]), default=None, help="The day of the list; without it every scan is taken as today's."),
    click.option("--exact", is_flag=True, help="Write exact counts; without it those below 8 are suppressed, the others rounded to 5."),
]  # fmt: skip


def _options(command: Any) -> Any:
    for option in reversed([*OPTIONS, *OWN]):
        command = option(command)
    return command


@click.command(
    epilog="Example: python -m search capacity --index /srv/likewise --table inpatients.csv --today 2020-04-20 --out /tmp/capacity"
)
@_options
def capacity(scans: tuple[Path, ...], out: Path | None, include_own: bool, workers: int, endpoint: str, today: Any, exact: bool, **flags: Any) -> None:  # fmt: skip
    """RESEARCH ONLY: the expected number of a list of inpatients who need ITU over the next 1 to 14 days, from what happened to
    patients who looked alike, and how well such numbers did for held-out patients.

    The list is given as a study's queries: --table, --folder, --cohort, SCANS or --asked.
    """
    from search.capacity_study import CapacityQuestion, ask_capacity, write_capacity

    if include_own:
        fail("the own patient is always left out")
    try:
        described = described_study(scans, flags)
        out = out or described.out
        if out is None:
            fail("say with --out where the tables go")
        day: date | None = None if today is None else today.date()
        question = CapacityQuestion(described.plan, endpoint, day)
        with progress_bar() as progress:
            task = progress.add_task("patients", total=None)
            engine = opened_engine(described)
            answer = ask_capacity(
                engine, question, progress=lambda count: progress.advance(task, count), workers=workers
            )
        said = write_capacity(answer, out, exact=exact)
    except BAD_INPUT as error:
        fail(str(error))
    except OSError as error:
        fail(f"{out}: cannot be written ({error.strerror})")
    click.echo(said, nl=False)
