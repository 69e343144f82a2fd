"""The server that these tests browse."""

import socket
import struct
import time
from urllib.parse import urlsplit

RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


def test_a_browser_that_hangs_up_leaves_no_file_open(site: str) -> None:
    """Fails by Python's own warning of a file left open, which pytest is told to take for an error."""
    where = urlsplit(site)
    for attempt in range(100):
        with socket.create_connection((where.hostname, where.port)) as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            connection.sendall(b"GET /static/icons/likewise.svg HTTP/1.1\r\nHost: localhost\r\n\r\nmore")
            time.sleep(0.002 * (attempt % 5))
    time.sleep(0.5)  # the last answers end meanwhile
