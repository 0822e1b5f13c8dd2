"""Uploads that a server must refuse, by name: headers, body, the status they deserve. Made here, so none is in the repository."""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

Case = tuple[dict[str, str], bytes, int]
FORM = "multipart/form-data; boundary=B"
PIXELS = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"><script>alert(1)</script></svg>'
PS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(id) (w) file\nshowpage\n"


def refusal(status: int, content: bytes) -> str:
    """The message of a refusal, which is one line of JSON."""
    assert 400 <= status < 500, content
    assert content.count(b"\n") == 0
    values = json.loads(content)
    assert list(values) == ["error"]
    assert 5 < len(values["error"]) < 300
    assert not any(part in values["error"] for part in (" 0x", "Traceback", "/tmp", "object at"))
    return str(values["error"])


def encoded(kind: str, **options: Any) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, kind, **options)
    return content.getvalue()


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, data: bytes, *more: bytes, bits: int = 8, kind: int = 2) -> bytes:
    """A PNG file with any head, and chunks of any data."""
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(more) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def form(*parts: tuple[bytes, bytes], end: bytes = b"--B--\r\n") -> bytes:
    """A multipart body of parts (head, content)."""
    return b"".join(b"--B\r\n" + head + b"\r\n\r\n" + content + b"\r\n" for head, content in parts) + end


def field(name: str = "image", filename: str | None = "a.jpg", more: str = "") -> bytes:
    file = "" if filename is None else f'; filename="{filename}"'
    return f'Content-Disposition: form-data; name="{name}"{file}{more}'.encode()


JPEG, PNG = encoded("JPEG"), encoded("PNG")
FORMATS = {kind: encoded(kind) for kind in ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF")}


def cases() -> Iterator[tuple[str, Case]]:
    """Yield all."""
    for kind, content in FORMATS.items():
        media = {"Content-Type": f"image/{kind.lower()}"}
        for share in (0.1, 0.5, 0.8):
            yield f"{kind} cut off at {share:g}", (media, content[: int(len(content) * share)], 422)
        yield f"{kind} with noise in it", (media, content[:30] + bytes(PIXELS.reshape(-1)[:400]), 422)
        yield f"{kind}'s first 16 bytes", (media, content[:16], 422)
    yield from raw_bodies()
    yield from images_of_other_kinds()
    yield from bombs()
    yield from forms()


def raw_bodies() -> Iterator[tuple[str, Case]]:
    image = {"Content-Type": "image/jpeg"}
    yield "no bytes", (image, b"", 422)
    yield "no bytes and no type", ({}, b"", 422)
    yield "one byte", (image, b"\xff", 415)
    yield "zeros", (image, bytes(1000), 415)
    yield "noise", (image, PIXELS.tobytes(), 415)
    yield "text", (image, b"hello", 415)
    yield "line ends", (image, b"\r\n" * 500, 415)
    for kind in ("text/html", "application/json", "application/x-www-form-urlencoded", "video/mp4", "multipart/mixed; boundary=B",
                 "nonsense", "IMAGE", "application/pdf", "x" * 3000):  # fmt: skip
        yield f"type {kind[:30]}", ({"Content-Type": kind}, JPEG, 415)
    for coding in ("gzip", "deflate", "br", "identity, gzip"):
        yield f"coding {coding}", (image | {"Content-Encoding": coding}, zlib.compress(bytes(1 << 20)), 415)
    yield "too many bytes", (image, JPEG + bytes(300_000), 413)


def images_of_other_kinds() -> Iterator[tuple[str, Case]]:
    rest = bytes(60)
    others = {
        "SVG": SVG, "PostScript": PS, "PDF": b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj\n", "HTML": b"<!doctype html><img src=x>",
        "zip": b"PK\x03\x04" + rest, "gzip": b"\x1f\x8b\x08" + rest, "ELF": b"\x7fELF" + rest, "icon": b"\0\0\1\0\1\0" + rest,
        "PPM": b"P6 1 1 255\n\0\0\0", "TGA": b"\0\0\2" + rest, "PSD": b"8BPS\0\1" + rest, "MP4": b"\0\0\0\x18ftypmp42" + rest,
        "JPEG 2000": b"\0\0\0\x0cjP  \r\n\x87\n", "pickle": b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94",
    }  # fmt: skip
    for name, content in others.items():
        yield name, ({"Content-Type": "image/png"}, content, 415)
    yield "JPEG after PostScript", ({"Content-Type": "image/jpeg"}, PS + JPEG, 415)
    yield "SVG called PNG in its first bytes", ({"Content-Type": "image/png"}, b"\x89PNG\r\n\x1a\n" + SVG, 422)
    yield "floats", ({"Content-Type": "image/tiff"}, _floats(), 422)


def _floats() -> bytes:
    content = io.BytesIO()
    Image.fromarray(np.zeros((9, 9), dtype=np.float32)).save(content, "TIFF")
    return content.getvalue()


def bombs() -> Iterator[tuple[str, Case]]:
    kind = {"Content-Type": "image/png"}
    deflated = zlib.compress(bytes(1 << 20))
    yield "PNG of 40,000 x 40,000 pixels", (kind, png(40_000, 40_000, deflated), 413)
    yield "PNG of 2^31 - 1 pixels a side", (kind, png(2**31 - 1, 2**31 - 1, deflated), 413)
    yield "PNG of one row of 16,385 pixels", (kind, png(16_385, 1, zlib.compress(bytes(1 + 3 * 16_385))), 413)
    yield "PNG of one column of 65,535 pixels", (kind, png(1, 65_535, zlib.compress(bytes(4 * 65_535))), 413)
    yield "PNG of no width", (kind, png(0, 9, deflated), 422)
    yield "PNG of more pixels than bytes", (kind, png(500, 500, b""), 422)
    yield "PNG with a text of 64 MB", (kind, png(9, 9, deflated, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(64 << 20)))), 422)
    yield "PNG with a wrong checksum", (kind, PNG[:40] + b"\xff\xff" + PNG[42:], 422)
    yield "PNG of an unknown color type", (kind, png(9, 9, deflated, kind=5), 422)
    yield (
        "GIF of 65,535 x 65,535 pixels",
        ({"Content-Type": "image/gif"}, FORMATS["GIF"][:6] + b"\xff" * 4 + FORMATS["GIF"][10:], 413),
    )
    bmp = bytearray(FORMATS["BMP"])
    bmp[18:26] = struct.pack("<ii", 100_000, 100_000)
    yield "BMP of 100,000 x 100,000 pixels", ({"Content-Type": "image/bmp"}, bytes(bmp), 413)
    jpeg = bytearray(JPEG)
    place = jpeg.index(b"\xff\xc0") + 5
    jpeg[place : place + 4] = b"\xff\xff\xff\xff"
    yield "JPEG of 65,535 x 65,535 pixels", ({"Content-Type": "image/jpeg"}, bytes(jpeg), 413)


def forms() -> Iterator[tuple[str, Case]]:
    media, good = {"Content-Type": FORM}, form((field(), JPEG))
    yield "form without a boundary", ({"Content-Type": "multipart/form-data"}, good, 400)
    yield "form with an empty boundary", ({"Content-Type": "multipart/form-data; boundary="}, good, 400)
    yield "form with another boundary", ({"Content-Type": "multipart/form-data; boundary=C"}, good, 400)
    yield "form with a boundary of 3,000 letters", ({"Content-Type": f"multipart/form-data; boundary={'B' * 3000}"}, good, 400)
    yield "form without bytes", (media, b"", 400)
    yield "form without parts", (media, b"--B--\r\n", 422)
    yield "form without an end", (media, form((field(), JPEG), end=b""), 400)
    yield "form that is an image", (media, JPEG, 400)
    yield "form cut off in a head", (media, b"--B\r\nContent-Dispo", 400)
    yield "form cut off in an image", (media, good[:600], 400)
    yield "form with two images", (media, form((field(), JPEG), (field(), JPEG)), 422)
    yield "form with a text field", (media, form((field("note", None), b"hello"), (field(), JPEG)), 422)
    yield "form whose image is text", (media, form((field(filename=None), b"hello")), 415)
    yield "form whose image has no bytes", (media, form((field(), b"")), 422)
    yield "form with another field", (media, form((field("file"), JPEG)), 422)
    yield "form with a field of 3,000 letters", (media, form((field("f" * 3000), JPEG)), 422)
    yield "form with a field of control characters", (media, form((field("a\x1b[2J\x07"), JPEG)), 422)
    yield "form with a part without a head", (media, b"--B\r\n\r\n" + JPEG + b"\r\n--B--\r\n", 422)
    yield "form with a head that is none", (media, form((b"no head at all", JPEG)), 400)
    yield "form with a head of 20,000 bytes", (media, form((field(more=f"; x={'y' * 20_000}"), JPEG)), 400)
    yield "form with 500 heads", (media, form((field() + b"\r\nX: y" * 500, JPEG)), 400)
    yield "form with 2,000 fields", (media, form(*[(field(f"f{number}", None), b"") for number in range(2000)]), 422)
    yield "form with a path that leads out", (media, form((field(filename="../../etc/passwd"), b"root")), 415)
    yield "form with too many bytes", (media, form((field(), bytes(400_000))), 413)
    yield "form with a bomb", (media, form((field(), png(40_000, 40_000, b""))), 413)
