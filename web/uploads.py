"""Uploaded bodies stay in memory: never a temporary file, never a file name, and not too many at a time."""

import io
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO

from flask import Request
from werkzeug.datastructures import FileStorage
from werkzeug.exceptions import BadRequest, ServiceUnavailable

MOST_FILES = 4000  # slices of a large CT study
AT_ONCE = 3  # uploads of the largest size; of films some hundred


class MemoryRequest(Request):
    """Werkzeug would write parts above half a megabyte to a temporary file, in the clear."""

    max_form_parts = MOST_FILES + 50

    def _get_file_stream(
        self,
        total_content_length: int | None,
        content_type: str | None,
        filename: str | None = None,
        content_length: int | None = None,
    ) -> IO[bytes]:
        return io.BytesIO()


class Room:
    """How many bytes of uploads may be on their way into memory together. Safe for threads."""

    def __init__(self, most_bytes: int) -> None:
        self._most = most_bytes
        self._taken = 0
        self._lock = threading.Lock()

    @contextmanager
    def taken(self, count: int) -> Iterator[None]:
        """While a body of `count` bytes is received and worked on. Raises `ServiceUnavailable` where there is no room."""
        with self._lock:
            if self._taken and self._taken + count > self._most:
                raise ServiceUnavailable("too many scans are being uploaded now; try again in a moment", retry_after=5)
            self._taken += count
        try:
            yield
        finally:
            with self._lock:
                self._taken -= count


def contents(files: Iterable[FileStorage]) -> tuple[bytes, ...]:
    """What the parts hold; their names are dropped here. Raises `BadRequest` where there is none, or too many."""
    found = tuple(data for part in files if (data := _content(part)))
    if not found:
        raise BadRequest(
            "no file was sent, or only empty ones; send one scan as DICOM, PNG or JPEG, or a CT study as files or a zip"
        )
    if len(found) > MOST_FILES:
        raise BadRequest(f"{len(found)} files were sent; one study at a time, of at most {MOST_FILES}")
    return found


def _content(part: FileStorage) -> bytes:
    """Without a copy: `getvalue` hands out the buffer itself."""
    stream = part.stream
    assert isinstance(stream, io.BytesIO)
    return stream.getvalue()
