"""The API against its own description, by schemathesis: no error of the server, and no answer that is not described.

LIKEWISE_SCHEMA=100 tries as many examples of each operation; without it a few.
"""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import strategies
from openapi_spec_validator import validate
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from schemathesis.openapi import from_wsgi

from tests.web_app import demo_config
from tests.web_asking import API, Web, film
from tests.web_guarded import HOST
from web.app import create_app
from web.openapi import document
from web.permissions import PERMISSIONS
from web.principal import Role

EXAMPLES = int(os.environ.get("LIKEWISE_SCHEMA", "2"))
SEED = 20
# Well described, and yet not to be had: a question that is over, an upload that is no scan, a site that is none here.
NOT_HERE = [400, 410, 422]
FILMS = [film(seed=seed) for seed in (100, 101)]

Wsgi = Callable[[dict[str, Any], Any], Any]


@pytest.fixture(autouse=True)
def _uploads_are_often_films() -> None:
    """Of what is sent as a file: noise alone would never get past the decoder."""
    schemathesis.openapi.format("binary", strategies.sampled_from([*FILMS, FILMS[0][:3000], b""]) | strategies.binary())


@pytest.fixture
def demo(small_index: Path, tmp_path: Path) -> Iterator[Wsgi]:
    app = create_app(demo_config(small_index, tmp_path))
    yield app
    app.extensions["likewise.service"].close()


@pytest.fixture
def web(small_index: Path, tmp_path: Path) -> Iterator[Web]:
    web = Web(tmp_path, small_index)
    yield web
    web.close()


def answers_of(app: Wsgi, **settings: Any) -> dict[str, Counter[int]]:
    """Operation -> how often it answered with which status. Fails for whatever any check finds."""

    def local(environ: dict[str, Any], start: Any) -> Any:
        return app(environ | {"REMOTE_ADDR": "127.0.0.1"}, start)

    everything = {
        "seed": SEED,
        "base-url": f"http://localhost{API}",
        "generation": {"max-examples": EXAMPLES, "database": "none", "no-shrink": True, "with-security-parameters": False},
        "checks": {
            # its probes do not fit an app in the same process (schemathesis 4.32); asked below instead
            "ignored_auth": {"enabled": False},
            "positive_data_acceptance": {"expected-statuses": ["2xx", "403", "404", "409", *NOT_HERE]},
            "negative_data_rejection": {"expected-statuses": ["400", "401", "403", "404", "405", "410", "413", "415", "422"]},
        },
        "phases": {"stateful": {"max-steps": 6}},
    }  # fmt: skip
    config = SchemathesisConfig.from_dict(everything | settings)
    headers = settings.get("headers", {})
    schema = from_wsgi(f"{API}/openapi.json", local, config=config, headers=headers, base_url="http://localhost")
    found: list[str] = []
    answers: dict[str, Counter[int]] = defaultdict(Counter)
    for event in from_schema(schema).execute():
        if isinstance(event, events.FatalError | events.NonFatalError):
            found.append(str(event.exception if isinstance(event, events.FatalError) else event.info))
        elif isinstance(event, events.ScenarioFinished):
            for name, sent in event.recorder.interactions.items():
                if sent.response is not None:
                    answers[event.recorder.cases[name].value.operation.label][sent.response.status_code] += 1
            failures = [one.failure_info for checks in event.recorder.checks.values() for one in checks]
            found += [f"{one.failure.title}: {one.failure.message}\n{one.code_sample}" for one in failures if one]
    assert found == [], f"{len(found)} findings, the first: {found[0][:2000]}"
    return answers


def unreached(answers: dict[str, Counter[int]]) -> set[str]:
    """The operations that never answered well: nothing was shown of them."""
    return {operation for operation, by_status in answers.items() if not any(200 <= s < 300 for s in by_status)}


@pytest.mark.slow
def test_a_demonstration_answers_as_it_is_described(demo: Wsgi) -> None:
    answers = answers_of(demo)
    operations = {key.replace(API, "") for key in PERMISSIONS if f" {API}/" in key}
    asked = {re.sub("{[^}]*}", "<>", operation) for operation in answers}
    assert asked == operations - {"GET /openapi.json"}  # which was read to begin with
    assert unreached(answers) == {"GET /metrics"}  # which is for operators


@pytest.mark.slow
def test_a_server_for_many_answers_as_it_is_described(web: Web) -> None:
    operator = {"include-path": "/metrics", "headers": web.headers(Role.OPERATOR)}
    answers = answers_of(web.app, headers=web.headers(Role.RESEARCHER), operations=[operator])
    assert unreached(answers) == set()


def test_who_brings_no_key_is_answered_as_described(web: Web) -> None:
    told = document()
    for path, operations in told["paths"].items():
        for method, operation in operations.items():
            asked = getattr(web.client, method)(API + re.sub("{[^}]*}", "7", path), base_url=HOST)
            public = operation.get("security") == []
            assert (asked.status_code == 401) is not public, path
            assert str(asked.status_code) in operation["responses"]


@pytest.mark.parametrize("is_open", [True, False])
def test_the_description_is_openapi(is_open: bool) -> None:
    told = document(is_open=is_open)
    validate(told)
    assert told["security"] == ([{}] if is_open else [{"key": []}, {"session": []}])


def test_an_answer_that_is_not_described_is_found(demo: Wsgi) -> None:
    """These tests can fail."""

    def tampers(environ: dict[str, Any], start: Any) -> Any:
        def restatused(status: str, headers: Any, *more: Any) -> Any:
            return start("418 I'M A TEAPOT" if environ["PATH_INFO"].endswith("/health") else status, headers, *more)

        return demo(environ, restatused)

    with pytest.raises(AssertionError, match="418"):
        answers_of(tampers, operations=[{"exclude-path": "/health", "enabled": False}])
