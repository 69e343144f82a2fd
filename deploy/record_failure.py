"""Notes that a unit failed, for likewise-failure@.service: a build that was killed can no longer say so itself.

python -m deploy.record_failure --index DIR --metrics FILE --morning FILE --unit likewise-build.service
"""

import time
from datetime import UTC, datetime
from pathlib import Path

import click

from index.metrics import write_failure
from index.morning import FAILED, failure_report
from index.snapshot import SnapshotError, current_folder

FRESH_SECONDS = 300.0  # a page of failure younger than this is the build's own, and knows more


@click.command()
@click.option("--index", "index", type=click.Path(path_type=Path), required=True)
@click.option("--metrics", type=click.Path(path_type=Path), required=True)
@click.option("--morning", type=click.Path(path_type=Path), required=True)
@click.option("--unit", required=True)
def main(index: Path, metrics: Path, morning: Path, unit: str) -> None:
    """Set the metrics to failed, and replace a morning report that would say that all is well."""
    when = datetime.now(UTC)
    write_failure(metrics, when)
    if not _says_so_already(morning):
        message = f"{unit} ended without saying why; `journalctl --unit {unit}` and `dmesg` may know"
        morning.write_text(failure_report(when, message, snapshot=_published(index)), encoding="utf-8")


def _says_so_already(morning: Path) -> bool:
    try:
        age = time.time() - morning.stat().st_mtime
        return age < FRESH_SECONDS and morning.read_text(encoding="utf-8").startswith(FAILED)
    except OSError:
        return False


def _published(index: Path) -> str:
    try:
        return current_folder(index).name
    except SnapshotError:
        return ""


if __name__ == "__main__":
    main(prog_name="python -m deploy.record_failure")
