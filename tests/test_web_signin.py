"""Signing in: OpenID Connect against a real provider process, the proxy's header, sessions that end, and out again."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, running_provider
from tests.web_guarded import HOST, PROXY, config, from_proxy, frozen, guarded_app
from web import sessions, signin
from web.config import Access
from web.principal import Means, Principal, Role

ANNA = Principal("anna", frozenset({Role.CLINICIAN}), "oidc:1", Means.SESSION)


@pytest.fixture(scope="module")
def issuer() -> Iterator[str]:
    with running_provider() as address:
        yield address


@pytest.fixture
def client(issuer: str, tmp_path: Path) -> Iterator[FlaskClient]:
    misbehave(issuer, "")
    settings = config(
        tmp_path,
        Access.OIDC,
        oidc_issuer=issuer,
        oidc_client_id=CLIENT_ID,
        oidc_client_secret=CLIENT_SECRET,
        oidc_roles_claim="realm_access.roles",
    )
    with guarded_app(settings).test_client() as client:
        yield client


def misbehave(issuer: str, how: str) -> None:
    requests.post(f"{issuer}/misbehave", data={"how": how}, timeout=10).raise_for_status()


def audited(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "audit.jsonl").read_text().splitlines()]


def come_back(client: FlaskClient, user: str, next_path: str = "/") -> TestResponse:
    """As a browser does: to the provider, there as `user`, and with its code back to the callback."""
    there = client.get("/sign-in", query_string={"next": next_path}, base_url=HOST).headers["Location"]
    back = requests.get(f"{there}&login_hint={user}", allow_redirects=False, timeout=10).headers["Location"]
    return client.get(back.removeprefix(HOST), base_url=HOST)


def page(client: FlaskClient) -> TestResponse:
    return client.get("/", base_url=HOST)


def test_a_page_leads_to_the_provider_and_back_to_itself(client: FlaskClient, tmp_path: Path) -> None:
    refused = client.get("/case/7", base_url=HOST)
    assert (refused.status_code, refused.headers["Location"]) == (302, "/sign-in?next=%2Fcase%2F7")
    back = come_back(client, "clinician", "/case/7")
    assert (back.status_code, back.headers["Location"]) == (302, "/case/7")
    assert client.get("/case/7", base_url=HOST).text == "clinician"
    (line,) = audited(tmp_path)
    assert (line["action"], line["who"], line["id"]) == ("signed-in", "clinician", "oidc:sub-of-clinician")
    assert line["roles"] == ["clinician"]


def test_the_way_to_the_provider_has_state_nonce_and_pkce(client: FlaskClient, issuer: str) -> None:
    there = client.get("/sign-in", base_url=HOST).headers["Location"]
    asked = parse_qs(urlsplit(there).query)
    assert there.startswith(f"{issuer}/authorize?")
    assert asked["code_challenge_method"] == ["S256"] and len(asked["code_challenge"][0]) == 43
    assert len(asked["nonce"][0]) >= 16 and len(asked["state"][0]) >= 16
    assert asked["redirect_uri"] == [f"{HOST}/sign-in/callback"]


def test_an_api_is_refused_without_a_detour(client: FlaskClient) -> None:
    answer = client.get("/api/v1/filters", base_url=HOST)
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


def test_who_has_no_role_gets_no_session(client: FlaskClient, tmp_path: Path) -> None:
    assert come_back(client, "visitor").status_code == 403
    assert page(client).status_code == 302
    assert [line["action"] for line in audited(tmp_path)] == ["sign-in-refused"]


@pytest.mark.parametrize(
    "how",
    ["wrong-issuer", "wrong-audience", "wrong-nonce", "expired", "unsigned", "secret-signed", "wrong-key", "no-id-token", "denies"],
)  # fmt: skip
def test_a_token_that_is_not_right_opens_nothing(client: FlaskClient, issuer: str, how: str) -> None:
    misbehave(issuer, how)
    assert come_back(client, "clinician").status_code == 400
    assert page(client).status_code == 302


def test_a_provider_that_breaks_is_told_of(client: FlaskClient, issuer: str) -> None:
    misbehave(issuer, "breaks")
    assert come_back(client, "clinician").status_code in (400, 503)
    assert page(client).status_code == 302


def test_a_provider_by_another_name_is_not_asked(client: FlaskClient, issuer: str) -> None:
    misbehave(issuer, "other-name")
    assert client.get("/sign-in", base_url=HOST).status_code == 503


def test_a_provider_that_is_away_is_told_of(tmp_path: Path) -> None:
    settings = config(
        tmp_path, Access.OIDC, oidc_issuer="http://127.0.0.1:9", oidc_client_id="x", oidc_client_secret="y"
    )
    with guarded_app(settings).test_client() as client:
        assert client.get("/sign-in", base_url=HOST).status_code == 503


def test_a_new_signing_key_is_looked_for(client: FlaskClient, issuer: str) -> None:
    assert come_back(client, "clinician").status_code == 302
    misbehave(issuer, "new-key")
    assert come_back(client, "researcher").status_code == 302
    assert page(client).text.startswith("researcher ")


def test_a_code_is_good_for_its_own_browser_only(client: FlaskClient) -> None:
    there = client.get("/sign-in", base_url=HOST).headers["Location"]
    back = requests.get(f"{there}&login_hint=clinician", allow_redirects=False, timeout=10).headers["Location"]
    other = client.application.test_client()
    assert other.get(back.removeprefix(HOST), base_url=HOST).status_code == 400
    assert client.get(back.removeprefix(HOST), base_url=HOST).status_code == 302
    assert client.get(back.removeprefix(HOST), base_url=HOST).status_code == 400  # nor is it good twice


def test_sign_ins_that_came_to_nothing_leave_room_in_the_cookie(client: FlaskClient) -> None:
    for _ in range(12):
        begun = client.get("/sign-in", base_url=HOST)
        assert len(begun.headers["Set-Cookie"]) < 3500
    assert come_back(client, "clinician").status_code == 302


def test_two_tabs_may_sign_in_at_once(client: FlaskClient) -> None:
    ways = [client.get("/sign-in", base_url=HOST).headers["Location"] for _ in range(2)]
    first, _ = (requests.get(f"{way}&login_hint=clinician", allow_redirects=False, timeout=10) for way in ways)
    assert client.get(first.headers["Location"].removeprefix(HOST), base_url=HOST).status_code == 302


def test_an_issuer_in_plain_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="https"):
        guarded_app(config(tmp_path, Access.OIDC, oidc_issuer="http://sso.example", oidc_client_id="x"))


@pytest.mark.parametrize(
    "path",
    ["https://evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example", "evil", "/a\nb", "javascript:1"],
)
def test_nobody_is_sent_elsewhere_after_signing_in(path: str) -> None:
    assert signin.local_path(path) == "/"


def test_the_session_cookie_is_secure(client: FlaskClient) -> None:
    cookie = come_back(client, "clinician").headers["Set-Cookie"]
    name, *attributes = cookie.split("; ")
    assert name.startswith("__Host-likewise=")
    assert {"Secure", "HttpOnly", "SameSite=Lax", "Path=/"} <= set(attributes)
    assert not any(attribute.startswith("Domain") for attribute in attributes)


def test_a_session_cookie_that_was_changed_is_none(client: FlaskClient) -> None:
    come_back(client, "clinician")
    cookie = client.get_cookie("__Host-likewise", "likewise.example")
    assert cookie is not None
    told = {"who": {"name": "x", "id": "x", "roles": ["operator"]}, "since": 9e9, "seen": 9e9}
    payload = base64.urlsafe_b64encode(json.dumps(told).encode()).rstrip(b"=").decode()
    forged = ".".join([payload, *cookie.value.split(".")[-2:]])
    client.set_cookie("__Host-likewise", forged, domain="likewise.example", secure=True)
    assert page(client).status_code == 302


def test_signing_out_ends_both_sessions(client: FlaskClient, issuer: str, tmp_path: Path) -> None:
    come_back(client, "clinician")
    token = page(client).text.split()[1]
    out = client.post("/sign-out", base_url=HOST, data={"csrf_token": token}, headers={"Origin": HOST})
    assert out.status_code == 303
    there = out.headers["Location"]
    assert there.startswith(f"{issuer}/logout?")
    assert parse_qs(urlsplit(there).query)["post_logout_redirect_uri"] == [f"{HOST}/signed-out"]
    assert page(client).status_code == 302
    assert [line["action"] for line in audited(tmp_path)] == ["signed-in", "signed-out"]


def test_the_policy_lets_a_form_lead_to_the_providers_way_out(client: FlaskClient, issuer: str) -> None:
    policy = client.get("/signed-out", base_url=HOST).headers["Content-Security-Policy"]
    assert f"form-action 'self' {issuer};" in policy


def test_a_session_ends_when_nothing_was_done_for_a_while() -> None:
    held: Any = Held()
    sessions.start(held, ANNA, sid="s", now=0)
    assert sessions.principal_of(held, idle_minutes=30, now=1799) == ANNA
    assert sessions.principal_of(held, idle_minutes=30, now=3598) == ANNA  # being seen counts
    assert sessions.principal_of(held, idle_minutes=30, now=5399) is None
    assert not held


def test_a_session_ends_after_a_shift_however_busy() -> None:
    held: Any = Held()
    sessions.start(held, ANNA, sid="s", now=0)
    for minute in range(1, 12 * 60 + 1):
        assert sessions.principal_of(held, idle_minutes=30, now=60 * minute) == ANNA
    assert sessions.principal_of(held, idle_minutes=30, now=12 * 3600 + 1) is None


def test_a_session_replaces_what_was_there_before() -> None:
    held: Any = Held(sid="chosen by another", extra=1)
    sessions.start(held, ANNA, sid="s", now=0)
    assert held["sid"] == "s" and "extra" not in held


def test_an_idle_browser_has_to_sign_in_again(client: FlaskClient, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    come_back(client, "clinician")
    assert page(client).status_code == 200
    with frozen(monkeypatch, time.time() + 31 * 60):
        assert page(client).status_code == 302


class Held(dict[str, Any]):
    """What a session is to those who use it."""


def test_the_trusted_proxy_says_who_asks(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    assert client.get("/", **from_proxy("anna")).text.startswith("anna ")
    assert client.get("/api/v1/metrics", **from_proxy("oli", "operator, staff")).text == "oli"


@pytest.mark.parametrize(
    ("user", "roles", "peer", "status"),
    [
        ("anna", "clinician", "10.0.0.10", 401),  # no proxy of ours
        ("anna", "clinician", "", 401),  # a Unix socket, which is not listed
        ("", "clinician", PROXY, 401),
        ("anna,bert", "clinician", PROXY, 401),  # two headers, joined
        ("an\x1bna", "clinician", PROXY, 401),
        ("a" * 129, "clinician", PROXY, 401),
        ("anna", "", PROXY, 403),
        ("anna", "Clinician", PROXY, 403),  # roles are exact
        ("anna", "clinicians", PROXY, 403),
    ],
)
def test_whom_the_header_does_not_name_is_refused(
    user: str, roles: str, peer: str, status: int, tmp_path: Path
) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    assert client.get("/", **from_proxy(user, roles, peer)).status_code == status


def test_a_proxy_behind_a_socket_is_listed_as_unix(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path, trusted_proxies=("unix",))).test_client()
    assert client.get("/", **from_proxy(peer="")).status_code == 200
    assert client.get("/", **from_proxy(peer=PROXY)).status_code == 401


def test_signing_out_of_the_proxys_session_leads_to_the_page_that_says_so(tmp_path: Path) -> None:
    client = guarded_app(config(tmp_path)).test_client()
    token = client.get("/", **from_proxy()).text.split()[1]
    out = client.post("/sign-out", data={"csrf_token": token}, **from_proxy())
    assert (out.status_code, out.headers["Location"]) == (303, f"{HOST}/signed-out")
