"""Around every request: its id, headers of safety, the access log, the metrics, and errors that nobody expected."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import time
import uuid
from typing import Any, Literal

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from vocseg.app.serve.metrics import Metrics
from vocseg.app.serve.problems import problem
from vocseg.app.serve.service import log
from vocseg.utils.html import POLICY
from vocseg.utils.text import visible

ID_HEADER = "X-Request-Id"
GIVEN_ID = re.compile(r"[A-Za-z0-9._:-]{1,64}")
SAFETY = {
    "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer", "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    "media-src 'self' blob:; connect-src 'self'; font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
}  # fmt: skip
"""Headers of every answer: a page runs only what comes from here, and nothing is guessed."""


class AccessLog:
    """Wraps the app. A line holds no content, no query and no name of a file."""

    def __init__(self, app: ASGIApp, metrics: Metrics, timeout: float) -> None:
        self.app, self.metrics, self.timeout = app, metrics, timeout

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send, self.timeout)
        try:
            await self.app(scope, exchange.receive, exchange.send)
        except asyncio.CancelledError:
            raise
        except Exception:
            log.exception("error in request %s", exchange.id)
            if not exchange.status:
                await problem(500, f"internal error; the server's log says more about request {exchange.id}")(
                    scope, exchange.receive, exchange.send
                )
        finally:
            self._note(scope, exchange)

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        seconds = time.perf_counter() - exchange.start
        path = getattr(scope.get("route"), "path", None) or "other"
        status = exchange.status or 499
        self.metrics.observe(scope["method"], path, status, seconds, exchange.received, exchange.sent)
        client = scope.get("client") or ("",)
        row: dict[str, Any] = {
            "time": _now(), "id": exchange.id, "client": visible(client[0][:45]), "method": scope["method"][:20],
            "path": visible(scope["path"][:200]), "status": status, "ms": round(1000 * seconds, 1), "received": exchange.received,
            "sent": exchange.sent, **scope["state"].get("log", {}),
        }  # fmt: skip
        log.info("%s", row["path"], extra={"access": row})


class _Exchange:
    """A request and its answer, counted on their way."""

    def __init__(self, scope: Scope, receive: Receive, send: Send, timeout: float) -> None:
        given = Headers(scope=scope).get(ID_HEADER, "")
        self.id = given if GIVEN_ID.fullmatch(given) else uuid.uuid4().hex
        self.start = time.perf_counter()
        self.status = self.received = self.sent = 0
        self._receive, self._send, self._timeout = receive, send, timeout
        self._is_docs = scope["path"] == "/docs"
        scope.setdefault("state", {})["request_id"] = self.id

    async def receive(self) -> Message:
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            for name, value in SAFETY.items():
                headers[name] = value
            if self._is_docs:
                headers["Content-Security-Policy"] = POLICY
            headers[ID_HEADER] = self.id
        self.sent += len(message.get("body", b""))
        async with asyncio.timeout(self._timeout):  # a client that does not read its answer
            await self._send(message)


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")


class JsonLines(logging.Formatter):
    """A JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        row = getattr(record, "access", None) or {
            "time": self.formatTime(record, "%Y-%m-%dT%H:%M:%S%z"),
            "message": record.getMessage(),
        }
        if record.exc_info:
            row = row | {"traceback": self.formatException(record.exc_info)}
        return json.dumps({"level": record.levelname.lower()} | row, ensure_ascii=False)


class TextLines(logging.Formatter):
    """A line for people."""

    def format(self, record: logging.LogRecord) -> str:
        row = getattr(record, "access", None)
        if row is None:
            return super().format(record)
        rest = " ".join(f"{name} {value}" for name, value in row.items() if name not in ("time", "method", "path", "status"))
        return f"{row['time']} {row['method']} {row['path']} {row['status']} {rest}"


def log_to_stdout(kind: Literal["text", "json"]) -> logging.Logger:
    """Print the service's log lines, and uvicorn's warnings, on standard output; return the service's logger."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonLines() if kind == "json" else TextLines())
    for name, level in (("vocseg.serve", logging.INFO), ("uvicorn.error", logging.WARNING)):
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.setLevel(level)
        logger.propagate = False
    return log
