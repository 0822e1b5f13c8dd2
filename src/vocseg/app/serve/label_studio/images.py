"""Read the image of a task: from a data URL, or from the Label Studio that was named at the start, and from nowhere else.

Whoever can send a task could otherwise have this server read files, or addresses that only it reaches.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote, unquote_to_bytes, urlsplit

from starlette.exceptions import HTTPException

from vocseg.errors import SettingError, reason

_PATHS = re.compile(r"/(data|storage-data)/.+|/tasks/\d+/(presign|resolve)/")
"""Addresses of Label Studio that serve files of tasks. The key is not sent to others."""
_CHUNK = 1 << 16
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class LabelStudio:
    """Where a Label Studio is (``url``, None: images come in data URLs only), and the ``key`` that it gave out."""

    url: str | None = None
    key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.url is not None and (_origin(self.url) is None or urlsplit(self.url).query):
            raise SettingError(f"Label Studio's address '{self.url}' is not like http://localhost:8080")
        if self.key is not None and not (self.key.isascii() and self.key.isprintable() and self.key.strip() == self.key != ""):
            raise SettingError("Label Studio's key is empty, or has spaces at its ends or characters beyond ASCII")

    def address(self, value: str) -> str:
        """Return the address at Label Studio that a task's value names, or raise 422.

        >>> LabelStudio("http://localhost:8080").address("/data/upload/1/a b.jpg")
        'http://localhost:8080/data/upload/1/a%20b.jpg'
        """
        shown = repr(value[:80])
        if self.url is None:
            hint = "start the server with --label-studio-url, or send data: URLs"
            raise HTTPException(422, f"the image {shown} is not read, since the server does not know Label Studio; {hint}")
        if not value.startswith("/") and _origin(value) != _origin(self.url):
            raise HTTPException(422, f"the image {shown} is not read: it is not of {self.url}")
        if value.startswith("//") or not value.isprintable():
            raise HTTPException(422, f"the image {shown} is not read: it is not of {self.url}")
        try:
            parts = urlsplit(value)
        except ValueError as error:
            raise HTTPException(422, f"the image {shown} is not an address: {error}") from error
        prefix = urlsplit(self.url).path.rstrip("/")
        path = parts.path.removeprefix(prefix) if parts.path.startswith(f"{prefix}/") else parts.path
        plain = unquote(path)
        if not _PATHS.fullmatch(plain) or ".." in plain.split("/") or "\\" in plain or "%" in plain or not plain.isprintable():
            raise HTTPException(422, f"the image {shown} is not read: only /data/... of Label Studio are")
        query = f"?{quote(parts.query, safe='=&%/+:,.-_~')}" if parts.query else ""
        return f"{self.url.rstrip('/')}{quote(path, safe='/%')}{query}"

    def read(self, value: str, limit: int, timeout: float) -> bytes:
        """Return the content of a task's image. Raises 422 for an address that is not read, 413, or 502 if reading fails."""
        if value[:5].lower() == "data:":
            return _data(value)
        address = self.address(value)
        deadline = time.monotonic() + timeout
        return _fetch(urllib.request.Request(address, headers=self._headers(limit, deadline)), limit, deadline)

    def _headers(self, limit: int, deadline: float) -> dict[str, str]:
        """Return the header of the key: a legacy token, or a personal one, for which Label Studio gives one for minutes."""
        if self.key is None:
            return {}
        if self.key.count(".") != 2:
            return {"Authorization": f"Token {self.key}"}
        body = json.dumps({"refresh": self.key}).encode()
        address, kind = f"{(self.url or '').rstrip('/')}/api/token/refresh/", {"Content-Type": "application/json"}
        answer = _fetch(urllib.request.Request(address, body, kind), limit, deadline)
        try:
            return {"Authorization": f"Bearer {json.loads(answer)['access']}"}
        except (ValueError, KeyError, TypeError) as error:
            raise HTTPException(502, "Label Studio does not take the key; make a new one in Account & Settings") from error


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """Leads nowhere else, and takes the key to no other host."""

    def redirect_request(self, *arguments: Any) -> None:
        return None


def _fetch(request: urllib.request.Request, limit: int, deadline: float) -> bytes:
    parts, size = [], 0
    try:
        opener = urllib.request.build_opener(_NoRedirect)
        with opener.open(request, timeout=max(0.1, deadline - time.monotonic())) as response:
            while chunk := response.read1(_CHUNK):
                parts.append(chunk)
                size += len(chunk)
                if size > limit:
                    raise HTTPException(413, f"an image of Label Studio has more than {limit:,} bytes")
                if time.monotonic() > deadline:
                    raise HTTPException(502, "Label Studio did not send an image in time")
            if response.length:
                raise HTTPException(502, f"Label Studio's image is cut off, {response.length} bytes are missing")
    except HTTPException:
        raise
    except urllib.error.HTTPError as error:
        with error:
            hint = "; check LABEL_STUDIO_API_KEY" if error.code in (401, 403) else ""
            raise HTTPException(502, f"Label Studio answers {error.code} for an image{hint}") from error
    except Exception as error:  # a broken connection, or what is not HTTP
        raise HTTPException(502, f"Label Studio cannot be reached: {reason(error)[:200]}") from error
    return b"".join(parts)


def _origin(address: str) -> tuple[str, str, int] | None:
    try:
        parts = urlsplit(address)
        if parts.scheme not in _PORTS or not parts.hostname or parts.username is not None:
            return None
        return parts.scheme, parts.hostname, parts.port or _PORTS[parts.scheme]
    except ValueError:
        return None


def _data(value: str) -> bytes:
    head, comma, content = value.partition(",")
    if not comma:
        raise HTTPException(422, "a data: URL has no comma before its content")
    try:
        if not head.lower().endswith(";base64"):
            return unquote_to_bytes(content)
        return base64.b64decode(unquote(content) if "%" in content else content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise HTTPException(422, "the content of a data: URL is not base64, or percent-encoded bytes") from error
