"""An archive that changes while a page is open: a new snapshot under load, and a patient who is purged."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from index.purge import purge
from index.snapshot import current_folder, open_current
from tests.archives import change_cells, table_archive
from tests.browser.conftest import browsing, serving
from tests.browser.steps import answered, open_viewer, send, until
from tests.conftest import run_build
from tests.web_app import SECRET, demo_config
from web.app import create_app
from web.refs import parse

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

WITHIN_SECONDS = 5.0
ROWS = range(24)
# four at a time, until told to end: [snapshot, the sexes in the answer], or what went wrong
ASK = """id => { window.asked = [[], [], [], []]; window.ended = false;
  window.asked.forEach(async found => { while (!window.ended) { try {
    const answer = await fetch(`/api/v1/queries/${id}?view=any&k=12`), told = await answer.json();
    found.push(answer.ok ? [told.answer.snapshot.name, told.answer.neighbours.map(one => one.sex).join('')] : [String(answer.status), '']);
  } catch (error) { found.push([String(error), '']) } } }) }"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    """Twelve patients, all of them women."""
    made = table_archive(tmp_path / "archive")
    return change_cells(made, sex=dict.fromkeys(ROWS, "F"))


@pytest.fixture
def index(archive: Path, tmp_path: Path) -> Path:
    publish(archive, tmp_path / "index")
    return tmp_path / "index"


@pytest.fixture
def site(index: Path, tmp_path: Path, chromium: str) -> Iterator[str]:
    with serving(create_app(demo_config(index, tmp_path))) as address:
        yield address


@pytest.fixture
def page(browser: "Browser", site: str) -> Iterator["Page"]:
    """With an answer on it."""
    with browsing(browser, site) as made:
        made.goto(site)
        with made.expect_response(lambda response: response.request.method == "POST") as asked:
            send(made)
        answered(made)
        made.evaluate("id => { window.queryId = id }", asked.value.json()["id"])
        yield made


def publish(archive: Path, index: Path) -> str:
    result = run_build("--cohort", f"table={archive}", "--index", index)
    assert result.exit_code == 0, result.output
    return current_folder(index).name


def patient_of(page: "Page", index: Path) -> str:
    """Whose case is the first on the page."""
    ref = parse(page.locator("[data-ref]").first.get_attribute("data-ref") or "", SECRET)
    assert ref is not None
    return open_current(index).catalogue.case(ref.kind, ref.row).patient_id


def test_a_new_snapshot_under_load_is_taken_up_whole_and_no_answer_is_dropped(
    page: "Page", archive: Path, index: Path
) -> None:
    old = current_folder(index).name
    page.evaluate(ASK, page.evaluate("window.queryId"))
    until(page, "window.asked.every(found => found.length > 2)")
    new = publish(change_cells(archive, sex=dict.fromkeys(ROWS, "M")), index)
    published = time.monotonic()
    until(page, "name => window.asked.every(found => found.length && found.at(-1)[0] === name)", new)
    page.get_by_text("The archive has changed while this page was open.").wait_for()
    assert time.monotonic() - published <= WITHIN_SECONDS
    page.evaluate("window.ended = true")
    assert all(" male" in text or "male," in text for text in page.locator(".card .facts").all_inner_texts())
    for found in page.evaluate("window.asked"):
        assert {tuple(one) for one in found} == {(old, "F" * 12), (new, "M" * 12)}
        names = [name for name, _ in found]
        assert names == sorted(names, key=[old, new].index)  # never back to the old one


def test_a_purged_patient_vanishes_from_the_page_and_from_the_viewer(page: "Page", index: Path) -> None:
    gone = page.locator("[data-ref]").first.get_attribute("data-ref")
    patient = patient_of(page, index)
    open_viewer(page)
    purged = time.monotonic()
    purge(index, frozenset({patient}), reason="a test")
    page.wait_for_selector("dialog", state="detached")
    until(page, "ref => !document.body.innerHTML.includes(ref)", gone)
    assert time.monotonic() - purged <= WITHIN_SECONDS
    page.get_by_text("The archive has changed while this page was open.").wait_for()
    assert patient not in {_patient(ref, index) for ref in refs(page)}
    assert len(refs(page)) == 5  # of the other patients with this view


def test_a_purged_case_that_is_opened_says_so_in_words(page: "Page", index: Path) -> None:
    page.route("**/watch", lambda route: route.abort())  # a page that heard nothing
    patient = patient_of(page, index)
    purge(index, frozenset({patient}), reason="a test")
    page.locator(".card .picture").first.click()
    said = page.locator(".viewer-message")
    page.wait_for_selector(".viewer-message:has-text('cannot be shown')")
    assert "withdrawn" in said.inner_text() or "renewed" in said.inner_text()
    assert page.locator(".pane canvas").count() == 0


def test_the_answer_to_a_case_ends_when_that_case_is_purged(page: "Page", index: Path) -> None:
    patient = patient_of(page, index)
    page.get_by_role("button", name="Search from case 1", exact=True).click()
    page.wait_for_selector("#steps", state="hidden")
    answered(page)
    purged = time.monotonic()
    purge(index, frozenset({patient}), reason="a test")
    page.wait_for_selector("#failure:has-text('This case is no longer shown')")
    assert time.monotonic() - purged <= WITHIN_SECONDS
    assert page.locator("img[src*=preview]").count() == 0


def test_more_than_the_server_takes_is_refused_before_and_after_it_is_sent(
    browser: "Browser", index: Path, tmp_path: Path
) -> None:
    with serving(create_app(demo_config(index, tmp_path, upload_mb=1))) as site, browsing(browser, site) as page:
        page.goto(site)
        send(page, bytes(2_000_000))
        page.wait_for_selector("#failure:has-text('Too large')")
        assert "the server takes 1 MB at once" in page.locator("#failure").inner_text()

        def boast(route: object) -> None:
            response = route.fetch()  # type: ignore[attr-defined]
            route.fulfill(response=response, body=response.text().replace('data-upload-mb="1"', 'data-upload-mb="9"'))  # type: ignore[attr-defined]

        page.route(site, boast)
        page.goto(site)
        send(page, bytes(2_000_000))
        page.wait_for_selector("#failure:has-text('larger than 1 MB')")


def refs(page: "Page") -> list[str]:
    found: list[str] = page.evaluate("[...document.querySelectorAll('[data-ref]')].map(one => one.dataset.ref)")
    return found


def _patient(token: str, index: Path) -> str:
    ref = parse(token, SECRET)
    assert ref is not None
    return open_current(index).catalogue.case(ref.kind, ref.row).patient_id
