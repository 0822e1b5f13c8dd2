"""Errors: one shape everywhere, ``{"error": "one line"}``."""

from __future__ import annotations

import json
from collections.abc import Mapping

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vocseg.utils.text import visible

DEFAULTS = {"Not Found", "Method Not Allowed"}
"""Messages of Starlette's own, which name nothing."""


def problem(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return the answer of an error."""
    return Response(problem_json(message), status, dict(headers or {}), "application/json")


def problem_json(message: str) -> bytes:
    """Return the JSON of an error, one line."""
    return json.dumps({"error": visible(message)}, ensure_ascii=False).encode()


def install(app: FastAPI) -> None:
    """Have the app answer its errors so."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    message = error.detail
    if message in DEFAULTS:
        path, allowed = request.url.path[:200], (error.headers or {}).get("Allow", "another method")
        message = f"there is nothing at {path}; /docs lists what is there"
        if error.status_code == 405:
            message = f"{request.method[:20]} is not possible at {path}; {allowed} is"
    return problem(error.status_code, message, error.headers)


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"][1:]) or "request"
    given = f", not {str(first['input'])[:80]!r}" if isinstance(first.get("input"), str | int | float) else ""
    message = str(first["msg"]).removeprefix("Input ").removeprefix("Value error, ")
    return problem(422, f"{where}: {message[:1].lower()}{message[1:]}{given}")
