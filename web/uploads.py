"""Uploaded bodies stay in memory: never a temporary file, never a file name, and not too many at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any, cast

from flask import Request
from werkzeug.datastructures import FileStorage, MultiDict
from werkzeug.exceptions import BadRequest, ServiceUnavailable
from werkzeug.formparser import FormDataParser

from embed.shared import Piece
from web.multipart import read_form

MOST_FILES = 4000  # slices of a large CT study
AT_ONCE = 3  # uploads of the largest size; of films some hundred
FIELD = "files"  # what scans are sent as


class MemoryForm(FormDataParser):
    """Werkzeug would write parts above half a megabyte to a temporary file, in the clear."""

    def _parse_multipart(
        self, stream: IO[bytes], mimetype: str, content_length: int | None, options: dict[str, str]
    ) -> tuple[IO[bytes], MultiDict[str, str], MultiDict[str, FileStorage]]:
        boundary = options.get("boundary", "").encode("ascii", "replace")
        most_parts, most_bytes = self.max_form_parts, self.max_form_memory_size
        assert most_parts is not None and most_bytes is not None
        form = read_form(stream, boundary, most_parts=most_parts, most_field_bytes=most_bytes)
        files = [(name, FileStorage(cast(IO[bytes], InPlace(piece)), "", name)) for name, piece in form.files]
        return stream, self.cls(form.fields), self.cls(files)


class MemoryRequest(Request):
    """A request whose files stay where they came to lie in memory."""

    max_form_parts = MOST_FILES + 50
    form_data_parser_class = MemoryForm


class InPlace:
    """What stands for a file's stream in Werkzeug's eyes."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece

    def close(self) -> None:
        """It is gone once nobody holds it."""


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


def contents(files: MultiDict[str, FileStorage]) -> tuple[Piece, ...]:
    """The files of a form. Raises `BadRequest` where there is none, or too many, or one under another field's name."""
    strangers = sum(name != FIELD for name in files)
    if strangers:  # they would be held, and counted nowhere
        raise BadRequest(f"a file was sent under another name than {FIELD!r}; send every file of the scan under that")
    streams: list[Any] = [part.stream for part in files.getlist(FIELD)]
    found = tuple(stream.piece for stream in streams if len(stream.piece))
    if not found:
        raise BadRequest(
            "no file was sent, or only empty ones; send one scan as DICOM, PNG or JPEG, or a CT study as files or a zip"
        )
    if len(found) > MOST_FILES:
        raise BadRequest(f"{len(found)} files were sent; one study at a time, of at most {MOST_FILES}")
    return found
