"""The addresses of Label Studio's ML backends, below ``/label-studio``."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from vocseg import __version__
from vocseg.app.serve.answers import JSON
from vocseg.app.serve.label_studio.config import Control, read_config
from vocseg.app.serve.label_studio.images import LabelStudio
from vocseg.app.serve.routes import PROBLEMS, gone, service_of
from vocseg.app.serve.service import Service, Stopwatch, Upload
from vocseg.app.serve.uploads import read_body
from vocseg.inference.polygon_sinks import label_studio_regions
from vocseg.inference.polygons import Polygons
from vocseg.inference.result import Segmentation
from vocseg.models import ModelInfo

router = APIRouter(prefix="/label-studio")
MOST_TASKS = 256
MOST_REQUESTS = 8
"""Predictions at the same time: each holds its tasks in memory, with images in data URLs."""
MOST_PARTS = 1_000_000
"""Of JSON: its values take up to 80 bytes of memory for each of these."""
_BODY = {"requestBody": {"required": True, "content": {JSON: {"schema": {"type": "object"}}}}}


def _rendered(control: Control, result: Segmentation, watch: Stopwatch) -> bytes:
    """Make the results of a task; called in a worker's thread."""
    parts = Polygons(result.info, control.simplify).of(result)
    regions = label_studio_regions(parts, result.size, control.labels, control.name, control.to_name)
    content = json.dumps({"result": regions, "model_version": version(result.info)}).encode()
    watch.lap("encode")
    return content


def version(info: ModelInfo) -> str:
    """Name a model in Label Studio: its architecture and vocseg's version."""
    return f"{info.architecture} (vocseg {__version__})"


@router.get("/health")
async def health(request: Request) -> dict[str, str]:
    """Say that the server lives."""
    return {"status": "UP", "model_class": service_of(request).segmenter.info.architecture}


@router.post("/setup", responses=PROBLEMS, openapi_extra=_BODY)
async def setup(request: Request) -> dict[str, str]:
    """Check a project's label configuration. Its address and key of Label Studio are not used."""
    service = service_of(request)
    read_config(_text(await _values(request, service), "schema"), service.segmenter.info.classes)
    return {"model_version": version(service.segmenter.info)}


@router.post("/webhook", responses=PROBLEMS, openapi_extra=_BODY)
async def webhook(request: Request) -> dict[str, str]:
    """Take note of an annotation: nothing is done, since the model is not trained here."""
    await _values(request, service_of(request))
    return {"status": "ok", "result": "not trained"}


@router.post("/predict", responses=PROBLEMS, openapi_extra=_BODY, response_class=Response)
async def predict(request: Request) -> Response:
    """Predict the polygons of each task. A task whose image cannot be read has an `error` and no polygons."""
    service = service_of(request)
    source: LabelStudio = request.app.state.label_studio
    service.check_room()
    with _place(request):
        values = await _values(request, service)
        control = read_config(_text(values, "label_config"), service.segmenter.info.classes)
        images = _images(values, control.key)
        del values
        answers: list[bytes | HTTPException] = []
        while images:
            group, images = images[: service.limits.workers], images[service.limits.workers :]
            answers += await _answers(request, service, source, control, group)
    wrong = [answer for answer in answers if isinstance(answer, HTTPException)]
    if wrong and len(wrong) == len(answers):
        raise wrong[0]
    request.state.log = {"images": len(answers), "failed": len(wrong), "format": "label-studio"}
    rows = [_failed(answer, service) if isinstance(answer, HTTPException) else answer for answer in answers]
    return Response(b'{"results": [' + b", ".join(rows) + b"]}", 200, {"Cache-Control": "no-store"}, JSON)


async def _answers(
    request: Request, service: Service, source: LabelStudio, control: Control, images: list[str | HTTPException]
) -> list[bytes | HTTPException]:  # fmt: skip
    """Return the answers for as many tasks as there are workers."""
    contents = await asyncio.gather(*(asyncio.to_thread(_content, source, image, service) for image in images))
    uploads = [Upload(content, "the task's image") for content in contents if isinstance(content, bytes)]
    answers: list[bytes | HTTPException] = []
    if uploads:
        answers = await service.run(uploads, partial(_rendered, control), gone(request))
    found = iter(answers)
    return [content if isinstance(content, HTTPException) else next(found) for content in contents]


def _content(source: LabelStudio, image: str | HTTPException, service: Service) -> bytes | HTTPException:
    if isinstance(image, HTTPException):
        return image
    try:
        return source.read(image, service.limits.max_bytes, service.limits.timeout)
    except HTTPException as error:
        return error


@contextmanager
def _place(request: Request) -> Iterator[None]:
    """Hold one of the places of predictions, or raise 429."""
    state = request.app.state
    if state.label_studio_requests >= MOST_REQUESTS:
        raise HTTPException(429, f"{MOST_REQUESTS} predictions for Label Studio are at work; try again later", {"Retry-After": "1"})
    state.label_studio_requests += 1
    try:
        yield
    finally:
        state.label_studio_requests -= 1


async def _values(request: Request, service: Service) -> dict[str, Any]:
    """Return the JSON object of a request, or raise 400, 413 or 422."""
    content = await read_body(request, service)
    if sum(map(content.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise HTTPException(413, f"the request has more than {MOST_PARTS:,} values; send fewer tasks")
    try:
        values = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, "the request is not JSON, or is nested too deeply") from error
    if not isinstance(values, dict):
        raise HTTPException(422, "the request is not a JSON object")
    return values


def _text(values: dict[str, Any], key: str) -> str:
    text = values.get(key)
    if not isinstance(text, str):
        raise HTTPException(422, f"{key} is missing, or is not text: the project's label configuration")
    return text


def _images(values: dict[str, Any], key: str) -> list[str | HTTPException]:
    """Return what names the image of each task, or what is wrong with the task."""
    tasks = values.get("tasks")
    if not isinstance(tasks, list) or not tasks:
        raise HTTPException(422, "tasks is missing, or is not a list of tasks")
    if len(tasks) > MOST_TASKS:
        raise HTTPException(413, f"the request has {len(tasks):,} tasks, more than {MOST_TASKS}; choose fewer")
    found: list[str | HTTPException] = []
    for task in tasks:
        data = task.get("data") if isinstance(task, dict) else None
        image = data.get(key) if isinstance(data, dict) else None
        missing = HTTPException(422, f"a task has no image: its data has no text called {key}")
        found.append(image if isinstance(image, str) and image else missing)
    return found


def _failed(error: HTTPException, service: Service) -> bytes:
    row = {"result": [], "error": str(error.detail), "model_version": version(service.segmenter.info)}
    return json.dumps(row).encode()
