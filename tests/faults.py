"""What a snapshot holds, row for row, and builds that are disturbed on purpose.

`Harness` runs builds in real processes. It is itself one process that has imported everything and forks for each build, which takes a
tenth of the time of starting Python; the product knows nothing of it, and its workers are what they always are.
"""

import contextlib
import errno
import json
import os
import resource
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn, Self

import pyarrow.parquet as pq

from index.snapshot import Snapshot, open_current, verify

ROOT = Path(__file__).parents[1]
FLUSHES = ("fsync", "rename", "replace")  # functions of os by which a build publishes
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Content:
    """All that a search can see of a snapshot."""

    cases: list[dict[str, Any]]
    signatures: dict[str, bytes]
    previews: dict[str, list[bytes]]
    rejected: list[tuple[str, str]]  # (case id, reason)


def content_of(index: Path) -> Content:
    """The content of the published snapshot, after every file of it was verified. Raises `SnapshotError`."""
    snapshot = open_current(index)
    verify(snapshot.path)
    return Content(
        rows_of(snapshot, "cases.parquet"),
        {kind: snapshot.signatures(kind).tobytes() for kind in snapshot.manifest.cases},
        _previews(snapshot),
        sorted((row["case_id"], row["reason"]) for row in rows_of(snapshot, "rejected.parquet")),
    )


def rows_of(snapshot: Snapshot, name: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = pq.ParquetFile(snapshot.path / name).read().to_pylist()
    return rows


def _previews(snapshot: Snapshot) -> dict[str, list[bytes]]:
    found = {}
    for kind, count in snapshot.manifest.cases.items():
        with closing(snapshot.previews(kind)) as previews:
            found[kind] = [previews.at(row) for row in range(count)]
    return found


@dataclass(frozen=True)
class Fault:
    """What happens to a build; nothing by default."""

    kill_after: float | None = None  # seconds
    call: int = 0  # the how-manieth call of `FLUSHES` goes wrong; 0: none
    error: str = ""  # with this errno, by name; empty: the process is killed there
    file_bytes: int = 0  # no file can grow beyond this; 0: as large as it likes


@dataclass(frozen=True)
class Ended:
    """How a build ended."""

    code: int  # negative: the signal that killed it
    seconds: float
    calls: int  # of `FLUSHES`; 0 where it was killed
    output: str


class Harness:
    """Runs builds with the histogram encoder, one after the other. Use it in `with`."""

    def __enter__(self) -> Self:
        command = [sys.executable, "-m", "tests.faults"]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def build(self, *arguments: object, fault: Fault | None = None) -> Ended:
        fixed = ["--encoder", "histogram", "--workers", "1", "--json"]
        asked = {"arguments": [*fixed, *map(str, arguments)], "fault": asdict(fault or Fault())}
        _pipe(self._process.stdin).write(json.dumps(asked) + "\n")
        _pipe(self._process.stdin).flush()
        return Ended(**json.loads(_pipe(self._process.stdout).readline()))


def _pipe(stream: IO[str] | None) -> IO[str]:
    assert stream
    return stream


# --- the harness's own process


def serve() -> None:
    """Answer requests, a line each, until the other side closes."""
    for module in ("build_index", "index.faiss_store", "embed.encoders.histogram"):
        import_module(module)
    for line in sys.stdin:
        asked = json.loads(line)
        print(json.dumps(asdict(_run(asked["arguments"], Fault(**asked["fault"])))), flush=True)


def _run(arguments: Sequence[str], fault: Fault) -> Ended:
    reading, writing = os.pipe()
    start = time.monotonic()
    child = os.fork()
    if not child:
        os.close(reading)
        _be_the_build(arguments, fault, writing)
    os.close(writing)
    if fault.kill_after is not None:
        time.sleep(fault.kill_after)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    with os.fdopen(reading, encoding="utf-8") as stream:
        output = stream.read()
    _, status = os.waitpid(child, 0)
    output, _, calls = output.rpartition("calls: ") if "calls: " in output else (output, "", "0")
    return Ended(os.waitstatus_to_exitcode(status), time.monotonic() - start, int(calls), output)


def _be_the_build(arguments: Sequence[str], fault: Fault, out: int) -> NoReturn:
    code = 70
    try:
        for standard in (1, 2):
            os.dup2(out, standard)
        os.close(out)
        import build_index
        import index.parts

        index.parts.PART_SCANS = build_index.BATCH = 4  # so that a kill finds some parts finished
        seen = _hurt(fault)
        if fault.file_bytes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (fault.file_bytes, fault.file_bytes))
        try:
            build_index.main(list(arguments), prog_name="build_index.py")
        except SystemExit as end:
            code = end.code if isinstance(end.code, int) else 0
        print(f"calls: {len(seen)}")
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _hurt(fault: Fault) -> list[str]:
    """Put the fault into `os` of this process; the calls that were made, by and by."""
    seen: list[str] = []

    def disturbed(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def inner(*arguments: Any, **options: Any) -> Any:
            seen.append(name)
            if len(seen) == fault.call:
                if not fault.error:
                    os.kill(os.getpid(), signal.SIGKILL)
                number = getattr(errno, fault.error)
                raise OSError(number, os.strerror(number))
            return call(*arguments, **options)

        return inner

    for name in FLUSHES:
        setattr(os, name, disturbed(name, getattr(os, name)))
    return seen


if __name__ == "__main__":
    serve()
