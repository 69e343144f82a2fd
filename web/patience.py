"""How long a client may take to send: who is slower is cut off, so that nobody holds the server's threads for long."""

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from gunicorn.http.body import LengthReader
from gunicorn.http.errors import ChunkMissingTerminator, InvalidChunkSize, ParseException
from werkzeug.exceptions import BadRequest, RequestTimeout

HEADER_SECONDS = 15.0  # for a request's line and headers, from its first byte
PIECE_BYTES, PIECE_SECONDS = 2**20, 60.0  # of a body: 17 kB a second at least, over any piece
LOOK_SECONDS = 0.25
NO_CHUNKS = "the body does not come in chunks as it should (RFC 9112, 7.1); send it again"
TOO_SLOW = "the request came too slowly and was cut off; send it again over a better connection"


@dataclass(eq=False)
class Turn:
    """One client's turn to send."""

    connection: socket.socket
    until: float
    is_late: bool = False


class Patience:
    """Watches over the turns of one process, by one thread. Safe for threads."""

    def __init__(self) -> None:
        self._turns: set[Turn] = set()
        self._lock = threading.Lock()
        self._watch: threading.Thread | None = None

    @contextmanager
    def for_seconds(self, connection: socket.socket, seconds: float) -> Iterator[Turn]:
        """Whoever still waits for `connection` after so long reads its end; the turn then says that it is late."""
        turn = Turn(connection, time.monotonic() + seconds)
        with self._lock:
            self._turns.add(turn)
            if self._watch is None or not self._watch.is_alive():  # no thread survives a fork
                self._watch = threading.Thread(target=self._look, daemon=True)
                self._watch.start()
        try:
            yield turn
        finally:
            self.end(turn)

    def end(self, turn: Turn) -> None:
        with self._lock:
            self._turns.discard(turn)

    def _look(self) -> None:
        while True:
            time.sleep(LOOK_SECONDS)
            with self._lock:
                late = [turn for turn in self._turns if turn.until <= time.monotonic()]
                for turn in late:
                    turn.is_late = True
                    self._turns.discard(turn)
                    _stop_listening(turn.connection)


def _stop_listening(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RD)  # an answer can still be sent
    except OSError:
        return  # it is closed already


PATIENCE = Patience()  # of this process: its server and its app share it


class PatientInput:
    """A body (`wsgi.input`) that has to arrive at a pace. Raises `RequestTimeout`, or `BadRequest` where its chunks are none."""

    def __init__(self, body: IO[bytes], connection: socket.socket, *, seconds: float = PIECE_SECONDS) -> None:
        self._body = body
        self._connection = connection
        self._seconds = seconds

    def read(self, size: int | None = None) -> bytes:
        pieces: list[bytes] = []
        wanted = -1 if size is None else size
        while wanted:
            asked = PIECE_BYTES if wanted < 0 else min(wanted, PIECE_BYTES)
            piece = self._within_time(self._body.read, asked)
            pieces.append(piece)
            if len(piece) < asked:
                break
            wanted -= asked if wanted > 0 else 0
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def readinto(self, room: memoryview) -> int:
        """Fills `room`, or a piece of it, from the connection itself: gunicorn (27.0) would copy each byte six times on its way."""
        reader = getattr(self._body, "reader", None)
        if not isinstance(reader, LengthReader) or self._body.buf.tell():  # type: ignore[attr-defined]
            data = self.read(len(room))
            room[: len(data)] = data
            return len(data)
        count = min(len(room), reader.length, PIECE_BYTES)
        held = reader.unreader.take_buffered() if count else b""  # what came with the headers
        done = min(len(held), count)
        room[:done] = held[:done]
        if held[done:]:
            reader.unreader.unread(held[done:])
        try:
            with PATIENCE.for_seconds(self._connection, self._seconds) as turn:
                while done < count and (got := self._connection.recv_into(room[done:count])):
                    done += got
        except OSError:
            self._body.failed = True  # type: ignore[attr-defined]
            if not turn.is_late:
                raise
        reader.length -= done
        if turn.is_late:
            self._body.failed = True  # type: ignore[attr-defined]
            raise RequestTimeout(TOO_SLOW)
        return done

    def readline(self, size: int | None = None) -> bytes:
        return self._within_time(self._body.readline, PIECE_BYTES if size is None or size < 0 else size)

    def readlines(self, hint: int | None = None) -> list[bytes]:
        return list(self)

    def __iter__(self) -> Iterator[bytes]:
        while line := self.readline():
            yield line

    def _within_time(self, read: Callable[[int], bytes], size: int) -> bytes:
        with PATIENCE.for_seconds(self._connection, self._seconds) as turn:
            try:
                got = read(size)
            except (InvalidChunkSize, ChunkMissingTerminator, ParseException) as error:
                self._body.failed = True  # type: ignore[attr-defined]
                raise BadRequest(NO_CHUNKS) from error
            except OSError:
                if not turn.is_late:
                    raise
                got = b""
        if turn.is_late:
            raise RequestTimeout(TOO_SLOW)
        return got
