"""Decoding in processes of its own: a file that crashes, hangs or floods a C decoder costs that one file and says so.

This guards against accidents, not against an intruder: answers are pickles, and a worker may do whatever we may.
"""

import contextlib
import os
import pickle
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from concurrent.futures import Future
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, BinaryIO, Generic, Self, TypeVar, cast

from embed.scan import ScanError
from embed.worker import TOO_MUCH_MEMORY, named, receive, send

Item = TypeVar("Item")
Result = TypeVar("Result")

PIPE_BYTES = 2**20  # a prepared film has two million bytes: through 64 KiB at a time they would take 10 ms
AHEAD = 4  # items per worker that `map` takes before their turn: enough to ride over one slow file
SPELL_SECONDS = 0.5  # for which a wait for a result may be deaf to Ctrl-C
START_SECONDS = 60.0  # to import the function: 0.3 s on a quiet machine, far more from a cold network drive

# Not multiprocessing: its spawn imports the parent's __main__ again, and with it onnxruntime, faiss and duckdb.
# -P and the parent's own sys.path: nothing is imported from whatever folder we happen to run in.
BOOT = "import sys; sys.path[:] = sys.argv[2:]; from embed.worker import serve; serve(int(sys.argv[1]))"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OPENCV_FOR_THREADS_NUM"), "1"
)
# glibc gives large blocks back at once, and the next scan faults their pages in again, which large films feel most. A worker
# keeps some of its heap instead, until it has been idle for a while (`embed.worker.IDLE_SECONDS`).
KEPT_HEAP = {"MALLOC_MMAP_THRESHOLD_": str(2**25), "MALLOC_TRIM_THRESHOLD_": str(2**27)}


class IsolatedWorkers(Generic[Item, Result]):
    """`function` run on items by a few processes, each with a time and a memory limit. Close it, or use it in `with`.

    The function, the items and the results must be importable by name from a module other than `__main__`. What the
    function raises comes back: a `ScanError` concerns its item, anything else is our own bug and stops `map`. Workers
    import the function in the background from the start; named as "module:function" it is imported by them alone. Any
    thread may call; make it after a fork, not before.
    """

    def __init__(
        self,
        function: Callable[[Item], Result] | str,
        *,
        workers: int,
        seconds: float = 60.0,  # for one item
        memory_bytes: int = 4 * 2**30,  # address space of one worker, libraries included; 0 = no limit
    ) -> None:
        self._function = pickle.dumps(_Named(function) if isinstance(function, str) else function)
        self._seconds = seconds
        self._memory_bytes = memory_bytes
        self._tasks: SimpleQueue[tuple[Item, Future[Result]] | None] = SimpleQueue()
        self._lock = threading.Lock()  # over the two below
        self._closed = False
        self._alive: set[_Worker] = set()
        self._threads = [threading.Thread(target=self._attend, daemon=True) for _ in range(workers)]
        for thread in self._threads:
            thread.start()

    def map(self, items: Iterable[Item]) -> Iterator[Result | ScanError]:
        """Each item's result or why it has none, in the order of `items`, of which a few are taken ahead."""
        remaining = iter(items)
        ahead: deque[Future[Result]] = deque()
        try:
            ahead.extend(self._submit(item) for item in islice(remaining, AHEAD * len(self._threads)))
            while ahead:
                outcome: Result | ScanError
                try:
                    outcome = _awaited(ahead.popleft())
                except ScanError as error:
                    outcome = error
                yield outcome
                ahead.extend(self._submit(item) for item in islice(remaining, 1))
        finally:
            for future in ahead:
                future.cancel()

    def run(self, item: Item) -> Result:
        """One item's result. Raises `ScanError`."""
        return _awaited(self._submit(item))

    def close(self) -> None:
        """End the workers at once, whatever they are doing; who still waits for a result gets a `RuntimeError`."""
        with self._lock:
            self._closed = True
            alive = list(self._alive)
            for _ in self._threads:
                self._tasks.put(None)  # behind what is still queued, which each thread now refuses
        for worker in alive:
            worker.kill()
        for thread in self._threads:
            thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _submit(self, item: Item) -> Future[Result]:
        future: Future[Result] = Future()
        with self._lock:
            if self._closed:
                raise _closed()
            self._tasks.put((item, future))
        return future

    def _attend(self) -> None:
        """One thread's life: it owns one worker at a time, and replaces it when it is spent."""
        worker: _Worker | None = None
        while True:
            worker = self._renewed(worker)
            task = self._tasks.get()
            if task is None:
                break
            item, future = task
            if not future.set_running_or_notify_cancel():
                continue
            worker = self._renewed(worker)  # it may have died of something while idle, which is not this item's fault
            try:
                if worker is None:
                    raise RuntimeError("a decoding worker could not be started: no memory or processes left")
                future.set_result(worker.run(item, self._seconds))
            except BaseException as error:
                future.set_exception(_closed() if self._closed else error)
            del item, future, task  # a result lives as long as its reader wants, not until the next item
        self._discard(worker)

    def _renewed(self, worker: "_Worker | None") -> "_Worker | None":
        """A worker that can be used: `worker` itself, or a new one; None when closed or none can be started."""
        if worker is not None and not worker.spent:
            return worker
        self._discard(worker)
        with self._lock, contextlib.suppress(OSError):
            if not self._closed:
                worker = _Worker(self._function, self._memory_bytes)
                self._alive.add(worker)
                return worker
        return None

    def _discard(self, worker: "_Worker | None") -> None:
        if worker is not None:
            worker.stop()
            with self._lock:
                self._alive.discard(worker)


class _Worker:
    """One process as its owner, one thread, sees it."""

    def __init__(self, function: bytes, memory_bytes: int) -> None:
        path = [entry or str(Path.cwd()) for entry in sys.path]
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-c", BOOT, str(memory_bytes), *path],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pipesize=PIPE_BYTES,
            stderr=subprocess.DEVNULL,
            env=os.environ | ONE_THREAD | KEPT_HEAP,
        )
        self._inbox = cast(BinaryIO, self._process.stdin)
        self._outbox = cast(BinaryIO, self._process.stdout)
        self._ready = False
        self._late = False
        self._useless = False
        with contextlib.suppress(OSError):  # if it is dead already, the first item is told so
            send(self._inbox, function)

    @property
    def spent(self) -> bool:
        """Whether the next item needs another worker; after want of memory too, for a heap in pieces stays so."""
        return self._late or self._useless or self._process.poll() is not None

    def run(self, item: object, seconds: float) -> Any:
        """What the function makes of `item`, or raises; a `ScanError` also when the process dies or takes too long."""
        message = pickle.dumps(item, pickle.HIGHEST_PROTOCOL)
        if not self._ready:
            self._start()
        answer = self._ask(message, seconds)
        if self._late:
            raise ScanError(
                "decoder-timeout", f"decoding took longer than {seconds:g} s and was cut off; leave the file out"
            )
        if answer is None:
            raise ScanError(
                "decoder-crashed", f"the decoder crashed ({self._end()}); send the file again, or leave it out"
            )
        return self._unpacked(answer)

    def kill(self) -> None:
        self._process.kill()

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._inbox, self._outbox):
            with contextlib.suppress(OSError):  # what was never read cannot be flushed
                pipe.close()

    def _start(self) -> None:
        """Wait until the function is imported. Raises what its import raised, or RuntimeError."""
        answer = self._ask(None, START_SECONDS)
        if answer is None or self._late:
            raise RuntimeError(f"a decoding worker did not start ({self._end()}); is its memory limit too low?")
        self._useless = True  # until shown otherwise: without its function it is of no use
        try:
            self._unpacked(answer)
        except ScanError as error:  # want of memory, but not some file's
            raise RuntimeError(f"a decoding worker could not import its function: {error}") from error
        self._ready, self._useless = True, False

    def _ask(self, message: bytes | None, seconds: float) -> bytes | None:
        """The next answer, after sending `message`; None from a process that ended, `_late` set if we had to end it."""
        timer = threading.Timer(seconds, self._cut)
        timer.daemon = True
        timer.start()
        try:
            if message is not None:
                send(self._inbox, message)
            return receive(self._outbox)
        except (OSError, EOFError):
            self._process.wait()
            return None
        finally:
            timer.cancel()
            timer.join()  # or it could still kill the process under the next item

    def _cut(self) -> None:
        self._late = True
        self._process.kill()

    def _unpacked(self, answer: bytes) -> Any:
        result, error = pickle.loads(answer)
        if error is not None:
            self._useless |= isinstance(error, ScanError) and error.reason == TOO_MUCH_MEMORY
            try:
                raise error
            finally:
                del error  # as below: no circle of an exception and a frame
        return result

    def _end(self) -> str:
        code = self._process.poll()
        if code is None or code >= 0:
            return f"exit code {code}"
        return f"signal {-code}" + (", perhaps for want of memory" if -code in (6, 9) else "")


class _Named:
    """Unpickled, it is what it names."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __reduce__(self) -> tuple[Callable[[str], Any], tuple[str]]:
        return named, (self._name,)


def _awaited(future: Future[Result]) -> Result:
    """A future's result. Waits in short spells: a Ctrl-C that comes as a wait begins is heard only when the wait ends."""
    while not futures.wait([future], timeout=SPELL_SECONDS).done:
        pass
    try:
        return future.result()
    finally:
        del future  # its exception knows this frame: in a circle they would keep the item until some garbage collection


def _closed() -> RuntimeError:
    return RuntimeError("the decoding workers are closed")
