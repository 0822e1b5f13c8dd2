"""Listen: uvicorn in this process, with an end that finishes what runs."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from vocseg.app.serve.problems import problem_json
from vocseg.app.serve.service import Service
from vocseg.errors import SettingError, reason

PATIENCE = 10.0
"""Seconds after which a connection on which no request begins, or goes on after its answer, is closed."""
REPEAT_SECONDS = 0.5
"""A terminal and a launcher may send a signal twice at once, which counts as one."""
LINGER = 1.0
"""Seconds that a refused connection stays open for the client to read why."""
END_PATIENCE = 60
"""Seconds that the end waits for answers to be sent."""


def listen(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; port 0 takes a free one. Raises SettingError if it cannot be bound."""
    listener = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        listener.close()
        raise SettingError(f"cannot listen on {address(host, port)}: {reason(error)}; choose another --port or --host") from error
    return listener


def address(host: str, port: int) -> str:
    """Format a host and a port."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def settings(app: Any) -> uvicorn.Config:
    """Return uvicorn's settings for an app of :func:`vocseg.serve`."""
    return uvicorn.Config(
        app, http=Protocol, ws="none", lifespan="on", log_config=None, access_log=False, server_header=False,
        timeout_graceful_shutdown=END_PATIENCE,
    )  # fmt: skip


def run(app: Any, listener: socket.socket, on_start: Callable[[], None] = lambda: None) -> None:
    """Serve an app of :func:`vocseg.serve` on a bound socket until SIGINT or SIGTERM, then end in order.

    At the first signal, new work gets 503, what waits or runs is finished, and the function returns. A second signal ends
    at once.
    """
    Server(settings(app), app.state.service, on_start).run(sockets=[listener])


class Server(uvicorn.Server):
    """Ends after the service's work at the first signal, at once at the second."""

    def __init__(self, config: uvicorn.Config, service: Service, on_start: Callable[[], None]) -> None:
        super().__init__(config)
        self._service = service
        self._on_start = on_start
        self._since = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ending: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._loop = asyncio.get_running_loop()
        self._on_start()
        if self._service.is_ending:  # a signal came before
            self.should_exit = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        now = time.monotonic()
        if self._service.is_ending:
            if now - self._since > REPEAT_SECONDS:
                self.force_exit = True
                super().handle_exit(sig, frame)  # which raises the signal again when the server has ended
            return
        self._since = now
        self._service.end()
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._end)

    def _end(self) -> None:
        self._ending = asyncio.ensure_future(self._finish())

    async def _finish(self) -> None:
        await self._service.idle()
        self.should_exit = True


class Protocol(H11Protocol):
    """uvicorn's HTTP/1.1, whose answer to what is not HTTP is JSON, and whose silent connections end."""

    _watch: asyncio.TimerHandle | None = None
    _seen: object = None
    _is_refused = False

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
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
        """Answer what is not HTTP."""
        content = problem_json(f"this is not HTTP: {msg[:1].lower()}{msg[1:].rstrip('.')}")
        headers = [("content-type", "application/json"), ("content-length", str(len(content))), ("connection", "close")]
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            for event in (h11.Response(status_code=400, headers=headers), h11.Data(data=content), h11.EndOfMessage()):
                self.transport.write(self.conn.send(event) or b"")
        # Closed at once, with unread bytes, the connection would be reset, and the answer lost.
        self._is_refused = True
        self.transport.write_eof()
        self.loop.call_later(LINGER, self.transport.close)
