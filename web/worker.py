"""gunicorn's threads, none of which waits for a client that says nothing, or its headers letter by letter.

gunicorn (27.0) gives a connection a thread at once, waits in it for the first byte, and then without end for the headers.
"""

import contextlib
import socket
import threading
import time
from typing import Any

from gunicorn.workers import gthread

from web.patience import HEADER_SECONDS, PATIENCE

END_OF_HEADERS = b"\r\n\r\n"
MOST_HEADER_BYTES = 65_536
DRAIN_SECONDS = 0.1  # for which the rest of a refused body is waited for, to keep the connection
GOODBYE_SECONDS = 0.5  # for which a client may read the last answer
GOODBYES_AT_ONCE = threading.Semaphore(4)  # threads that wait for that; other clients are left without


class PatientThreads(gthread.ThreadWorker):  # type: ignore[misc]
    """`worker_class = "web.worker.PatientThreads"`."""

    def handle(self, conn: Any) -> Any:
        if _may_be_incomplete(conn):
            begun = getattr(conn, "begun", None)
            said = _said(conn.sock)
            if said is None or (begun is not None and time.monotonic() - begun > HEADER_SECONDS):
                _hang_up(conn.sock)
                return False
            if END_OF_HEADERS not in said and len(said) < MOST_HEADER_BYTES:
                conn.begun = begun if begun is not None else time.monotonic() if said else None
                _wake_at(conn.sock, len(said) + 1)
                return gthread._DEFER  # the poller waits for more, no thread
            conn.begun = None
            _wake_at(conn.sock, 1)
        conn.data_ready = True
        with PATIENCE.for_seconds(conn.sock, HEADER_SECONDS) as conn.turn:
            going_on = super().handle(conn)
        if going_on is False:
            _take_leave(conn.sock)
        return going_on

    def handle_request(self, req: Any, conn: Any) -> Any:
        """Called with the headers read: what follows may take its time."""
        PATIENCE.end(conn.turn)
        return super().handle_request(req, conn)

    def _keepalive_after(self, conn: Any, keepalive: bool) -> bool:
        return bool(keepalive and conn.parser.finish_body(deadline=time.monotonic() + DRAIN_SECONDS))


def _may_be_incomplete(conn: Any) -> bool:
    """Whether headers can be looked for: not in what is encrypted or read already, and not from the proxy at a Unix socket."""
    if conn.cfg.is_ssl or conn.sock.family not in (socket.AF_INET, socket.AF_INET6):
        return False
    return conn.parser is None or not conn.parser.unreader.buf.getvalue()


def _said(connection: socket.socket) -> bytes | None:
    """What has arrived and is not read yet; None where the other side has ended."""
    connection.setblocking(False)
    try:
        return connection.recv(MOST_HEADER_BYTES, socket.MSG_PEEK) or None
    except BlockingIOError:
        return b""
    except OSError:
        return None


def _wake_at(connection: socket.socket, count: int) -> None:
    """When the poller calls the socket readable: at so many bytes (socket(7), SO_RCVLOWAT)."""
    with contextlib.suppress(OSError):
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, count)


def _take_leave(connection: socket.socket) -> None:
    """Lets the other side read the answer to its end; gunicorn would do so in the one thread that all connections need."""
    if GOODBYES_AT_ONCE.acquire(blocking=False):
        with contextlib.suppress(OSError, ValueError):
            connection.shutdown(socket.SHUT_WR)
            connection.settimeout(GOODBYE_SECONDS)
            until = time.monotonic() + GOODBYE_SECONDS
            while connection.recv(65_536) and time.monotonic() < until:
                pass
        GOODBYES_AT_ONCE.release()
    _hang_up(connection)


def _hang_up(connection: socket.socket) -> None:
    """What would still be read of it is at its end."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RD)
