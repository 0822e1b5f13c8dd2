"""Put the app together."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import FastAPI, Request
from starlette.middleware.cors import CORSMiddleware
from starlette.responses import HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Receive, Scope, Send

from vocseg import __version__, voc
from vocseg.app.serve import problems
from vocseg.app.serve.access_log import ID_HEADER, AccessLog
from vocseg.app.serve.docs_page import docs_page
from vocseg.app.serve.gate import Access, Gate
from vocseg.app.serve.label_studio.images import LabelStudio
from vocseg.app.serve.label_studio.routes import router as label_studio_router
from vocseg.app.serve.limits import Limits
from vocseg.app.serve.metrics import Metrics
from vocseg.app.serve.routes import router
from vocseg.app.serve.service import Service
from vocseg.data.samples import FOLDER
from vocseg.inference.segmenter import Segmenter

PAGE = Path(__file__).parent / "page"
"""The page for a browser: ``index.html``, and what it loads from ``/static/``."""


def build(segmenter: Segmenter, limits: Limits, access: Access, label_studio: LabelStudio) -> FastAPI:
    """Return the app of a service."""
    service = Service(segmenter, limits)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        warming = asyncio.create_task(service.warm())
        yield
        await warming
        await asyncio.to_thread(service.close)

    app = FastAPI(
        title="vocseg", version=__version__, description="Masks of images over HTTP.", lifespan=lifespan,
        docs_url=None, redoc_url=None, redirect_slashes=False,
    )  # fmt: skip
    app.state.service = service
    app.state.metrics = Metrics(service)
    app.state.label_studio, app.state.label_studio_requests = label_studio, 0
    problems.install(app)
    app.include_router(router)
    app.include_router(label_studio_router)
    app.add_api_route("/", _index, methods=["GET", "HEAD"], include_in_schema=False, response_class=Response)
    app.add_api_route("/docs", _docs, include_in_schema=False, response_class=Response)
    app.mount("/static", _PageFiles(directory=PAGE))
    app.mount("/samples", _PageFiles(directory=FOLDER / voc.IMAGES))
    # The last is the outermost.
    app.add_middleware(Gate, access=access)
    if access.cors:
        shown = [ID_HEADER, "X-Vocseg-Size", "Retry-After", "Server-Timing"]
        app.add_middleware(
            CORSMiddleware, allow_origins=access.cors, allow_methods=["GET", "POST"], expose_headers=shown,
            allow_headers=["Authorization", "Content-Type"],
        )  # fmt: skip
    app.add_middleware(AccessLog, metrics=app.state.metrics, timeout=limits.timeout)
    return app


class _PageFiles(StaticFiles):
    """Files that a browser asks for again after an update, with types that do not come from this machine's settings."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Whole files, which are small: an error of a range would not be JSON.
        headers = [(name, value) for name, value in scope["headers"] if name != b"range"]
        await super().__call__({**scope, "headers": headers}, receive, send)

    def file_response(self, full_path: Any, *arguments: Any, **options: Any) -> Response:
        response = super().file_response(full_path, *arguments, **options)
        response.headers["Cache-Control"] = "no-cache"
        if Path(full_path).suffix == ".js":  # Windows may call it text/plain, which no browser runs
            response.headers["Content-Type"] = "text/javascript; charset=utf-8"
        return response


async def _index() -> Response:
    return HTMLResponse((PAGE / "index.html").read_bytes(), headers={"Cache-Control": "no-cache"})


async def _docs(request: Request) -> Response:
    return HTMLResponse(docs_page(request.app.openapi()))
