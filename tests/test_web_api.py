"""The API on a real index: questions, answers, pictures, and what is refused; what was uploaded leaves no trace."""

import io
import json
import re
import time
import zipfile
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from flask import Flask
from flask.testing import FlaskClient

from index.denied import DenyList
from tests.archives import table_archive
from tests.conftest import run_build
from tests.films import phantom, png_bytes
from tests.web_app import BASE, client_of, demo_config, film, get, headers, send
from web.app import create_app
from web.openapi import document
from web.permissions import PERMISSIONS
from web.present import age_band


@pytest.fixture(scope="module")
def app(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    made = create_app(demo_config(small_index, tmp_path_factory.mktemp("web")))
    yield made
    made.extensions["likewise.service"].close()


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return client_of(app)


def asked(client: FlaskClient, *files: bytes) -> dict[str, Any]:
    response = send(client, *(files or (film(),)))
    assert response.status_code == 201, response.data
    told: dict[str, Any] = response.get_json()
    return told


def test_a_film_is_answered_with_neighbours_outcomes_and_no_identifier(client: FlaskClient) -> None:
    told = asked(client)
    answer = told["answer"]
    assert (told["state"], answer["query"]["view"], len(answer["neighbours"])) == ("done", "PA", 6)
    first = answer["neighbours"][0]
    assert first["rank"] == 1 and first["view"] == "PA" and re.fullmatch("Site 0[123]", first["site"])
    assert {state["state"] for state in first["outcome"].values()} <= {"yes", "no", "not_recorded"}
    assert set(answer["outcomes"]) == {"died", "itu_admission"}
    text = json.dumps(told)
    for hidden in (
        "p00",
        "p02",
        "film0",
        'centre 0"',
        'centre 1"',
        'centre 2"',
        "case_id",
        "patient_id",
        "Covid77",
        "2020-04-01",
    ):
        assert hidden not in text, hidden


@pytest.mark.parametrize("how", ["png", "zip", "several files of a zip"])
def test_pictures_and_zips_are_taken_too(client: FlaskClient, how: str) -> None:
    picture = png_bytes((phantom(seed=99) >> 4).astype(np.uint8))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("some name.dcm", film())
        if how.startswith("several"):
            archive.writestr("readme.txt", "no image")
    assert asked(client, picture if how == "png" else packed.getvalue())["state"] == "done"


@pytest.mark.parametrize(
    ("files", "status", "reason"),
    [
        ((b"not an image",), 422, "not-an-image"),
        ((film(), film(InstanceNumber=2)), 422, "several-scans"),
        ((b"",), 400, "bad-request"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(
    client: FlaskClient, files: tuple[bytes, ...], status: int, reason: str
) -> None:
    response = send(client, *files)
    told = response.get_json()
    assert (response.status_code, told.get("reason")) == (status, reason)
    assert (
        response.content_type == "application/problem+json" and told["request_id"] == response.headers["X-Request-ID"]
    )


def test_a_question_that_nobody_waits_for_tells_its_state_until_it_is_done(client: FlaskClient) -> None:
    parts = {"files": [(io.BytesIO(film()), "x")]}
    response = client.post(
        "/api/v1/queries", data=parts, headers={**headers(), "Prefer": "respond-async"}, base_url=BASE
    )
    assert response.status_code == 202
    href = response.get_json()["href"]
    states = []
    for _ in range(200):
        states.append(get(client, href).get_json()["state"])
        if states[-1] == "done":
            break
        time.sleep(0.05)
    assert states[-1] == "done" and set(states) <= {"reading", "searching", "done"}
    assert len(get(client, href).get_json()["answer"]["neighbours"]) == 6


def test_filters_rerun_at_once(app: Flask, client: FlaskClient) -> None:
    site = app.extensions["likewise.service"].live.current().sites["centre 0"]
    href = f"/api/v1/queries/{asked(client)['id']}"
    assert get(client, f"{href}?view=any").get_json()["answer"]["eligible"] == 24
    found = get(client, f"{href}?view=any&sex=F&age_min=44&site={site}&k=3").get_json()["answer"]
    assert (
        found["eligible"] == 2
    )  # of centre 0 are patients 0, 3, 6 and 9; women 0 and 6, of whom 0 is 40: two films of 6
    assert {one["site"] for one in found["neighbours"]} == {site} and {one["sex"] for one in found["neighbours"]} == {
        "F"
    }
    recorded = get(client, f"{href}?view=any&outcome_recorded=died").get_json()["answer"]
    assert recorded["eligible"] == 22
    for wrong in (
        "k=0",
        "k=x",
        "view=both",
        "site=Site+99",
        "age_min=old",
        "date_from=1",
        "status=positive",
        "outcome_recorded=x",
    ):
        assert get(client, f"{href}?{wrong}").status_code == 400, wrong
    for forbidden in ("where=1=1", "include_own=1"):
        assert get(client, f"{href}?{forbidden}").status_code == 403


@pytest.mark.parametrize("value", ["F') or ('1'='1", "F' or '1'='1", "F'; drop table cases; --"])
def test_filters_cannot_be_broken_out_of(client: FlaskClient, value: str) -> None:
    href = f"/api/v1/queries/{asked(client)['id']}"
    response = client.get(href, query_string={"view": "any", "sex": value}, base_url=BASE)
    assert response.status_code == 200 and response.get_json()["answer"]["eligible"] == 0
    assert client.get(href, query_string={"sex": "\x00"}, base_url=BASE).status_code == 400


@pytest.mark.parametrize(
    ("age", "band"), [(None, None), (0, "0-9"), (59.9, "50-59"), (80, "80-89"), (90, "90+"), (103, "90+")]
)
def test_ages_are_told_by_decade_and_the_oldest_together(age: float | None, band: str | None) -> None:
    assert age_band(age) == band


def test_pictures_and_frames_are_pixels_without_headers(client: FlaskClient) -> None:
    told = asked(client)
    href = f"/api/v1/queries/{told['id']}"
    ref = told["answer"]["neighbours"][0]["ref"]
    for path in (href, f"/api/v1/cases/{ref}"):
        assert get(client, f"{path}/preview").data.startswith(b"\xff\xd8")
        shape = get(client, f"{path}/frames").get_json()
        assert (shape["count"], shape["rows"], shape["columns"], shape["type"]) == (1, 120, 100, "uint16")
        pixels = np.frombuffer(get(client, f"{path}/frames/0").data, "<u2").reshape(120, 100)
        assert pixels.std() > 1000 and pixels[60, 30] < pixels[5, 50]  # a lung is darker than the body
        assert get(client, f"{path}/frames/1").status_code == 404
    card = get(client, f"/api/v1/cases/{ref}").get_json()
    assert card["ref"] == ref and "case_id" not in card


def test_an_archived_case_can_be_asked_about(client: FlaskClient) -> None:
    ref = asked(client)["answer"]["neighbours"][0]["ref"]
    response = client.post(f"/api/v1/cases/{ref}/queries", headers=headers(), base_url=BASE)
    found = response.get_json()["answer"]["neighbours"]
    assert response.status_code == 201 and found and ref not in {one["ref"] for one in found}


def test_a_question_is_its_owners_and_can_be_forgotten(client: FlaskClient) -> None:
    href = f"/api/v1/queries/{asked(client)['id']}"
    assert client.delete(href, headers=headers(), base_url=BASE).status_code == 204
    assert get(client, href).status_code == 410
    assert get(client, "/api/v1/queries/somebody-elses").status_code == 410


def test_questions_are_over_after_their_time(small_index: Path, tmp_path: Path) -> None:
    from web.held import HeldQueries, HeldQuery

    now = [0.0]
    held = HeldQueries(minutes=1, count=2, clock=lambda: now[0])
    first, second = held.add(HeldQuery("a", state="done")), held.add(HeldQuery("a", state="done"))
    assert held.get(first.id, "a") is first and held.get(first.id, "b") is None
    third = held.add(HeldQuery("a"))
    assert held.get(first.id, "a") is None  # two are held at most
    now[0] = 61
    assert held.get(second.id, "a") is None and held.get(third.id, "a") is None


def test_refs_cannot_be_made_up(client: FlaskClient) -> None:
    ref = asked(client)["answer"]["neighbours"][0]["ref"]
    changed = ref[:-2] + ("AA" if ref[-2:] != "AA" else "BB")
    for wrong in (changed, "x", "../../etc/passwd", ref + "A", "é"):
        assert get(client, f"/api/v1/cases/{wrong}/preview").status_code in (404, 410), wrong


def test_every_route_is_described_and_allowed_to_somebody(app: Flask) -> None:
    described = {
        f"{method.upper()} /api/v1{re.sub('{[^}]*}', '<>', path)}"
        for path, methods in document()["paths"].items()
        for method in methods
    }
    assert described == {key for key in PERMISSIONS if " /api/v1/" in key}


def test_the_denied_vanish_from_a_running_server_at_once(tmp_path: Path) -> None:
    cohort = table_archive(tmp_path / "archive")
    assert run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index").exit_code == 0
    app = create_app(demo_config(tmp_path / "index", tmp_path))
    client = client_of(app)
    told = asked(client)
    href, ref = f"/api/v1/queries/{told['id']}", told["answer"]["neighbours"][0]["ref"]
    _, _, case = app.extensions["likewise.service"].case(ref)
    DenyList.read(tmp_path / "index").with_names([case.patient_id], date(2026, 1, 1)).write(tmp_path / "index")
    assert get(client, f"/api/v1/cases/{ref}").status_code == 410
    assert get(client, f"/api/v1/cases/{ref}/preview").status_code == 410
    answer = get(client, href).get_json()["answer"]
    assert ref not in {one["ref"] for one in answer["neighbours"]} and len(answer["neighbours"]) == 5
    app.extensions["likewise.service"].close()


def test_a_new_snapshot_is_taken_up_and_old_refs_are_over_after_a_minute(tmp_path: Path) -> None:
    from web.live import LiveIndex

    cohort = table_archive(tmp_path / "archive")
    arguments = ("--cohort", f"table={cohort}", "--index", tmp_path / "index")
    assert run_build(*arguments).exit_code == 0
    now = [0.0]
    live = LiveIndex(tmp_path / "index", "secret", clock=lambda: now[0])
    first = live.current()
    assert run_build(*arguments, "--full").exit_code == 0
    live.look()
    second = live.current()
    assert second.name != first.name and live.named(first.name) is first
    now[0] = 70
    assert live.named(first.name) is None and live.named(second.name) is second
    (tmp_path / "index" / "CURRENT").write_text("nonsense\n")
    live.look()
    assert live.current() is second and live.is_stale


def test_nothing_uploaded_is_found_anywhere_afterwards(
    small_index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "tmp").mkdir()
    app = create_app(demo_config(small_index, tmp_path))
    client = client_of(app)
    secret = {"PatientName": "Zebrafish^Quentin", "PatientID": "NHS-4857773456", "PatientBirthDate": "19470613"}
    for number in range(60):
        content = film(InstanceNumber=number, **secret)
        send(client, content if number % 3 else content[: 400 + 40 * number])  # every third is cut off
    app.extensions["likewise.service"].close()
    out, err = capfd.readouterr()
    left = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path.name for path in left if path.name.startswith("audit")]
    for needle in ("Zebrafish", "4857773456", "19470613", "name-of-a-patient"):
        assert needle not in out + err
        assert [path for path in left if needle.encode() in path.read_bytes()] == []
