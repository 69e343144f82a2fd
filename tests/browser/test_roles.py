"""Who signs in sees what their role may see, by the hospital's provider or its proxy; a session that ends leaves nothing behind."""

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser.conftest import browsing, serving
from tests.browser.steps import answered, send, until, violations
from tests.oidc_provider import CLIENT_ID, CLIENT_SECRET, running_provider
from tests.web_app import demo_config
from web.app import create_app
from web.config import Access

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="module")
def issuer(chromium: str) -> Iterator[str]:
    with running_provider() as address:
        yield address


@pytest.fixture(scope="module")
def site(small_index: Path, issuer: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    oidc = {"oidc_issuer": issuer, "oidc_client_id": CLIENT_ID, "oidc_client_secret": CLIENT_SECRET, "oidc_roles_claim": "realm_access.roles"}  # fmt: skip
    settings = demo_config(small_index, tmp_path_factory.mktemp("oidc"), access=Access.OIDC, **oidc)
    with serving(create_app(settings)) as address:
        yield address


def sign_in(page: "Page", site: str, user: str) -> None:
    page.goto(site)
    page.get_by_role("link", name=user, exact=True).click()
    page.wait_for_url(lambda url: url.startswith(site))


@pytest.mark.parametrize(("user", "sees_pseudonyms"), [("clinician", False), ("researcher", True)])
def test_pseudonyms_are_shown_to_researchers_only(
    browser: "Browser", site: str, issuer: str, user: str, sees_pseudonyms: bool
) -> None:
    with browsing(browser, site, issuer) as page:
        sign_in(page, site, user)
        assert f"{user} ({user})" in page.locator(".who").inner_text()
        send(page)
        answered(page)
        said = page.locator(".card .facts").all_inner_texts()
        assert [("Pseudonym" in one, "Hospital" in one) for one in said] == [(sees_pseudonyms, sees_pseudonyms)] * 6
        assert ("centre " in " ".join(said)) is sees_pseudonyms
        assert "p0" in page.content() or not sees_pseudonyms
        assert violations(page) == []
        assert page.goto(f"{site}api/v1/metrics").status == 403


@pytest.mark.parametrize(("user", "metrics"), [("operator", 200), ("auditor", 403), ("visitor", 401)])
def test_who_has_no_clinical_role_sees_no_clinical_data(
    browser: "Browser", site: str, issuer: str, user: str, metrics: int
) -> None:
    with browsing(browser, site, issuer) as page:
        sign_in(page, site, user)
        assert "role" in page.locator("main").inner_text()
        assert page.locator("#drop").count() == 0
        assert violations(page) == []
        asked = {path: page.request.get(f"{site}api/v1/{path}").status for path in ("filters", "docs", "metrics")}
        known = user != "visitor"
        # the documentation leads whoever is not known to the sign-in
        assert asked == {"filters": 403 if known else 401, "docs": 200 if known else 401, "metrics": metrics}


def test_signing_out_leads_past_the_provider_and_ends_the_session(browser: "Browser", site: str, issuer: str) -> None:
    with browsing(browser, site, issuer) as page:
        sign_in(page, site, "clinician")
        page.get_by_role("button", name="Sign out").click()
        page.wait_for_url("**/signed-out")
        assert "You are signed out" in page.locator("h1").inner_text()
        page.goto(site)
        assert page.url.startswith(issuer)


def test_a_session_that_ends_takes_what_it_showed_off_the_screen(
    browser: "Browser", site: str, issuer: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ahead = [0.0]
    monkeypatch.setattr("web.sessions.time", SimpleNamespace(time=lambda: time.time() + ahead[0]))
    with browsing(browser, site, issuer) as page:
        sign_in(page, site, "clinician")
        send(page)
        answered(page)
        until(page, "[...document.images].every(one => one.complete)")  # the last thing that somebody asked for
        ahead[0] = 20 * 60.0
        with page.expect_response("**/watch") as watched:
            pass
        assert watched.value.status == 200
        ahead[0] = 31 * 60.0  # a page that watches kept nobody signed in
        page.wait_for_selector("#failure:has-text('You are signed out')")
        assert page.locator(".card, img[src*=preview]").count() == 0
        assert violations(page) == []
        page.get_by_role("link", name="Sign in again").click()
        page.wait_for_url(lambda url: url.startswith(issuer))


def test_whom_the_proxy_names_is_let_in_by_their_role(browser: "Browser", small_index: Path, tmp_path: Path) -> None:
    settings = demo_config(small_index, tmp_path, access=Access.PROXY, trusted_proxies=("127.0.0.1",))
    with serving(create_app(settings)) as site:
        named: dict[str, Any] = {"X-Remote-User": "anna", "X-Remote-Roles": "clinician"}
        with browsing(browser, site, extra_http_headers=named) as page:
            page.goto(site)
            assert page.locator(".who").inner_text() == "anna (clinician)"
            send(page)
            answered(page)
        with browsing(browser, site, extra_http_headers=named | {"X-Remote-Roles": "auditor"}) as page:
            page.goto(site)
            assert "not open to your role (auditor)" in page.locator("main").inner_text()
        with browsing(browser, site) as page:
            answer = page.goto(site)
            assert answer is not None and answer.status == 401
