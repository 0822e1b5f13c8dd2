"""The addresses below ``/v1``."""

from __future__ import annotations

import json
from collections import Counter
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response

from vocseg import __version__
from vocseg.app.serve.answers import JSON, MEDIA_TYPES, Answer, Format, Polygons, Wanted, choose_format, hexadecimal
from vocseg.app.serve.metrics import MEDIA_TYPE, Metrics
from vocseg.app.serve.service import MAX_SIDE, Service
from vocseg.app.serve.uploads import FIELD, read_uploads
from vocseg.inference.segmenter import MAX_ASPECT
from vocseg.voc import OPACITY

router = APIRouter()
MOST_IN_BATCH = 16
_FILE = {"type": "string", "format": "binary"}
_PROBLEM = {"description": "one line that names what is wrong", "content": {JSON: {"example": {"error": "..."}}}}
PROBLEMS: dict[int | str, dict[str, Any]] = {
    status: _PROBLEM | {"description": text}
    for status, text in {
        400: "malformed request", 401: "no token, or a wrong one",
        403: "a name of the server, or an origin of a page, that is not allowed", 408: "the upload took too long",
        413: "too many bytes or pixels", 415: "not a type that is read", 422: "broken image, or a wrong parameter",
        429: "the queue is full: see Retry-After", 503: "no free worker in time, or the server is ending", 504: "no mask in time",
    }.items()
}  # fmt: skip


def _found(what: str, *refusals: int) -> dict[int | str, dict[str, Any]]:
    """Describe the answer of an address, and the problems that it may have."""
    answers: dict[int | str, dict[str, Any]] = {200: {"description": what}}
    return answers | {status: PROBLEMS[status] for status in refusals}


def _form(field: dict[str, Any]) -> dict[str, Any]:
    schema = {"type": "object", "required": [FIELD], "properties": {FIELD: field}}
    return {"multipart/form-data": {"schema": schema}}


_BODIES = {kind: {"schema": _FILE} for kind in ("image/jpeg", "image/png")}
ONE = {"requestBody": {"required": True, "content": _form(_FILE) | _BODIES}}
SEVERAL = {"requestBody": {"required": True, "content": _form({"type": "array", "items": _FILE})}}
MASKS: dict[int | str, dict[str, Any]] = {
    200: {"description": "the mask, or what format says", "content": {kind: {} for kind in dict.fromkeys(MEDIA_TYPES.values())}},
    406: _PROBLEM | {"description": "Accept names neither PNG nor JSON"},
}

Form = Annotated[Format | None, Query(alias="format", description="What to answer. Without it: what the header Accept says.")]
Shapes = Annotated[Polygons, Query(description="Of JSON: the regions' polygons, each class as COCO's run lengths, or neither.")]
Mask = Annotated[bool, Query(description="Of JSON: also the mask, a PNG in base64.")]
Opacity = Annotated[float, Query(ge=0, le=1, description="Of an overlay's colors.")]
Name = Annotated[str, Query(max_length=200, description="The image's name in files that name it (coco, labelme, ...).")]


async def known_parameters(request: Request) -> None:
    """Refuse parameters that the address does not have: misspelled ones would do nothing."""
    known = [parameter.alias for parameter in request.scope["route"].dependant.query_params]
    for name in request.query_params:
        if name not in known:
            raise HTTPException(422, f"there is no parameter {name[:80]!r}; there are {', '.join(known)}")


STRICT = [Depends(known_parameters)]


@router.post("/v1/predict", dependencies=STRICT, responses=MASKS | PROBLEMS, openapi_extra=ONE, response_class=Response)
async def predict(
    request: Request, form: Form = None, polygons: Shapes = "polygons", mask: Mask = False, opacity: Opacity = OPACITY,
    name: Name = "image",
) -> Response:  # fmt: skip
    """Segment an image: the field `image` of a form, or the body itself.

    Answers the mask as a palette PNG of class ids, JSON with `Accept: application/json`, or what `format` says.
    """
    service = service_of(request)
    service.check_room()
    chosen = form or choose_format(request.headers.get("accept", ""))
    wanted = Wanted(chosen, polygons, mask, opacity, name, request.state.request_id)
    uploads = await read_uploads(request, service, 1)
    [answer] = await service.run(uploads, wanted.render, gone(request))
    if isinstance(answer, HTTPException):
        raise answer
    height, width = answer.size
    request.state.log = {"width": width, "height": height, "format": chosen, **answer.times}
    headers = {"X-Vocseg-Size": f"{width}x{height}", "Cache-Control": "no-store", "Server-Timing": _timing(answer)}
    return Response(answer.content, 200, headers, answer.media_type)


@router.post(
    "/v1/predict-batch", dependencies=STRICT, responses=_found("a list of answers, in order") | PROBLEMS, openapi_extra=SEVERAL,
    response_class=JSONResponse,
)  # fmt: skip
async def predict_batch(request: Request, polygons: Shapes = "polygons", mask: Mask = False) -> Response:
    """Segment several images, each a field `image` of one form: a list of JSON answers in order.

    An image that cannot be read has an `error` and a `status` in its place.
    """
    service = service_of(request)
    service.check_room()
    wanted = Wanted("json", polygons, mask, request_id=request.state.request_id)
    uploads = await read_uploads(request, service, min(MOST_IN_BATCH, service.capacity))
    answers = await service.run(uploads, wanted.render, gone(request))
    stages: Counter[str] = Counter()
    for answer in answers:
        stages.update(answer.times if isinstance(answer, Answer) else {})
    times = {stage: round(ms, 2) for stage, ms in stages.items()}
    request.state.log = {"images": len(answers), "format": "json", **times}  # the stages' times, of all images together
    return Response(b"[" + b",".join(map(_in_list, answers)) + b"]", 200, {"Cache-Control": "no-store"}, JSON)


@router.get("/v1/model", responses=_found("the model and the limits", 401))
async def model(request: Request) -> dict[str, Any]:
    """Describe the model: classes, colors, scores, the sizes it sees, and the limits of this service."""
    service = service_of(request)
    segmenter, info, limits = service.segmenter, service.segmenter.info, service.limits
    colors = [hexadecimal(color) for color in info.palette]
    classes = [{"id": label, "name": name, "color": colors[label]} for label, name in enumerate(info.classes)]
    return {
        "name": info.architecture, "classes": classes, "palette": colors, "scores": info.scores, "trained_on": info.trained_on,
        "license": info.license,
        "network_size": {"short_side": info.short_side, "max_short_side": segmenter.max_short_side, "max_aspect": MAX_ASPECT},
        "device": str(segmenter.device), "precision": segmenter.precision, "tta": segmenter.tta,
        "limits": {
            "max_bytes": limits.max_bytes, "max_pixels": limits.max_pixels, "max_side": MAX_SIDE, "queue": limits.queue,
            "workers": limits.workers, "timeout": limits.timeout, "batch": min(MOST_IN_BATCH, service.capacity),
        },
        "formats": list(MEDIA_TYPES), "vocseg_version": __version__,
    }  # fmt: skip


@router.head("/v1/health", include_in_schema=False)
@router.get("/v1/health", responses=_found("the server lives"))
async def health() -> dict[str, str]:
    """Say that the server lives."""
    return {"status": "ok"}


@router.head("/v1/ready", include_in_schema=False)
@router.get("/v1/ready", responses=_found("the server takes images") | {503: _PROBLEM})
async def ready(request: Request) -> dict[str, str]:
    """Say whether the server takes images: 503 until the network has run once, and while the server ends."""
    service = service_of(request)
    if service.is_ending or not service.is_warm:
        raise HTTPException(503, "the server is ending" if service.is_ending else "the network is starting", {"Retry-After": "1"})
    return {"status": "ready"}


@router.get("/v1/metrics", response_class=Response, responses=_found("the metrics", 401))
@router.get("/metrics", response_class=Response, include_in_schema=False)
async def metrics(request: Request) -> Response:
    """Count requests, times and memory, in Prometheus' text format."""
    found: Metrics = request.app.state.metrics
    return Response(found.text(), media_type=MEDIA_TYPE)


def service_of(request: Request) -> Service:
    """Return the service behind a request's app."""
    service: Service = request.app.state.service
    return service


async def gone(request: Request) -> None:
    """End when the client has closed the connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _in_list(answer: Answer | HTTPException) -> bytes:
    if isinstance(answer, HTTPException):
        return json.dumps({"error": answer.detail, "status": answer.status_code}).encode()
    return answer.content


def _timing(answer: Answer) -> str:
    return ", ".join(f"{stage};dur={value}" for stage, value in answer.times.items())
