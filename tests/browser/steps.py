"""What people do on the page, and what they see, as tests say it."""

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from tests.web_app import film

if TYPE_CHECKING:
    from playwright.sync_api import Page


def send(page: "Page", data: bytes | None = None, name: str = "Doe^Jane.dcm") -> None:
    page.set_input_files("#files", {"name": name, "mimeType": "application/octet-stream", "buffer": data or film()})


def answered(page: "Page") -> None:
    page.wait_for_selector(".card")


def watch_parts(page: "Page") -> None:
    """Write down the name and file name of each part of what is sent, into `window.parts`."""
    page.evaluate(
        """() => { window.parts = []; const append = FormData.prototype.append;
        FormData.prototype.append = function (name, part, file) {
          window.parts.push([name, file ?? part.name]); return append.apply(this, arguments) } }"""
    )


def until(page: "Page", condition: str, argument: object = None) -> None:
    """Wait for a condition in JavaScript. Playwright's own way needs `eval`, which the page's policy forbids."""
    deadline = time.monotonic() + 30
    while not page.evaluate(condition, argument):
        assert time.monotonic() < deadline, f"never came: {condition}"
        page.wait_for_timeout(50)


def violations(page: "Page") -> list[str]:
    from axe_playwright_python.sync_playwright import Axe

    return [f"{one['id']}: {one['nodes'][0]['html'][:200]}" for one in Axe().run(page).response["violations"]]


def grey_levels(page: "Page", pane: int = 0) -> list[int]:
    """The canvas as it is seen: red of every tenth pixel of its middle row."""
    levels: list[int] = page.evaluate(
        """pane => { const canvas = document.querySelectorAll('.pane canvas')[pane];
        const row = canvas.getContext('2d').getImageData(0, canvas.height >> 1, canvas.width, 1).data;
        return Array.from(row).filter((_, n) => n % 40 === 0) }""",
        pane,
    )
    return levels


def levels_when(page: "Page", wanted: Callable[[list[int]], bool]) -> list[int]:
    """What `grey_levels` are as soon as they are what is wanted, the next frame being drawn some time after a click."""
    deadline = time.monotonic() + 30
    while not wanted(levels := grey_levels(page)):
        assert time.monotonic() < deadline, "the picture never came to look as wanted"
        page.wait_for_timeout(20)
    return levels


def open_viewer(page: "Page", place: str = ".card .picture") -> None:
    page.locator(place).first.click()
    page.wait_for_selector("dialog[data-ready]")
    page.wait_for_timeout(300)
