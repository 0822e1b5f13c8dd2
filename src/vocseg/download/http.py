"""One file over HTTP: resumed by byte range, retried while there is hope, given up with a reason."""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vocseg import __version__
from vocseg.utils.files import cannot_write, write_json
from vocseg.utils.progress import bar

log = logging.getLogger("vocseg.data")

CHUNK = 1 << 18
SLOWEST = 1024
"""Bytes a second below which a transfer counts as stalled."""
GAIN = 1 << 16
"""Bytes that an attempt must bring for the count of failures to start anew."""


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds: for the next bytes, and before the second attempt (twice as long before each further one).

    ``attempts`` failures in a row that bring nothing end the transfer.
    """

    timeout: float = 30.0
    attempts: int = 5
    pause: float = 1.0
    longest_pause: float = 60.0


class Unavailable(Exception):
    """This address does not give the file; the message is the reason."""


class _TryAgain(Exception):
    """The transfer broke off in a way that may pass; ``wait`` is what the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float = 0.0) -> None:
        super().__init__(reason)
        self.wait = wait


@dataclass
class Part:
    """An unfinished file, and beside it (``.json``) which address, version and size it is of."""

    path: Path

    @property
    def length(self) -> int:
        """Bytes that are there."""
        return self.path.stat().st_size if self.path.is_file() else 0

    @property
    def _notes(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    def origin(self) -> dict[str, Any]:
        """``url``, ``validator`` (an ETag or a date, or None) and ``total`` (bytes, or None); empty where nothing is known."""
        try:
            notes = json.loads(self._notes.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return notes if isinstance(notes, dict) else {}

    def begin(self, url: str, validator: str | None, total: int | None) -> None:
        """Start over with nothing, of this origin."""
        self.discard()
        write_json(self._notes, {"url": url, "validator": validator, "total": total})

    def discard(self) -> None:
        """Throw away what there is."""
        self.path.unlink(missing_ok=True)
        self._notes.unlink(missing_ok=True)


def fetch(url: str, part: Part, size: int | None, room: Callable[[int], None], patience: Patience) -> bool:
    """Bring ``part`` to its full length from ``url``; true where bytes of an earlier or broken transfer were built upon.

    ``size`` is the length that the file must have, if known; ``room(bytes still to come)`` is called before they come and
    may raise. Proxies are taken from the environment. Raises Unavailable, and OutputError where the disk will not take it.
    """
    resumed = part.length > 0
    start = mark = part.length
    failures = 0
    while True:
        try:
            _attempt(url, part, size, room, patience)
            return resumed
        except _TryAgain as error:
            failures += 1
            if part.length >= mark + GAIN:
                failures, mark = 1, part.length
            resumed = resumed or part.length > 0
            if failures >= patience.attempts:
                raise Unavailable(f"{error}; {failures} attempts") from error
            wait = min(max(error.wait, patience.pause * 2 ** (failures - 1)), patience.longest_pause)
            log.info("%s: %s; again in %.0f s", url, error, wait)
            time.sleep(wait)
        except urllib.error.URLError as error:  # no connection
            failures += 1
            if mark == start or failures >= patience.attempts:
                raise Unavailable(reason_of(error)) from error
            time.sleep(min(patience.pause * 2 ** (failures - 1), patience.longest_pause))


def _attempt(url: str, part: Part, size: int | None, room: Callable[[int], None], patience: Patience) -> None:
    """One request; returns when the file is complete."""
    if size is not None and part.length == size:
        return
    if size is not None and part.length > size:
        part.discard()
    try:
        with _request(url, part, patience.timeout) as response:
            total = _agree(response, url, part, size)
            if total is not None:
                room(total - part.length)
            _receive(response, part, total, patience.timeout)
    except urllib.error.HTTPError as error:
        _refused(error, part)
    except urllib.error.URLError:
        raise
    except (ValueError, http.client.InvalidURL) as error:
        raise Unavailable(str(error)) from error
    except TimeoutError as error:
        raise _TryAgain(f"stalled for {patience.timeout:g} s") from error
    except (OSError, http.client.HTTPException) as error:
        raise _TryAgain(f"connection broken ({reason_of(error)})") from error


def _request(url: str, part: Part, timeout: float) -> Any:
    request = urllib.request.Request(url, headers={"User-Agent": f"vocseg/{__version__}", "Accept": "*/*"})
    if part.length:
        request.add_header("Range", f"bytes={part.length}-")
        origin = part.origin()
        if origin.get("url") == url and origin.get("validator"):
            request.add_header("If-Range", str(origin["validator"]))
    # Built anew: the proxies of the environment as they are now.
    return urllib.request.build_opener().open(request, timeout=timeout)


def _agree(response: Any, url: str, part: Part, size: int | None) -> int | None:
    """Make ``part`` end where the body begins, and return the whole file's length; Unavailable where it is not the file."""
    headers = response.headers
    if headers.get_content_type() == "text/html":
        raise Unavailable("answers with a web page")
    if response.status == 206 and part.length:
        total = _check_range(headers, url, part)
    elif response.status == 200:
        length = headers.get("Content-Length", "")
        total = int(length) if length.isdigit() else None
    else:
        raise Unavailable(f"answers {response.status} {response.reason}")
    if size is not None and total not in (None, size):
        raise Unavailable(f"has {total} bytes where the archive has {size}")
    if response.status == 200:
        part.begin(url, _validator(headers), total)
    return size if total is None else total


def _check_range(headers: Any, url: str, part: Part) -> int | None:
    """The whole length that a 206 answer states; starts over where it is not the range asked for, or of another version."""
    stated = headers.get("Content-Range", "")
    match = re.fullmatch(r"\s*bytes\s+(\d+)-(\d+)/(\d+|\*)\s*", stated)
    total = int(match[3]) if match and match[3] != "*" else None
    origin = part.origin()
    expected, validator = origin.get("total"), origin.get("validator")
    if match is None or int(match[1]) != part.length or (total is not None and int(match[2]) >= total):
        problem = f"sends '{stated}' when asked for bytes {part.length}-"
    elif None not in (total, expected) and total != expected:
        problem = f"has {total} bytes now, not {expected}"
    elif origin.get("url") == url and None not in (validator, _validator(headers)) and validator != _validator(headers):
        problem = "has changed"
    else:
        return expected if total is None else total
    part.discard()
    raise _TryAgain(f"{problem}; starting over")


def _validator(headers: Any) -> str | None:
    """What If-Range may carry (RFC 9110, 13.1.5): a strong ETag, else a date."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified")


def _refused(error: urllib.error.HTTPError, part: Part) -> None:
    """Sort an error answer: returns where it means that all is there, raises _TryAgain where it may pass, else Unavailable."""
    with error:
        if error.code == 416 and part.length:
            if error.headers.get("Content-Range", "").replace(" ", "") == f"bytes*/{part.length}":
                return
            part.discard()
            raise _TryAgain("has no such range; starting over")
        reason = f"{error.code} {error.reason}".splitlines()[0]
        if error.code >= 500 or error.code in (408, 425, 429):
            after = error.headers.get("Retry-After", "")
            raise _TryAgain(reason, float(after) if after.isdigit() else 0.0)
        raise Unavailable(reason)


def _receive(response: Any, part: Part, total: int | None, timeout: float) -> None:
    """Append the body to ``part``; raises _TryAgain where it ends early or comes too slowly."""
    with _appending(part.path) as write, _bar(part, total) as shown:
        have, since, received = part.length, time.monotonic(), 0
        while chunk := response.read1(CHUNK):
            write(chunk)
            shown.update(len(chunk))
            have += len(chunk)
            received += len(chunk)
            if total is not None and have > total:
                part.discard()
                raise Unavailable(f"sends more than the {total} bytes it should")
            if time.monotonic() - since >= timeout:
                if received < SLOWEST * timeout:
                    raise _TryAgain(f"slower than {SLOWEST} bytes a second")
                since, received = time.monotonic(), 0
    if total is not None and part.length < total:
        raise _TryAgain(f"cut off after {part.length} of {total} bytes")


@contextmanager
def _appending(path: Path) -> Iterator[Callable[[bytes], None]]:
    """A function that appends to a file; OutputError where that fails, so that it is not taken for the network's fault."""

    def write(chunk: bytes) -> None:
        rest = memoryview(chunk)
        try:
            while rest:  # an unbuffered file may take a part only
                rest = rest[file.write(rest) :]
        except OSError as error:
            raise cannot_write(path, error) from error

    try:
        file = open(path, "ab", buffering=0)  # noqa: SIM115
    except OSError as error:
        raise cannot_write(path, error) from error
    with file:
        yield write


def _bar(part: Part, total: int | None) -> Any:
    title = part.path.name.removesuffix(".part")
    return bar(total=total, initial=part.length, desc=title, unit="B", unit_scale=True)


def reason_of(error: Exception) -> str:
    """The shortest sensible text of a network error."""
    inner = getattr(error, "reason", None) or error
    return getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
