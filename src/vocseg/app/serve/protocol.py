"""HTTP/1.1 on a connection: uvicorn's and h11's, with refusals in JSON, strict heads, and an end for silent connections."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import h11
from h11._receivebuffer import ReceiveBuffer
from uvicorn.protocols.http.h11_impl import H11Protocol

from vocseg.app.serve.problems import problem_json

PATIENCE = 10.0
"""Seconds after which a connection on which no request begins, or goes on after its answer, is closed."""
LINGER = 1.0
"""Seconds that a refused connection stays open for the client to read why."""


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, whose answer to what is not HTTP is JSON, and whose silent connections end."""

    _watch: asyncio.TimerHandle | None = None
    _seen: object = None
    _is_refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self.conn._receive_buffer = StrictBuffer()
        self._watch = self.loop.call_later(PATIENCE, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._watch is not None:
            self._watch.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if not self._is_refused:
            super().data_received(data)

    def _look(self) -> None:
        """Close the connection if no request has begun since the last look, and none is at work."""
        if self.cycle is self._seen and (self.cycle is None or self.cycle.response_complete):
            self.transport.close()
            return
        self._seen = self.cycle
        self._watch = self.loop.call_later(PATIENCE, self._look)

    def send_400_response(self, msg: str) -> None:
        """Answer what is not HTTP; called while h11's error, which names what is wrong, is handled."""
        # After a colon h11 cites the request.
        why = str(sys.exception() or msg).partition(": bytearray")[0].rstrip(".")
        content = problem_json(f"this is not HTTP: {why[:1].lower()}{why[1:]}")
        headers = [("content-type", "application/json"), ("content-length", str(len(content))), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            head = h11.Response(status_code=400, headers=headers, reason=b"Bad Request")
            self.transport.write(
                b"".join(self.conn.send(part) or b"" for part in (head, h11.Data(data=content), h11.EndOfMessage()))
            )
        if self.cycle is not None and not self.cycle.response_complete:  # its body is malformed
            self.cycle.disconnected = True
            self.cycle.message_event.set()
        # Closed at once, with unread bytes, the connection would be reset, and the answer lost.
        self._is_refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)


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
