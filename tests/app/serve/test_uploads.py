"""Hostile uploads get one line of JSON, and the server lives; unusual ones get their mask."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import vocseg
from app.serve.hostile import FORM, JPEG, PIXELS, PNG, cases, encoded, field, form, refusal

MAX_BYTES = 300_000
HOSTILE = dict(cases())
"""More than 80."""


@pytest.fixture(scope="module")
def server(segmenter: vocseg.Segmenter, running: Callable[..., Any]) -> Any:
    return running(segmenter, max_bytes=MAX_BYTES, queue=4)


def test_there_are_many() -> None:
    assert len(HOSTILE) >= 80


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_uploads(server: Any, name: str) -> None:
    headers, body, status = HOSTILE[name]
    found, content = server.post(headers, body)
    refusal(found, content)
    assert found == status, content
    assert server.post({"Content-Type": "image/png"}, PNG)[0] == 200
    assert (server.service.taken, server.service.buffered) == (0, 0)


@pytest.mark.parametrize("body", [JPEG, form((field(), JPEG))], ids=["raw", "form"])
def test_chunks_over_the_limit(server: Any, body: bytes) -> None:
    kind = FORM if body.startswith(b"--") else "image/jpeg"
    parts = iter([body[:-20], *[bytes(10_000)] * 40])
    status, content = server.post({"Content-Type": kind}, parts)
    assert (status, refusal(status, content)) == (413, "the request has more than 300,000 bytes; send a smaller file")
    assert server.service.buffered == 0


def test_too_many_bytes_are_not_read(segmenter: vocseg.Segmenter, server: Any) -> None:
    with server.connect() as client:
        client.sendall(
            b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/png\r\nContent-Length: 99999999\r\n\r\n"
        )
        assert b" 413 " in client.recv(100)


def test_pixels_are_counted_before_they_are_decoded(
    open_client: Callable[..., TestClient], monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_client(max_pixels=2000)
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    answer = client.post("/v1/predict", content=PNG)
    assert answer.json() == {
        "error": "cannot read image upload: it has 60 x 40 pixels, and this server takes 0.002 million, at most "
        "16,384 a side; send a smaller copy"
    }


def _saved(image: Image.Image, kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    image.save(content, kind, **options)
    return content.getvalue()


IMAGE = Image.fromarray(PIXELS)
TURNED = Image.Exif()
TURNED[0x0112] = 6
UNUSUAL: dict[str, bytes] = {
    "CMYK": _saved(IMAGE.convert("CMYK"), "JPEG"), "gray": _saved(IMAGE.convert("L"), "PNG"),
    "16 bits": _saved(Image.fromarray(PIXELS[..., 0].astype(np.uint16) * 257), "PNG"),
    "palette with transparency": _saved(IMAGE.quantize(16), "PNG", transparency=0), "turned": _saved(IMAGE, "JPEG", exif=TURNED),
    "animation": encoded("GIF", save_all=True, append_images=[IMAGE.rotate(180)]),
    "progressive": encoded("JPEG", progressive=True),
    "JPEG with bytes after it": JPEG + b"<?php",
}  # fmt: skip


@pytest.mark.parametrize("name", UNUSUAL)
def test_unusual_images_get_their_mask(client: TestClient, segmenter: vocseg.Segmenter, name: str) -> None:
    answer = client.post("/v1/predict", content=UNUSUAL[name], headers={"Content-Type": "image/jpeg"})
    mask = np.array(Image.open(io.BytesIO(answer.content)))
    assert np.array_equal(mask, segmenter(UNUSUAL[name]).mask.numpy())
    assert mask.shape == ((60, 40) if name == "turned" else (40, 60))


@pytest.mark.parametrize("filename", ["naïve 猫.jpg", "../../etc/passwd", "C:\\con", "a\x00b", "x" * 2000, "", "%s%n", "a.php"])
def test_names_of_files_do_not_matter(server: Any, filename: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "vocseg.serve"):
        status, _ = server.post({"Content-Type": FORM}, form((field(filename=filename), JPEG)))
    assert status == 200
    assert not filename or all(filename not in str(vars(record)) for record in caplog.records)


@pytest.mark.parametrize("size", [1, 7, 100])
def test_a_form_in_small_pieces(server: Any, segmenter: vocseg.Segmenter, size: int) -> None:
    body = form((field(), JPEG))
    status, content = server.post({"Content-Type": FORM}, iter([body[at : at + size] for at in range(0, len(body), size)]))
    assert (status, np.array_equal(np.array(Image.open(io.BytesIO(content))), segmenter(JPEG).mask.numpy())) == (200, True)


def test_all_uploads_together_have_a_limit(open_client: Callable[..., TestClient]) -> None:
    client = open_client(max_bytes=1000)
    client.app.state.service.buffered = 7900  # type: ignore[attr-defined]
    answer = client.post("/v1/predict", content=bytes(500))
    assert (answer.status_code, "too many uploads" in answer.json()["error"]) == (503, True)
    assert client.app.state.service.buffered == 7900  # type: ignore[attr-defined]


def test_nothing_is_left_on_the_disk(client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert client.post("/v1/predict?format=coco", content=JPEG).status_code == 200
    assert list(tmp_path.iterdir()) == []
