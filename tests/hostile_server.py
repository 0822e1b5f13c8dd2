"""A web server on this machine that serves files as badly as it is told to."""

from __future__ import annotations

import http.server
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Reply = Callable[["Handler", bytes], None]


@dataclass
class HostileServer:
    """``files`` by path; ``replies`` to the next requests, in order, after which it behaves. Use as a context."""

    files: dict[str, bytes] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    replies: list[Reply] = field(default_factory=list)
    always: Reply | None = None
    ranges: bool = True
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    def __enter__(self) -> HostileServer:
        self.stopping = threading.Event()
        self.httpd = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.httpd.daemon_threads = True
        self.httpd.hostile = self  # type: ignore[attr-defined]
        threading.Thread(target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: Any) -> None:
        self.stopping.set()
        self.httpd.shutdown()
        self.httpd.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.server_port}"

    @property
    def ranges_asked(self) -> list[str | None]:
        return [headers.get("Range") for _, headers in self.seen]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: Any) -> None:
        pass

    @property
    def hostile(self) -> HostileServer:
        return self.server.hostile  # type: ignore[attr-defined]

    def do_GET(self) -> None:
        server = self.hostile
        self.path = re.sub(r"^http://[^/]+", "", self.path)  # as a proxy is asked
        server.seen.append((self.path, dict(self.headers)))
        content = server.files.get(self.path)
        if content is None and not server.replies and not server.always:
            return status(404)(self, b"")
        reply = server.replies.pop(0) if server.replies else server.always or behave
        self.close_connection = True
        try:
            return reply(self, content or b"")
        except (BrokenPipeError, ConnectionResetError):
            return None

    def begin(self, content: bytes, length: int | None = None, **extra: str) -> bytes:
        """Send the headers for what was asked of ``content``, and return the body that belongs to them."""
        start = 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        tag = self.hostile.etags.get(self.path)
        current = self.headers.get("If-Range") in (None, tag)
        if asked and self.hostile.ranges and current:
            start = int(asked[1])
            if start >= len(content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return b""
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        else:
            self.send_response(200)
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Content-Length", str(len(content) - start if length is None else length))
        for name, value in extra.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        return content[start:]


def behave(handler: Handler, content: bytes) -> None:
    handler.wfile.write(handler.begin(content))


def status(code: int, **headers: str) -> Reply:
    def reply(handler: Handler, content: bytes) -> None:
        handler.send_response(code)
        for name, value in {"Content_Length": "0", **headers}.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()

    return reply


def cut(after: int) -> Reply:
    """Promises all of it, sends ``after`` bytes and hangs up."""

    def reply(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(content)[:after])

    return reply


def stall(after: int) -> Reply:
    """Sends ``after`` bytes and then nothing, without hanging up."""

    def reply(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(content)[:after])
        handler.hostile.stopping.wait(5)

    return reply


def hang_up(handler: Handler, content: bytes) -> None:
    """Closes the connection without a word."""


def drip(seconds: float, size: int = 1) -> Reply:
    """Sends ``size`` bytes at a time, with pauses."""

    def reply(handler: Handler, content: bytes) -> None:
        body = handler.begin(content)
        for start in range(0, len(body), size):
            if handler.hostile.stopping.is_set():
                return
            handler.wfile.write(body[start : start + size])
            handler.wfile.flush()
            time.sleep(seconds)

    return reply


def serve(other: bytes, length: int | None = None, **headers: str) -> Reply:
    """Serves other bytes, with another length than they have where it is given."""

    def reply(handler: Handler, content: bytes) -> None:
        handler.wfile.write(handler.begin(other, length, **headers))

    return reply


def raw_range(header: str, body: Callable[[bytes, int], bytes]) -> Reply:
    """A 206 with any Content-Range and ``body(content, asked start)``."""

    def reply(handler: Handler, content: bytes) -> None:
        start = int(re.findall(r"\d+", handler.headers.get("Range", "0"))[0])
        sent = body(content, start)
        handler.send_response(206)
        handler.send_header("Content-Range", header)
        handler.send_header("Content-Length", str(len(sent)))
        handler.end_headers()
        handler.wfile.write(sent)

    return reply


def chunked(handler: Handler, content: bytes) -> None:
    """All of it without a length."""
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for start in range(0, len(content), 5000):
        piece = content[start : start + 5000]
        handler.wfile.write(f"{len(piece):x}\r\n".encode() + piece + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def trickle(start: bytes) -> Reply:
    """Sends ``start`` and then a byte now and then: a header or the length of a chunk that never ends."""

    def reply(handler: Handler, content: bytes) -> None:
        handler.wfile.write(start)
        while not handler.hostile.stopping.wait(0.05):
            handler.wfile.write(b"a")

    return reply
