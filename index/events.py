"""One JSON line per event of a build, for a machine. Counts and durations only: no patients, no file names, no messages.

A log file is opened anew for each event and written to at its end with one call. So logrotate may rename it or use
`copytruncate`, and nobody has to be told.
"""

import json
import math
import os
import time
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Self, TextIO

from index.build_report import BuildReport

PROGRESS_SECONDS = 10.0  # at most one progress event in this time
RATE_MARKS = 7  # the rate is that of the last minute: known scans fly by, and would promise too much for the others

Clock = Callable[[], float]


class EventLog:
    """Writes events; `lost` counts those that could not be written, which never stops a build, and `why_lost` says why."""

    def __init__(
        self, write: Callable[[str], None], *, now: Clock = time.time, monotonic: Clock = time.monotonic
    ) -> None:
        """`now`: Unix time in seconds. `monotonic`: seconds from any start, for the pace of progress."""
        self._write = write
        self._now = now
        self._monotonic = monotonic
        self._marks: deque[tuple[float, int]] = deque(maxlen=RATE_MARKS)  # (when, scans done) of progress events
        self.lost = 0
        self.why_lost = ""

    @classmethod
    def to_file(cls, path: Path, *, now: Clock = time.time, monotonic: Clock = time.monotonic) -> Self:
        """Appends to `path`, made if it is not there. Raises OSError where it cannot be, so that a wrong path shows early."""
        appender = _Appender(path)
        appender.probe()
        return cls(appender.write, now=now, monotonic=monotonic)

    @classmethod
    def to_stream(cls, stream: TextIO, *, now: Clock = time.time, monotonic: Clock = time.monotonic) -> Self:
        def write(line: str) -> None:
            stream.write(line)
            stream.flush()

        return cls(write, now=now, monotonic=monotonic)

    @classmethod
    def nowhere(cls) -> Self:
        """For a build that was not asked for events."""
        return cls(lambda line: None)

    def build_started(self, *, cohorts: int, encoder: str, full: bool = False, dry_run: bool = False) -> None:
        """`encoder`: its fingerprint."""
        self._emit("build-started", cohorts=cohorts, encoder=encoder, full=full, dry_run=dry_run)

    def records_read(self, *, seen: int, excluded: int, rejected: int, seconds: float) -> None:
        self._emit("records-read", seen=seen, excluded=excluded, rejected=rejected, seconds=round(seconds, 1))

    def progress(self, done: int, total: int) -> None:
        """To be called after each scan or batch; most calls write nothing. Rate and time left are null at the first."""
        when = self._monotonic()
        if self._marks and when - self._marks[-1][0] < PROGRESS_SECONDS:
            return
        rate = None
        if self._marks:
            since, before = self._marks[0]
            rate = (done - before) / (when - since)
        self._marks.append((when, done))
        left = (total - done) / rate if rate else None
        self._emit("progress", done=done, total=total, per_second=_rounded(rate), seconds_left=_rounded(left))

    def part_written(self, *, part: int, scans: int) -> None:
        self._emit("part-written", part=part, scans=scans)

    def checked(self, *, warnings: int, seconds: float) -> None:
        self._emit("checked", warnings=warnings, seconds=round(seconds, 1))

    def finished(self, report: BuildReport) -> None:
        """`published`, `unchanged` or `dry-run`, as the report says."""
        self._emit(
            report.outcome.value,
            snapshot=report.snapshot,
            seconds=round((report.finished - report.started).total_seconds(), 1),
            cases=sum(report.cases.values()),
            patients=report.patients,
            seen=report.seen,
            new=report.new,
            changed=report.changed,
            records_changed=report.records_changed,
            unchanged=report.unchanged,
            withdrawn=report.withdrawn,
            excluded=report.excluded,
            rejected=len(report.rejected),
            warnings=len(report.warnings),
        )

    def locked(self, *, exit_code: int) -> None:
        """Another build or purge is at work, and will tell how that went."""
        self._emit("locked", exit_code=exit_code)

    def failed(self, error: BaseException, *, exit_code: int) -> None:
        """The kind of error only: its message, which may name an archive's file, goes to stderr."""
        self._emit("failed", error=type(error).__name__, exit_code=exit_code)

    def _emit(self, event: str, **figures: str | float | None) -> None:
        """Times are UTC; `pid` tells two builds in one file apart."""
        when = datetime.fromtimestamp(self._now(), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = json.dumps({"time": when, "event": event, "pid": os.getpid(), **figures}, allow_nan=False)
        try:
            self._write(line + "\n")
        except OSError as error:
            self.lost += 1
            self.why_lost = error.strerror or str(error)


class _Appender:
    """Whole lines at the end of a file. A line that a full disk cut short stays alone on its line."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._torn = False

    def probe(self) -> None:
        os.close(self._open())

    def write(self, line: str) -> None:
        content = ("\n" if self._torn else "").encode() + line.encode()
        handle = self._open()
        try:
            written = os.write(handle, content)  # one call, so that lines of two builds do not mix
        finally:
            os.close(handle)
        if written:
            self._torn = written < len(content)
        if written < len(content):
            raise OSError(f"{self._path}: only {written} of {len(content)} bytes were written")

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)


def _rounded(value: float | None) -> float | None:
    return None if value is None or not math.isfinite(value) else round(value, 1)
