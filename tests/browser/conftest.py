"""The real application in Debian's Chromium. `make test-browser` runs them."""

import shutil
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from flask import Flask
from werkzeug.serving import make_server

from tests.conftest import missing, need_module
from tests.web_app import demo_config, film
from web.app import create_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment
    from playwright.sync_api import Browser, Page

WIDE, PHONE = (1280, 1024), (390, 844)
SOFTWARE = ["--no-sandbox", "--disable-gpu"]  # WebGL is drawn by SwiftShader: there is no graphics card in CI
WAIT_MS = 30_000


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def chromium() -> str:
    need_module("playwright")
    need_module("axe_playwright_python")
    found = shutil.which("chromium")
    if found is None:
        missing("Chromium")
    return found


@pytest.fixture(scope="session")
def browser(chromium: str) -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        made = playwright.chromium.launch(executable_path=chromium, args=SOFTWARE)
        yield made
        made.close()


@pytest.fixture(scope="session")
def site(small_index: Path, tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[str]:
    """The address of a running demonstration on the small index, with one sample scan."""
    folder = tmp_path_factory.mktemp("browser")
    (folder / "samples").mkdir()
    (folder / "samples" / "first-sample.dcm").write_bytes(film())
    app = create_app(demo_config(small_index, folder, samples=folder / "samples"))
    with serving(app) as address:
        yield address


@contextmanager
def serving(app: Flask) -> Iterator[str]:
    """The address at which an app is served meanwhile."""
    server = make_server("127.0.0.1", 0, closed_at_the_end(app), threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        app.extensions["likewise.service"].close()


def closed_at_the_end(app: Flask) -> "WSGIApplication":
    """An app whose answers close their files even where a browser hangs up meanwhile, which werkzeug (3.1) forgets and
    gunicorn, behind which the product runs, does not.
    """

    def answer(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterator[bytes]:
        with closing(app(environ, start_response)) as parts:  # type: ignore[type-var]
            yield from parts

    return answer


@contextmanager
def browsing(browser: "Browser", *sites: str, size: tuple[int, int] = WIDE, **settings: Any) -> Iterator["Page"]:
    """A page of its own. It fails for an error of a script, for what the content security policy stopped, and for a request to
    other than `sites`.
    """
    complaints: list[str] = []
    width, height = size
    context = browser.new_context(viewport={"width": width, "height": height}, **settings)
    made = context.new_page()
    made.set_default_timeout(WAIT_MS)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    made.on("console", lambda said: complaints.append(said.text) if "Content Security Policy" in said.text else None)
    made.on("request", lambda asked: complaints.append(asked.url) if not asked.url.startswith((*sites, "blob:", "data:")) else None)  # fmt: skip
    try:
        yield made
    finally:
        context.close()
    assert complaints == []


@pytest.fixture(params=[WIDE], ids=["wide"])
def page(request: pytest.FixtureRequest, browser: "Browser", site: str) -> Iterator["Page"]:
    """The search page, freshly opened, at 1280×1024 or as a test asks."""
    with browsing(browser, site, size=request.param) as made:
        made.goto(site)
        yield made
