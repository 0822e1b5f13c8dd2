"""Answers of the API hold what the Segmenter gives."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import vocseg
from vocseg.app.serve.answers import MEDIA_TYPES, choose_format
from vocseg.app.serve.routes import MOST_IN_BATCH
from vocseg.convert.rle import decode

JPEG = {"Content-Type": "image/jpeg"}
AS_JSON = {"Accept": "application/json"}


@pytest.fixture(scope="module")
def content(photograph: Path) -> bytes:
    """A small part of a photograph: masks of random weights have many regions."""
    part = io.BytesIO()
    Image.open(photograph).crop((150, 100, 225, 150)).save(part, "JPEG")
    return part.getvalue()


@pytest.fixture(scope="module")
def mask(segmenter: vocseg.Segmenter, content: bytes) -> np.ndarray:
    return segmenter(content).mask.numpy()


def file(content: bytes) -> Any:
    return {"image": ("any name.jpg", content, "image/jpeg")}


def pixels(png: bytes) -> np.ndarray:
    image = Image.open(io.BytesIO(png))
    assert (image.format, image.mode) == ("PNG", "P")
    return np.array(image)


@pytest.mark.parametrize("accept", [None, "*/*", "image/png", "text/html,*/*;q=0.8"])
def test_the_mask(client: TestClient, content: bytes, mask: np.ndarray, accept: str | None) -> None:
    headers = JPEG | ({} if accept is None else {"Accept": accept})
    answer = client.post("/v1/predict", content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
    assert np.array_equal(pixels(answer.content), mask)
    assert answer.headers["x-vocseg-size"] == "75x50"
    assert answer.headers["x-request-id"]
    assert Image.open(io.BytesIO(answer.content)).getpalette()[3:6] == [128, 0, 0]


@pytest.mark.parametrize("kind", ["image/png", "application/octet-stream", "image/anything"])
def test_the_content_counts_and_not_its_type(client: TestClient, content: bytes, mask: np.ndarray, kind: str) -> None:
    answer = client.post("/v1/predict", content=content, headers={"Content-Type": kind})
    assert np.array_equal(pixels(answer.content), mask)


def test_json(client: TestClient, content: bytes, mask: np.ndarray, segmenter: vocseg.Segmenter) -> None:
    answer = client.post("/v1/predict?mask=1", files=file(content), headers=AS_JSON | {"X-Request-Id": "mine-1"})
    found = answer.json()
    assert (answer.status_code, found["id"], found["size"], found["notes"]) == (200, "mine-1", [50, 75], [])
    assert np.array_equal(pixels(base64.b64decode(found["mask"])), mask)
    labels, counts = np.unique(mask, return_counts=True)
    assert {row["id"]: row["pixels"] for row in found["classes"]} == dict(zip(labels.tolist(), counts.tolist(), strict=True))
    assert [row["share"] for row in found["classes"]] == pytest.approx(sorted(counts / mask.size, reverse=True))
    assert found["areas"] == {row["name"]: row["share"] for row in found["classes"]}
    assert all(row["color"] == "#{:02x}{:02x}{:02x}".format(*segmenter.info.palette[row["id"]]) for row in found["classes"])
    assert list(found["time_ms"]) == ["wait", "decode", "network", "encode"]
    for row in found["polygons"]:
        left, top, width, height = row["bbox"]
        xs, ys = zip(*row["polygon"], strict=True)
        assert (left, top, left + width, top + height) == (min(xs), min(ys), max(xs), max(ys))


def test_run_lengths(client: TestClient, content: bytes, mask: np.ndarray) -> None:
    found = client.post("/v1/predict?polygons=rle", files=file(content), headers=AS_JSON).json()
    assert "polygons" not in found
    for row in found["rle"]:
        region = decode(row, *mask.shape)
        whole = np.zeros(mask.shape, dtype=bool)
        whole[region.box] = region.pixels
        assert np.array_equal(whole, mask == row["id"])
        assert row["area"] == (mask == row["id"]).sum()
    assert (
        not {"rle", "polygons", "mask"}
        & client.post("/v1/predict?polygons=none", files=file(content), headers=AS_JSON).json().keys()
    )


def test_polygons_are_those_of_the_library(client: TestClient, content: bytes, segmenter: vocseg.Segmenter) -> None:
    found = client.post("/v1/predict?format=polygons", files=file(content)).json()
    assert found == {"width": 75, "height": 50, "polygons": json.loads(json.dumps(segmenter(content).polygons()))}


@pytest.mark.parametrize("name", MEDIA_TYPES)
def test_formats(client: TestClient, content: bytes, name: str) -> None:
    answer = client.post(f"/v1/predict?format={name}&name=../a%20b.jpg", files=file(content), headers=AS_JSON)
    assert (answer.status_code, answer.headers["content-type"]) == (200, MEDIA_TYPES[name])
    if name in ("coco", "cvat", "label-studio", "areas"):
        assert "a b.jpg" in answer.text
        assert ".." not in answer.text
    elif name == "labelme":
        assert answer.json()["imagePath"] == "a b.jpg"
    elif name in ("mask", "overlay", "cutout"):
        assert Image.open(io.BytesIO(answer.content)).width >= 75


def test_probabilities(client: TestClient, content: bytes, segmenter: vocseg.Segmenter) -> None:
    answer = client.post("/v1/predict?format=probabilities", files=file(content))
    found = np.load(io.BytesIO(answer.content))
    assert list(found["classes"]) == list(segmenter.info.classes)
    assert np.array_equal(found["probabilities"], segmenter(content).probabilities().numpy().astype(np.float16))
    large = io.BytesIO()
    Image.new("RGB", (2000, 1700)).save(large, "PNG")
    refused = client.post("/v1/predict?format=probabilities", files=file(large.getvalue()))
    assert (refused.status_code, "megapixels" in refused.json()["error"]) == (413, True)


def test_notes(client: TestClient) -> None:
    image = io.BytesIO()
    Image.new("RGB", (1600, 1280), "red").save(image, "PNG")
    found = client.post("/v1/predict?polygons=none", files=file(image.getvalue()), headers=AS_JSON).json()
    assert found["notes"] == ["the network saw the image at 800x640 pixels"]


def test_the_description_names_answers_and_refusals(client: TestClient) -> None:
    paths = client.get("/openapi.json").json()["paths"]
    found = {path: answers["responses"] for path, verbs in paths.items() for answers in verbs.values()}
    assert {path for path in found if path.startswith("/v1/") and "401" not in found[path]} == {"/v1/health", "/v1/ready"}
    ours = [answers["200"]["description"] for path, answers in found.items() if path.startswith("/v1/")]
    assert "Successful Response" not in ours


def test_a_batch(client: TestClient, content: bytes, mask: np.ndarray) -> None:
    parts = [("image", ("a", part)) for part in (content, b"no image", content[:900])] + [("image", ("b", content))]
    answer = client.post("/v1/predict-batch?polygons=none&mask=1", files=parts)
    first, wrong, damaged, last = answer.json()
    assert answer.status_code == 200
    assert np.array_equal(pixels(base64.b64decode(first["mask"])), mask)
    assert first["mask"] == last["mask"]
    assert (wrong["status"], damaged["status"]) == (415, 422)
    assert "image 2" in wrong["error"]
    assert "image 3" in damaged["error"]
    too_many = client.post("/v1/predict-batch", files=[("image", ("a", content))] * (MOST_IN_BATCH + 1))
    assert (too_many.status_code, too_many.json()["error"]) == (422, "the form has more than 16 images; send several requests")


def test_the_model(open_client: Callable[..., TestClient], segmenter: vocseg.Segmenter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocseg.utils.system._limits", {})
    found = open_client().get("/v1/model").json()
    assert [row["name"] for row in found["classes"]] == list(segmenter.info.classes)
    assert found["classes"][1] == {"id": 1, "name": "aeroplane", "color": "#800000"}
    assert (found["name"], found["vocseg_version"]) == ("two_layer_net", vocseg.__version__)
    assert found["limits"]["max_pixels"] == 25_000_000
    assert found["limits"]["max_side"] == 16_384
    assert found["license"] is None
    licensed = vocseg.Segmenter(vocseg.create_model("vocseg-s"), device="cpu").info.license
    assert open_client(vocseg.Segmenter(device="cpu")).get("/v1/model").json()["license"] == licensed
    assert str(licensed).startswith("Apache-2.0")


def test_probes_and_metrics(client: TestClient, content: bytes) -> None:
    assert client.get("/v1/health").json() == {"status": "ok"}
    client.post("/v1/predict", files=file(content))
    assert client.get("/v1/ready").json() == {"status": "ready"}
    client.get("/" + "x" * 30)
    text = client.get("/metrics").text
    assert 'vocseg_requests_total{method="POST",path="/v1/predict",status="200"} 1.0' in text
    assert 'vocseg_requests_total{method="GET",path="other",status="404"} 1.0' in text
    assert 'vocseg_stage_seconds_count{stage="network"} 1.0' in text
    assert "vocseg_waiting_images 0.0" in text
    assert "process_resident_memory_bytes" in text
    client.app.state.service.end()  # type: ignore[attr-defined]
    for path, method in (("/v1/ready", "GET"), ("/v1/predict", "POST")):
        ending = client.request(method, path)
        assert (ending.status_code, "ending" in ending.json()["error"], "retry-after" in ending.headers) == (503, True, True)


def test_the_description_works_without_a_network(client: TestClient) -> None:
    description = client.get("/openapi.json").json()
    assert {"/v1/predict", "/v1/predict-batch", "/v1/model", "/v1/health", "/v1/ready", "/v1/metrics"} <= description[
        "paths"
    ].keys()
    page = client.get("/docs")
    assert page.headers["content-type"].startswith("text/html")
    for path in description["paths"]:
        assert path in page.text
    assert not any(part in page.text for part in ("<script", "src=", "http://", "https://"))
    assert "the field <code>image</code> of a form" in page.text
    assert {"403", "406"} <= description["paths"]["/v1/predict"]["post"]["responses"].keys()


def test_probes_may_ask_for_the_head_only(client: TestClient) -> None:
    for path in ("/v1/health", "/v1/ready"):
        assert client.head(path).status_code == client.get(path).status_code


def test_the_page_may_run_only_what_comes_from_here(client: TestClient) -> None:
    answer = client.get("/")
    assert client.head("/").status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    policy = answer.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert "http" not in policy
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert client.get("/samples/chelsea.jpg").headers["content-type"] == "image/jpeg"


@pytest.mark.parametrize(
    ("method", "path", "status", "message"),
    [
        ("GET", "/nothing", 404, "there is nothing at /nothing; /docs lists what is there"),
        ("GET", "/static/../gate.py", 404, "there is nothing at"),
        ("GET", "/static/%2e%2e/gate.py", 404, "there is nothing at"),
        ("GET", "/static//etc/passwd", 404, "there is nothing at"),
        ("GET", "/samples/..%2f..%2f..%2f__init__.py", 404, "there is nothing at"),
        ("GET", "/v1/predict", 405, "GET is not possible at /v1/predict; POST is"),
        ("DELETE", "/v1/model", 405, "DELETE is not possible at /v1/model; GET is"),
        ("POST", "/v1/predict?format=bmp", 422, "format: should be 'mask', 'json'"),
        ("POST", "/v1/predict?polygon=none", 422, "no parameter 'polygon'; there are format, polygons, mask, opacity, name"),
        ("POST", "/v1/predict-batch?format=mask", 422, "there is no parameter 'format'; there are polygons, mask"),
        ("POST", "/v1/predict?opacity=2", 422, "opacity: should be less than or equal to 1, not '2'"),
        ("POST", "/v1/predict?polygons=yes", 422, "polygons: should be 'polygons', 'rle' or 'none', not 'yes'"),
        ("POST", f"/v1/predict?name={'x' * 201}", 422, "name: string should have at most 200 characters"),
    ],
)
def test_errors_have_one_shape(client: TestClient, method: str, path: str, status: int, message: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert message in answer.json()["error"]
    assert "\n" not in answer.text


def test_an_error_that_nobody_expected(
    open_client: Callable[..., TestClient], content: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_client(vocseg.Segmenter("two_layer_net", device="cpu"))

    def fail(*_: Any, **__: Any) -> None:
        raise KeyError("secret")

    client.app.state.service.segmenter.segment_loaded = fail  # type: ignore[attr-defined]
    answer = client.post("/v1/predict", files=file(content))
    assert (answer.status_code, list(answer.json())) == (500, ["error"])
    assert "secret" not in answer.text
    assert answer.headers["x-request-id"] in answer.json()["error"]
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        ("application/json, image/png;q=0.5", "json"), ("image/png, application/json;q=0.9", "mask"), ("*/*", "mask"),
        ("", "mask"),
        ("application/json;q=0.2, */*;q=0.1", "json"), ("application/json, */*", "json"),
        ("image/png;q=x, application/json", "json"),
    ],
)  # fmt: skip
def test_accept(accept: str, wanted: str) -> None:
    assert choose_format(accept) == wanted


def test_accept_of_other_types(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/predict", files=file(content), headers={"Accept": "audio/mpeg"})
    assert (answer.status_code, list(answer.json())) == (406, ["error"])


def test_it_opens_no_connection(client: TestClient, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        pytest.fail("a connection")

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(f"socket.socket.{name}", refuse)
    monkeypatch.setattr("socket.getaddrinfo", refuse)
    for name in MEDIA_TYPES:
        assert client.post(f"/v1/predict?format={name}", files=file(content)).status_code == 200
    for path in ("/", "/docs", "/openapi.json", "/v1/model", "/metrics"):
        assert client.get(path).status_code == 200


PATHS = [
    "/static", "/static/", "/static/../server.py", "/static/..%2fserver.py", "/static/%2e%2e/server.py", "/static//etc/passwd",
    "/static/..%5cserver.py", "/static/%00", "/static/app.js%00.png", "/samples/%2e%2e/%2e%2e/vocseg-s.safetensors", "/samples/",
    "/static/" + "a" * 5000, "/static/%ff%ff", "/v1/model/", "/%0d%0aSet-Cookie:x",
]  # fmt: skip


@pytest.mark.parametrize("path", PATHS)
def test_nothing_but_the_pages_files_is_read(client: TestClient, path: str) -> None:
    answer = client.get(path, follow_redirects=False)
    assert (answer.status_code, list(answer.json())) == (404, ["error"])
    assert "\n" not in answer.text


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "X" * 500])
@pytest.mark.parametrize("path", ["/", "/v1/predict", "/static/app.js", "/label-studio/predict"])
def test_other_methods(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path)
    assert (answer.status_code, list(answer.json())) == (405, ["error"])


@pytest.mark.parametrize("ranges", ["bytes=99999-1", "lines=1", "bytes=0-1", "bytes=" + ",".join(["0-"] * 5000)])
def test_files_are_sent_whole(client: TestClient, ranges: str) -> None:
    for path in ("/", "/static/app.js", "/samples/chelsea.jpg"):
        answer = client.get(path, headers={"Range": ranges})
        assert (answer.status_code, answer.content) == (200, client.get(path).content)
