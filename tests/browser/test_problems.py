"""What the page says when something is wrong, and how it goes on."""

from __future__ import annotations

import json
from typing import Any

import pytest

from browser import steps
from browser.watched import PHOTOS, Watched

pytestmark = pytest.mark.browser
CAT = PHOTOS / "chelsea.jpg"
PREDICT = "**/v1/predict*"


def refuse_once(page: Any, status: int, error: str, headers: dict[str, str] | None = None) -> None:
    """Have the next image answered by an error, as the server would."""
    answer = {"status": status, "content_type": "application/json", "body": json.dumps({"error": error}), "headers": headers or {}}
    page.route(PREDICT, lambda route: route.fulfill(**answer), times=1)


def test_a_text_file_is_not_sent(watched: Watched) -> None:
    steps.bring(watched.page, b"hello", "notes.txt", "text/plain")
    assert steps.problem(watched.page) == ("notes.txt is not an image (text/plain); JPEG, PNG, WebP, GIF, BMP and TIFF are read.")
    assert not [url for url in watched.asked if "predict" in url]
    steps.bring(watched.page, CAT)
    steps.wait_for_mask(watched.page)
    assert watched.page.is_hidden("#problem")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "photo.jpg is empty."),
        (b"no image at all", "Cannot segment photo.jpg: it is not an image"),
        (CAT.read_bytes()[:9000], "Cannot segment photo.jpg: "),
    ],
)
def test_files_that_cannot_be_read(watched: Watched, content: bytes, said: str) -> None:
    watched.expected = ("415", "422")
    steps.bring(watched.page, content, "photo.jpg")
    assert steps.problem(watched.page).startswith(said)
    assert watched.page.is_hidden("#result")
    assert watched.page.is_hidden("#progress")


def test_a_drop_that_is_no_file(page: Any) -> None:
    page.evaluate("document.body.dispatchEvent(new DragEvent('drop', { dataTransfer: new DataTransfer(), bubbles: true }))")
    assert steps.problem(page) == "What was dropped is not a file. Save the image first, or copy and paste it."


def test_a_busy_server_is_asked_again(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("429",)
    refuse_once(page, 429, "the queue is full", {"Retry-After": "1"})
    steps.bring(page, CAT)
    page.locator("#status", has_text="The server is busy; trying again in 1 s").wait_for()
    steps.wait_for_mask(page)
    assert page.inner_text("#status").startswith("chelsea.jpg: cat ")


def test_a_server_that_does_not_answer(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("ERR_FAILED",)
    page.route(PREDICT, lambda route: route.abort(), times=1)
    steps.bring(page, CAT)
    assert steps.problem(page) == "The server does not answer. It may have been stopped."
    page.click("#again")
    steps.wait_for_mask(page)
    assert page.is_hidden("#problem")


def test_a_sample_is_asked_for_again(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("ERR_FAILED",)
    steps.bring(page, PHOTOS / "astronaut.jpg")
    steps.wait_for_mask(page)
    page.route("**/samples/*", lambda route: route.abort(), times=1)
    page.click("[data-name='chelsea.jpg']")
    steps.problem(page)
    page.click("#again")
    page.locator("#status", has_text="chelsea.jpg: cat").wait_for()


def test_offline(watched: Watched) -> None:
    watched.expected = ("ERR_INTERNET_DISCONNECTED",)
    watched.page.context.set_offline(True)
    steps.bring(watched.page, CAT)
    assert steps.problem(watched.page) == "The server does not answer. This computer is offline."


def test_too_large_for_the_server(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("413",)
    refuse_once(page, 413, "upload has 9000x9000 pixels, more than 25 megapixels; send a smaller image")
    steps.bring(page, CAT)
    assert steps.problem(page).startswith("Cannot segment chelsea.jpg: it has 9000x9000 pixels, more than 25 megapixels")
    page.click("#smaller")
    steps.wait_for_mask(page)
    assert page.inner_text("#status").startswith("chelsea-small.jpg: cat ")


def test_too_many_bytes_are_not_sent(watched: Watched) -> None:
    limits = {"max_bytes": 20_000, "max_pixels": 25_000_000}
    model = {"name": "net", "classes": [{"id": 0, "name": "cat", "color": "#000000"}], "limits": limits}
    watched.page.route("**/v1/model", lambda route: route.fulfill(json=model))
    watched.page.reload()
    watched.page.locator("#model", has_text="net").wait_for()
    assert watched.page.inner_text("#known").startswith("It knows 1 class. ")
    assert watched.page.locator(".bundled:visible").count() == 0
    steps.bring(watched.page, CAT)
    assert steps.problem(watched.page) == "chelsea.jpg has 0.03 MB; the server takes at most 0.02 MB."
    assert not [url for url in watched.asked if "predict" in url]


def test_the_token_is_wanted_only_when_the_server_wants_it(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("401",)
    assert page.is_hidden("#token")

    def check(route: Any) -> None:
        if route.request.headers.get("authorization") == "Bearer secret":
            route.continue_()
        else:
            route.fulfill(status=401, json={"error": "this server wants its token"})

    page.route("**/v1/*", check)
    page.reload()
    page.fill("#token-value", "wrong")
    page.keyboard.press("Enter")
    page.locator(".wrong", has_text="does not accept").wait_for()
    page.fill("#token-value", "secret")
    page.click("#token >> text=Use token")
    page.locator("#model", has_text="vocseg-s").wait_for()
    steps.bring(page, CAT)
    steps.wait_for_mask(page)
    assert steps.download(page, "mask")[0] == "chelsea.png"
    page.reload()
    page.locator("#model", has_text="vocseg-s").wait_for()
    assert page.is_hidden("#token")


def test_without_a_token_the_page_says_so(watched: Watched) -> None:
    page = watched.page
    watched.expected = ("401",)
    page.route("**/v1/*", lambda route: route.fulfill(status=401, json={"error": "this server wants its token"}))
    page.reload()
    page.click("#token-cancel")
    assert steps.problem(page) == "This server needs a token."
    page.unroute("**/v1/*")
    page.click("#again")
    page.locator("#model", has_text="vocseg-s").wait_for()
    assert page.is_hidden("#problem")
