"""Downloads into memory: whole, or a reason within the deadline."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest
from PIL import Image

import vocseg
from hostile_server import HostileServer
from vocseg.download.content import download_bytes
from vocseg.errors import DataError


def jpeg() -> bytes:
    content = io.BytesIO()
    Image.new("RGB", (24, 20), "red").save(content, "JPEG")
    return content.getvalue()


def test_what_is_served_is_returned() -> None:
    with HostileServer({"/a.jpg": b"x" * 5000}) as server:
        assert download_bytes(f"{server.url}/a.jpg") == b"x" * 5000
        with pytest.raises(DataError, match=r"cannot read http://.*/a\.jpg: it has more than 0 MB"):
            download_bytes(f"{server.url}/a.jpg", limit=4999)
        with pytest.raises(DataError, match=r"cannot read http://.*/none\.jpg: the server answers 404"):
            download_bytes(f"{server.url}/none.jpg")
    with pytest.raises(DataError, match=r"cannot read http://127\.0\.0\.1:9/a\.jpg: Connection refused"):
        download_bytes("http://127.0.0.1:9/a.jpg")


def test_addresses_are_a_source(tmp_path: Path) -> None:
    segment = vocseg.Segmenter("two_layer_net", device="cpu")
    with HostileServer({"/deep/a.jpg": jpeg(), "/bad.jpg": b"text"}) as server:
        good, bad = f"{server.url}/deep/a.jpg", f"{server.url}/bad.jpg"
        result = vocseg.predict([bad, good, f"{server.url}/none.jpg"], tmp_path, model=segment, overlay=False)
        assert [(row.image, row.mask.name) for row in result.images] == [(good, "a.png")]
        assert f"image {bad}" in str(result.errors[bad])
        assert len(result.errors) == 2
        assert segment(good).source == good
        assert next(segment.stream(good)).areas() == segment(jpeg()).areas()


def test_a_server_that_never_ends_is_given_up() -> None:
    def drip(handler: object, body: bytes) -> None:
        handler.send_response(200)  # type: ignore[attr-defined]
        handler.end_headers()  # type: ignore[attr-defined]
        for _ in range(200):
            handler.wfile.write(b"x" * 100)  # type: ignore[attr-defined]
            time.sleep(0.02)

    with HostileServer({"/a.jpg": b"x"}) as server:
        server.always = drip
        start = time.monotonic()
        with pytest.raises(DataError, match=r"a\.jpg: (it took longer|slower)"):
            download_bytes(f"{server.url}/a.jpg", deadline=0.3)
        assert time.monotonic() - start < 60
