"""A page whose requests and messages are recorded."""

from __future__ import annotations

from typing import Any

from vocseg.data.samples import FOLDER

PHOTOS = FOLDER / "JPEGImages"


class Watched:
    """A page with what it asked for and reported. ``expected``: parts of messages that a test provokes."""

    def __init__(self, page: Any, server: str) -> None:
        self.page, self.server = page, server
        self.asked: list[str] = []
        self.reported: list[str] = []
        self.expected: tuple[str, ...] = ()
        self.in_flight = self.most_in_flight = 0
        page.on("request", self._on_request)
        page.on("requestfinished", self._on_end)
        page.on("requestfailed", self._on_end)
        page.on("console", lambda message: self.reported.append(message.text))
        page.on("pageerror", lambda error: self.reported.append(str(error)))

    def _on_request(self, request: Any) -> None:
        self.asked.append(request.url)
        if "/v1/predict" in request.url:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def _on_end(self, request: Any) -> None:
        self.in_flight -= "/v1/predict" in request.url

    def check(self) -> None:
        elsewhere = [url for url in self.asked if not url.startswith((self.server, f"blob:{self.server}"))]
        assert not elsewhere
        assert not [text for text in self.reported if not any(part in text for part in self.expected)]
        assert self.most_in_flight <= 1
