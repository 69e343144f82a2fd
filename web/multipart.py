"""The body of a form with files (RFC 7578), taken apart while it comes in: its files stay where they came to lie.

Werkzeug's own parser copies each byte several times on its way, and would leave a copy that a decoder has to be sent.
Line ends are CRLF, as the standard and every browser have it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import IO

from werkzeug.exceptions import BadRequest, RequestEntityTooLarge
from werkzeug.http import parse_options_header

from embed.shared import Piece, SharedBytes

STEP_BYTES = 2**20  # read at a time; the interpreter's lock is held only to look through so much
LONGEST_HEAD = 16_384  # bytes of one part's headers
LONGEST_BOUNDARY = 200  # RFC 2046 allows 70
CUT_OFF = "the form is cut off or is none (RFC 7578); send it again"


@dataclass
class Form:
    """What a body holds. Names of files are forgotten here."""

    body: SharedBytes
    fields: list[tuple[str, str]] = field(default_factory=list)
    files: list[tuple[str, Piece]] = field(default_factory=list)


def read_form(stream: IO[bytes], boundary: bytes, *, most_parts: int, most_field_bytes: int) -> Form:
    """The form of a body, all of it in memory. Raises `BadRequest`, or `RequestEntityTooLarge`: of `stream` for its length,
    which has to be limited, and here for the number of its parts or the length of its fields.
    """
    if not 0 < len(boundary) <= LONGEST_BOUNDARY:
        raise BadRequest("the form's boundary is missing or too long")
    delimiter = b"\r\n--" + boundary
    body, places = _received(stream, delimiter, most=most_parts + 1)
    form, room = Form(body), most_field_bytes
    for start, end in _parts(body, places, len(delimiter)):
        head = body.read(start, min(LONGEST_HEAD, end - start))
        length = head.find(b"\r\n\r\n")
        if length < 0:
            raise BadRequest("a part of the form has no headers, or too long ones")
        name, is_file = _named(head[:length])
        content = Piece(body, start + length + 4, end - start - length - 4)
        if is_file:
            form.files.append((name, content))
            continue
        room -= len(content)
        if room < 0:
            raise RequestEntityTooLarge(f"the form's fields are longer than {most_field_bytes:,} bytes")
        form.fields.append((name, bytes(content).decode("utf-8", "replace")))
    return form


def _received(stream: IO[bytes], delimiter: bytes, *, most: int) -> tuple[SharedBytes, list[int]]:
    """The whole body after a line's end, and where the delimiter stands in it."""
    body, places, kept = SharedBytes(), list[int](), len(delimiter) - 1
    body.write(b"\r\n")  # the first delimiter may stand at the very beginning
    window = bytearray(kept) + bytearray(STEP_BYTES)  # the end of what was looked through, then what came
    window[kept - 2 : kept] = b"\r\n"
    before = 2 - kept  # where the window begins in the body
    view = memoryview(window)
    while count := _read_into(stream, view[kept:]):
        body.write(view[kept : kept + count])
        place = window.find(delimiter, 0, kept + count)
        while place >= 0:
            places.append(before + place)
            if len(places) > most:
                raise RequestEntityTooLarge(f"the form has more than {most - 1} parts")
            place = window.find(delimiter, place + len(delimiter), kept + count)
        window[:kept] = window[count : count + kept]
        before += count
    return body.seal(), places


def _read_into(stream: IO[bytes], room: memoryview) -> int:
    """How many bytes came, 0 at the end."""
    into: Callable[[memoryview], int | None] | None = getattr(stream, "readinto", None)
    if into is not None:
        return into(room) or 0
    data = stream.read(len(room))
    room[: len(data)] = data
    return len(data)


def _parts(body: SharedBytes, places: list[int], length: int) -> Iterator[tuple[int, int]]:
    """Where each part begins, with its headers, and ends. Raises `BadRequest` where the last has no end."""
    begun: int | None = None
    for place in places:
        after = body.read(place + length, 64)
        is_last = after.startswith(b"--")
        padding = after.lstrip(b" \t")
        if not is_last and not padding.startswith(b"\r\n"):
            continue  # a line that only begins like the boundary
        if begun is not None:
            yield begun, place
        if is_last:
            return
        begun = place + length + len(after) - len(padding) + 2
    raise BadRequest(CUT_OFF)


def _named(head: bytes) -> tuple[str, bool]:
    """The field's name and whether it is a file's. Raises `BadRequest`."""
    lines = head.decode("utf-8", "replace").replace("\r\n ", " ").replace("\r\n\t", " ").split("\r\n")
    said = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    told, options = parse_options_header(said.get("content-disposition"))
    if told.lower() != "form-data":
        raise BadRequest("a part of the form does not say what it is (Content-Disposition)")
    return options.get("name", ""), "filename" in options
