"""Notes that a unit failed, for likewise-failure@.service: a build that was killed can no longer say so itself.

python -m deploy.record_failure --index DIR --metrics FILE --morning FILE --unit likewise-build.service
"""

import subprocess
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path

import click

from index.metrics import write_failure
from index.morning import FAILED, STOPPED, failure_report, published_name, write_page

FRESH_SECONDS = (
    300.0  # where systemd does not tell when the build began, a page of failure younger than this is its own
)


@click.command()
@click.option("--index", "index", type=click.Path(path_type=Path), required=True)
@click.option("--metrics", type=click.Path(path_type=Path), required=True)
@click.option("--morning", type=click.Path(path_type=Path), required=True)
@click.option("--unit", required=True)
def main(index: Path, metrics: Path, morning: Path, unit: str) -> None:
    """Set the metrics to failed, and replace a morning report that would say that all is well."""
    when = datetime.now(UTC)
    with ExitStack() as stack:
        stack.callback(write_failure, metrics, when)  # also where the page cannot be written
        if not _says_so_already(morning, _started(unit)):
            message = f"{unit} ended without saying why; `journalctl --unit {unit}` and `dmesg` may know"
            write_page(morning, failure_report(when, message, snapshot=published_name(index)))


def _says_so_already(morning: Path, started: float | None) -> bool:
    """Whether the page is that of a failure which the build wrote itself in this run: it knows more."""
    since = time.time() - FRESH_SECONDS if started is None else started
    try:
        return morning.stat().st_mtime >= since and morning.read_text(encoding="utf-8").startswith((FAILED, STOPPED))
    except OSError:
        return False


def _started(unit: str) -> float | None:
    """When the unit's last run began, Unix time in whole seconds; None where systemd does not tell."""
    command = ["systemctl", "show", "--property=ExecMainStartTimestamp", "--value", "--timestamp=unix", unit]
    try:
        told = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True).stdout.strip()
        return float(told.removeprefix("@"))
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


if __name__ == "__main__":
    main(prog_name="python -m deploy.record_failure")
