"""What a person does on the page."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

from PIL import Image

DROP = """([text, name, type, how]) => {
  const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type }));
  const event = how === "paste" ? new ClipboardEvent("paste", { clipboardData: data, bubbles: true })
    : new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
  document.querySelector("#stage").dispatchEvent(event);
}"""
PIXEL = """([id, x, y]) => {
  const canvas = document.getElementById(id);
  const copy = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  copy.drawImage(canvas, -Math.floor(x * canvas.width), -Math.floor(y * canvas.height));
  return [...copy.getImageData(0, 0, 1, 1).data];
}"""


def bring(page: Any, content: bytes | Path, name: str = "", kind: str = "image/jpeg", how: str = "drop") -> None:
    """Drop or paste a file."""
    if isinstance(content, Path):
        name, content = content.name, content.read_bytes()
    page.evaluate(DROP, [base64.b64encode(content).decode(), name, kind, how])


def wait_for_mask(page: Any) -> None:
    page.wait_for_selector("#result:not([hidden])")


def problem(page: Any) -> str:
    """Wait for a message about a problem, and return it."""
    page.wait_for_selector("#problem:not([hidden])")
    return str(page.inner_text("#problem p"))


def pixel(page: Any, canvas: str, x: float, y: float) -> list[int]:
    """Return a pixel of a canvas, red, green, blue and alpha; ``x`` and ``y``: shares of width and height."""
    return list(page.evaluate(PIXEL, [canvas, x, y]))


def size(page: Any, canvas: str) -> tuple[int, int]:
    """Return width and height of a canvas."""
    width, height = page.evaluate("(id) => [document.getElementById(id).width, document.getElementById(id).height]", canvas)
    return width, height


def point_at(page: Any, x: float, y: float) -> str:
    """Point at a place of the image, and return what the page says of it."""
    page.locator("#view").scroll_into_view_if_needed()
    box = page.locator("#view").bounding_box()
    page.mouse.move(box["x"] + x * box["width"], box["y"] + y * box["height"])
    return str(page.inner_text("#tip"))


def download(page: Any, kind: str) -> tuple[str, bytes]:
    """Download a file, and return its name and content."""
    with page.expect_download() as waiting:
        page.click(f"#downloads [data-format={kind}]")
    return waiting.value.suggested_filename, Path(waiting.value.path()).read_bytes()


def opened(content: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(content))
    image.load()
    return image


def loaded(content: bytes) -> Any:
    return json.loads(content)
