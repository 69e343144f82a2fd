"""The pages as the server sends them, before any script runs."""

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path

import pytest
from flask import Flask

from tests.web_app import client_of, demo_config, get
from web.app import create_app
from web.config import Access
from web.pages import samples

ROOT = Path(__file__).parents[1]
STATIC = ROOT / "web" / "static"


@pytest.fixture(scope="module")
def app(small_index: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Flask]:
    folder = tmp_path_factory.mktemp("pages")
    scans = folder / "samples"
    scans.mkdir()
    for name in ("b-second_film.dcm", "1.2.840.dcm", "notes.txt"):
        (scans / name).write_bytes(name.encode())
    made = create_app(demo_config(small_index, folder, samples=scans))
    yield made
    made.extensions["likewise.service"].close()


def page(app: Flask, path: str) -> str:
    return get(client_of(app), path).text


def fetched(app: Flask, path: str) -> tuple[int, bytes]:
    """The status and body of what may be sent from a file, which is closed again."""
    answer = get(client_of(app), path)
    status, body = answer.status_code, answer.data
    answer.close()
    return status, body


def words(html: str) -> str:
    """What a page says: its text on one line, without markup."""
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", html)).split())


@pytest.mark.parametrize("path", ["/", "/intended-use", "/signed-out", "/api/v1/docs", "/no-such-page"])
def test_every_page_says_that_it_is_no_medical_device(app: Flask, path: str) -> None:
    assert "Research use only — not a medical device" in words(page(app, path))


@pytest.mark.parametrize("path", ["/", "/intended-use", "/signed-out", "/api/v1/docs", "/no-such-page"])
def test_no_page_has_inline_script_or_style_or_asks_another_site(app: Flask, path: str) -> None:
    html = page(app, path)
    assert not re.search(r"<script(?![^>]*\ssrc=)", html)
    assert not re.search(r"<style|\sstyle=|\son\w+=", html)
    assert all(address.startswith(("/", "#")) for address in re.findall(r'(?:src|href|action)="([^"]*)"', html))


@pytest.mark.parametrize("path", ["/", "/intended-use", "/signed-out"])
def test_no_page_speaks_of_risk(app: Flask, path: str) -> None:
    assert "risk" not in words(page(app, path)).lower()


def test_all_that_a_page_names_is_there(app: Flask) -> None:
    named = re.findall(r'(?:src|href)="(/static/[^"]*)"', page(app, "/"))
    assert len(set(named)) == 3
    assert [fetched(app, address)[0] for address in named] == [200] * len(named)


def test_what_scripts_import_is_there() -> None:
    found = {
        (script.parent / name).resolve()
        for script in (STATIC / "js").glob("*.js")
        for name in re.findall(r'from "(\./[^"]+)"|"(\.\./viewer/[^"]+)"', script.read_text())
        for name in [name[0] or name[1]]
    }
    assert STATIC / "viewer" / "viewer.js" in found
    assert [path for path in found if not path.is_file()] == []


def test_no_script_of_the_page_makes_markup_of_text() -> None:
    scripts = {path.name: path.read_text() for path in (STATIC / "js").glob("*.js")}
    forbidden = ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "new Function")
    assert [(name, word) for name, text in scripts.items() for word in forbidden if word in text] == []


def test_the_viewer_needs_no_eval_no_wasm_and_no_worker_and_tells_its_licences() -> None:
    bundle = (STATIC / "viewer" / "viewer.js").read_text()
    assert not re.search(r"\beval\(|new Function\(|WebAssembly|new Worker\(", bundle)
    licences = (STATIC / "viewer" / "LICENCES.txt").read_text()
    assert all(f"{name} " in licences for name in ("@cornerstonejs/core", "@cornerstonejs/tools", "@kitware/vtk.js"))


def test_the_page_says_what_docs_say_of_the_intended_use(app: Flask) -> None:
    said = words(page(app, "/intended-use"))
    headings = re.findall(r"^## (.+)$", (ROOT / "docs" / "intended-use.md").read_text(), re.MULTILINE)
    assert headings
    assert [one for one in headings if one not in said] == []


def test_samples_are_offered_by_name_or_number_and_are_what_lies_in_the_folder(app: Flask) -> None:
    html = page(app, "/")
    assert re.findall(r'data-sample="(\d)">([^<]+)<', html) == [("1", "Sample scan 1"), ("2", "B second film")]
    assert fetched(app, "/samples/2") == (200, b"b-second_film.dcm")
    with get(client_of(app), "/samples/2") as answer:
        assert "sample-2" in answer.headers["Content-Disposition"] and "second" not in str(answer.headers)
    assert fetched(app, "/samples/3")[0] == 404


def test_samples_are_for_demonstrations_only(tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(b"scan")
    assert len(samples(demo_config(tmp_path, tmp_path, samples=tmp_path))) == 1
    assert samples(demo_config(tmp_path, tmp_path, samples=tmp_path, access=Access.PROXY)) == []
    assert samples(demo_config(tmp_path, tmp_path)) == []


def test_an_error_page_has_the_request_id_and_says_what_to_do(app: Flask) -> None:
    answer = get(client_of(app), "/no-such-page")
    assert answer.status_code == 404
    assert answer.headers["X-Request-ID"] in answer.text
    assert "Back to the search page" in answer.text


def test_what_an_error_says_is_text_not_markup(app: Flask) -> None:
    with app.test_request_context("/"):
        html = app.jinja_env.get_template("error.html").render(title="<b>", detail="<script>", request_id="<i>")
    assert "<b>" not in html and "<script>" not in html and "<i>" not in html
