"""The page without a mouse, on small screens, in the dark, and with a camera."""

from __future__ import annotations

from typing import Any

import pytest

from browser import steps
from browser.watched import PHOTOS, Watched

pytestmark = pytest.mark.browser
CAT = PHOTOS / "chelsea.jpg"


def press_until(page: Any, script: str, key: str = "Tab", most: int = 40) -> None:
    for _ in range(most):
        page.keyboard.press(key)
        if page.evaluate(script):
            return
    raise AssertionError(f"no {key} leads to {script}")


def assert_accessible(page: Any) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_a_sample_with_the_keyboard_alone(page: Any) -> None:
    press_until(page, "document.activeElement.dataset.name === 'chelsea.jpg'")
    page.keyboard.press("Enter")
    steps.wait_for_mask(page)
    assert page.inner_text("#status").startswith("chelsea.jpg: cat ")
    press_until(page, "document.activeElement.type === 'checkbox'")
    page.keyboard.press("Space")
    assert steps.pixel(page, "overlay", 0.5, 0.5)[3] == 0
    press_until(page, "document.activeElement.id === 'opacity'")
    page.keyboard.press("ArrowLeft")
    assert page.inner_text("#opacity-value") == "55 %"
    press_until(page, "document.activeElement.dataset.format === 'mask'")
    with page.expect_download() as waiting:
        page.keyboard.press("Enter")
    assert waiting.value.suggested_filename == "chelsea.png"


def test_arrow_keys_name_classes_to_a_screen_reader(page: Any) -> None:
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    press_until(page, "document.activeElement.id === 'view'")
    page.keyboard.press("ArrowRight")
    assert page.text_content("#spoken") == page.inner_text("#tip") == "cat"
    for _ in range(10):
        page.keyboard.press("Shift+ArrowUp")
        page.keyboard.press("Shift+ArrowRight")
    assert page.text_content("#spoken") == "background"
    assert "cat" in page.get_attribute("#view", "aria-label")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [375, 800, 1400])
def test_axe_finds_nothing_at_any_width(page: Any, scheme: str, width: int) -> None:
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    assert_accessible(page)
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    page.check("#compare")
    assert_accessible(page)
    assert page.evaluate("document.documentElement.scrollWidth") == width
    steps.bring(page, b"hello", "notes.txt", "text/plain")
    steps.problem(page)
    assert_accessible(page)


def test_nothing_moves_for_those_who_want_that(page: Any) -> None:
    page.emulate_media(reduced_motion="reduce")
    assert page.evaluate("getComputedStyle(document.querySelector('#progress'), '::after').animationName") == "none"


def test_the_camera_takes_a_picture(page: Any) -> None:
    page.click("#camera")
    page.locator("#video").wait_for()
    assert page.evaluate("document.activeElement.id") == "shoot"
    page.click("#shoot")
    steps.wait_for_mask(page)
    assert page.inner_text("#status").startswith("camera-")
    assert page.is_hidden("#shooting")
    assert page.evaluate("document.querySelector('#video').srcObject") is None
    assert steps.size(page, "overlay")[0] > 1
    assert steps.opened(steps.download(page, "mask")[1]).size == steps.size(page, "overlay")


def test_live_masks_have_one_request_in_flight(watched: Watched) -> None:
    page = watched.page
    page.click("#camera")
    page.locator("#video").wait_for()
    assert not [url for url in watched.asked if "predict" in url]
    page.click("#live")
    page.locator("#rate", has_text="masks a second").wait_for()
    for _ in range(3):
        with page.expect_response("**/v1/predict*"):
            pass
    assert page.is_visible("#classes")
    page.click("#stop")
    page.locator("#camera").wait_for()
    count = len(watched.asked)
    page.wait_for_timeout(300)
    assert len(watched.asked) == count
    assert steps.opened(steps.download(page, "mask")[1]).size == steps.size(page, "overlay")
    assert max(steps.size(page, "photo")) == 640


def test_live_masks_end_when_a_sample_is_chosen(page: Any) -> None:
    page.click("#camera")
    page.click("#live")
    page.locator("#rate", has_text="masks a second").wait_for()
    page.click("[data-name='chelsea.jpg']")
    page.locator("#status", has_text="chelsea.jpg: cat ").wait_for()
    assert page.is_hidden("#shooting")
    assert page.inner_text("#rate") == ""


def test_the_other_camera(page: Any) -> None:
    shown = "document.querySelector('#video').srcObject?.id"
    page.click("#camera")
    page.locator("#turn").wait_for()
    first = page.evaluate(shown)
    page.click("#turn")
    while page.evaluate(shown) in (None, first):
        page.wait_for_timeout(20)
    page.click("#shoot")
    steps.wait_for_mask(page)


def test_the_other_camera_fails(page: Any) -> None:
    page.click("#camera")
    page.locator("#turn").wait_for()
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotReadableError')); }")
    page.click("#turn")
    assert steps.problem(page) == "The camera is used by another program."
    assert page.is_visible("#camera")
    assert page.is_visible("#empty")


def test_without_a_camera_the_page_says_so(page: Any) -> None:
    page.evaluate("() => { navigator.mediaDevices.getUserMedia = () => Promise.reject(new DOMException('', 'NotFoundError')); }")
    page.click("#camera")
    assert steps.problem(page) == "There is no camera."
    assert page.is_visible("#camera")
