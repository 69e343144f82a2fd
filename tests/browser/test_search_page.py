"""The search page as people use it: every way in, filters, the viewer, the keyboard, and what goes wrong."""

import io
import json
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from tests.browser.conftest import PHONE, SOFTWARE, WIDE
from tests.browser.steps import answered, grey_levels, levels_when, open_viewer, send, until, violations, watch_parts
from tests.films import phantom, png_bytes
from tests.web_app import film

if TYPE_CHECKING:
    from playwright.sync_api import Browser, FileChooser, Page, Route

SIZES = pytest.mark.parametrize("page", [WIDE, PHONE], ids=["wide", "phone"], indirect=True)


def change_answers(page: "Page", change: Callable[[dict[str, Any]], None]) -> None:
    """Change the answer of each finished query on its way to the page."""

    def on_the_way(route: "Route") -> None:
        if route.request.method != "GET":
            route.continue_()
            return
        response = route.fetch()
        told = response.json()
        if "answer" in told:
            change(told)
        route.fulfill(response=response, body=json.dumps(told))

    page.route(lambda url: "/api/v1/queries/" in url and "/preview" not in url and "/frames" not in url, on_the_way)


# --- ways in


@pytest.mark.parametrize("kind", ["dicom", "png", "zip"])
def test_each_kind_of_file_is_answered(page: "Page", kind: str) -> None:
    zipped = io.BytesIO()
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("scan.dcm", film())
    files = {"dicom": film(), "png": png_bytes((phantom(seed=99) >> 4).astype(np.uint8)), "zip": zipped.getvalue()}
    send(page, files[kind], f"scan.{kind}")
    answered(page)
    # the header says PA, as of six patients' films; a PNG has no view, so that films of any are shown
    assert page.locator(".card").count() == (10 if kind == "png" else 6)


def test_a_folder_is_sent_without_what_file_managers_leave_in_it(page: "Page", tmp_path: Path) -> None:
    (tmp_path / "scan.dcm").write_bytes(film())
    (tmp_path / ".DS_Store").write_bytes(b"left behind")
    watch_parts(page)
    page.set_input_files("#folder", tmp_path)
    answered(page)
    assert page.evaluate("window.parts") == [["files", "scan-0"]]


def test_several_files_are_one_question(page: "Page") -> None:
    files = [film(), b"a letter, not a scan"]
    page.set_input_files("#files", [{"name": f"{n}", "mimeType": "", "buffer": data} for n, data in enumerate(files)])
    answered(page)
    assert "file" in page.locator(".warnings").inner_text()  # the one that was left out


def test_a_scan_is_sent_compared_and_left_by_keyboard_alone(page: "Page") -> None:
    choosers: list[FileChooser] = []
    page.on(
        "filechooser", lambda chooser: choosers.append(chooser)
    )  # before the key is pressed, or the browser opens its own window
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.id") == "choose-files":
            break
    page.keyboard.press("Enter")
    for _ in range(200):
        if choosers:
            break
        page.wait_for_timeout(50)
    choosers[0].set_files({"name": "x.dcm", "mimeType": "", "buffer": film()})
    answered(page)
    for _ in range(60):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.getAttribute('aria-label')") == "Compare case 1 with your scan":
            break
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[data-ready]")
    page.keyboard.press("i")
    until(page, "document.querySelector('.pane-said').innerText.includes('inverted')")
    page.keyboard.press("r")
    until(page, "!document.querySelector('.pane-said').innerText.includes('inverted')")
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")


def test_a_dropped_file_is_answered(page: "Page") -> None:
    page.evaluate(
        """bytes => { const transfer = new DataTransfer(); transfer.items.add(new File([new Uint8Array(bytes)], 'x.dcm'));
        window.dispatchEvent(new DragEvent('drop', {dataTransfer: transfer, bubbles: true, cancelable: true})) }""",
        list(film()),
    )
    answered(page)


def test_a_sample_is_one_click(page: "Page") -> None:
    page.get_by_role("button", name="First sample").click()
    answered(page)


def test_no_file_name_leaves_the_computer(page: "Page") -> None:
    watch_parts(page)
    send(page, name="Doe^Jane 1950-01-01.dcm")
    answered(page)
    assert page.evaluate("window.parts") == [["files", "scan-0"]]


# --- progress and failures


def test_progress_names_each_step_and_cancel_goes_back_and_forgets(page: "Page") -> None:
    def still_reading(route: "Route") -> None:
        if route.request.method == "DELETE":
            route.continue_()
        else:
            route.fulfill(json={"id": "x", "state": "reading", "expires_in_s": 900})

    page.route("**/api/v1/queries/*", still_reading)
    send(page)
    page.wait_for_selector("#steps .now:has-text('Reading')")
    steps = page.locator("#steps li").all_inner_texts()
    assert [step.split(" ")[0] for step in steps] == ["Uploading", "Reading", "Encoding", "Searching"]
    assert steps[0].endswith("done")
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.get_by_role("button", name="Cancel").click()
    assert page.locator("#drop").is_visible()


def test_a_scan_that_cannot_be_used_is_told_with_its_reason_and_the_request_id(page: "Page") -> None:
    send(page, b"this is no scan at all")
    failure = page.locator("#failure")
    failure.wait_for(state="visible")
    assert "This scan cannot be used" in failure.inner_text()
    assert len(failure.locator("code").inner_text()) >= 8
    assert page.locator("#drop").is_visible()
    send(page)
    answered(page)
    assert failure.is_hidden()


def test_a_second_scan_that_cannot_be_used_leaves_the_first_answer(page: "Page") -> None:
    send(page)
    answered(page)
    first = page.locator(".card").first.inner_text()
    for data, told in ((b"no scan", "This scan cannot be used"), (b"", "Nothing was sent")):
        send(page, data, "note.txt") if data else page.set_input_files(
            "#files", {"name": "empty.dcm", "mimeType": "", "buffer": b""}
        )
        page.get_by_text(told).wait_for()
        assert "the answer to the scan before" in page.locator(".notices").all_inner_texts()[-1]
        assert page.locator(".card").first.inner_text() == first
    with page.expect_response(lambda response: "sex=F" in response.url) as rerun:  # it is still held
        page.get_by_text("Filters", exact=True).click()
        page.get_by_label("Sex").select_option("F")
    assert rerun.value.status == 200


def test_cancel_of_a_second_scan_goes_back_to_the_first_answer(page: "Page") -> None:
    send(page)
    answered(page)
    reading = {"id": "x", "state": "reading", "expires_in_s": 900}
    page.route(
        "**/api/v1/queries/*",
        lambda route: route.fulfill(json=reading) if route.request.method == "GET" else route.continue_(),
    )
    send(page)
    with page.expect_request(lambda request: request.method == "DELETE"):
        page.get_by_role("button", name="Cancel").click()
    page.get_by_role("heading", name="most similar recorded cases").wait_for()
    assert page.locator(".card").count() > 1


def test_a_server_that_is_not_heard_any_more_is_told_until_it_is(page: "Page") -> None:
    send(page)
    answered(page)
    page.route("**/watch", lambda route: route.fulfill(status=503, body="{}"))
    page.get_by_text("This page has lost touch with the server.").wait_for(timeout=20_000)
    page.unroute("**/watch")
    until(page, "() => !document.body.innerText.includes('lost touch')")


def test_an_expired_query_is_told_and_what_is_shown_stays(page: "Page") -> None:
    send(page)
    answered(page)
    page.route(
        "**/api/v1/queries/*?*", lambda route: route.fulfill(status=410, json={"title": "Gone", "detail": "over"})
    )
    page.get_by_text("Filters", exact=True).click()
    page.get_by_label("Sex").select_option("F")
    page.wait_for_selector(".expired")
    assert "has been forgotten" in page.locator(".expired").inner_text()
    assert page.locator(".card").count() == 6
    assert page.get_by_label("Sex").is_disabled()


def test_a_query_that_runs_out_is_told_without_asking(page: "Page") -> None:
    def soon(told: dict[str, Any]) -> None:
        told["expires_in_s"] = 1

    change_answers(page, soon)
    send(page)
    page.wait_for_selector(".expired")


# --- the answer


def test_yes_no_and_not_recorded_differ_in_word_and_in_shape(page: "Page") -> None:
    def change(told: dict[str, Any]) -> None:
        died = [one["outcome"]["died"] for one in told["answer"]["neighbours"][:3]]
        died[0].update(state="yes", days=4)
        died[1].update(state="no", days=None)
        died[2].update(state="not_recorded", days=None)
        told["answer"]["neighbours"][1]["observed_days"] = 30

    change_answers(page, change)
    send(page)
    answered(page)
    said = [page.locator(".card").nth(n).locator(".outcome").first for n in range(3)]
    assert [one.inner_text() for one in said] == [
        "Death: Yes, 4 days after the scan",
        "Death: No, observed for 30 days",
        "Death: Not recorded",
    ]
    shapes = [
        one.locator("svg > *").evaluate("shape => shape.tagName + (shape.getAttribute('d') ?? '')") for one in said
    ]
    assert len(set(shapes)) == 3


def test_nearness_is_told_in_words(page: "Page") -> None:
    def change(told: dict[str, Any]) -> None:
        for one, percentile in zip(told["answer"]["neighbours"], (97.6, 100.0, 0.4, None), strict=False):
            one["percentile"] = percentile

    change_answers(page, change)
    send(page)
    answered(page)
    assert page.locator(".nearness").all_inner_texts()[:4] == [
        "Very close: closer than 97 % of the archive’s own best matches",
        "Very close: as close as the archive’s own best matches",
        "Hardly alike: less close than 99 % of the archive’s own best matches",
        "How close that is for this archive was not measured",
    ]


def test_a_share_has_its_interval_its_denominator_and_the_archive_beside_it(page: "Page") -> None:
    def change(told: dict[str, Any]) -> None:
        told["answer"]["outcomes"]["died"].update(asked=10, known=8, events=2, low=0.071, high=0.591, archive={"known": 40, "events": 10})  # fmt: skip
        told["answer"]["outcomes"]["itu_admission"].update(asked=10, known=4, events=None, low=None, high=None)

    change_answers(page, change)
    send(page)
    answered(page)
    boxes = page.locator(".endpoint-box")
    died = boxes.nth(0).inner_text().replace("\xa0", " ")
    assert "2 of 8 known (25 %; 95 % interval 7 to 59 %)" in died
    assert "not recorded of 2" in died
    assert "10 of 40 known (25 %)" in died
    assert boxes.nth(0).locator(".bar .dot").get_attribute("cx") == "74"  # 8 + 0.25 × (280 − 16)
    too_few = boxes.nth(1).inner_text()
    assert "Too few to say anything" in too_few
    assert "Known of 4 of 10; not recorded of 6" in too_few
    assert boxes.nth(1).locator(".bar .dot").count() == 0


def test_warnings_stand_before_the_answer_and_what_was_withheld_is_told(page: "Page") -> None:
    def change(told: dict[str, Any]) -> None:
        told["answer"].update(warnings=[{"code": "unlike-archive", "message": "<b>This scan is unlike the archive.</b>"}], withheld=1)  # fmt: skip

    change_answers(page, change)
    send(page)
    answered(page)
    warnings = page.locator(".warnings")
    assert "reasons" in warnings.inner_text()
    assert "1 case left out for being almost this very picture" in warnings.inner_text()
    assert "<b>This scan is unlike the archive.</b>" in warnings.inner_text()  # as text, not as markup
    above = page.evaluate("document.querySelector('.warnings').getBoundingClientRect().bottom <= document.querySelector('.outcome-panel').getBoundingClientRect().top")  # fmt: skip
    assert above


def test_nothing_on_the_page_speaks_of_risk(page: "Page") -> None:
    send(page)
    answered(page)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert "risk" not in page.locator("body").inner_text().lower()
    assert "most similar recorded cases" in page.locator("body").inner_text()


def test_filters_ask_again_at_once(page: "Page") -> None:
    send(page)
    answered(page)
    page.get_by_text("Filters", exact=True).click()
    with page.expect_response(lambda response: "view=any" in response.url):
        page.locator("select[name=view]").select_option("any")
    until(page, "document.querySelectorAll('.card').length === 10 && !document.querySelector('[aria-busy]')")
    page.get_by_label("Age from").fill("50")
    page.keyboard.press("Tab")
    until(page, "document.querySelectorAll('.card').length === 2")  # of the patients of 40 to 51 years
    assert all("50–59 years" in text for text in page.locator(".card").all_inner_texts())
    page.get_by_role("button", name="Take all filters off").click()
    until(page, "document.querySelectorAll('.card').length === 6")


def test_other_hospitals_only_leaves_the_named_site_out(page: "Page") -> None:
    send(page)
    answered(page)
    page.get_by_role("button", name="Other hospitals only").click()
    own = page.get_by_label("Your hospital is")
    site = own.locator("option").nth(1).inner_text()
    with page.expect_response(lambda response: "other_sites=1" in response.url):
        own.select_option(site)
    until(page, "site => [...document.querySelectorAll('.card')].every(card => !card.innerText.includes(site))", site)  # fmt: skip
    assert 0 < page.locator(".card").count() < 6
    assert f"Left out: {site}" in page.locator(".warnings").inner_text()


def test_without_the_own_hospital_other_filters_work_and_it_is_said_that_its_cases_stay(page: "Page") -> None:
    send(page)
    answered(page)
    page.get_by_role("button", name="Other hospitals only").click()
    page.get_by_text("Filters", exact=True).click()
    with page.expect_response(lambda response: "sex=F" in response.url and "other_sites" not in response.url):
        page.get_by_label("Sex").select_option("F")
    assert "its cases are not left out" in page.locator(".note").inner_text()
    page.get_by_label("Age from").fill("200")
    page.get_by_label("Age from").blur()
    until(page, "() => document.querySelector('.note').innerText.includes('cannot be used')")


def test_a_printed_answer_names_its_filters(page: "Page") -> None:
    send(page)
    answered(page)
    printed = page.locator(".print-only", has_text="Printed")
    assert "Filters: none." in printed.text_content()
    page.get_by_text("Filters", exact=True).click()
    with page.expect_response(lambda response: "sex=F" in response.url):
        page.get_by_label("Sex").select_option("F")
    until(
        page,
        "() => [...document.querySelectorAll('.print-only')].some(one => one.textContent.includes('Filters: Sex: Female.'))",
    )


def test_a_filter_that_leaves_nobody_says_so(page: "Page") -> None:
    def change(told: dict[str, Any]) -> None:
        told["answer"].update(neighbours=[], eligible=0)

    change_answers(page, change)
    send(page)
    page.wait_for_selector(".empty")
    assert "No case is left under these filters" in page.locator(".empty").inner_text()


def test_a_case_can_be_asked_about_in_turn(page: "Page") -> None:
    send(page)
    answered(page)
    with page.expect_request(lambda request: request.method == "POST" and "/cases/" in request.url):
        page.get_by_role("button", name="Search from case 1", exact=True).click()
    page.wait_for_selector("#steps", state="hidden")
    answered(page)
    assert page.locator("#query-title").inner_text() == "The archived case asked about"
    page.locator(".card .picture").first.click()
    assert "Archived case beside case 1" in page.locator("#viewer-title").inner_text()


# --- the viewer


def test_the_viewer_shows_pixels_that_change_with_the_window_and_invert(page: "Page") -> None:
    send(page)
    answered(page)
    open_viewer(page)
    for pane in (0, 1):
        assert len(set(grey_levels(page, pane))) > 10
    before = grey_levels(page)
    box = page.locator(".pane canvas").first.bounding_box()
    assert box is not None
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 60, y + 80, steps=5)
    page.mouse.up()
    levels_when(page, lambda levels: levels != before)
    page.get_by_role("button", name="Reset").click()
    levels_when(page, lambda levels: levels == before)
    page.get_by_role("button", name="Invert").click()
    middle = range(len(before) // 3, 2 * len(before) // 3)
    levels_when(page, lambda inverted: all(abs(255 - before[n] - inverted[n]) <= 3 for n in middle))


def ct(page: "Page", slices: dict[str, int]) -> None:
    """Frames of CTs in place of the server's: in slice n all pixels are 10 n HU. `slices`: of the query and of the cases."""

    def frames(route: "Route") -> None:
        path = route.request.url.split("/api/v1/")[1]
        count = slices[path.split("/")[0]]
        if path.endswith("/frames"):
            presets = [{"name": "lung", "center": -600, "width": 1500}, {"name": "bone", "center": 400, "width": 1800}]
            route.fulfill(json={"count": count, "rows": 32, "columns": 32, "type": "int16", "slope": 1, "intercept": 0, "spacing_mm": [1, 1],
                                "slice_spacing_mm": 5, "window": {"center": 40, "width": 400}, "presets": presets, "inverted": False})  # fmt: skip
        else:
            body = np.full((32, 32), 10 * int(path.rsplit("/", 1)[1]), "<i2").tobytes()
            route.fulfill(body=body, content_type="application/octet-stream")

    page.route(lambda url: "/frames" in url, frames)


def slices_shown(page: "Page") -> list[str]:
    return [text.split(" · ")[0] for text in page.locator(".pane-said").all_inner_texts()]


def test_slices_are_stepped_by_keys_and_the_other_follows_by_relative_position(page: "Page") -> None:
    ct(page, {"queries": 11, "cases": 21})
    send(page)
    answered(page)
    open_viewer(page)
    assert slices_shown(page) == ["Slice 6 of 11", "Slice 11 of 21"]
    page.keyboard.press("ArrowDown")
    until(page, "document.querySelectorAll('.pane-said')[1].innerText.startsWith('Slice 13 of 21')")
    assert slices_shown(page)[0] == "Slice 7 of 11"
    # slice 6 of 0..10 is 60 HU; level 40, width 400 spans −160 to 240: 255 × 220 / 400
    assert abs(grey_levels(page)[len(grey_levels(page)) // 2] - 140) <= 3
    page.keyboard.press("End")
    until(page, "document.querySelectorAll('.pane-said')[1].innerText.startsWith('Slice 21 of 21')")
    page.get_by_label("Both together").uncheck()
    page.locator(".pane-picture").first.focus()
    page.keyboard.press("Home")
    until(page, "document.querySelectorAll('.pane-said')[0].innerText.startsWith('Slice 1 of 11')")
    assert slices_shown(page)[1] == "Slice 21 of 21"


def test_presets_of_a_ct_set_both_windows(page: "Page") -> None:
    ct(page, {"queries": 3, "cases": 3})
    send(page)
    answered(page)
    open_viewer(page)
    page.get_by_role("button", name="Lung").click()
    until(page, "[...document.querySelectorAll('.pane-said')].every(one => one.innerText.includes('level −600, width 1500'))")  # fmt: skip


def test_without_webgl_the_processor_draws(chromium: str, browser: "Browser", site: str) -> None:
    made = browser.browser_type.launch(executable_path=chromium, args=[*SOFTWARE, "--disable-3d-apis"])
    page = made.new_page()
    page.goto(site)
    assert page.evaluate("document.createElement('canvas').getContext('webgl2')") is None
    send(page)
    answered(page)
    open_viewer(page)
    before = grey_levels(page)
    assert len(set(before)) > 10
    page.get_by_role("button", name="Invert").click()
    levels_when(page, lambda levels: levels != before)
    made.close()


def test_pictures_that_cannot_be_had_are_told_in_the_viewer(page: "Page") -> None:
    page.route("**/cases/*/frames", lambda route: route.fulfill(status=410, json={"detail": "This case is gone."}))
    send(page)
    answered(page)
    page.locator(".card .picture").first.click()
    page.wait_for_selector("text=The pictures cannot be shown. This case is gone.")


# --- keyboard, accessibility, size


def test_all_is_reached_by_keyboard_and_nothing_holds_it(page: "Page") -> None:
    send(page)
    answered(page)
    assert page.evaluate("document.activeElement.id") == "result-title"
    seen = []
    for _ in range(60):
        page.keyboard.press("Tab")
        seen.append(
            page.evaluate("document.activeElement.getAttribute('aria-label') ?? document.activeElement.innerText")
        )
    for wanted in ("Print or save as PDF", "New scan", "Look at your scan", "Other hospitals only", "Filters", "Time to death", "Compare case 1 with your scan", "Search from case 6"):  # fmt: skip
        assert any(wanted in text for text in seen), wanted
    page.locator("[aria-label='Compare case 2 with your scan']").focus()
    page.keyboard.press("Enter")
    page.wait_for_selector("dialog[data-ready]")
    assert "pane-picture" in page.evaluate("document.activeElement.className")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.type") == "range"  # Tab is not held by the picture
    page.locator(".pane-picture").first.focus()
    page.keyboard.press("Escape")
    page.wait_for_selector("dialog", state="detached")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Compare case 2 with your scan"


def test_focus_is_seen(page: "Page") -> None:
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    style = page.evaluate(
        "(s => [s.outlineStyle, parseFloat(s.outlineWidth)])(getComputedStyle(document.activeElement))"
    )
    assert style[0] == "solid"
    assert style[1] >= 2


@SIZES
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(page: "Page") -> None:
    def narrow() -> bool:
        fits: bool = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        return fits

    assert violations(page) == []
    assert narrow()
    send(page)
    answered(page)
    page.evaluate("document.querySelectorAll('details').forEach(one => { one.open = true })")
    assert violations(page) == []
    assert narrow()
    open_viewer(page)
    assert violations(page) == []


@SIZES
@pytest.mark.parametrize("path", ["intended-use", "signed-out", "api/v1/docs", "no-such-page"])
def test_axe_finds_nothing_on_the_other_pages(page: "Page", site: str, path: str) -> None:
    page.goto(site + path)
    assert violations(page) == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


@SIZES
def test_axe_finds_nothing_where_a_scan_cannot_be_used(page: "Page") -> None:
    send(page, b"this is no scan at all")
    page.locator("#failure").wait_for(state="visible")
    assert violations(page) == []


def test_the_pdf_has_its_pictures_on_a_few_pages(page: "Page") -> None:
    send(page)
    answered(page)
    pdf = page.pdf(format="A4")
    assert pdf.startswith(b"%PDF")
    assert pdf.count(b"/Subtype /Image") >= 7  # the scan and six cases
    assert 1 <= len(re.findall(rb"/Type /Page\b", pdf)) <= 3


def test_what_is_no_chest_film_is_told_first(page: "Page") -> None:
    noise = np.random.default_rng(1).integers(0, 255, (400, 300), np.uint8)
    send(page, png_bytes(noise), "hand.png")
    answered(page)
    first = page.locator(".warnings.grave li").first
    assert first.inner_text().startswith("This does not look like a frontal chest film.")
    said = page.locator(".warnings li").all_inner_texts()
    assert len(said) == len(set(said))
    assert sum("frontal chest film" in one for one in said) == 1


def test_a_film_of_another_part_of_the_body_is_told_among_the_first(page: "Page") -> None:
    send(page, film(BodyPartExamined="HAND"))
    answered(page)
    assert page.locator(".warnings.grave").count() == 1
    assert any("not the chest" in one for one in page.locator(".warnings strong").all_inner_texts())


def test_print_leaves_out_what_only_a_screen_needs(page: "Page") -> None:
    send(page)
    answered(page)
    page.emulate_media(media="print")
    assert page.locator(".filters").is_hidden()
    assert page.locator(".result-actions").is_hidden()
    assert "Research use only" in page.locator(".print-only").inner_text()
    assert page.locator(".card").count() == 6
    until(page, "Array.from(document.querySelectorAll('.card img')).every(one => one.complete && one.naturalWidth > 0)")
