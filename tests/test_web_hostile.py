"""A real server in the hands of people who mean it harm, and what is left of a patient after questions about them.

LIKEWISE_HOSTILE=1 sends what is as large as in earnest (2 GB, some minutes); LIKEWISE_TRACES=500 asks as many questions.
"""

import contextlib
import csv
import io
import json
import logging
import os
import random
import re
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from gunicorn.http.body import Body, LengthReader
from gunicorn.http.unreader import SocketUnreader
from werkzeug.exceptions import RequestTimeout

from tests.archives import change_cells, table_archive
from tests.conftest import run_build
from tests.films import dicom_bytes, phantom, png_bytes
from tests.test_web_uploads import ct_files, zipped
from tests.web_asking import API, BOUNDARY, MULTIPART, Web, film, multipart
from tests.web_guarded import HOST
from tests.web_server import Server, running, watched
from web import logs
from web.__main__ import main
from web.limits import BODIES_AT_ONCE
from web.patience import PatientInput
from web.principal import Role

IN_EARNEST = "LIKEWISE_HOSTILE" in os.environ
QUERIES = f"{API}/queries"
UPLOAD_MB = 512 if IN_EARNEST else 16
TOO_MUCH_MB = 2048 if IN_EARNEST else 48
ANSWERS_WITHIN_S = 2.0 if IN_EARNEST else 6.0  # beside other tests on few cores
# Beyond what it takes at rest. In earnest: three bodies of 512 MB on their way, a gigabyte held, and what decodes them.
GROWTH_MB = 4096 if IN_EARNEST else 768
NAME, PATIENT, BORN = "Zebrafish^Quentin", "NHS-4857773456", "19470613"
WHO: dict[str, Any] = {"PatientName": NAME, "PatientID": PATIENT, "PatientBirthDate": BORN}
NEEDLES = [b"Zebrafish", b"Quentin", b"4857773456", b"19470613", b"1947-06-13", b"Kaleidoscope"]
FILE_NAME = "Kaleidoscope-{}.dcm"  # the files' names are looked for too


@pytest.fixture(scope="module")
def server(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("server")
    with running(folder, small_index, LIKEWISE_UPLOAD_MB=str(UPLOAD_MB)) as started:
        assert ask(started, film())[0] == 201  # decoders are up
        yield started


@contextlib.contextmanager
def unharmed(server: Server) -> Iterator[None]:
    """It answers meanwhile and afterwards, and its memory stays bounded."""
    at_rest = server.resident_mb()
    with watched(server) as seen:
        yield
    told = f"health {seen.slowest_s:.2f} s at the slowest of {seen.asked}, {at_rest:.0f} -> {seen.peak_mb:.0f} MB"
    print(told)
    assert seen.asked and not seen.unanswered and seen.slowest_s < ANSWERS_WITHIN_S, told
    assert seen.peak_mb < at_rest + GROWTH_MB, told
    after = server.health(timeout=10)
    assert after is not None and after < ANSWERS_WITHIN_S
    assert ask(server, film())[0] == 201


def ask(server: Server, *files: bytes, timeout: float = 120, **headers: str) -> tuple[int, bytes]:
    body = multipart([(FILE_NAME.format(number), data) for number, data in enumerate(files)], {"k": "3"})
    return server.ask("POST", QUERIES, body, timeout=timeout, Content_Type=MULTIPART, **headers)


# --- bombs


def flat_bomb() -> bytes:
    """One member, a thousandfold."""
    return zipped(("slice.dcm", bytes(200_000_000)))


def many_slices_bomb() -> bytes:
    """Members that are each just not absurd."""
    content = dicom_bytes(np.zeros((8000, 3900), np.uint16))  # 62 MB, packed into 60 kB
    return zipped(*[(f"{number}.dcm", content) for number in range(30 if IN_EARNEST else 2)])


def nested_bomb() -> bytes:
    return zipped(*[(f"{number}.zip", flat_bomb()) for number in range(3)], ("ok.dcm", zipped(("x", bytes(5_000_000)))))  # fmt: skip


def png_bomb() -> bytes:
    """A gigapixel in a megabyte."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 32_000, 32_000, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes(64_000_000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def lying_film() -> bytes:
    """A header that promises four gigapixels."""
    return film(Rows=65535, Columns=65535)


@pytest.mark.parametrize("bomb", [flat_bomb, many_slices_bomb, nested_bomb, png_bomb, lying_film])
def test_a_bomb_is_refused_with_a_reason(server: Server, bomb: Callable[[], bytes]) -> None:
    data = bomb()
    with unharmed(server):
        status, told = ask(server, data)
    assert status == 422 and b'"reason"' in told, told


# --- floods


def flood(server: Server, megabytes: int, *, chunked: bool) -> int:
    """Sends a body of so many megabytes, and listens; the status of the answer."""
    piece = bytes(2**20)
    said = b"Transfer-Encoding: chunked" if chunked else f"Content-Length: {megabytes * 2**20}".encode()
    begun = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="x"\r\n\r\n'.encode()
    connection = server.connect()
    with connection:
        connection.sendall(_head(server, said))
        with contextlib.suppress(OSError):  # it stops listening
            for number in range(megabytes):
                data = begun + piece[len(begun) :] if number == 0 else piece
                connection.sendall(b"%x\r\n%s\r\n" % (len(data), data) if chunked else data)
        return _status(connection)


def _head(server: Server, *lines: bytes) -> bytes:
    first = [f"POST {QUERIES} HTTP/1.1".encode(), f"Host: 127.0.0.1:{server.port}".encode()]
    return b"\r\n".join([*first, b"Content-Type: " + MULTIPART.encode(), *lines, b"", b""])


def _status(connection: socket.socket) -> int:
    """0 where the connection was cut."""
    try:
        told = connection.recv(4096)
    except OSError:
        return 0
    return int(told.split(b" ")[1]) if told.startswith(b"HTTP/1.1 ") else 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_far_too_large_is_cut_off(server: Server, chunked: bool) -> None:
    with unharmed(server):
        # Whoever goes on sending may see the connection end before the answer.
        assert flood(server, TOO_MUCH_MB, chunked=chunked) in (0, 413)
    patient = server.ask("POST", QUERIES, b"", Content_Type=MULTIPART)[0]
    assert patient in (400, 422)


@pytest.mark.parametrize(
    "body", [b"zz\r\nabc\r\n0\r\n\r\n", b"5\r\nabcdeXX0\r\n\r\n", b"1\r\na\r\n0\r\nbad trailer\n\r\n\r\n"]
)
def test_chunks_that_are_none_are_told_so(server: Server, body: bytes) -> None:
    with server.connect() as connection:
        connection.sendall(_head(server, b"Transfer-Encoding: chunked") + body)
        assert _status(connection) == 400


def test_a_body_that_says_it_is_too_large_is_refused_unread(server: Server) -> None:
    with server.connect() as connection:
        connection.sendall(_head(server, f"Content-Length: {2**31}".encode()))
        assert _status(connection) == 413


def test_parallel_uploads_are_answered_or_put_off(server: Server) -> None:
    """Fifty at once, of films and of files that fill a good part of what may be uploaded."""
    large = film() + random.Random(1).randbytes((UPLOAD_MB // (8 if IN_EARNEST else 4)) * 2**20)
    with unharmed(server), ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(lambda number: _asked(server, large if number % 2 else film()), range(50)))
    counts = Counter(answers)
    print(counts)
    assert set(counts) <= {201, 422, 503} and counts[201] >= 10


def _asked(server: Server, data: bytes) -> int:
    """0 where the connection was cut: the server had answered before all was sent."""
    try:
        return ask(server, data)[0]
    except OSError:
        return 503


# --- the slow


def trickle(server: Server, opening: Callable[[int], bytes], *, clients: int, seconds: float) -> Counter[int]:
    """So many clients that send an opening and then a byte now and then; how they are answered."""
    connections = [server.connect() for _ in range(clients)]
    statuses: Counter[int] = Counter()
    try:
        for number, connection in enumerate(connections):
            connection.sendall(opening(number))
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            time.sleep(0.5)
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
        for connection in connections:
            connection.setblocking(False)
            statuses[_status(connection)] += 1
    finally:
        for connection in connections:
            connection.close()
    return statuses


def test_a_body_that_stops_coming_is_given_up() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs, ours.makefile("rb") as stream:
        body = PatientInput(stream, ours, seconds=0.3)
        theirs.sendall(b"a part\n, and then")
        assert body.readline() == b"a part\n" and body.read(10) == b", and then"
        with pytest.raises(RequestTimeout, match="too slowly"):
            body.read(1)


def test_a_body_is_read_straight_into_memory_and_what_follows_it_is_left() -> None:
    sent = random.Random(3).randbytes(3_000_000)
    following = b"GET / HTTP/1.1\r\n"
    ours, theirs = socket.socketpair()
    with ours, theirs:
        unreader = SocketUnreader(ours)
        unreader.unread(sent[:1000])  # what came with the headers
        body = Body(LengthReader(unreader, len(sent)))
        client = threading.Thread(target=theirs.sendall, args=(sent[1000:] + following,))
        client.start()
        patient, room, got = PatientInput(body, ours, seconds=20), bytearray(700_000), bytearray()
        while count := patient.readinto(memoryview(room)):
            got += room[:count]
        client.join()
        assert got == sent
        assert ours.recv(100) == following


def test_a_body_behind_which_the_next_request_came_at_once_is_not_read_too_far() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        unreader = SocketUnreader(ours)
        unreader.unread(b"bodyGET / HTTP/1.1")
        patient, room = PatientInput(Body(LengthReader(unreader, 4)), ours), bytearray(100)
        assert patient.readinto(memoryview(room)) == 4 and room[:4] == b"body"
        assert patient.readinto(memoryview(room)) == 0
        assert unreader.take_buffered() == b"GET / HTTP/1.1"


def test_a_body_read_straight_into_memory_has_to_come_at_a_pace() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        body = Body(LengthReader(SocketUnreader(ours), 100))
        theirs.sendall(b"a part")
        with pytest.raises(RequestTimeout, match="too slowly"):
            PatientInput(body, ours, seconds=0.3).readinto(memoryview(bytearray(100)))
        assert body.failed  # the connection is not used again


def test_slow_headers_hold_no_thread(server: Server) -> None:
    halves = [b"", b"P", b"POST /api/v1/queries HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"GET / HTTP/1.1\r\nHost: "]
    with unharmed(server):
        trickle(server, lambda number: halves[number % 4], clients=120, seconds=40 if IN_EARNEST else 3)


def test_slow_bodies_leave_threads_for_others(server: Server) -> None:
    head = _head(server, b"Content-Length: 1000000") + f"--{BOUNDARY}\r\n".encode()
    with unharmed(server):
        statuses = trickle(server, lambda number: head, clients=60, seconds=65 if IN_EARNEST else 3)
    assert statuses[503] >= 60 - BODIES_AT_ONCE - 1  # as many as were taken hold a thread each, until they are cut off
    if IN_EARNEST:
        assert statuses[408] >= BODIES_AT_ONCE - 1


# --- no trace


def test_nothing_of_a_patient_is_found_after_many_questions(small_index: Path, tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    with running(tmp_path, small_index, LIKEWISE_UPLOAD_MB="4") as server:
        held: list[str] = []
        asked = range(int(os.environ.get("LIKEWISE_TRACES", "22")))
        statuses = Counter(_simulated(server, number, held) for number in asked)
        print(dict(statuses))
        assert {0, 201, 202, 401, 413, 422} <= set(statuses)  # every way to fail, and to succeed
        assert not statuses[500]
        assert _traces_of(server, tmp_path, small_index, before, in_memory=False) == []
        for query in held:
            server.ask("DELETE", f"{QUERIES}/{query}")
        deadline = time.monotonic() + 30  # a decoder that was at work on a scan holds it until it has finished
        while found := _traces_of(server, tmp_path, small_index, before):
            assert time.monotonic() < deadline, found
            time.sleep(0.2)
    assert _traces_in_files([tmp_path, small_index]) == []  # what is written as it ends
    assert list((tmp_path / "tmp").rglob("*")) == []


def test_a_trace_would_be_found(small_index: Path, tmp_path: Path) -> None:
    before = set(Path("/dev/shm").iterdir())
    with running(tmp_path, small_index, LIKEWISE_OIDC_ISSUER="https://quentin.example/Quentin") as server:
        (tmp_path / "tmp" / "spool").write_bytes(b"\0" * 100 + NAME.encode())
        found = _traces_of(server, tmp_path, small_index, before)
    assert any("spool" in one for one in found) and any("environ" in one for one in found)


def _simulated(server: Server, number: int, held: list[str]) -> int:
    """One person's question, of one of eleven kinds; its status, 0 where the connection was cut on purpose."""
    scan = film(200 + number % 7, StudyDescription=f"CHEST {NAME}", InstanceNumber=number, **WHO)
    picture = png_bytes((phantom(seed=300 + number % 5) >> 4).astype(np.uint8))
    name = FILE_NAME.format(number)
    kinds: list[Callable[[], tuple[int, bytes]]] = [
        lambda: ask(server, scan),
        lambda: ask(server, zipped((f"{NAME}/{name}", scan))),
        lambda: ask(server, picture),
        lambda: ask(server, *ct_files(14, **WHO)),
        lambda: ask(server, scan[: 500 + 13 * number % len(scan)]),
        lambda: ask(server, zipped((name, scan))[:-40]),
        lambda: ask(server, scan, Authorization=f"Bearer lk_{PATIENT}"),
        lambda: ask(server, scan + bytes(5 * 2**20)),
        lambda: ask(server, film(Modality="US", **WHO)),
        lambda: ask(server, scan, Prefer="respond-async"),
        lambda: _cut_off(server, scan),
    ]
    try:
        status, told = kinds[number % len(kinds)]()
    except OSError:
        return 413  # refused before all was sent
    if status in (201, 202):
        asked = told.split(b'"id":"')[1].split(b'"')[0].decode()
        for path in (f"?view=any&sex={NAME[:9]}" if number % 2 else "", "/preview", "/frames", "/frames/0"):
            server.ask("GET", f"{QUERIES}/{asked}{path}")
        server.ask("GET", f"/{NAME}/{name}?patient={PATIENT}", Referer=f"http://localhost/{BORN}", User_Agent=NAME)
        held.append(asked)
    return status


def _cut_off(server: Server, scan: bytes) -> tuple[int, bytes]:
    body = multipart([(FILE_NAME.format("cut"), scan)], {})
    with server.connect() as connection:
        connection.sendall(_head(server, f"Content-Length: {len(body)}".encode()) + body[: len(body) // 2])
    return 0, b""


def _traces_of(
    server: Server, folder: Path, index: Path, shared_before: set[Path], *, in_memory: bool = True
) -> list[str]:
    """Where something is found: files, shared memory, and what the system tells of the processes.

    `in_memory`: also in memory with a handle (memfd_create(2)), which no file system has, and where held scans may be.
    """
    found = _traces_in_files([folder, index, *(set(Path("/dev/shm").iterdir()) - shared_before)])
    for process in server.processes():
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            place = Path("/proc") / str(process.pid)
            for name in ("cmdline", "environ"):
                found += _needles(f"{place}/{name}", (place / name).read_bytes())
            for handle in (place / "fd").iterdir():
                target = os.readlink(handle)  # noqa: PTH115 (Path.readlink would lose " (deleted)")
                found += _needles(f"the name of {handle}", target.encode())
                if handle.is_file() and (in_memory or not target.startswith("/memfd:")):
                    found += _needles(f"{handle} -> {target}", handle.read_bytes())
    return found


def _traces_in_files(places: list[Path]) -> list[str]:
    files = [file for place in places for file in ([place] if place.is_file() else place.rglob("*")) if file.is_file()]
    assert files
    names = [found for file in files for found in _needles(f"the name of {file}", str(file).encode())]
    for file in files:
        with contextlib.suppress(FileNotFoundError):  # another process's, in shared memory
            names += _needles(str(file), file.read_bytes())
    return names


def _needles(where: str, content: bytes) -> list[str]:
    """A filter that a person typed stands in the audit as typed: that is told in docs/security.md."""
    content = content.replace(b'"sex":"Zebrafish"', b"")
    return [f"{needle.decode()} in {where}" for needle in NEEDLES if needle in content]


# --- words that mean harm

HARM = "=cmd|' /C calc'!A0\"><script>alert(1)</script>\r\nSet-Cookie: stolen=1\r\n{{7*7}}\u202e"
STRINGS = ("StudyDescription", "SeriesDescription", "Manufacturer", "ManufacturerModelName", "BodyPartExamined", "ProtocolName", "ViewPosition", "Modality", "PhotometricInterpretation", "ImageType", "PatientOrientation", "InstitutionName", "PatientSex", "Laterality")  # fmt: skip


@pytest.fixture(scope="module")
def web(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("web"), small_index)
    yield web
    web.close()


def harmful(keyword: str) -> bytes:
    """A film with a harmful string, which pydicom would rather not write, in one attribute."""
    marker = "QQQQ" + "Q" * (len(HARM.encode()) - 4 + len(HARM.encode()) % 2)
    with pytest.warns(UserWarning) if len(marker) > 16 else contextlib.nullcontext():
        attributes: dict[str, Any] = {keyword: marker, "SpecificCharacterSet": "ISO_IR 192"}
        data = film(**attributes)
    assert marker.encode() in data, keyword
    return data.replace(marker.encode(), HARM.encode().ljust(len(marker)))


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("keyword", STRINGS)
def test_a_harmful_string_in_a_header_is_inert(
    web: Web, keyword: str, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "likewise")
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logging.getLogger("likewise").addHandler(handler)
    try:
        told = web.ask(harmful(keyword), names=[f"{HARM[:20]}.dcm"], purpose=HARM[:150])
    finally:
        logging.getLogger("likewise").removeHandler(handler)
    assert told.status_code in (201, 422), told.text
    assert told.content_type in ("application/json", "application/problem+json")  # never read as markup
    assert told.headers["X-Content-Type-Options"] == "nosniff" and "default-src 'none'" in told.headers["Content-Security-Policy"]  # fmt: skip
    assert "Content-Disposition" not in told.headers and "Set-Cookie" not in told.headers
    assert not any("alert" in value or "stolen" in value for value in told.headers.values())
    lines = stream.getvalue().splitlines()
    assert lines and all(isinstance(json.loads(line), dict) for line in lines)
    assert "alert" not in stream.getvalue() and "alert" not in "".join(capfd.readouterr())
    exported = CliRunner().invoke(main, ["audit", "export", "--audit", str(web.audit_file)])
    cells = [cell for row in csv.reader(io.StringIO(exported.output)) for cell in row]
    assert cells and not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in cells)


@pytest.mark.parametrize(
    "path",
    ["/<script>alert(1)</script>", "/case/\"'><svg onload=alert(1)>", "/samples/{{7*7}}", "/sign-in?next=//evil.example/%0d%0aSet-Cookie:a=b", "/static/..%2f..%2fetc%2fpasswd", "/%0d%0aSet-Cookie:%20a=b"],
)  # fmt: skip
def test_a_harmful_address_is_inert_on_the_page_that_says_so(web: Web, path: str) -> None:
    headers = web.headers(Role.CLINICIAN) | {"X-Request-ID": "<b>evil</b>", "Referer": "javascript:alert(1)"}
    told = web.client.get(path, headers=headers, base_url=HOST)
    assert told.status_code in (301, 302, 400, 404)
    assert (
        "alert(1)" not in told.text and "49" not in re.findall(r"<p>(.*?)</p>", told.text) and "root:" not in told.text
    )
    assert "Set-Cookie" not in told.headers and "<b>" not in told.headers["X-Request-ID"]
    assert "evil.example" not in told.headers.get("Location", "")
    told.close()


def test_what_is_harmful_in_the_archive_is_told_as_json_only(tmp_path: Path) -> None:
    """Cells of a cohort's table are as little to be trusted as an upload."""
    cohort = change_cells(table_archive(tmp_path / "archive"), centre={0: HARM.replace("\r\n", " "), 1: "=1+1<svg onload=alert(1)>"})  # fmt: skip
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    web = Web(tmp_path, tmp_path / "index")
    try:
        answers = [web.ask(film(), role=Role.RESEARCHER, view="any", k="12"), web.get("filters")]
        for told in answers:
            assert told.status_code in (200, 201) and told.content_type == "application/json"
            assert told.headers["X-Content-Type-Options"] == "nosniff"
        assert "onload" not in web.get("/").text and "onload" not in web.audit_file.read_text()
    finally:
        web.close()


# --- framing


def test_no_framing_of_a_form_causes_an_error_of_the_server(web: Web) -> None:
    """Boundaries and headers of parts, wrong, missing and cut off; LIKEWISE_FRAMINGS=10000 tries as many."""
    chance = random.Random(21)
    small = film()[:2000]
    seen: Counter[int] = Counter()
    for _ in range(int(os.environ.get("LIKEWISE_FRAMINGS", "200"))):
        body = multipart([(chance.choice((HARM, "x", "é" * 300, "\0")), small)] * chance.randrange(3), {"k": "3"})
        headers = web.headers(Role.CLINICIAN)
        kind = (
            f"multipart/form-data; boundary={chance.choice((BOUNDARY, BOUNDARY, '', 'other', 'b' * 300, 'é', chr(34)))}"
        )
        for _ in range(chance.randrange(4)):
            old, new = chance.choice(FRAMINGS)
            body = body.replace(old, new, chance.randint(1, 3))
        if chance.random() < 0.4:
            body = body[: chance.randrange(len(body) + 1)]
        said = len(body) + chance.choice((0, 0, 0, -1, 1, 1000, -len(body)))
        overrides = {"CONTENT_LENGTH": str(chance.choice((said, said, said, -5, "x", "")))}
        told = web.client.post(f"{API}/queries", input_stream=io.BytesIO(body), content_type=kind, headers=headers, base_url=HOST, environ_overrides=overrides)  # fmt: skip
        seen[told.status_code] += 1
        assert told.status_code in (201, 400, 413, 415, 422), (told.status_code, told.text)
    print(dict(seen))


FRAMINGS = [
    (f"--{BOUNDARY}".encode(), b""), (f"--{BOUNDARY}--".encode(), b""), (b"\r\n\r\n", b"\r\n"), (b"\r\n", b"\n"), (b'name="files"', b"name=files"),
    (b"form-data", b"attachment"), (b'name="files"', b""), (b"filename=", b"filename*=utf-8''%ff%00"), (b"Content-Disposition", b"Content-Disposition\0"),
    (b"\r\n\r\n", b"\r\nContent-Transfer-Encoding: base64\r\n\r\n"), (b"\r\n\r\n", b"\r\nContent-Type: multipart/mixed; boundary=" + BOUNDARY.encode() + b"\r\n\r\n"),
    (b"\r\n\r\n", b"\r\nContent-Length: -1\r\n\r\n"), (b"\r\n\r\n", b"\r\nX: " + b"y" * 20_000 + b"\r\n\r\n"), (b"\r\n", b"\r\n\r\n"), (b'"k"', b'"\xff\xfe"'),
]  # fmt: skip
