"""What a build did as Prometheus gauges, in a file for node_exporter's textfile collector. No file names, no patients.

The collector reads files whose name ends in `.prom`, whenever it likes: a file is replaced whole or not at all.
"""

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.registry import Collector, CollectorRegistry

from index.build_report import BuildOutcome, BuildReport

SUCCESS = "likewise_build_success"
LAST_FAILURE = "likewise_build_last_failure_timestamp_seconds"


def write_metrics(path: Path, report: BuildReport, *, index_created: datetime) -> None:
    """Replace the file by this build's figures; when a build last failed is kept. A dry run leaves the file as it is.

    `index_created`: when the published snapshot was made, which an unchanged build leaves as old as it is. Raises OSError.
    """
    if report.outcome is BuildOutcome.DRY_RUN:
        return
    families = list(_families(report, index_created))
    families += [family for family in _earlier(path) if family.name == LAST_FAILURE]
    _replace(path, families)


def write_failure(path: Path, when: datetime) -> None:
    """Note that a build failed; every other figure stays that of the last build that ended well. Raises OSError."""
    kept = [family for family in _earlier(path) if family.name not in (SUCCESS, LAST_FAILURE)]
    _replace(path, [*kept, _success(0), _gauge(LAST_FAILURE, "When a build last failed, Unix time.", when.timestamp())])


def _families(report: BuildReport, index_created: datetime) -> Iterator[Metric]:
    finished = report.finished.timestamp()
    yield _success(1)
    yield _gauge("likewise_build_last_success_timestamp_seconds", "When a build last ended well, Unix time.", finished)
    yield _gauge(
        "likewise_snapshot_created_timestamp_seconds",
        "When the published snapshot was made, Unix time.",
        index_created.timestamp(),
    )
    duration = (report.finished - report.started).total_seconds()
    yield _gauge("likewise_build_duration_seconds", "How long the last good build took.", duration)
    yield _gauges("likewise_build_stage_seconds", "How long its stages took.", "stage", report.seconds)
    yield _gauges("likewise_cases", "Scans in the index.", "kind", report.cases)
    yield _gauge("likewise_patients", "Patients in the index.", report.patients)
    for name, count, meaning in _scans(report):
        yield _gauge(f"likewise_build_{name}_scans", meaning, count)
    reasons = Counter(entry.reason for entry in report.rejected)
    yield _gauges("likewise_build_rejected_scans_by_reason", "Scans left out, by reason.", "reason", reasons)
    yield _gauge("likewise_build_warnings", "What the checks found worth a look.", len(report.warnings))
    yield _gauges("likewise_health", "Figures of the snapshot's manifest.", "figure", report.health)


def _scans(report: BuildReport) -> tuple[tuple[str, int, str], ...]:
    return (
        ("seen", report.seen, "Scans that the cohorts offered, without the excluded."),
        ("new", report.new, "Scans that were not in the last snapshot."),
        ("changed", report.changed, "Scans whose files are others than last time."),
        ("records_changed", report.records_changed, "Scans whose record alone is another than last time."),
        ("unchanged", report.unchanged, "Scans that are as they were."),
        ("withdrawn", report.withdrawn, "Scans of the last snapshot that are no longer offered, or excluded now."),
        ("excluded", report.excluded, "Scans that the exclusion list covers."),
        ("rejected", len(report.rejected), "Scans left out because they cannot be used."),
    )


def _success(value: int) -> Metric:
    return _gauge(SUCCESS, "1 where the last build ended well, 0 where it failed.", value)


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(name, meaning, value=value)


def _gauges(name: str, meaning: str, label: str, values: Mapping[str, float]) -> Metric:
    family = GaugeMetricFamily(name, meaning, labels=[label])
    for key in sorted(values):
        family.add_metric([key], values[key])
    return family


def _earlier(path: Path) -> list[Metric]:
    """What the file says now; nothing where there is none, or one that cannot be read as metrics: it is then replaced."""
    try:
        return list(text_string_to_metric_families(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return []


class _Fixed(Collector):
    """Families that are there already, as the client wants them."""

    def __init__(self, families: Iterable[Metric]) -> None:
        self._families = list(families)

    def collect(self) -> Iterable[Metric]:
        return self._families


def _replace(path: Path, families: Iterable[Metric]) -> None:
    registry = CollectorRegistry()
    registry.register(_Fixed(families))
    content = generate_latest(registry)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".new")
    pending = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            os.fchmod(stream.fileno(), 0o644)  # whatever the umask: node_exporter is another user
            stream.flush()
            os.fsync(stream.fileno())
        pending.replace(path)
    except BaseException:
        pending.unlink(missing_ok=True)
        raise
