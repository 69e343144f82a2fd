"""A file that crashes, hangs or floods its decoder costs that one file.

Most workers here run `eval`, so that an item says by itself what the decoder does.
"""

import gc
import itertools
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from embed.read import read_scan
from embed.sandbox import AHEAD, KEPT_HEAP, IsolatedWorkers
from embed.scan import ScanError
from tests.films import dicom_bytes, phantom

ROOT = Path(__file__).parents[1]
GIB = 2**30
CRASH = "__import__('ctypes').string_at(0)"
HANG = "__import__('time').sleep(60)"
PID = "__import__('os').getpid()"
REFUSE = "__import__('embed.read').read.read_scan_bytes(b'', side=8)"


@pytest.fixture(scope="module")
def pair() -> Iterator[IsolatedWorkers[str, object]]:
    """Two workers, which every test leaves usable."""
    with IsolatedWorkers[str, object](eval, workers=2, seconds=20, memory_bytes=GIB) as workers:
        yield workers


def reasons(outcomes: Iterator[object]) -> list[object]:
    return [outcome.reason if isinstance(outcome, ScanError) else outcome for outcome in outcomes]


def test_results_come_in_the_order_of_the_items(pair: IsolatedWorkers[str, object]) -> None:
    slow_first = ["__import__('time').sleep(0.2) or 0", *(str(n) for n in range(1, 50))]
    assert list(pair.map(slow_first)) == list(range(50))


def test_a_refusal_comes_back_as_itself(pair: IsolatedWorkers[str, object]) -> None:
    (refusal,) = pair.map([REFUSE])
    assert isinstance(refusal, ScanError) and refusal.reason == "empty-file"
    with pytest.raises(ScanError, match="the file is empty"):
        pair.run(REFUSE)


@pytest.mark.parametrize(
    ("end", "how"), [(CRASH, "signal 11"), ("__import__('os')._exit(3)", "exit code 3"), ("exit()", "exit code 1")]
)
def test_a_crash_costs_one_item(pair: IsolatedWorkers[str, object], end: str, how: str) -> None:
    assert reasons(pair.map(["1", end, "2", "3", "4"])) == [1, "decoder-crashed", 2, 3, 4]
    with pytest.raises(ScanError, match=how):
        pair.run(end)


def test_a_hang_is_cut_off() -> None:
    with IsolatedWorkers(eval, workers=2, seconds=0.5) as workers:
        assert reasons(workers.map(["1", HANG, "2", "3"])) == [1, "decoder-timeout", 2, 3]
        with pytest.raises(ScanError, match=r"longer than 0\.5 s"):
            workers.run("[None for _ in iter(int, 1)]")


def test_a_memory_hog_is_named(pair: IsolatedWorkers[str, object]) -> None:
    assert reasons(pair.map(["1", "bytearray(8 << 30)", "2"])) == [1, "too-much-memory", 2]
    with pytest.raises(ScanError, match=r"limit of 1 GiB"):
        pair.run("bytearray(8 << 30)")


def test_want_of_memory_is_named_behind_a_refusal_too(pair: IsolatedWorkers[str, object]) -> None:
    assert reasons(pair.map(["__import__('tests.test_embed_sandbox').test_embed_sandbox.refuse_for_memory()"])) == [
        "too-much-memory"
    ]


def refuse_for_memory() -> None:
    try:
        bytearray(8 << 30)
    except MemoryError as error:
        raise ScanError("undecodable-pixels", "a decoder raised something") from error


def test_a_bug_is_raised_with_its_traceback_and_the_worker_goes_on(pair: IsolatedWorkers[str, object]) -> None:
    with pytest.raises(ZeroDivisionError) as caught:
        list(pair.map(["1", "1 / 0", "2"]))
    assert "worker.py" in caught.value.__notes__[0] and "ZeroDivisionError" in caught.value.__notes__[0]
    assert pair.run("5") == 5
    with pytest.raises(Exception, match="pickle"):
        pair.run("lambda: 0")


class Unimportable:
    """A function that does `code` when it is imported."""

    def __init__(self, code: str) -> None:
        self.code = code

    def __call__(self, item: str) -> object:
        raise AssertionError("never reached")

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return eval, (self.code,)


@pytest.mark.parametrize(
    ("code", "error", "told"),
    [
        ("missing", NameError, "'missing' is not defined"),
        ("__import__('os')._exit(3)", RuntimeError, r"did not start \(exit code 3\)"),
        ("bytearray(8 << 30)", RuntimeError, "could not import its function: .* limit of 1 GiB"),
    ],
)
def test_a_function_that_cannot_be_imported_is_our_bug(code: str, error: type[Exception], told: str) -> None:
    with IsolatedWorkers(Unimportable(code), workers=1, memory_bytes=GIB) as workers:
        for _ in range(2):
            with pytest.raises(error, match=told):
                list(workers.map(["1", "2"]))


def test_endless_items_are_taken_a_bounded_way_ahead(pair: IsolatedWorkers[str, object]) -> None:
    taken = itertools.count()
    outcomes = pair.map(str(next(taken)) for _ in itertools.repeat(None))
    assert list(itertools.islice(outcomes, 20)) == list(range(20))
    assert next(taken) <= 20 + 2 * AHEAD
    outcomes.close()  # type: ignore[attr-defined]
    assert pair.run("7") == 7


def test_workers_import_nothing_heavy_and_print_nowhere(
    pair: IsolatedWorkers[str, object], capfd: pytest.CaptureFixture[str]
) -> None:
    heavy = "{'onnxruntime', 'faiss', 'duckdb', 'torch', 'pytest'}"
    for worker in range(4):
        assert pair.run(f"(__import__('embed.read'), {heavy} & set(__import__('sys').modules))[1]") == set(), worker
    assert pair.run("print('noise', flush=True) or __import__('os').write(2, b'noise')") == 5
    assert pair.run("__import__('cv2').getNumThreads()") == 1
    assert "noise" not in "".join(capfd.readouterr())


def test_closing_ends_busy_and_idle_workers() -> None:
    workers = IsolatedWorkers(eval, workers=2)
    pid = int(str(workers.run(PID)))
    outcomes: list[BaseException] = []

    def wait() -> None:
        try:
            workers.run(HANG)
        except RuntimeError as error:
            outcomes.append(error)

    waiting = [threading.Thread(target=wait) for _ in range(3)]  # two of them busy, one queued
    for thread in waiting:
        thread.start()
    started = time.monotonic()
    workers.close()
    for thread in waiting:
        thread.join()
    assert time.monotonic() - started < 2
    assert [str(error) for error in outcomes] == ["the decoding workers are closed"] * 3
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="closed"):
        workers.run("1")
    workers.close()
    gc.collect()  # a process or pipe left open would warn, and warnings are errors


@pytest.mark.skipif(sys.platform != "linux", reason="pidfd is Linux's")
def test_no_worker_outlives_a_killed_parent() -> None:
    script = (
        "import threading\nfrom embed.sandbox import IsolatedWorkers\n"
        "workers = IsolatedWorkers(eval, workers=2)\n"
        f"threading.Thread(target=workers.run, args=({HANG!r},), daemon=True).start()\n"
        f"print(workers.run({PID!r}), *(w._process.pid for w in workers._alive), flush=True)\n"
        "threading.Event().wait()"
    )
    with subprocess.Popen([sys.executable, "-c", script], cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout
        watched = [os.pidfd_open(int(pid)) for pid in set(parent.stdout.readline().split())]
        assert len(watched) == 2
        parent.kill()
    for pidfd in watched:
        assert select.select([pidfd], [], [], 2)[0], "a worker is still there 2 s after its parent was killed"
        os.close(pidfd)


@pytest.mark.skipif(sys.platform == "win32", reason="signals to a group are POSIX")
def test_ctrl_c_ends_the_parent_at_once_and_is_ignored_by_workers() -> None:
    script = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a background job ignores it
        "from embed.sandbox import IsolatedWorkers\n"
        "with IsolatedWorkers(eval, workers=1) as workers:\n"
        "    workers.run('0')\n"
        '    print(workers.run(\'__import__("os").kill(__import__("os").getpid(), 2)\'), flush=True)\n'
        f"    list(workers.map([{HANG!r}] * 9))"
    )
    started = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-c", script],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as parent:
        assert parent.stdout and parent.stderr
        assert parent.stdout.readline() == "None\n"
        os.killpg(parent.pid, signal.SIGINT)
        assert "KeyboardInterrupt" in parent.stderr.read()
    assert time.monotonic() - started < 5


@pytest.mark.skipif(sys.platform != "linux", reason="only glibc keeps a heap")
def test_what_scans_left_in_free_memory_is_given_back_by_an_idle_worker() -> None:
    """40 MB in blocks that are kept when they are freed, since glibc takes each from the heap."""
    script = (
        "import os, threading; from pathlib import Path; from embed import worker; worker.IDLE_SECONDS = 0.1\n"
        "def megabytes(): return int(Path('/proc/self/statm').read_text().split()[1]) * os.sysconf('SC_PAGE_SIZE') // 10**6\n"
        "empty = megabytes(); blocks = [b'x' * 10**7 for _ in range(4)]; del blocks\n"
        "kept = megabytes() - empty; inbox, outbox = os.pipe()\n"
        "threading.Timer(1.0, os.write, (outbox, b'next')).start(); worker._rest(inbox); print(kept, megabytes() - empty)"
    )
    told = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, env=os.environ | KEPT_HEAP, stdout=subprocess.PIPE, check=True
    )
    kept, left = map(int, told.stdout.split())
    assert kept >= 35
    assert left <= 5


def test_a_film_is_read(tmp_path: Path) -> None:
    (tmp_path / "film.dcm").write_bytes(dicom_bytes(phantom()))
    (tmp_path / "text.dcm").write_text("not a film")
    with IsolatedWorkers(partial(read_scan, side=64), workers=1) as workers:
        scan, refusal = workers.map([tmp_path / "film.dcm", tmp_path / "text.dcm"])
        assert not isinstance(scan, ScanError) and min(scan.pixels.shape[1:]) == 64
        assert isinstance(refusal, ScanError) and refusal.reason == "not-an-image"
