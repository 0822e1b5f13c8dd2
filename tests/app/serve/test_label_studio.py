"""Label Studio's ML backend: its requests, the polygons on their way back to the mask, and what is refused."""

from __future__ import annotations

import base64
import functools
import http.server
import io
import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import vocseg
from vocseg import voc
from vocseg.app.serve.label_studio.config import LONGEST
from vocseg.app.serve.label_studio.images import LabelStudio
from vocseg.app.serve.label_studio.routes import MOST_PARTS, MOST_REQUESTS, MOST_TASKS
from vocseg.errors import SettingError

LABELS = "".join(f'<Label value="{name}"/>' for name in voc.CLASSES[1:])
CONFIG = f'<View><Image name="image" value="$image"/><PolygonLabels name="label" toName="image">{LABELS}</PolygonLabels></View>'
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 36, 3), dtype=np.uint8)


def png(pixels: Any = PIXELS) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def url(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def request(*images: Any, config: str = CONFIG) -> dict[str, Any]:
    """What Label Studio sends."""
    tasks = [{"id": number, "data": {"image": image}, "annotations": []} for number, image in enumerate(images)]
    params = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "model_version": None, "project": "7.1700000000", "label_config": config, "params": params}


def refusal(answer: Any, status: int) -> str:
    assert answer.status_code == status, answer.text
    assert "\n" not in answer.text
    return str(answer.json()["error"])


def test_health_and_setup(client: TestClient) -> None:
    assert client.get("/label-studio/health").json() == {"status": "UP", "model_class": "two_layer_net"}
    given = {"project": "7.17", "schema": CONFIG, "hostname": "http://10.0.0.1", "access_token": "x", "extra_params": None}
    assert client.post("/label-studio/setup", json=given).json()["model_version"].startswith("two_layer_net (vocseg ")


def test_webhook(client: TestClient) -> None:
    answer = client.post("/label-studio/webhook", json={"action": "ANNOTATION_CREATED", "project": {"id": 7}})
    assert (answer.status_code, answer.json()["status"]) == (200, "ok")


def test_predictions_come_back_as_the_mask(client: TestClient, segmenter: vocseg.Segmenter, tmp_path: Path) -> None:
    """Two tasks, as Label Studio would export them unchanged, through `vocseg data convert`."""
    images = [PIXELS, PIXELS[::-1].copy()]
    answer = client.post("/label-studio/predict", json=request(*(url(png(pixels)) for pixels in images)))
    results = answer.json()["results"]
    source, out, export = tmp_path / "export", tmp_path / "out", []
    source.mkdir()
    for number, (pixels, prediction) in enumerate(zip(images, results, strict=True)):
        (source / f"{number}.png").write_bytes(png(pixels))
        annotation = {"result": prediction["result"], "was_cancelled": False}
        export.append({"id": number, "data": {"image": f"/data/upload/7/0a1b2c3d-{number}.png"}, "annotations": [annotation]})
    (source / "export.json").write_text(json.dumps(export))
    vocseg.convert(source, out, classes=",".join(segmenter.info.classes))
    for number, pixels in enumerate(images):
        mask = np.asarray(Image.open(out / "SegmentationClass" / f"{number}.png"))
        assert len(np.unique(mask)) > 1
        np.testing.assert_array_equal(mask, segmenter(pixels).mask.numpy())


def test_label_studios_own_sdk_takes_the_prediction(client: TestClient) -> None:
    interface = pytest.importorskip("label_studio_sdk.label_interface")
    objects = pytest.importorskip("label_studio_sdk.label_interface.objects")
    [prediction] = client.post("/label-studio/predict", json=request(url(png()))).json()["results"]
    config = interface.LabelInterface(CONFIG)
    assert prediction["result"]
    assert config.validate_prediction(prediction, return_errors=True) == []
    assert objects.PredictionValue(**prediction).model_version == prediction["model_version"]


def test_a_task_that_cannot_be_read_leaves_the_others(client: TestClient) -> None:
    given = request(url(png()), url(b"nothing"), None, url(png()))
    good, bad, missing, last = client.post("/label-studio/predict", json=given).json()["results"]
    assert good["result"] == last["result"] != []
    assert (bad["result"], missing["result"]) == ([], [])
    assert "not an image" in bad["error"]
    assert "has no image" in missing["error"]
    assert "not an image" in refusal(client.post("/label-studio/predict", json=request(url(b"nothing"))), 415)


def test_labels_and_names_are_those_of_the_configuration(client: TestClient) -> None:
    config = (
        '<View><Header value="$title"/><Image name="photo" value="$image"/><BrushLabels name="b" toName="photo">'
        '<Label value="cat"/></BrushLabels><PolygonLabels name="shape" toName="text,photo" model_simplify="1.5"><View>'
        '<Label value="Aeroplane &#xE9;" '
        'predicted_values="aeroplane, bird,cat,dog,sofa"/><Label value="TV Monitor"/></View></PolygonLabels></View>'
    )
    [prediction] = client.post("/label-studio/predict", json=request(url(png()), config=config)).json()["results"]
    assert {(one["from_name"], one["to_name"]) for one in prediction["result"]} == {("shape", "photo")}
    assert {name for one in prediction["result"] for name in one["value"]["polygonlabels"]} <= {"Aeroplane é", "TV Monitor"}


ENTITIES = "".join(f'<!ENTITY e{number + 1} "{f"&e{number};" * 10}">' for number in range(9))
BOMB = f'<!DOCTYPE a [<!ENTITY e0 "aaaaaaaaaa">{ENTITIES}]><View>&e9;</View>'


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (BOMB, "document type"),
        ('<!DOCTYPE a [<!ENTITY a SYSTEM "file:///etc/passwd">]><View>&a;</View>', "document type"),
        ("<View>&a;</View>", "not XML"),
        ("<View>", "not XML"),
        ("\ud800", "not XML"),
        ("", "not XML"),
        ("<View>" * 20_000, "not XML"),
        ("<a>" * 20_000 + "</a>" * 20_000, "no PolygonLabels"),
        (" " * (LONGEST + 1), "more than"),
        ('<View><Text name="t" value="$t"/><PolygonLabels name="l" toName="t"/></View>', "no PolygonLabels for an Image"),
        (CONFIG.replace("$image", "http://10.0.0.1/"), "not the name of a task's data"),
        (CONFIG.replace(LABELS, '<Label value="unicorn\u2028"/>'), "no label of label"),
        (CONFIG.replace('toName="image"', 'toName="image" model_simplify="nan"'), "model_simplify is 'nan'"),
    ],
)  # fmt: skip
def test_configurations_that_are_refused(client: TestClient, config: str, message: str) -> None:
    for address, given in (("setup", {"schema": config}), ("predict", request(url(png()), config=config))):
        content = json.dumps(given)
        assert message in refusal(client.post(f"/label-studio/{address}", content=content), 422)


@pytest.mark.parametrize(
    ("content", "status", "message"),
    [
        ("", 400, "not JSON"),
        ("[" * 100_000, 400, "not JSON"),
        ("9" * 10_000, 400, "not JSON"),
        (b"\xff\xfe\x00", 400, "not JSON"),
        ("[1]", 422, "not a JSON object"),
        ("{}", 422, "label_config is missing"),
        (json.dumps(request()), 422, "tasks is missing"),
        (json.dumps(request() | {"tasks": {"data": 1}}), 422, "tasks is missing"),
        (json.dumps(request() | {"tasks": ["x"]}), 422, "has no image"),
        (json.dumps(request() | {"tasks": [{"data": {"image": ["x"]}}]}), 422, "has no image"),
        (json.dumps(request(*["x"] * (MOST_TASKS + 1))), 413, "257 tasks"),
        ("[" + "{}," * MOST_PARTS + "{}]", 413, "values"),
        (json.dumps(request("data:image/png;base64")), 422, "no comma"),
        (json.dumps(request("data:image/png;base64,%%%")), 422, "not base64"),
        (json.dumps(request("data:,%00\ud800")), 422, "percent-encoded"),
        (json.dumps(request("\ud800\u202e")), 422, "not read"),
    ],
)  # fmt: skip
def test_requests_that_are_refused(client: TestClient, content: Any, status: int, message: str) -> None:
    answer = client.post("/label-studio/predict", content=content, headers={"Content-Type": "application/json"})
    assert message in refusal(answer, status)


def test_a_data_url_may_be_percent_encoded(client: TestClient) -> None:
    encoded = "data:image/png," + "".join(f"%{byte:02x}" for byte in png())
    [plain, other] = client.post("/label-studio/predict", json=request(url(png()), encoded)).json()["results"]
    assert plain["result"] == other["result"]


def test_predictions_at_the_same_time_are_bounded(client: TestClient) -> None:
    client.app.state.label_studio_requests = MOST_REQUESTS  # type: ignore[attr-defined]
    answer = client.post("/label-studio/predict", json=request(url(png())))
    assert "at work" in refusal(answer, 429)
    assert answer.headers["retry-after"] == "1"


def test_the_token_is_needed_and_may_be_basics_password(open_client: Callable[..., TestClient]) -> None:
    client = open_client(token="secret")
    assert client.get("/label-studio/health").status_code == 200
    for address in ("setup", "predict", "webhook"):
        assert client.post(f"/label-studio/{address}", json={"schema": CONFIG}).status_code == 401
    answer = client.post("/label-studio/setup", json={"schema": CONFIG}, auth=("anyone", "secret"))
    assert answer.status_code == 200


class FakeLabelStudio(http.server.BaseHTTPRequestHandler):
    """Serves an image, redirects, an endless file; ``seen``: what was asked for, and with which key."""

    seen: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.seen.append((self.path, self.headers.get("Authorization")))
        if self.path.startswith("/data/upload/redirect"):
            self.send_response(302)
            self.send_header("Location", "/data/upload/1/a.png")
            self.end_headers()
        elif self.path.startswith("/data/upload/missing"):
            self.send_error(404)
        else:
            self.send_response(200)
            self.end_headers()
            content = b"x" * 100_000 if "large" in self.path else png()
            self.wfile.write(content)

    def do_POST(self) -> None:
        self.seen.append((self.path, self.rfile.read(int(self.headers["Content-Length"])).decode()))
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b'{"access": "minutes"}')

    def log_message(self, *arguments: Any) -> None:
        pass


@pytest.fixture
def label_studio() -> Iterator[tuple[str, list[tuple[str, str | None]]]]:
    handler = type("Handler", (FakeLabelStudio,), {"seen": []})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=functools.partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", handler.seen
    server.shutdown()
    thread.join()
    server.server_close()


Tool = tuple[str, list[tuple[str, str | None]]]


def test_images_of_label_studio(label_studio: Tool, open_client: Callable[..., TestClient]) -> None:
    address, seen = label_studio
    client = open_client(label_studio_url=address, label_studio_key="legacy")
    names = ["/data/upload/1/a b.png", "/data/local-files/?d=a/b.png", f"{address}/data/upload/1/%C3%A9.png"]
    results = client.post("/label-studio/predict", json=request(*names, url(png()))).json()["results"]
    assert all(one["result"] == results[-1]["result"] for one in results)
    assert sorted(seen) == [
        ("/data/local-files/?d=a/b.png", "Token legacy"),
        ("/data/upload/1/%C3%A9.png", "Token legacy"),
        ("/data/upload/1/a%20b.png", "Token legacy"),
    ]


def test_a_personal_token_is_traded_for_one_of_minutes(label_studio: Tool, open_client: Callable[..., TestClient]) -> None:
    address, seen = label_studio
    client = open_client(label_studio_url=address, label_studio_key="a.b.c")
    client.post("/label-studio/predict", json=request("/data/upload/1/a.png"))
    assert seen == [("/api/token/refresh/", '{"refresh": "a.b.c"}'), ("/data/upload/1/a.png", "Bearer minutes")]


@pytest.mark.parametrize(
    ("path", "status", "message"),
    [
        ("/data/upload/redirect.png", 502, "answers 302"),
        ("/data/upload/missing.png", 502, "answers 404"),
        ("/data/upload/large.png", 413, "more than 50,000 bytes"),
    ],
)
def test_answers_of_label_studio_that_are_refused(
    label_studio: Tool, open_client: Callable[..., TestClient], path: str, status: int, message: str
) -> None:
    address, seen = label_studio
    client = open_client(label_studio_url=address, max_bytes=50_000)
    assert message in refusal(client.post("/label-studio/predict", json=request(path)), status)
    assert len(seen) == 1


ELSEWHERE = [
    "http://169.254.169.254/latest/meta-data/", "file:///etc/passwd", "/etc/passwd", "etc/passwd", "//evil.example/data/a.png",
    "ftp://127.0.0.1/data/a.png", "http://127.0.0.1:1/data/a.png", "http://localhost@evil.example/data/a.png",
    "http://evil.example\\@127.0.0.1/data/a.png", "/api/users/", "/data/../api/users/", "/data/%2e%2e/api/users/",
    "/data/%252e%252e/api/users/", "/data/..\\api", "/data/a\r\nHost: evil", "/data/%0d%0aHost:%20evil", "/data/", "gopher://x", "s3://b/a.png",
    "http://[::1", "http://127.0.0.1:99999/data/a.png", "javascript:alert(1)", "\\\\evil.example\\data\\a.png",
]  # fmt: skip


@pytest.mark.parametrize("image", ELSEWHERE)
def test_nothing_is_read_from_elsewhere(label_studio: Tool, image: str) -> None:
    address, seen = label_studio
    for source in (LabelStudio(), LabelStudio(address, "secret")):
        with pytest.raises(Exception, match=r"not read|not an address") as caught:
            source.read(image, 1000, 1.0)
        assert getattr(caught.value, "status_code", 0) == 422
    assert seen == []


def test_images_are_read_below_a_path() -> None:
    source = LabelStudio("https://tools.example/labels/")
    assert source.address("/labels/data/upload/1/a.png") == "https://tools.example/labels/data/upload/1/a.png"
    assert source.address("/data/upload/1/a.png") == "https://tools.example/labels/data/upload/1/a.png"


@pytest.mark.parametrize("given", ["localhost:8080", "ftp://a", "http://", "http://user@a", "http://a?b", "http://a:99999"])
def test_addresses_of_label_studio_are_checked(segmenter: vocseg.Segmenter, given: str) -> None:
    with pytest.raises(SettingError, match="is not like"):
        vocseg.serve(segmenter, label_studio_url=given)


def test_keys_are_not_shown() -> None:
    assert "secret" not in repr(LabelStudio("http://a", "secret"))
    with pytest.raises(SettingError, match="key is empty"):
        LabelStudio("http://a", " ")
