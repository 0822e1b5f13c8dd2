"""Download one file over HTTP: resumed by byte range, retried with growing pauses, given up with a reason."""

from __future__ import annotations

import http.client
import io
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocseg import __version__
from vocseg.errors import DataError, reason
from vocseg.utils.files import cannot_write, read_json, write_json
from vocseg.utils.progress import bar

log = logging.getLogger("vocseg.download")

CHUNK = 1 << 18
MIN_SPEED = 1024
"""Bytes per second below which a transfer counts as stalled."""
MIN_PROGRESS = 1 << 16
"""Bytes that an attempt must add for the count of failures to start over."""
MAX_STALLS = 3
"""Timeouts that attempts without progress may take together."""
MAX_SIZE = 4_000_000_000
"""Most bytes of a file of unknown size: twice the largest archive. Servers may claim, or send, any number."""
SPACE_STEP = 1 << 26
"""Bytes of a file of unknown size between two looks at the free space."""


@dataclass(frozen=True)
class RetryPolicy:
    """When to retry and when to give up; times in seconds.

    ``timeout`` limits the wait for the next bytes. ``pause`` comes before the second attempt and doubles up to
    ``max_pause`` before each further one. ``attempts`` failures in a row without progress end the transfer.
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    max_pause: float = 60.0


class Unavailable(Exception):
    """This address does not serve the file; the message is the reason."""


class _Interrupted(Exception):
    """The transfer failed in a way that may pass; ``wait`` is the server's Retry-After, None if not connected."""

    def __init__(self, reason: str, wait: float | None = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass(frozen=True)
class PartialFile:
    """An unfinished download, with a JSON file of its ``url``, ``validator`` (ETag or date) and ``total`` size."""

    path: Path

    @property
    def notes(self) -> Path:
        return self.path.with_name(f"{self.path.name}.json")

    @property
    def length(self) -> int:
        """Bytes downloaded so far."""
        return self.path.stat().st_size if self.path.is_file() else 0

    def origin(self) -> dict[str, Any]:
        """Return the content of the JSON file; empty if there is none."""
        try:
            return dict(read_json(self.notes))
        except (DataError, ValueError, TypeError):
            return {}

    def discard(self) -> None:
        """Delete both files."""
        self.path.unlink(missing_ok=True)
        self.notes.unlink(missing_ok=True)


def fetch(url: str, part: PartialFile, size: int | None, check_space: Callable[[int], None], retry: RetryPolicy) -> bool:
    """Complete ``part`` from ``url``; return whether bytes of an earlier or interrupted transfer were reused.

    ``size`` is the file's known length; ``check_space(missing bytes)`` is called before they are received and may
    raise. Proxies come from the environment. Raises Unavailable, and OutputError if the file cannot be written.
    """
    if part.path.exists() and not part.path.is_file():
        part.discard()  # writing into a pipe would wait forever
    resumed = part.length > 0
    mark, failures, connected, tried = part.length, 0, False, 0.0
    while True:
        start = time.monotonic()
        try:
            _attempt(url, part, size, check_space, retry.timeout)
            return resumed
        except _Interrupted as error:
            if part.length >= mark + MIN_PROGRESS:
                mark, failures, connected, tried = part.length, 0, True, 0.0
            failures += 1
            tried += time.monotonic() - start
            resumed = resumed or part.length > 0
            if error.wait is None and not connected:
                raise Unavailable(str(error)) from error
            if failures >= retry.attempts or tried >= MAX_STALLS * retry.timeout:
                raise Unavailable(f"{error}; {failures} attempts") from error
            pause = min(max(error.wait or 0.0, retry.pause * 2 ** (failures - 1)), retry.max_pause)
            log.info("%s: %s; retrying in %.0f s", url, error, pause)
            time.sleep(pause)


def _attempt(url: str, part: PartialFile, size: int | None, check_space: Callable[[int], None], timeout: float) -> None:
    """Send one request and receive its answer; returns when the file is complete."""
    if size is not None and part.length > size:
        part.discard()
    if part.length == size:
        return
    headers = {"User-Agent": f"vocseg/{__version__}", "Accept": "*/*"}
    if part.length:
        headers["Range"] = f"bytes={part.length}-"
        origin = part.origin()
        if origin.get("url") == url and origin.get("validator"):
            headers["If-Range"] = str(origin["validator"])
    try:
        with open_url(urllib.request.Request(url, headers=headers), timeout) as response:
            total = _check_headers(response, url, part, size)
            check_space((total or part.length) - part.length)
            _receive(response, part, total, check_space)
    except urllib.error.HTTPError as error:
        with error:
            _check_status(error, part)
    except urllib.error.URLError as error:
        raise _Interrupted(getattr(error.reason, "strerror", None) or str(error.reason), wait=None) from error
    except (ValueError, http.client.InvalidURL) as error:
        raise Unavailable(str(error)) from error
    except TimeoutError as error:
        raise _Interrupted(f"stalled for {timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _Interrupted(f"connection broken ({reason(error) or type(error).__name__})") from error


def open_url(request: urllib.request.Request, timeout: float) -> Any:
    """Send a request; ``timeout``: seconds for the next bytes, and for so many that the answer does not drip."""
    # A new opener each time, so that changes of the proxy variables take effect.
    return urllib.request.build_opener(_Http, _Https, _Redirects).open(request, timeout=timeout)


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follow redirects to http and https only; urllib would also follow those to ftp."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if not newurl.lower().startswith(("http:", "https:")):
            raise Unavailable(f"redirects to {newurl}, which is neither http nor https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class _Steady(io.RawIOBase):
    """The bytes of an answer, headers included; raises _Interrupted if they arrive too slowly.

    A socket's timeout starts over with each byte, so a server that drips would hold up the download forever.
    """

    def __init__(self, raw: Any, timeout: float) -> None:
        self.raw, self.timeout, self.since, self.received = raw, timeout, time.monotonic(), 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if time.monotonic() - self.since >= self.timeout:
            if self.received < MIN_SPEED * self.timeout:
                raise _Interrupted(f"slower than {MIN_SPEED} bytes a second")
            self.since, self.received = time.monotonic(), 0
        count: int = self.raw.readinto(buffer)
        self.received += count
        return count

    def close(self) -> None:
        self.raw.close()
        super().close()


class _Response(http.client.HTTPResponse):
    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_Steady(self.fp.detach(), sock.gettimeout()))


class _Connection(http.client.HTTPConnection):
    response_class = _Response


class _SecureConnection(http.client.HTTPSConnection):
    response_class = _Response


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_Connection, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_SecureConnection, req)


def _check_headers(response: Any, url: str, part: PartialFile, size: int | None) -> int | None:
    """Return the whole file's length, None if unknown; ``part`` then ends where the answer's body begins."""
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise Unavailable("answers with a web page")
    if response.status == 206 and part.length:
        total = _check_range(headers.get("Content-Range", ""), part)
    elif response.status == 200:
        total = int(headers["Content-Length"]) if headers.get("Content-Length", "").isdigit() else None
    else:
        raise Unavailable(f"answers {response.status} {response.reason}")
    if size is None and (total or 0) > MAX_SIZE:
        raise Unavailable(f"has {total} bytes, more than any archive")
    if size is not None and total not in (None, size):
        raise Unavailable(f"has {total} bytes, but the archive has {size}")
    if response.status == 200:
        tag = headers.get("ETag", "")  # RFC 9110, 13.1.5: If-Range takes a strong ETag or a date
        validator = tag if tag.startswith('"') else headers.get("Last-Modified")
        part.discard()
        write_json(part.notes, {"url": url, "validator": validator, "total": total})
    return size if total is None else total


def _check_range(stated: str, part: PartialFile) -> int | None:
    """Return the whole length that a partial answer states; starts over if it is not the requested range."""
    match = re.fullmatch(r"\s*bytes\s+(\d+)-\d+/(\d+|\*)\s*", stated)
    known = part.origin().get("total")
    total = int(match[2]) if match and match[2] != "*" else known
    if match and int(match[1]) == part.length and known in (None, total):
        return total
    problem = f"sends '{stated}' instead of bytes {part.length}- of {known or '*'}"
    part.discard()
    raise _Interrupted(f"{problem}; starting over")


def _check_status(error: urllib.error.HTTPError, part: PartialFile) -> None:
    """Return if the error means that the file is complete; raise _Interrupted if it may pass, else Unavailable."""
    if error.code == 416 and part.length:
        if error.headers.get("Content-Range", "").replace(" ", "") == f"bytes*/{part.length}":
            return
        part.discard()
        raise _Interrupted("has no such range; starting over")
    text = f"{error.code} {error.reason}".splitlines()[0]
    if error.code >= 500 or error.code in (408, 425, 429):
        after = error.headers.get("Retry-After", "")
        raise _Interrupted(text, float(after) if after.isdigit() else 0.0)
    raise Unavailable(text)


def _receive(response: Any, part: PartialFile, total: int | None, check_space: Callable[[int], None]) -> None:
    """Append the answer's body to ``part``; raises _Interrupted if it ends early."""
    length = checked = part.length
    limit = MAX_SIZE if total is None else total
    name = part.path.name.removesuffix(".part")
    with bar(total=total, initial=length, desc=name, unit="B", unit_scale=True) as shown:
        while chunk := response.read1(CHUNK):
            _append(part.path, chunk)
            shown.update(len(chunk))
            length += len(chunk)
            if length > limit:
                part.discard()
                raise Unavailable(f"sends more than {'any archive has' if total is None else f'the {total} bytes it should'}")
            if total is None and length >= checked + SPACE_STEP:
                check_space(0)
                checked = length
    if total is not None and length < total:
        raise _Interrupted(f"cut off after {length} of {total} bytes")


def _append(path: Path, chunk: bytes) -> None:
    rest = memoryview(chunk)
    try:
        with open(path, "ab", buffering=0) as file:
            while rest:  # an unbuffered file may take a part of it only
                rest = rest[file.write(rest) :]
    except OSError as error:
        raise cannot_write(path, error) from error
