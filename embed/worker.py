"""The worker's side of a decoding process: import a function, answer items with it within its limits, die with the parent.

What passes between it and `embed.sandbox` is a pickle after its length.
"""

import contextlib
import ctypes
import os
import pickle
import select
import signal
import sys
import traceback
from collections.abc import Callable
from importlib import import_module
from typing import Any, BinaryIO, NoReturn

from embed.scan import ScanError

if sys.platform != "win32":
    import resource

TOO_MUCH_MEMORY = "too-much-memory"
OPENCV_NO_MEMORY = -4  # cv2.error.code, cv::Error::StsNoMem
LENGTH_BYTES = 8  # of a message's length, big-endian
IDLE_SECONDS = 60  # after which what scans have left in the heap is given back to the system, which wipes it
PR_SET_PDEATHSIG = 1  # prctl(2)


def serve(memory_bytes: int) -> NoReturn:
    """Import the function that comes first, then answer items until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then ends us
    inbox, outbox = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    for standard in (0, 1, 2):  # what a C library prints must reach neither the pipe nor a terminal
        os.dup2(os.open(os.devnull, os.O_RDWR), standard)
    _limit(memory_bytes)
    try:
        functions: list[Callable[[Any], Any]] = []
        send(outbox, _answer(lambda first: functions.append(pickle.loads(first)), receive(inbox), memory_bytes))
        while True:
            _rest(inbox.fileno())
            send(outbox, _answer(lambda item: functions[0](pickle.loads(item)), receive(inbox), memory_bytes))
    finally:
        os._exit(1)  # the parent is gone; no thread of a library may hold us back


def _rest(inbox: int) -> None:
    """Wait for the next message; meanwhile nothing of the last scan stays for long, not even in memory that is free."""
    if sys.platform != "linux":
        return
    waiting = select.poll()
    waiting.register(inbox, select.POLLIN)
    if not waiting.poll(1000 * IDLE_SECONDS):
        with contextlib.suppress(AttributeError):  # of musl
            ctypes.CDLL(None).malloc_trim(0)


def named(name: str) -> Callable[[Any], Any]:
    """The function called "module:function"."""
    module, _, function = name.partition(":")
    found: Callable[[Any], Any] = getattr(import_module(module), function)
    return found


def _limit(memory_bytes: int) -> None:
    """Bind this process to its limits, as far as the platform has them, and to the life of its parent."""
    if sys.platform == "win32":
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if memory_bytes:
        hard = resource.getrlimit(resource.RLIMIT_AS)[1]
        allowed = memory_bytes if hard == resource.RLIM_INFINITY else min(memory_bytes, hard)
        with contextlib.suppress(ValueError):  # macOS refuses
            resource.setrlimit(resource.RLIMIT_AS, (allowed, allowed))
    if sys.platform == "linux":
        # For a decoder that hangs while the parent is killed: the closed pipe alone would never be noticed. The signal
        # comes when the *thread* that started us ends; that is the one that owns us, so it has no further use for us.
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _answer(call: Callable[[bytes], object], message: bytes, memory_bytes: int) -> bytes:
    """(result, None) or (None, error), pickled."""
    try:
        return pickle.dumps((call(message), None), pickle.HIGHEST_PROTOCOL)
    except Exception as error:
        told: Exception = error
        if _is_want_of_memory(error):
            limit = f"its limit of {memory_bytes / 2**30:g} GiB" if memory_bytes else "what the machine has"
            told = ScanError(
                TOO_MUCH_MEMORY, f"decoding needs more memory than {limit}; leave the file out, or raise the limit"
            )
        elif not isinstance(error, ScanError):
            error.add_note("In the decoding worker:\n" + traceback.format_exc())
        try:
            packed = pickle.dumps((None, told))
            pickle.loads(packed)
        except Exception:  # an exception class with arguments of its own, as several libraries have
            packed = pickle.dumps((None, RuntimeError("".join(traceback.format_exception(error)))))
        del told  # it knows this frame: in a circle they would keep the item until some garbage collection
        return packed


def _is_want_of_memory(error: BaseException | None) -> bool:
    """Also behind a refusal: readers turn whatever a decoder raises into a `DamagedScan`, and the file is not at fault."""
    while error is not None:
        if isinstance(error, MemoryError) or getattr(error, "code", None) == OPENCV_NO_MEMORY:
            return True
        error = error.__cause__ or error.__context__
    return False


def send(pipe: BinaryIO, message: bytes) -> None:
    """Write one message. Raises OSError."""
    pipe.write(len(message).to_bytes(LENGTH_BYTES, "big"))
    pipe.write(message)
    pipe.flush()


def receive(pipe: BinaryIO) -> bytes:
    """The next message. Raises EOFError when the other side has ended, be it in the middle."""
    length = int.from_bytes(_read(pipe, LENGTH_BYTES), "big")
    return _read(pipe, length)


def _read(pipe: BinaryIO, count: int) -> bytes:
    data = pipe.read(count)
    if len(data) < count:
        raise EOFError
    return data
