"""What an open page asks about its cases, and what no count tells of those withheld."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from index.purge import purge
from search.answer import Question
from tests.archives import table_archive
from tests.conftest import run_build
from tests.web_app import BASE, SECRET, client_of, demo_config, film, headers, send
from web.app import create_app
from web.live import LiveIndex
from web.refs import CaseRef


@pytest.fixture
def index(tmp_path: Path) -> Path:
    result = run_build("--cohort", f"table={table_archive(tmp_path / 'archive')}", "--index", tmp_path / "index")
    assert result.exit_code == 0, result.output
    return tmp_path / "index"


@pytest.fixture
def app(index: Path, tmp_path: Path) -> Iterator[Flask]:
    made = create_app(demo_config(index, tmp_path))
    yield made
    made.extensions["likewise.service"].close()


def watched(client: FlaskClient, **body: object) -> tuple[int, dict[str, object]]:
    answer = client.post("/watch", json=body, headers=headers(), base_url=BASE)
    return answer.status_code, answer.get_json(silent=True) or {}


def test_cases_on_a_page_are_there_until_their_patient_is_purged(app: Flask, index: Path) -> None:
    client = client_of(app)
    told = send(client, film()).get_json()
    refs = [one["ref"] for one in told["answer"]["neighbours"]]
    name = told["answer"]["snapshot"]["name"]
    assert watched(client, query=told["id"], refs=refs) == (200, {"snapshot": name, "gone": [], "over": False})
    live: LiveIndex = app.extensions["likewise.service"].live
    patients = {}
    for ref in refs:
        _, _, case = app.extensions["likewise.service"].case(ref)
        patients[ref] = case.patient_id
    purge(index, frozenset({patients[refs[0]]}), reason="a test")
    assert refs[0] in watched(client, query=told["id"], refs=refs)[1]["gone"]  # type: ignore[operator]
    live.look()
    assert watched(client, query=told["id"], refs=refs)[1]["snapshot"] != name


def test_a_question_that_is_forgotten_or_whose_case_is_purged_is_over(app: Flask, index: Path) -> None:
    client = client_of(app)
    token = CaseRef(app.extensions["likewise.service"].live.current().name, "xray", 0).token(SECRET)
    _, _, case = app.extensions["likewise.service"].case(token)
    asked = client.post(f"/api/v1/cases/{token}/queries", headers=headers(), base_url=BASE).get_json()["id"]
    assert watched(client, query=asked, refs=[])[1]["over"] is False
    purge(index, frozenset({case.patient_id}), reason="a test")
    assert watched(client, query=asked, refs=[])[1]["over"] is True
    assert watched(client, query="another's", refs=["no case"])[1] | {"snapshot": ""} == {
        "snapshot": "",
        "gone": ["no case"],
        "over": True,
    }


@pytest.mark.parametrize(
    "body", [{"refs": []}, {"query": "x"}, {"query": 1, "refs": []}, {"query": "x", "refs": [1]}, {"query": "x", "refs": ["y"] * 201}]
)  # fmt: skip
def test_what_cannot_be_watched_is_refused(app: Flask, body: dict[str, object]) -> None:
    assert watched(client_of(app), **body)[0] == 400


def test_a_withheld_case_is_in_no_count_and_another_takes_its_place(
    app: Flask, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As if the two nearest were the query's own picture under other names."""
    engine = app.extensions["likewise.service"].live.current().engine
    before = engine.query_case("film000", Question(k=4, match_view=False))
    second = before.neighbours[1]
    monkeypatch.setattr("web.question.IDENTICAL", second.similarity)
    token = CaseRef(engine.snapshot.manifest.name, "xray", engine.archives["xray"].row_of("film000")).token(SECRET)
    asked = client_of(app).post(
        f"/api/v1/cases/{token}/queries", json={"k": 4, "view": "any"}, headers=headers(), base_url=BASE
    )
    told = asked.get_json()["answer"]
    assert before.own_pictures == ()
    assert told["withheld"] >= 2
    assert len(told["neighbours"]) == 4
    assert [one["rank"] for one in told["neighbours"]] == [1, 2, 3, 4]
    assert told["neighbours"][0]["similarity"] == pytest.approx(before.neighbours[2].similarity)
    patients = {before.neighbours[place].case.patient_id for place in (0, 1)}
    catalogue = engine.snapshot.catalogue
    theirs = sum(catalogue.case("xray", row).patient_id in patients for row in range(catalogue.count("xray")))
    assert told["eligible"] == before.eligible - theirs
    for name, summary in told["outcomes"].items():
        assert summary["asked"] == 4
        assert summary["known"] == sum(one["outcome"][name]["state"] != "not_recorded" for one in told["neighbours"])
    for one in told["concentrations"]:
        assert one["neighbours"] <= 4
