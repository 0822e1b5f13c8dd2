"""HTTP/1.1 on a connection: uvicorn's and h11's, with refusals in JSON, strict heads, and an end for silent connections."""

from __future__ import annotations

import asyncio
import re
import sys
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol

from vocseg.app.serve.problems import problem_json

PATIENCE = 10.0
"""Seconds after which a connection on which no request begins, or no byte of an answer is taken, is closed."""
LINGER = 5.0
"""Seconds that a connection stays open for a client that still sends to read the answer."""
_VERSION = re.compile(rb" HTTP/([\d.]+)$")


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, whose answer to what is not HTTP is JSON, and whose silent connections end."""

    _watch: asyncio.TimerHandle | None = None
    _seen: tuple[object, int] = None, 0

    def connection_made(self, transport: Any) -> None:
        super().connection_made(Lingering(transport, self))  # type: ignore[arg-type]
        self.conn._receive_buffer = StrictBuffer()
        self._watch = self.loop.call_later(PATIENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self.transport.is_closing():
            super().data_received(data)

    def _should_upgrade(self) -> bool:
        return False  # to WebSocket; the request is answered as it is

    def _look(self) -> None:
        """Close the connection if, since the last look, no request has begun, none is at work, and no answer was taken."""
        is_idle = self.cycle is None or self.cycle.response_complete or self.transport.is_closing()
        unsent = self.transport.get_write_buffer_size()
        if is_idle and self._seen[0] is self.cycle and unsent in (0, self._seen[1]):
            self.transport.abort()
            return
        self._seen = self.cycle, unsent
        self._watch = self.loop.call_later(PATIENCE, self._look)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; called while h11's error, which names what is wrong, is handled."""
        # After a colon h11 cites the request.
        why = str(sys.exception() or msg).partition(": bytearray")[0].rstrip(".")
        content = problem_json(f"this is not HTTP: {why[:1].lower()}{why[1:]}")
        headers = [("content-type", "application/json"), ("content-length", str(len(content))), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            events = (head, h11.Data(data=content), h11.EndOfMessage())
            self.transport.write(b"".join(self.conn.send(event) or b"" for event in events))
        if self.cycle is not None and not self.cycle.response_complete:  # its body is malformed
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        self.transport.close()


class Lingering:
    """A transport that, closed while a request arrives, ends its own side first, and passes over what still comes.

    Closed at once, with unread bytes, the connection would be reset, and a client, or a proxy, might never see the answer.
    """

    def __init__(self, transport: asyncio.Transport, protocol: Protocol) -> None:
        self._transport, self._protocol = transport, protocol
        self._lingers = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def is_closing(self) -> bool:
        return self._lingers or self._transport.is_closing()

    def close(self) -> None:
        transport, state = self._transport, self._protocol.conn.their_state
        if self.is_closing() or state not in (h11.SEND_BODY, h11.ERROR) or not transport.can_write_eof():
            transport.close()
            return
        self._lingers = True
        transport.write_eof()
        transport.resume_reading()
        self._protocol.loop.call_later(LINGER, transport.close)


class StrictBuffer(ReceiveBuffer):
    """What a client has sent. Refuses heads that h11 reads but a proxy may read otherwise.

    If two servers disagree about the end of a request, a client can put its words into the request of another one
    (request smuggling, RFC 9112, section 11.2).
    """

    _raw = bytearray()

    def _extract(self, count: int) -> bytearray:
        self._raw = super()._extract(count)
        return self._raw

    def maybe_extract_lines(self) -> list[bytearray] | None:
        """Take the lines of a head, or of trailers. Raises LocalProtocolError, which h11 turns into a refusal."""
        lines = super().maybe_extract_lines()
        if lines is not None:
            wrong = _ambiguity(self._raw, lines)
            if wrong:
                raise h11.LocalProtocolError(wrong)
        return lines


def _ambiguity(raw: bytearray, lines: list[bytearray]) -> str | None:
    """Return what of a head can be read in two ways, if anything."""
    version = _VERSION.search(lines[0]) if lines else None
    if version and version[1] not in (b"1.0", b"1.1"):
        return "its version is not HTTP/1.0 or HTTP/1.1"
    if raw.count(b"\n") != raw.count(b"\r\n"):
        return "a line of its head ends without a carriage return"
    if any(line.startswith((b" ", b"\t")) for line in lines):
        return "a header is folded into several lines"
    headers = [line.partition(b":") for line in lines]
    lengths = [value for name, _, value in headers if name.lower() == b"content-length"]
    codings = [value for name, _, value in headers if name.lower() == b"transfer-encoding"]
    if len(lengths) + len(codings) > 1 or b"," in b"".join(lengths):
        return "the length of its body is given twice, by Content-Length or Transfer-Encoding"
    if codings and not lines[0].endswith(b" HTTP/1.1"):
        return "it has Transfer-Encoding, which is of HTTP/1.1 only"
    return None
