"""Pages."""

from __future__ import annotations

from html.parser import HTMLParser

from vocseg.utils.html import page


class Elements(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_a_page_allows_its_own_images_and_styles_only() -> None:
    [policy] = [
        attributes["content"] or ""
        for tag, attributes in Elements(page("a", "<p>b</p>")).found
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    rules = {name: values for name, *values in (rule.split() for rule in policy.split(";"))}
    assert rules["default-src"] == ["'none'"]
    assert not {"script-src", "connect-src", "frame-src"} & set(rules)  # the default, none, holds for them
    assert rules["img-src"] == ["data:"]


def test_names_in_a_page_are_text() -> None:
    text = page("<script>alert(1)</script>\x1b[2J\udcff", "<p></p>")
    assert not [tag for tag, _ in Elements(text).found if tag == "script"]
    assert "\x1b" not in text
    text.encode("utf-8")
