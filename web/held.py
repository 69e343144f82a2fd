"""Questions for as long as they are looked at: scans in memory only, for a few minutes, a few at a time, each its owner's alone."""

import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from werkzeug.exceptions import ServiceUnavailable

from embed.asked import Frames
from embed.scan import Scan, ScanError
from embed.shared import Piece
from index.case import Case

BYTES_HELD = 2**30  # of uploads together; the oldest give way, and can then only be looked at small


@dataclass(frozen=True)
class Failure:
    """Why there is no answer, as a problem document says it."""

    status: int
    title: str
    detail: str
    reason: str
    request_id: str | None = None  # of the request that began it, where another one is told


@dataclass(eq=False)
class HeldQuery:
    """One question: an uploaded scan's, or an archived case's."""

    owner: str
    asked: Mapping[str, Sequence[str]] = field(default_factory=dict, repr=False)  # parameters besides the files
    purpose: str | None = field(default=None, repr=False)
    files: tuple[Piece, ...] = field(default=(), repr=False)  # with all their headers: only until `frames` are made
    frames: Frames | None = field(default=None, repr=False)
    unviewable: ScanError | None = field(default=None, repr=False)  # why there are no frames
    looking: threading.Lock = field(default_factory=threading.Lock, repr=False)  # over making the frames
    case: Case | None = field(default=None, repr=False)
    scans: tuple[Scan, ...] = field(default=(), repr=False)
    preview: bytes = field(default=b"", repr=False)
    state: str = "reading"  # encoding, searching, done, failed
    failure: Failure | None = None
    snapshot_seen: str = ""  # the last whose answer was recorded in the audit
    id: str = field(default_factory=lambda: secrets.token_urlsafe(16))  # 128 bits
    until: float = 0.0
    is_over: bool = False

    @property
    def is_worked_on(self) -> bool:
        return self.state not in ("done", "failed")

    def let_go(self) -> None:
        """Whoever still has it in hand, waiting to work on it, has nothing of the patient's header, and keeps nothing."""
        self.is_over = True
        self.files, self.frames = (), None

    def bytes_held(self) -> int:
        return sum(map(len, self.files)) + (self.frames.pixels.nbytes if self.frames else 0)


class HeldQueries:
    """Safe for threads. What is past its time is gone, whether anybody asks or not: a timer calls `sweep`."""

    def __init__(
        self,
        *,
        minutes: float,
        count: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._seconds = 60.0 * minutes
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._held: dict[str, HeldQuery] = {}  # the oldest first

    def add(self, query: HeldQuery) -> HeldQuery:
        """Hold a query from now on. Where there are too many, the oldest answered one of whoever has most gives way. Raises
        `ServiceUnavailable` where those of whoever asks, or all, are still worked on.
        """
        with self._lock:
            self._sweep()
            while len(self._held) >= self._count:
                self._forget(self._dispensable(query.owner).id)
            query.until = self._clock() + self._seconds
            self._held[query.id] = query
        self.make_room(query)
        return query

    def make_room(self, query: HeldQuery) -> None:
        """Where all together are too large, the oldest lose what a viewer would show of them; `query` does not."""
        with self._lock:
            total = 0
            for held in reversed(self._held.values()):
                total += held.bytes_held()
                if total > BYTES_HELD and held is not query:
                    held.files, held.frames = (), None

    def get(self, query_id: str, owner: str) -> HeldQuery | None:
        """The owner's query; nobody else's, and none that is over."""
        with self._lock:
            self._sweep()
            found = self._held.get(query_id)
        return found if found is not None and found.owner == owner else None

    def seconds_left(self, query: HeldQuery) -> int:
        return max(0, round(query.until - self._clock()))

    def drop(self, query: HeldQuery) -> None:
        with self._lock:
            self._forget(query.id)

    def sweep(self) -> None:
        with self._lock:
            self._sweep()

    def count_and_bytes(self) -> tuple[int, int]:
        """(queries, bytes of their uploaded files and of the pictures made of them) that are held now."""
        with self._lock:
            return len(self._held), sum(held.bytes_held() for held in self._held.values())

    def _dispensable(self, asking: str) -> HeldQuery:
        """Which gives way to a new one of `asking`."""
        for owner, _ in Counter([*(held.owner for held in self._held.values()), asking]).most_common():
            for held in self._held.values():
                if held.owner == owner and not held.is_worked_on:
                    return held
            if owner == asking:
                break
        raise ServiceUnavailable("too many questions are worked on now; try again in a moment", retry_after=5)

    def _sweep(self) -> None:
        now = self._clock()
        for query_id in [query_id for query_id, held in self._held.items() if held.until <= now]:
            self._forget(query_id)

    def _forget(self, query_id: str) -> None:
        over = self._held.pop(query_id, None)
        if over is not None:
            over.let_go()
