"""The API on a real small index: what an answer holds, for whom, and what is refused how."""

import base64
import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from openapi_spec_validator import validate
from werkzeug.exceptions import ServiceUnavailable

from embed.read import read_scan_bytes
from embed.scan import Scan
from index.denied import DenyList
from search.answer import Question
from search.engine import SearchEngine
from tests.archives import table_archive
from tests.conftest import run_build
from tests.films import dicom_bytes, phantom, png_bytes
from tests.web_asking import API, PATIENT, Web, film, pieces
from tests.web_guarded import HOST
from web.encoding import OnceEncoder
from web.held import HeldQueries, HeldQuery
from web.permissions import routes
from web.principal import Role

RESEARCHER, CLINICIAN = Role.RESEARCHER, Role.CLINICIAN
IDENTIFIERS = {"case_id", "patient_id", "site_name", "scan_date"}


@pytest.fixture(scope="module")
def web(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    web = Web(tmp_path_factory.mktemp("web"), small_index)
    yield web
    web.close()


@pytest.fixture
def new_web(tmp_path: Path) -> Iterator[Callable[..., Web]]:
    """Makes an app of its own for a test, on an index that may be changed."""
    made: list[Web] = []

    def make(index: Path, **settings: Any) -> Web:
        made.append(Web(tmp_path, index, **settings))
        return made[-1]

    yield make
    for web in made:
        web.close()


def archived_png(seed: int) -> bytes:
    """The file of film number `seed` of the small archive."""
    return png_bytes((phantom(seed=seed) >> 4).astype(np.uint8))


def texts_in(document: object) -> Iterator[str]:
    if isinstance(document, dict):
        yield from document
        for value in document.values():
            yield from texts_in(value)
    elif isinstance(document, list):
        for value in document:
            yield from texts_in(value)
    elif isinstance(document, str):
        yield document


def test_an_uploaded_film_is_answered_as_the_engine_answers_it(web: Web, small_index: Path) -> None:
    answer = web.ask(film(), role=RESEARCHER)
    assert answer.status_code == 201
    told = answer.get_json()
    assert answer.headers["Location"].endswith(f"{API}/queries/{told['id']}")
    assert told["state"] == "done" and 0 < told["expires_in_s"] <= 15 * 60
    engine = SearchEngine.open(small_index)
    expected = engine.query([read_scan_bytes(film(), side=engine.encoder.side)], Question())
    found = told["answer"]
    assert [one["case_id"] for one in found["neighbours"]] == [one.case.case_id for one in expected.neighbours]
    assert [one["rank"] for one in found["neighbours"]] == list(range(1, 11)) or len(found["neighbours"]) < 10
    assert found["eligible"] == expected.eligible
    assert found["query"]["view"] == "PA" and found["query"]["kind"] == "xray"
    assert found["query"]["frames"] == 1
    assert any("decoded 100×120" in step for step in found["query"]["steps"])
    assert found["outcomes"]["died"]["archive"]["known"] == expected.outcomes["died"].archive.known
    assert found["outcomes"]["died"]["time"]["timed"] == expected.outcomes["died"].time.timed
    assert {one["code"] for one in found["warnings"]} == {one.code for one in expected.warnings}
    assert found["snapshot"]["scans"] == 24 and found["snapshot"]["patients"] == 12


def test_what_the_contract_promises_of_a_neighbour_is_there(web: Web) -> None:
    for role, more in ((CLINICIAN, set[str]()), (RESEARCHER, IDENTIFIERS)):
        found = web.ask(film(), role=role).get_json()["answer"]
        named = {
            *("rank", "ref", "similarity", "percentile", "kind", "modality", "view", "site", "age_band", "sex"),
            *("status_at_scan", "phase", "severity", "covid_code", "days_from_index", "outcome", "observed_days"),
        }
        assert all(set(one) == named | more for one in found["neighbours"])
        first = found["neighbours"][0]
        assert first["outcome"].keys() == {"died", "itu_admission"}
        assert all(one["state"] in ("yes", "no", "not_recorded") for one in first["outcome"].values())
        assert first["age_band"] in ("40-49", "50-59") and first["sex"] in ("F", "M")
        assert -1 <= first["similarity"] <= 1 and 0 <= first["percentile"] <= 100


def test_a_clinician_sees_no_pseudonym_and_no_hospitals_name(web: Web) -> None:
    told = web.ask(film()).get_json()
    ref = told["answer"]["neighbours"][0]["ref"]
    seen = [told, web.get(f"cases/{ref}").get_json(), web.get("filters").get_json(), web.get("snapshot").get_json()]
    for text in texts_in(seen):
        assert not re.fullmatch(r"film\d+|centre \d|p\d\d", text) and text not in IDENTIFIERS, text
    assert all(one["site"].startswith("Site ") for one in told["answer"]["neighbours"])
    sealed = base64.urlsafe_b64decode(ref + "=" * (-len(ref) % 4))
    assert b"xray" not in sealed and told["answer"]["snapshot"]["name"].encode() not in sealed
    assert all(one["group"].startswith("Site ") for one in told["answer"]["concentrations"])


def test_a_filter_narrows_the_answer_at_once(web: Web) -> None:
    asked = web.ask(film(), role=RESEARCHER).get_json()["id"]

    def rerun(**filters: Any) -> dict[str, Any]:
        answer = web.get(f"queries/{asked}", RESEARCHER, **filters)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.get_json()["answer"]
        return found

    sites = {one["site_name"]: one["site"] for one in rerun(view="any", k=12)["neighbours"]}
    assert sorted(sites) == ["centre 0", "centre 1", "centre 2"]
    assert {one["sex"] for one in rerun(view="any", sex="F")["neighbours"]} == {"F"}
    assert rerun(view="any", sex="F")["eligible"] == 12
    only = rerun(view="any", site=sites["centre 1"])
    assert {one["site_name"] for one in only["neighbours"]} == {"centre 1"} and only["eligible"] == 8
    assert rerun(view="any", age_min=50, age_max=50)["eligible"] == 2
    assert rerun(view="any", outcome_recorded="died")["eligible"] == 22  # of patient 0 nothing is recorded
    assert rerun()["eligible"] == 12 and rerun(view="any")["eligible"] == 24
    assert len(rerun(k=3)["neighbours"]) == 3
    assert rerun(view="any", where="age_years > 50")["eligible"] == 2
    assert rerun(view="any", where="age_years > 50", sex="F")["eligible"] == 0
    others = rerun(view="any", other_sites="true", own_site=sites["centre 2"])
    assert others["sites_left_out"] == [sites["centre 2"]] and others["eligible"] == 16


def test_what_a_question_asks_besides_the_files_counts_from_the_start(web: Web) -> None:
    told = web.ask(film(), k="2", purpose="teaching").get_json()
    assert len(told["answer"]["neighbours"]) == 2
    assert len(web.get(f"queries/{told['id']}").get_json()["answer"]["neighbours"]) == 2
    assert web.audited()[-1]["purpose"] == "teaching"


@pytest.mark.parametrize(
    "filters",
    [
        {"k": "0"}, {"k": "1000"}, {"k": "x"}, {"view": "sideways"}, {"age_min": "old"}, {"age_max": "nan"},
        {"site": "Site 99"}, {"outcome_recorded": "died'"}, {"date_from": "yesterday"}, {"other_sites": "maybe"},
        {"own_site": "nowhere"}, {"other_sites": "true"}, {"sex": "'; DROP TABLE cases; --\0"}, {"status": "positive"},
    ],
)  # fmt: skip
def test_a_filter_that_cannot_be_is_refused_with_a_reason(web: Web, filters: dict[str, Any]) -> None:
    asked = web.ask(film()).get_json()["id"]
    answer = web.get(f"queries/{asked}", **filters)
    assert answer.status_code in (400, 422), answer.text
    assert answer.content_type == "application/problem+json"
    told = answer.get_json()
    assert told["status"] == answer.status_code and told["request_id"] == answer.headers["X-Request-ID"]
    assert told["detail"] and "--" not in told["detail"].replace("DROP TABLE cases; --", "")


def test_quotes_in_a_filter_are_only_quotes(web: Web) -> None:
    asked = web.ask(film()).get_json()["id"]
    answer = web.get(f"queries/{asked}", sex="F' OR '1'='1", view="any")
    assert answer.status_code in (400, 422) or answer.get_json()["answer"]["eligible"] == 0


@pytest.mark.parametrize("only", [{"where": "age_years > 1"}, {"include_own": "true"}])
def test_what_is_for_researchers_is_refused_to_others(web: Web, only: dict[str, Any]) -> None:
    asked = web.ask(film()).get_json()["id"]
    assert web.get(f"queries/{asked}", **only).status_code == 403


def test_a_condition_that_is_none_is_told_as_such(web: Web) -> None:
    asked = web.ask(film(), role=RESEARCHER).get_json()["id"]
    for where in ("no_such_column = 1", "1); drop table cases; --", "(", "1=1) order by (1"):
        answer = web.get(f"queries/{asked}", RESEARCHER, where=where)
        assert answer.status_code in (400, 422), where
    told = web.get(f"queries/{asked}", RESEARCHER, where="1=0) or (1=1", sex="F", view="any").get_json()
    assert told["answer"]["eligible"] == 12  # the women, still


@pytest.mark.parametrize(
    "ends", [{"age_min": "60", "age_max": "50"}, {"date_from": "2020-05-01", "date_to": "2020-04-30"}]
)
def test_a_range_that_ends_before_it_begins_is_told(web: Web, ends: dict[str, Any]) -> None:
    answer = web.ask(film(), **ends)
    assert answer.status_code == 400 and "the first lies after the last" in answer.get_json()["detail"]
    same: dict[str, Any] = dict.fromkeys(ends, next(iter(ends.values())))
    assert web.ask(film(), **same).status_code == 201


def test_a_question_may_be_left_to_be_done_meanwhile(web: Web) -> None:
    begun = web.ask(film(), prefer="respond-async", k="3")
    assert begun.status_code == 202
    told = begun.get_json()
    assert set(told) == {"id", "href"} and begun.headers["Location"].endswith(told["href"])
    done = web.finished(told["id"])
    assert done["state"] == "done" and len(done["answer"]["neighbours"]) == 3
    failed = web.finished(web.ask(b"no scan", prefer="respond-async").get_json()["id"])
    assert failed["state"] == "failed" and failed["problem"]["reason"] == "not-an-image"
    assert "answer" not in failed


def test_of_a_question_that_failed_nothing_is_kept_and_its_first_request_is_named(web: Web) -> None:
    begun = web.ask(film(), role=RESEARCHER, prefer="respond-async", where="no condition")
    told = web.finished(begun.get_json()["id"], RESEARCHER)
    assert told["problem"]["reason"] == "filter" and told["problem"]["request_id"] == begun.headers["X-Request-ID"]
    held = web.app.extensions["likewise.service"].held._held[told["id"]]
    assert (held.files, held.frames, held.scans, held.preview) == ((), None, (), b"")
    for path in ("preview", "frames", "frames/0"):
        answer = web.get(f"queries/{told['id']}/{path}", RESEARCHER)
        assert (
            answer.status_code == 404
            and "could not be answered, and nothing of it is kept" in answer.get_json()["detail"]
        )


def test_an_answer_that_nobody_waits_for_any_more_is_not_audited(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    deleted, encode = threading.Event(), OnceEncoder.encode

    def late(self: OnceEncoder, scans: Sequence[Scan]) -> Any:
        assert deleted.wait(30)
        return encode(self, scans)

    monkeypatch.setattr(OnceEncoder, "encode", late)
    before = len(web.audited())
    asked = web.ask(film(seed=77), prefer="respond-async").get_json()["id"]
    query = web.app.extensions["likewise.service"].held._held[asked]
    assert web.delete(f"queries/{asked}").status_code == 204
    deleted.set()
    end = time.monotonic() + 30
    while query.state != "failed":
        assert time.monotonic() < end
        time.sleep(0.02)
    assert [line["action"] for line in web.audited()[before:]] == []
    assert (query.files, query.scans, query.preview) == ((), (), b"")


def test_a_picture_of_an_index_that_is_being_removed_is_over_and_no_fault(
    tmp_path: Path, new_web: Callable[..., Web]
) -> None:
    arguments = ("--cohort", f"table={table_archive(tmp_path / 'archive')}", "--index", tmp_path / "index")
    assert run_build(*arguments).exit_code == 0
    web = new_web(tmp_path / "index")
    answer = web.ask(film()).get_json()["answer"]
    old = tmp_path / "index" / "snapshots" / answer["snapshot"]["name"] / "previews.bin"
    spoilt = old.rename(old.with_name("moved"))
    preview = f"cases/{answer['neighbours'][0]['ref']}/preview"
    assert web.get(preview).status_code == 503  # the published one is damaged
    spoilt.rename(old)
    assert run_build(*arguments, "--full").exit_code == 0
    old.unlink()  # a purge is at it
    assert web.get(preview).status_code == 410


def test_what_is_no_scan_is_refused_with_the_decoders_reason(web: Web) -> None:
    answer = web.ask(b"no scan")
    assert answer.status_code == 422 and answer.content_type == "application/problem+json"
    told = answer.get_json()
    assert told["reason"] == "not-an-image" and "neither DICOM nor PNG" in told["detail"]
    assert told["request_id"] == answer.headers["X-Request-ID"]
    assert web.ask(film(Modality="US")).get_json()["reason"] == "unsupported-modality"
    assert web.ask().status_code in (400, 422)
    assert web.ask(b"").status_code in (400, 422)


def test_a_query_is_its_owners_alone(web: Web) -> None:
    asked = web.ask(film()).get_json()["id"]
    for path in ("", "/preview", "/frames", "/frames/0"):
        assert web.get(f"queries/{asked}{path}").status_code == 200, path
        assert web.get(f"queries/{asked}{path}", name="other").status_code in (404, 410), path
        assert web.get(f"queries/{asked}{path}", RESEARCHER).status_code in (404, 410), path
    assert web.delete(f"queries/{asked}", name="other").status_code in (404, 410)
    assert web.delete(f"queries/{asked}").status_code == 204
    assert web.get(f"queries/{asked}").status_code in (404, 410)


def test_a_query_is_forgotten_when_its_time_is_over() -> None:
    now = [0.0]
    held = HeldQueries(minutes=1, count=3, clock=lambda: now[0])
    first, second = HeldQuery("anna", files=pieces(b"scan")), HeldQuery("anna")
    held.add(first)
    now[0] = 30
    held.add(second)
    assert held.seconds_left(first) == 30 and held.count_and_bytes() == (2, 4)
    now[0] = 60
    held.sweep()  # as the timer does, though nobody asks
    assert first.files == () and held.count_and_bytes() == (1, 0)
    assert held.get(first.id, "anna") is None and held.get(second.id, "anna") is second
    assert held.get(second.id, "bert") is None


def test_who_asks_much_pushes_out_their_own_questions_only() -> None:
    held = HeldQueries(minutes=1, count=3)
    berts = HeldQuery("bert", state="done")
    held.add(berts)
    annas = [HeldQuery("anna", state="done") for _ in range(5)]
    for query in annas:
        held.add(query)
    assert held.get(berts.id, "bert") is berts
    assert [held.get(query.id, "anna") is not None for query in annas] == [False, False, False, True, True]


def test_a_question_that_is_worked_on_is_not_pushed_out() -> None:
    held = HeldQueries(minutes=1, count=3)
    berts = held.add(HeldQuery("bert", state="failed"))
    annas = [held.add(HeldQuery("anna")) for _ in range(2)]
    with pytest.raises(ServiceUnavailable, match="too many questions"):
        held.add(HeldQuery("anna"))  # bert's is not hers to push out
    assert held.get(berts.id, "bert") is berts
    annas[1].state = "done"
    held.add(HeldQuery("anna"))
    assert [held.get(query.id, "anna") is not None for query in annas] == [True, False]
    held.add(HeldQuery("carl"))
    assert held.get(berts.id, "bert") is None


def test_the_oldest_files_give_way_where_too_much_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("web.held.BYTES_HELD", 10)
    held = HeldQueries(minutes=1, count=9)
    queries = [HeldQuery("anna", files=pieces(b"123456")) for _ in range(2)]
    for query in queries:
        held.add(query)
    assert [tuple(map(bytes, query.files)) for query in queries] == [(), (b"123456",)]


def test_a_film_that_is_archived_is_withheld_from_clinicians_and_audited(web: Web) -> None:
    told = web.ask(archived_png(5)).get_json()["answer"]
    assert told["withheld"] == 1
    assert {"archived-picture"} <= {one["code"] for one in told["warnings"]}
    actions = [line["action"] for line in web.audited()]
    assert any("withheld" in action for action in actions[-2:])
    assert len(next(line for line in reversed(web.audited()) if "withheld" in line["action"])["cases"]) == 1
    asked = web.ask(archived_png(5), role=RESEARCHER).get_json()
    seen = web.get(f"queries/{asked['id']}", RESEARCHER, include_own="true", view="any").get_json()["answer"]
    assert seen["neighbours"][0]["case_id"] == "film005" and seen["neighbours"][0]["similarity"] == 1.0
    assert web.ask(film()).get_json()["answer"]["withheld"] == 0


def test_a_case_is_opened_by_its_reference(web: Web, small_index: Path) -> None:
    first = web.ask(film(), role=RESEARCHER).get_json()["answer"]["neighbours"][0]
    told = web.get(f"cases/{first['ref']}", RESEARCHER).get_json()
    for name in ("case_id", "site", "age_band", "sex", "outcome", "view"):
        assert told[name] == first[name]
    picture = web.get(f"cases/{first['ref']}/preview")
    assert picture.content_type == "image/jpeg" and picture.data[:3] == b"\xff\xd8\xff"
    assert picture.data == SearchEngine.open(small_index).snapshot.preview(first["case_id"])
    assert web.audited()[-1]["cases"]


@pytest.mark.parametrize("change", [lambda ref: ref[:-1], lambda ref: ref[1:], lambda ref: "A" + ref[1:] if ref[0] != "A" else "B" + ref[1:], lambda ref: "x", lambda ref: ref + "é"])  # fmt: skip
def test_a_reference_that_was_not_given_out_opens_nothing(web: Web, change: Any) -> None:
    ref = web.ask(film()).get_json()["answer"]["neighbours"][0]["ref"]
    for path in ("", "/preview", "/frames", "/frames/0"):
        assert web.get(f"cases/{change(ref)}{path}").status_code == 404


def test_frames_of_a_film_are_its_decoded_pixels(web: Web) -> None:
    asked = web.ask(film()).get_json()["id"]
    told = web.get(f"queries/{asked}/frames").get_json()
    scan = read_scan_bytes(film(), side=4096)
    rows, columns = scan.pixels.shape[1:]
    assert (told["count"], told["rows"], told["columns"], told["type"]) == (1, rows, columns, "uint16")
    assert told["inverted"] is False and told["spacing_mm"] is None and told["presets"]
    answer = web.get(f"queries/{asked}/frames/0")
    assert answer.content_type == "application/octet-stream"
    pixels = np.frombuffer(answer.data, "<u2").reshape(rows, columns)
    assert np.abs(pixels - scan.pixels[0] * 65535).max() <= 0.5
    assert web.get(f"queries/{asked}/frames/1").status_code == 404
    assert web.get(f"queries/{asked}/preview").content_type == "image/jpeg"


def test_frames_of_a_large_film_are_at_most_2048_pixels_long(web: Web) -> None:
    asked = web.ask(film_of(1500, 3000, PixelSpacing=[0.1, 0.1])).get_json()["id"]
    told = web.get(f"queries/{asked}/frames").get_json()
    assert max(told["rows"], told["columns"]) == 2048
    assert told["spacing_mm"][1] == pytest.approx(0.1 * 3000 / 2048, rel=0.02)


def film_of(rows: int, columns: int, **attributes: Any) -> bytes:
    return dicom_bytes(phantom(rows, columns), **attributes)


def test_frames_of_an_archived_film_are_those_of_its_file(web: Web) -> None:
    first = web.ask(film(), role=RESEARCHER).get_json()["answer"]["neighbours"][0]
    told = web.get(f"cases/{first['ref']}/frames").get_json()
    scan = read_scan_bytes(archived_png(int(first["case_id"][4:])), side=4096)
    pixels = np.frombuffer(web.get(f"cases/{first['ref']}/frames/0").data, "<u2")
    assert np.abs(pixels.reshape(told["rows"], told["columns"]) - scan.pixels[0] * 65535).max() <= 0.5
    assert any("frames" in line["action"] and len(line["cases"]) == 1 for line in web.audited()[-2:])


def test_an_archived_film_that_was_moved_or_changed_is_not_shown_large(
    tmp_path: Path, new_web: Callable[..., Web]
) -> None:
    cohort = table_archive(tmp_path / "archive")
    run_build("--cohort", f"table={cohort}", "--index", tmp_path / "index")
    web = new_web(tmp_path / "index")
    found = web.ask(film(), role=RESEARCHER).get_json()["answer"]["neighbours"]
    one, two = found[:2]
    (tmp_path / "archive" / "films" / f"{one['case_id']}.png").unlink()
    shutil.copy(tmp_path / "archive" / "films" / f"{found[2]['case_id']}.png", tmp_path / "archive" / "films" / f"{two['case_id']}.png")  # fmt: skip
    for ref in (one["ref"], two["ref"]):
        answer = web.get(f"cases/{ref}/frames")
        assert answer.status_code in (404, 409, 410), answer.text
        assert str(tmp_path) not in answer.text  # nobody learns where the archive lies
        assert web.get(f"cases/{ref}/preview").status_code == 200


def test_an_archived_case_can_be_asked_by(web: Web) -> None:
    first = web.ask(film(), role=RESEARCHER).get_json()["answer"]["neighbours"][0]
    answer = web.ask_case(first["ref"], RESEARCHER, k="5")
    assert answer.status_code == 201
    told = answer.get_json()
    assert first["case_id"] not in [one["case_id"] for one in told["answer"]["neighbours"]]
    assert first["patient_id"] not in [one["patient_id"] for one in told["answer"]["neighbours"]]
    assert len(told["answer"]["neighbours"]) == 5 and told["answer"]["query"]["view"] == first["view"]
    for path in ("preview", "frames", "frames/0"):
        mine, its = (
            web.get(f"{what}/{path}", RESEARCHER) for what in (f"queries/{told['id']}", f"cases/{first['ref']}")
        )
        assert mine.status_code == 200 and mine.data == its.data, path
    others = web.get(f"queries/{told['id']}", RESEARCHER, other_sites="true", view="any").get_json()["answer"]
    assert first["site"] in others["sites_left_out"]
    assert first["site"] not in [one["site"] for one in others["neighbours"]]


def test_what_can_be_chosen_is_told(web: Web) -> None:
    told = web.get("filters").get_json()
    assert "Site 01" in json.dumps(told) and "itu_admission" in json.dumps(told)
    assert "centre" not in json.dumps(told)


def test_how_the_server_does(web: Web) -> None:
    assert web.client.get(f"{API}/health", base_url=HOST).get_json()["status"] == "ok"
    assert web.client.get(f"{API}/ready", base_url=HOST).get_json()["status"] == "ready"
    web.ask(film())
    text = web.get("metrics", Role.OPERATOR).text
    for stage in ("reading", "encoding", "searching"):
        assert f'likewise_stage_seconds_count{{stage="{stage}"}}' in text
    assert web.get("snapshot", Role.OPERATOR).get_json()["scans"] == 24


def test_the_document_describes_every_route_of_the_api(web: Web) -> None:
    document = web.get("openapi.json").get_json()
    validate(document)
    described = {
        (method.upper(), path.replace(API, ""))
        for path, item in document["paths"].items()
        for method in item
        if method in ("get", "post", "delete")
    }
    served = {
        (key.split(" ")[0], key.split(" ")[1].replace(API, ""))
        for key in routes(web.app)
        if key.split(" ")[1].startswith(API)
    }
    assert {(method, re.sub(r"{[^}]*}", "<>", path)) for method, path in described} == served
    page = web.get("docs")
    assert page.status_code == 200 and "<script" not in page.text and "style=" not in page.text


def test_what_was_done_is_audited_without_a_patients_data(web: Web) -> None:
    before = len(web.audited())
    asked = web.ask(film(PatientName="DOE^JANE"), names=["DOE_JANE.dcm"], purpose="a second look").get_json()
    ref = asked["answer"]["neighbours"][0]["ref"]
    web.get(f"queries/{asked['id']}", sex="F")
    web.get(f"cases/{ref}")
    web.get(f"cases/{ref}/frames")
    lines = web.audited()[before:]
    actions = [line["action"] for line in lines]
    assert actions[:2] == ["query", "rerun"] and "case" in actions[2] and "frames" in actions[3]
    assert lines[0]["purpose"] == "a second look" and len(lines[0]["cases"]) == len(asked["answer"]["neighbours"])
    assert lines[0]["query"] == lines[1]["query"] and lines[1]["filters"]["sex"] == "F"
    assert all(line["snapshot"] == asked["answer"]["snapshot"]["name"] for line in lines)
    text = web.audit_file.read_text()
    for secret in ("DOE", "JANE", PATIENT, "film0", "centre"):
        assert secret not in text, secret


def test_what_cannot_be_audited_is_not_answered(small_index: Path, tmp_path: Path, new_web: Callable[..., Web]) -> None:
    web = new_web(small_index)
    assert web.ask(film()).status_code == 201
    web.audit_file.write_text("")  # somebody emptied it
    answer = web.ask(film())
    assert answer.status_code == 503 and "neighbours" not in answer.text
    failed = web.ask(film(), prefer="respond-async")
    if failed.status_code == 202:
        told = web.finished(failed.get_json()["id"])
        assert told["state"] == "failed" and "answer" not in told


def test_a_denied_patient_vanishes_at_once(small_index: Path, tmp_path: Path, new_web: Callable[..., Web]) -> None:
    shutil.copytree(small_index, tmp_path / "index")
    web = new_web(tmp_path / "index")
    told = web.ask(film(), role=RESEARCHER).get_json()
    first = told["answer"]["neighbours"][0]
    DenyList.read(tmp_path / "index").with_names([first["patient_id"]], datetime.now(UTC).date()).write(
        tmp_path / "index"
    )
    again = web.get(f"queries/{told['id']}", RESEARCHER).get_json()["answer"]
    assert first["patient_id"] not in [one["patient_id"] for one in again["neighbours"]]
    for path in ("", "/preview", "/frames", "/frames/0"):
        assert web.get(f"cases/{first['ref']}{path}").status_code in (404, 410), path
    assert web.ask_case(first["ref"]).status_code in (404, 410)
    (tmp_path / "index" / "denied.json").write_text("{")  # nobody can be shown until it can be read
    assert web.get(f"queries/{told['id']}", RESEARCHER).status_code == 503


def test_errors_of_the_api_are_problem_documents(web: Web) -> None:
    for answer in (
        web.get("nowhere"),
        web.get("metrics"),
        web.client.get(f"{API}/filters", base_url=HOST),
        web.client.post(f"{API}/snapshot", headers=web.headers(CLINICIAN), base_url=HOST),
    ):
        assert answer.content_type == "application/problem+json", answer.text
        assert answer.get_json()["status"] == answer.status_code
        assert answer.get_json()["request_id"] == answer.headers["X-Request-ID"]
