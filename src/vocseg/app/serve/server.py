"""Listen: uvicorn in this process, with an end that finishes what runs."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from vocseg.app.serve.protocol import Protocol
from vocseg.app.serve.service import Service
from vocseg.errors import SettingError, reason

REPEAT_SECONDS = 0.5
"""A terminal and a launcher may send a signal twice at once, which counts as one."""
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
