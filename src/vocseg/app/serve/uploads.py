"""Read the images of a request: raw or multipart, counted while they arrive, within a time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from python_multipart import MultipartParser
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import parse_options_header
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request

from vocseg.app.serve.service import CLIENT_GONE, Service, Upload
from vocseg.utils.text import counted

FIELD = "image"
RAW_TYPES = ("", "application/octet-stream")
LONGEST_HEAD = 4096
"""Bytes of a header of a part."""
CLOSE = {"Connection": "close"}


async def read_uploads(request: Request, service: Service, most: int) -> list[Upload]:
    """Return the images of a request, 1 to ``most``. Raises 400, 408, 411, 413, 415, 422 or 503 (HTTPException)."""
    kind, options = _content_type(request)
    async with _arriving(request, service) as chunks:
        if kind == "multipart/form-data":
            contents = await _parts(chunks, options.get(b"boundary", b""), most)
        else:
            contents = [b"".join([chunk async for chunk in chunks])]
    if len(contents) == 1:
        return [Upload(contents[0])]
    return [Upload(content, f"{FIELD} {number}") for number, content in enumerate(contents, 1)]


async def read_body(request: Request, service: Service) -> bytes:
    """Return the body of a request of another kind, JSON. Raises what :func:`read_uploads` does."""
    async with _arriving(request, service) as chunks:
        return b"".join([chunk async for chunk in chunks])


@asynccontextmanager
async def _arriving(request: Request, service: Service) -> AsyncIterator[AsyncIterator[bytes]]:
    """Have the body arrive, within the limits of bytes and time."""
    _check_length(request, service.limits.max_bytes)
    try:
        async with asyncio.timeout(service.limits.timeout):
            yield _chunks(request, service)
    except TimeoutError as error:
        message = f"the request did not arrive within {service.limits.timeout:g} s"
        raise HTTPException(408, message, CLOSE) from error
    except ClientDisconnect as error:
        raise HTTPException(CLIENT_GONE, "the client has closed the connection") from error


def _content_type(request: Request) -> tuple[str, dict[bytes, bytes]]:
    """Return the type of the body and its parameters, or raise 415."""
    coding = request.headers.get("content-encoding", "identity")
    if coding.strip().lower() != "identity":
        raise HTTPException(415, f"content encoding {coding[:80]} is not read; send the image as it is")
    given, options = parse_options_header(request.headers.get("content-type"))
    kind = given.decode("latin-1")
    if kind != "multipart/form-data" and kind not in RAW_TYPES and not kind.startswith("image/"):
        wanted = f"send an image (image/jpeg, image/png, ...), or multipart/form-data with the field {FIELD}"
        raise HTTPException(415, f"content type {kind[:80]} is not read; {wanted}")
    return kind, options


def _check_length(request: Request, most: int) -> None:
    """Raise 413 if the request announces more bytes than ``most``."""
    text = request.headers.get("content-length")
    if text is None:
        return
    if not text.isascii() or not text.isdigit():
        raise HTTPException(400, f"Content-Length {text[:40]} is not a number")
    if len(text) > 18 or int(text) > most:
        raise _too_long(most)


def _too_long(most: int) -> HTTPException:
    return HTTPException(413, f"the request has more than {most:,} bytes; send a smaller file")


async def _chunks(request: Request, service: Service) -> AsyncIterator[bytes]:
    """Yield the body in parts; stop what is longer than one request, or all requests together, may be."""
    count = 0
    try:
        async for chunk in request.stream():
            count += len(chunk)
            service.buffered += len(chunk)
            if count > service.limits.max_bytes:
                raise _too_long(service.limits.max_bytes)
            if service.buffered > service.limits.max_buffered:
                raise HTTPException(503, "too many uploads at the same time; try again later", {"Retry-After": "1"})
            yield chunk
    finally:
        service.buffered -= count


async def _parts(chunks: AsyncIterator[bytes], boundary: bytes, most: int) -> list[bytes]:
    """Return the contents of the fields called image of a multipart body."""
    if not boundary:
        raise HTTPException(400, "the multipart request names no boundary in its Content-Type")
    form = _Form(most)
    try:
        parser = MultipartParser(boundary, form.callbacks(), max_header_size=LONGEST_HEAD)
        async for chunk in chunks:
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise HTTPException(400, "the multipart body is malformed; check its boundary") from error
    if not form.is_complete:
        raise HTTPException(400, "the multipart body ends before its last boundary")
    if not form.contents:
        raise HTTPException(422, f"the form has no field {FIELD}")
    return [bytes(content) for content in form.contents]


class _Form:
    """What a multipart parser finds. File names are not looked at."""

    def __init__(self, most: int) -> None:
        self.contents: list[bytearray] = []
        self.is_complete = False
        self._most = most
        self._name = self._value = b""
        self._headers: dict[bytes, bytes] = {}

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._headers.clear, "on_header_field": self._on_name, "on_header_value": self._on_value,
            "on_header_end": self._on_header, "on_headers_finished": self._on_part, "on_part_data": self._on_data,
            "on_end": self._on_end,
        }  # fmt: skip

    def _on_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name = self._value = b""

    def _on_part(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b"").decode("latin-1"))
        field = options.get(b"name", b"").decode("utf-8", "replace")
        if kind != b"form-data" or field != FIELD:
            shown = "without a name" if not field else repr(field[:80])
            raise HTTPException(422, f"the form has a field {shown}; the only field is {FIELD}")
        if len(self.contents) == self._most:
            hint = "/v1/predict-batch takes several" if self._most == 1 else "send several requests"
            raise HTTPException(422, f"the form has more than {counted(self._most, 'image')}; {hint}")
        self.contents.append(bytearray())

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        self.contents[-1] += data[start:end]

    def _on_end(self) -> None:
        self.is_complete = True
