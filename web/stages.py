"""How long each step of an answer takes, for Prometheus."""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

FIGURES = {
    "index_scans": "Scans in the index that is served.",
    "index_stale": "1 while what is published cannot be opened.",
    "queries_held": "Questions held in memory.",
    "upload_bytes_held": "Uploaded files held in memory.",
    "frame_bytes_held": "Decoded pictures held in memory.",
}
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Stages:
    """Figures of one process."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        self._seconds = Histogram(
            "likewise_stage_seconds", "Duration of a stage.", ["stage"], buckets=BUCKETS, registry=self._registry
        )
        self._requests = Counter("likewise_requests", "Requests by status.", ["status"], registry=self._registry)
        self._figures = {
            name: Gauge(f"likewise_{name}", told, registry=self._registry) for name, told in FIGURES.items()
        }

    @contextmanager
    def timed(self, stage: str) -> Iterator[None]:
        begun = time.perf_counter()
        try:
            yield
        finally:
            self._seconds.labels(stage).observe(time.perf_counter() - begun)

    def answered(self, status: int) -> None:
        self._requests.labels(str(status)).inc()

    def exposition(self, figures: Mapping[str, float]) -> bytes:
        """Prometheus' text format; `figures` are those of `FIGURES` as they are now."""
        for name, value in figures.items():
            self._figures[name].set(value)
        return generate_latest(self._registry)
