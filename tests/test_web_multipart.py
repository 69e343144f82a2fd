"""A form's body is taken apart as RFC 7578 has it, wherever the reads happen to fall, and its files stay where they lie."""

import io
import os
import pickle
import random
import subprocess
import sys
from pathlib import Path

import pytest
from werkzeug.exceptions import BadRequest, HTTPException, RequestEntityTooLarge

from embed.sandbox import IsolatedWorkers
from embed.shared import HAS_MEMFD, Piece, SharedBytes
from web import multipart
from web.multipart import Form, read_form

B = b"the-boundary"
FILE = b'Content-Disposition: form-data; name="files"; filename="JANE"\r\nContent-Type: application/dicom\r\n\r\n'
FIELD = b'content-disposition: form-data; name="k"\r\n\r\n'


def body(*parts: bytes, end: bytes = b"--\r\n") -> bytes:
    return b"".join(b"--" + B + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + B + end


def read(data: bytes, *, boundary: bytes = B, most_parts: int = 10, most_field_bytes: int = 100) -> Form:
    return read_form(io.BytesIO(data), boundary, most_parts=most_parts, most_field_bytes=most_field_bytes)


def files(form: Form) -> list[bytes]:
    return [bytes(piece) for _, piece in form.files]


def test_fields_and_files_come_out_as_they_went_in_and_names_of_files_do_not() -> None:
    form = read(body(FIELD + b"3", FILE + b"one\r\n", FIELD + b"", FILE + b""))
    assert form.fields == [("k", "3"), ("k", "")] and files(form) == [b"one\r\n", b""]
    assert [name for name, _ in form.files] == ["files", "files"] and "JANE" not in repr(form)


@pytest.mark.parametrize("step", [1, 2, 3, 7, 13, 14, 15, 40, 1000])
def test_it_does_not_matter_where_a_read_ends(monkeypatch: pytest.MonkeyPatch, step: int) -> None:
    monkeypatch.setattr(multipart, "STEP_BYTES", step)
    chance = random.Random(step)
    data = bytes(chance.choice(b"\r\n-the") for _ in range(500)) + b"\r\n--the-boundar"
    form = read(body(FILE + data, FIELD + b"5", FILE + b"\r\n--"))
    assert files(form) == [data, b"\r\n--"] and form.fields == [("k", "5")]


def test_what_only_looks_like_the_boundary_is_data() -> None:
    data = b" --the-boundary\r\n\r\n--the-boundary2\r\n\n--the-boundary--\r\r\n--the-boundary -\r\n--The-boundary\r\n"
    assert files(read(body(FILE + data))) == [data]


def test_a_preamble_an_epilogue_and_padding_are_allowed() -> None:
    padded = body(FILE + b"x").replace(b"boundary\r\n", b"boundary \t \r\n")
    assert files(read(b"preamble\r\n" + padded + b"epilogue\r\n--the-boundary\r\n")) == [b"x"]
    assert files(read(body(FILE + b"x", end=b"--"))) == [b"x"]


@pytest.mark.parametrize(
    "data",
    [
        b"", b"x", b"--the-boundary", body(FILE + b"x")[:-4], body(FILE + b"x", end=b""), body(FILE + b"x", end=b"\r\n"), body(b"no headers"),
        body(b"\r\nx"), body(b"Content-Type: a/b\r\n\r\nx"), body(b"Content-Disposition: attachment; name=\"files\"\r\n\r\nx"),
        body(b"A: " + b"a" * 20_000 + b"\r\n" + FILE + b"x"), body(FILE + b"x").replace(b"\r\n", b"\n"), b"--the-boundary\r\n" + body(FILE),
    ],
)  # fmt: skip
def test_what_is_cut_off_or_no_form_is_refused(data: bytes) -> None:
    with pytest.raises(BadRequest):
        read(data)


@pytest.mark.parametrize("boundary", [b"", b"b" * 201])
def test_a_boundary_that_cannot_be_is_refused(boundary: bytes) -> None:
    with pytest.raises(BadRequest, match="boundary"):
        read(body(FILE), boundary=boundary)


def test_too_many_parts_and_too_long_fields_are_refused() -> None:
    assert len(read(body(*[FILE] * 10)).files) == 10
    with pytest.raises(RequestEntityTooLarge):
        read(body(*[FILE] * 11))
    assert len(read(body(FIELD + b"x" * 50, FIELD + b"x" * 50, FILE + b"x" * 500)).fields) == 2
    with pytest.raises(RequestEntityTooLarge):
        read(body(FIELD + b"x" * 50, FIELD + b"x" * 51))


def test_too_many_parts_are_refused_before_the_rest_is_read() -> None:
    endless = io.BytesIO(body(*[FILE] * 20) + bytes(20 * 2**20))
    with pytest.raises(RequestEntityTooLarge):
        read_form(endless, B, most_parts=10, most_field_bytes=100)
    assert endless.tell() <= multipart.STEP_BYTES


def test_no_spoilt_form_ends_otherwise_than_as_a_refusal() -> None:
    chance, whole = random.Random(3), body(FIELD + b"3", FILE + b"data\r\n--the", FIELD + b"")
    for _ in range(4000):
        data = bytearray(whole)
        for _ in range(chance.randint(1, 6)):
            place = chance.randrange(len(data))
            data[place : place + chance.randint(0, 9)] = bytes(
                chance.choice(b"\r\n-;=\"\\*%'\0\xff:ab") for _ in range(chance.randint(0, 5))
            )
        try:
            form = read(bytes(data))
        except HTTPException as error:
            assert error.code in (400, 413)
        else:
            assert all(len(bytes(piece)) == len(piece) for _, piece in form.files)


def test_a_decoding_process_reads_them_where_they_lie() -> None:
    form = read(body(FILE + b"one", FILE + bytes(3 * 2**20)))
    pieces = tuple(piece for _, piece in form.files)
    if HAS_MEMFD:
        assert len(pickle.dumps(pieces)) < 1000
    with IsolatedWorkers[tuple[Piece, ...], object]("tests.test_web_multipart:told", workers=1) as workers:
        assert workers.run(pieces) == ([3, 3 * 2**20], b"one", b"on")


def told(pieces: tuple[Piece, ...]) -> object:
    return [len(bytes(piece)) for piece in pieces], bytes(pieces[0]), pieces[0].head(2)


@pytest.mark.skipif(not HAS_MEMFD, reason="there is no memfd here")
def test_sealed_bytes_lie_on_no_disk_cannot_be_changed_and_go_with_their_last_holder() -> None:
    shared = SharedBytes()
    shared.write(b"scan")
    shared.seal()
    link = Path(f"/proc/self/fd/{shared._fd}")
    assert str(link.readlink()).startswith("/memfd:") and shared.read(1, 99) == b"can"
    with pytest.raises(OSError):
        shared.write(b"more")
    with pytest.raises(OSError):
        os.truncate(link, 1)
    copy = pickle.loads(pickle.dumps(shared))
    del shared
    assert not link.is_symlink() and copy.read(0, 4) == b"scan"


def test_where_no_process_may_look_into_this_one_they_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embed.shared.HAS_MEMFD", False)
    shared = SharedBytes()
    shared.write(b"sc")
    shared.write(b"an")
    assert pickle.loads(pickle.dumps(Piece(shared.seal(), 1, 2))).head(9) == b"ca"


def test_whoever_only_asks_loads_no_decoder() -> None:
    script = "import sys, web.app, web.api, web.pages, web.signin, web.service; print(*sorted({'torch', 'pydicom', 'gdcm', 'scipy', 'authlib', 'requests', 'lifelines', 'pandas'} & set(sys.modules)))"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", script], cwd=Path(__file__).parents[1], capture_output=True, text=True)
    assert done.stdout == "\n", done.stdout + done.stderr
