"""What may be uploaded, how much, and that no file name and no byte of it is found anywhere but in memory."""

import io
import json
import logging
import os
import random
import tempfile
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from embed.asked import BytesRequest, FileRequest, Frames, ReadAnswer
from embed.bundle import bundle_from_zip_bytes
from embed.frames import answer, bundle_in_memory
from embed.read import read_scan, read_scan_bytes
from embed.scan import ScanError
from tests.conftest import run_build
from tests.films import dicom_bytes, phantom, png_bytes
from tests.test_embed_series import ct_dataset, found, real_ct, to_bytes
from tests.web_asking import API, AWAY_AT_LAST, BOUNDARY, MULTIPART, Web, film, multipart
from tests.web_guarded import HOST
from web import logs
from web.lightbox import Lightbox, told
from web.principal import Role
from web.uploads import Room

HOSTILE = ['DOE^JANE"><script>alert(1)</script>.dcm', "../../../etc/DOE_JANE", "C:\\DOE\\JANE.dcm", "DOE\u202eJANE"]


@pytest.fixture(scope="module")
def web(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("web"), small_index, upload_mb=4)
    yield web
    web.close()


def zipped(*members: tuple[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members:
            archive.writestr(name, data)
    return buffer.getvalue()


def ct_files(slices: int = 24, **attributes: Any) -> list[bytes]:
    """A CT series, a file a slice, from the real chest."""
    hu, _ = real_ct()
    places = np.linspace(0, len(hu) - 1, slices).round().astype(int)
    return [to_bytes(ct_dataset((hu[z] + 1024).astype(np.uint16), number, **attributes)) for number, z in enumerate(places)]  # fmt: skip


def test_a_large_upload_is_never_laid_down_on_disk(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a temporary file")

    for name in ("TemporaryFile", "NamedTemporaryFile", "SpooledTemporaryFile", "mkstemp"):
        monkeypatch.setattr(tempfile, name, refuse)
    large = dicom_bytes(phantom(1500, 1200))
    assert len(large) > 3_000_000
    assert web.ask(large).status_code == 201
    assert web.ask(large[:-100_000]).status_code == 422


def test_pictures_and_zips_are_taken_whatever_they_are_called(web: Web) -> None:
    picture = png_bytes((phantom(seed=300) >> 4).astype(np.uint8))
    for data in (film(), picture, zipped(("a/b.dcm", film())), zipped(("x", picture))):
        answered = web.ask(data, names=["report.docx"])
        assert answered.status_code == 201, answered.text
    both = web.ask(film(), b"a letter, not a scan").get_json()["answer"]["query"]
    assert "files-dropped" in [flag["code"] for flag in both["flags"]]
    assert web.ask(film(), film(301)).get_json()["reason"] == "several-scans"


def test_a_series_of_several_hundred_files_is_one_question(tmp_path: Path) -> None:
    root = tmp_path / "archive"
    for patient in range(2):
        folder = root / "ct" / f"Covid{patient}" / f"2.25.{patient}" / f"2.25.{patient}.1"
        folder.mkdir(parents=True)
        for number, data in enumerate(ct_files(30, PatientID=f"Covid{patient}", SeriesInstanceUID=f"2.25.{patient}.1")):
            (folder / f"{number:03}.dcm").write_bytes(data)
    assert run_build("--cohort", f"nccid={root}", "--index", tmp_path / "index").exit_code == 0
    web = Web(tmp_path, tmp_path / "index")
    try:
        files = ct_files(400)
        random.Random(1).shuffle(files)
        answered = web.ask(*files, names=[f"JANE/{number}" for number in range(400)], role=Role.RESEARCHER)
        assert answered.status_code == 201, answered.text
        query = answered.get_json()
        assert query["answer"]["query"]["kind"] == "ct" and len(query["answer"]["neighbours"]) == 1
        shape = web.get(f"queries/{query['id']}/frames", Role.RESEARCHER).get_json()
        assert (shape["count"], shape["of"], shape["type"]) == (400, 400, "int16")
        assert shape["slice_spacing_mm"] == pytest.approx(2.5) and shape["window"] == {"center": -600, "width": 1500}
        assert [one["name"] for one in shape["presets"]] == ["lung", "mediastinum", "bone"]
        whole = found(ct_files(400))
        pixels = np.frombuffer(web.get(f"queries/{query['id']}/frames/200", Role.RESEARCHER).data, "<i2")
        assert (pixels.reshape(shape["rows"], shape["columns"]) == np.rint(whole.decode([200])[0])).all()
        ref = query["answer"]["neighbours"][0]["ref"]
        assert web.get(f"cases/{ref}/frames").get_json()["count"] == 30
        seen = web.ask(*files).get_json()["answer"]
        assert (seen["withheld"], seen["neighbours"]) == (1, [])  # both are of the same chest, and so one person
    finally:
        web.close()


def test_frames_are_the_same_from_files_a_folder_a_zip_and_nifti_is_whole(tmp_path: Path) -> None:
    files = ct_files(24)
    for number, data in enumerate(files):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    one = answer(BytesRequest(tuple(files), None))
    two = answer(BytesRequest((zipped(*((f"{n}", data) for n, data in enumerate(files))),), None))
    three = answer(FileRequest((tmp_path,)))
    assert isinstance(one, Frames) and isinstance(two, Frames) and isinstance(three, Frames)
    assert (one.pixels == two.pixels).all() and (one.pixels == three.pixels).all() and len(one.pixels) == 24


def test_reading_from_memory_is_reading_from_disk(tmp_path: Path) -> None:
    files = ct_files(24)
    for number, data in enumerate(files):
        (tmp_path / f"{number}.dcm").write_bytes(data)
    memory = answer(BytesRequest(tuple(files), 128))
    assert isinstance(memory, ReadAnswer)
    disk = read_scan(tmp_path, side=128)
    assert (memory.scan.pixels == disk.pixels).all() and memory.scan.provenance == disk.provenance
    one = answer(BytesRequest((film(),), 64))
    assert isinstance(one, ReadAnswer) and (one.scan.pixels == read_scan_bytes(film(), side=64).pixels).all()


def test_a_damaged_slice_is_left_out_of_the_frames() -> None:
    files = ct_files(24)
    files[10] = files[10][:-1000]  # found by its header, and dropped
    frames = answer(BytesRequest(tuple(files), None))
    assert isinstance(frames, Frames) and len(frames.pixels) == 23
    assert told(frames)["count"] == 23


@pytest.mark.parametrize(
    "spoil",
    [
        lambda data: data[: len(data) // 2],
        lambda data: data.replace(b"JANE", b"JANX", 1),  # the two names of the member differ
        lambda data: data[:60] + bytes([data[60] ^ 0xFF] * 20) + data[80:],
    ],
)
def test_what_is_said_of_a_zip_names_none_of_its_members(spoil: Any) -> None:
    data = spoil(zipped(("DOE/JANE.dcm", film()), ("DOE/JANE.txt", b"letter" * 50)))
    with pytest.raises(ScanError) as refused:
        answer(BytesRequest((data,), 64))
    for error in (refused.value, refused.value.__cause__):
        if error is refused.value:
            assert "JAN" not in str(error) and "DOE" not in str(error)


def test_members_of_a_zip_that_are_not_read_are_counted_without_their_names() -> None:
    inner = zipped(("a", b"b"))
    bundle = bundle_in_memory((zipped(("DOE.zip", inner), ("../JANE", b"x"), ("ok", film())), film(5)))
    assert [member.name for member in bundle.members] == ["file 1", "file 2"]
    assert sorted(one.reason for one in bundle.dropped) == ["nested-zip", "unsafe-name"]
    assert "DOE" not in str(bundle.dropped) and "JANE" not in str(bundle.dropped)
    with pytest.raises(ScanError, match="holds no file") as refused:
        bundle_in_memory((zipped(("DOE.zip", inner)),))
    assert "DOE" not in str(refused.value)
    assert len(bundle_from_zip_bytes(zipped(("a", film()))).members) == 1


def test_after_the_answer_only_pictures_of_an_upload_are_kept(web: Web) -> None:
    service = web.app.extensions["likewise.service"]
    asked = web.ask(film(PatientName="DOE^JANE"), role=Role.RESEARCHER).get_json()["id"]
    query = next(held for held in service.held._held.values() if held.id == asked)
    service.start().tidying.submit(len, "").result(AWAY_AT_LAST)  # the one thread has done what was before
    assert query.files == () and query.frames is not None and query.unviewable is None
    pixels = np.frombuffer(web.get(f"queries/{asked}/frames/0", Role.RESEARCHER).data, "<u2")
    same = answer(BytesRequest((film(),), None))
    assert isinstance(same, Frames) and (pixels == same.pixels.ravel()).all()
    assert service.held.count_and_bytes()[1] >= query.frames.pixels.nbytes
    web.delete(f"queries/{asked}", Role.RESEARCHER)
    assert query.frames is None


def test_an_upload_is_of_the_servers_own_hospital(small_index: Path, tmp_path: Path) -> None:
    def sites(own: str | None, **asked: str) -> tuple[int, set[str]]:
        web = Web(Path(tempfile.mkdtemp(dir=tmp_path)), small_index, own_site=own)
        try:
            told = web.ask(film(), role=Role.RESEARCHER, k="50", view="any", **asked)
            if told.status_code != 201:
                return told.status_code, set()
            return 201, {one["site_name"] for one in told.get_json()["answer"]["neighbours"]}
        finally:
            web.close()

    _, everywhere = sites(None)
    named = sorted(site for site in everywhere if site)
    assert sites(None, other_sites="1")[0] == 400
    assert sites(named[0], other_sites="1") == (201, {*named[1:]})
    assert sites(named[0]) == (201, everywhere)
    assert sites("a hospital that the archive does not have", other_sites="1") == (201, {*named})


def test_a_file_under_another_name_is_refused(web: Web) -> None:
    body = multipart([("x", film())], {}).replace(b'name="files"', b'name="scans"')
    told = web.client.post(f"{API}/queries", data=body, headers=web.headers(Role.CLINICIAN), base_url=HOST, content_type=MULTIPART)  # fmt: skip
    assert told.status_code == 400 and "'files'" in told.get_json()["detail"]


def test_a_zip_bomb_costs_nothing(web: Web) -> None:
    bomb = zipped(("slice.dcm", bytes(300_000_000)))
    assert len(bomb) < 1_000_000
    answered = web.ask(bomb)
    assert answered.status_code == 422 and answered.get_json()["reason"] in ("empty-folder", "too-large")


def test_names_and_headers_of_an_upload_reach_no_log_and_no_audit(
    web: Web, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logging.getLogger("likewise").addHandler(handler)
    logging.getLogger("likewise").setLevel(logging.DEBUG)
    secret: dict[str, Any] = {"PatientName": "DOE^JANE", "PatientID": "NHS4857773456", "PatientBirthDate": "19470613"}
    asked = film(StudyDescription="CHEST DOE JANE", **secret)
    bodies = [asked, asked[:3000], zipped(("DOE_JANE.dcm", asked)), zipped(("DOE_JANE.dcm", asked))[:-30], film(Modality="DOE", **secret)]  # fmt: skip
    try:
        for name in HOSTILE:
            for body in bodies:
                told = web.ask(body, names=[name])
                assert told.status_code in (201, 422)
                assert "alert(1)" not in told.text and "4857773456" not in told.text
                if told.status_code == 201:
                    asked_id = told.get_json()["id"]
                    web.get(f"queries/{asked_id}/frames")
                    web.get(f"queries/{asked_id}", sex="DOE")
                    web.delete(f"queries/{asked_id}")
    finally:
        logging.getLogger("likewise").removeHandler(handler)
    out, err = capfd.readouterr()
    lines = stream.getvalue()
    assert lines.count("\n") >= 20 and all(json.loads(line)["request_id"] for line in lines.splitlines())
    for text in (caplog.text, lines, out, err):
        for needle in ("JANE", "4857773456", "19470613"):
            assert needle not in text
    audit = web.audit_file.read_text().replace('"sex":"DOE"', "")  # a filter that somebody typed
    for needle in ("JANE", "4857773456", "19470613", "DOE"):
        assert needle not in audit


def test_our_own_bug_is_told_by_its_place_and_never_by_its_words(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logs.JsonLines())
    logging.getLogger("likewise").addHandler(handler)

    def breaks(*_: object, **__: object) -> None:
        raise RuntimeError("of the patient DOE^JANE")

    monkeypatch.setattr("web.service.answer_document", breaks)
    web.app.testing = False
    try:
        answered = web.ask(film())
        begun = web.ask(film(), prefer="respond-async").get_json()
        failed = web.finished(begun["id"])
    finally:
        logging.getLogger("likewise").removeHandler(handler)
    assert answered.status_code == 500 and answered.content_type == "application/problem+json"
    assert answered.get_json()["request_id"] in stream.getvalue() and "RuntimeError" in stream.getvalue()
    assert failed["problem"]["status"] == 500
    for text in (answered.text, json.dumps(failed), stream.getvalue()):
        assert "JANE" not in text


def test_what_is_too_large_is_refused(web: Web) -> None:
    assert web.ask(bytes(5 * 2**20)).status_code == 413
    unstated = web.client.post(
        f"{API}/queries",
        input_stream=io.BytesIO(multipart([("x", bytes(5 * 2**20))], {})),
        headers=web.headers(Role.CLINICIAN) | {"Transfer-Encoding": "chunked"},
        content_type=MULTIPART,
        base_url=HOST,
        environ_overrides={"wsgi.input_terminated": True, "CONTENT_LENGTH": ""},
    )
    assert unstated.status_code == 413
    many = web.ask(*[b"x"] * 4200)
    assert many.status_code in (400, 413)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/octet-stream", b"x"), ("multipart/form-data", b"x"), (MULTIPART, b""), (MULTIPART, b"x"),
        (MULTIPART, f"--{BOUNDARY}\r\n\r\n".encode()), ("application/json", b"{"), ("application/json", b"[]"),
        ("text/plain", b"files"), (MULTIPART, multipart([], {"purpose": "x" * 201})), (MULTIPART, multipart([("x", b"y")], {"kk": "1"})),
    ],
)  # fmt: skip
def test_a_body_that_is_no_upload_is_refused_as_such(web: Web, content_type: str, body: bytes) -> None:
    headers = web.headers(Role.CLINICIAN)
    answered = web.client.post(f"{API}/queries", data=body, headers=headers, base_url=HOST, content_type=content_type)
    assert answered.status_code in (400, 415, 422) and answered.content_type == "application/problem+json"


def test_no_body_causes_an_error_of_the_server(web: Web) -> None:
    """A few hundred spoilt bodies; LIKEWISE_UPLOADS=10000 tries as many."""
    chance = random.Random(20)
    whole = multipart([("x", film()), ("y", zipped(("a", film())))], {"k": "3", "purpose": "p"})
    headers = web.headers(Role.CLINICIAN)
    for _ in range(int(os.environ.get("LIKEWISE_UPLOADS", "150"))):
        body = bytearray(whole)
        for _ in range(chance.randint(1, 12)):
            place = chance.choice((chance.randrange(len(body)), chance.randrange(min(len(body), 3000))))
            how = chance.random()
            if how < 0.6:
                body[place] = chance.randrange(256)
            elif how < 0.8:
                del body[place : place + chance.randint(1, 400)]
            else:
                body[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 40)))
        answered = web.client.post(f"{API}/queries", data=bytes(body), headers=headers, base_url=HOST, content_type=MULTIPART)  # fmt: skip
        assert answered.status_code in (201, 400, 413, 422), (answered.status_code, answered.text)


def test_there_is_room_for_so_many_uploads_at_a_time_and_no_more() -> None:
    room = Room(10)
    with room.taken(50):  # alone, whatever its size
        with pytest.raises(Exception, match="try again"), room.taken(1):
            raise AssertionError("never here")
    with room.taken(6), room.taken(4):
        with pytest.raises(Exception, match="try again"), room.taken(1):
            raise AssertionError("never here")
    with room.taken(10):
        pass


def test_frames_that_several_ask_for_at_once_are_decoded_once() -> None:
    box, decoded, begun = Lightbox(most_bytes=100), list[str](), threading.Event()

    def decode(name: str) -> Frames:
        decoded.append(name)
        begun.wait(10)
        return Frames(np.zeros((1, 5, 5), np.uint16), 1.0, None, None, (), 1)

    threads = [threading.Thread(target=box.frames, args=["a", lambda: decode("a")]) for _ in range(5)]
    for thread in threads:
        thread.start()
    begun.set()
    for thread in threads:
        thread.join()
    assert decoded == ["a"] and box.bytes_kept() == 50
    box.frames("b", lambda: decode("b"))
    box.frames("a", lambda: decode("a"))  # now b is the one that was used least
    box.frames("c", lambda: decode("c"))
    box.frames("a", lambda: decode("a"))
    assert decoded == ["a", "b", "c"] and box.bytes_kept() == 100
    box.drop("a")
    assert box.bytes_kept() == 50


def test_frames_that_cannot_be_decoded_are_tried_again() -> None:
    box = Lightbox()

    def fails() -> Frames:
        raise ScanError("decoder-timeout", "too long")

    for _ in range(2):
        with pytest.raises(ScanError):
            box.frames("a", fails)
