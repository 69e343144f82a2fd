"""A CT series in the browser: a folder or a zip sent, its slices scrolled beside a case's, windows of lung, mediastinum and bone."""

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from tests.browser.conftest import browsing, serving
from tests.browser.steps import answered, grey_levels, open_viewer, send, until
from tests.conftest import run_build
from tests.test_embed_series import ct_dataset, real_ct, to_bytes
from tests.web_app import demo_config
from web.app import create_app

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

SLICES = 27


def chest(patient: int) -> list[bytes]:
    """A series of every fifth slice of the real CT, the lungs denser with each patient."""
    hu, lungs = real_ct()
    dense = np.where(lungs, hu + 120 * patient, hu)[::5].clip(-1024, 3071)
    named = {"PatientID": f"Covid{patient}", "SeriesInstanceUID": f"2.25.{patient}.1", "StudyInstanceUID": f"2.25.{patient}"}  # fmt: skip
    return [
        to_bytes(ct_dataset((plane + 1024).astype(np.uint16), n, SOPInstanceUID=f"2.25.{patient}.1.{n + 1}", **named))
        for n, plane in enumerate(dense)
    ]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, chromium: str) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("ct")
    for patient in (2, 3, 4):
        series = folder / "archive" / "ct" / f"Covid{patient}" / f"2.25.{patient}" / f"2.25.{patient}.1"
        write(series, chest(patient))
    result = run_build("--cohort", f"nccid={folder / 'archive'}", "--index", folder / "index")
    assert result.exit_code == 0, result.output
    with serving(create_app(demo_config(folder / "index", folder))) as address:
        yield address


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sent")
    write(folder, chest(0))
    return folder


@pytest.fixture(scope="module")
def ct(browser: "Browser", site: str, series: Path) -> Iterator["Page"]:
    """A page on which the CT was answered. Each test leaves it without a window open."""
    with browsing(browser, site) as page:
        page.goto(site)
        page.set_input_files("#folder", series)
        answered(page)
        yield page


@pytest.fixture
def viewer(ct: "Page") -> Iterator["Page"]:
    open_viewer(ct)
    until(ct, "[...document.querySelectorAll('.pane-said')].every(one => one.innerText.startsWith('Slice 14 of 27'))")
    yield ct
    ct.get_by_role("button", name="Close (Esc)").click()
    ct.wait_for_selector("dialog", state="detached")


def write(folder: Path, files: list[bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, data in enumerate(files):
        (folder / f"{number:03}.dcm").write_bytes(data)


def changed(page: "Page", before: list[list[int]]) -> None:
    """Waits until both panes show other pictures than before."""
    for _ in range(100):
        if all(grey_levels(page, pane) != before[pane] for pane in (0, 1)):
            return
        page.wait_for_timeout(50)
    raise AssertionError("the pictures stayed as they were")


def both(page: "Page") -> list[list[int]]:
    return [grey_levels(page, pane) for pane in (0, 1)]


def test_a_folder_of_slices_is_answered_by_cts(ct: "Page") -> None:
    assert ct.locator(".card").count() == 3
    assert all("CT" in text for text in ct.locator(".card .facts").all_inner_texts())
    assert "CT" in ct.locator(".query-card").inner_text()


def test_a_zip_of_slices_is_answered_by_cts(browser: "Browser", site: str, series: Path) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        for file in series.iterdir():
            archive.write(file, f"study/{file.name}")
    with browsing(browser, site) as page:
        page.goto(site)
        send(page, zipped.getvalue(), "series.zip")
        answered(page)
        assert page.locator(".card").count() == 3


def test_the_wheel_scrolls_both_and_the_pictures_change(viewer: "Page") -> None:
    before = both(viewer)
    assert all(len(set(levels)) > 10 for levels in before)
    viewer.locator(".pane canvas").first.hover()
    viewer.mouse.wheel(0, 300)
    until(viewer, "[...document.querySelectorAll('.pane-said')].every(one => !one.innerText.startsWith('Slice 14 '))")
    changed(viewer, before)
    numbers = [said.split(" · ")[0] for said in viewer.locator(".pane-said").all_inner_texts()]
    assert numbers[0] == numbers[1]


def test_presets_show_other_tissue_and_reset_brings_the_lung_back(viewer: "Page") -> None:
    lung = both(viewer)
    viewer.get_by_role("button", name="Mediastinum").click()
    until(viewer, "[...document.querySelectorAll('.pane-said')].every(one => one.innerText.includes('level 40, width 400'))")  # fmt: skip
    changed(viewer, lung)
    # lungs, at −500 HU and below, are black in a window from −160 HU on; most of the row's middle is lung or air
    assert sum(level == 0 for level in grey_levels(viewer)) > sum(level == 0 for level in lung[0])
    viewer.get_by_role("button", name="Bone").click()
    until(viewer, "[...document.querySelectorAll('.pane-said')].every(one => one.innerText.includes('level 400, width 1800'))")  # fmt: skip
    viewer.get_by_role("button", name="Reset").click()
    until(viewer, "[...document.querySelectorAll('.pane-said')].every(one => one.innerText.includes('level −600, width 1500'))")  # fmt: skip
    until_equal(viewer, lung)


def test_invert_turns_both_and_dragging_sets_the_window(viewer: "Page") -> None:
    before = both(viewer)
    viewer.get_by_role("button", name="Invert").click()
    changed(viewer, before)
    viewer.get_by_role("button", name="Reset").click()
    until_equal(viewer, before)
    box = viewer.locator(".pane canvas").first.bounding_box()
    assert box is not None
    viewer.mouse.move(box["x"] + 200, box["y"] + 200)
    viewer.mouse.down()
    viewer.mouse.move(box["x"] + 260, box["y"] + 300, steps=5)
    viewer.mouse.up()
    until(viewer, "!document.querySelector('.pane-said').innerText.includes('level −600, width 1500')")
    assert grey_levels(viewer) != before[0]


def until_equal(page: "Page", wanted: list[list[int]]) -> None:
    for _ in range(100):
        if both(page) == wanted:
            return
        page.wait_for_timeout(50)
    assert both(page) == wanted
