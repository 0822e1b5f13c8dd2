"""Who may ask."""

from __future__ import annotations

import base64
from collections.abc import Callable

import pytest
from starlette.testclient import TestClient

from app.serve.hostile import PNG
from vocseg.errors import SettingError

TOKEN = "s3cret token"


def basic(text: str) -> str:
    return "Basic " + base64.b64encode(text.encode()).decode()


@pytest.mark.parametrize(
    ("header", "status"),
    [
        (f"Bearer {TOKEN}", 200), (f"bearer {TOKEN}", 200), (basic(f"anybody:{TOKEN}"), 200), (None, 401), ("Bearer", 401),
        ("Bearer ", 401), ("Bearer other", 401), (f"Bearer {TOKEN}x", 401), (TOKEN, 401), (f"Token {TOKEN}", 401),
        ("Basic !!!", 401),
        (basic(TOKEN), 401), (basic("a:b"), 401), ("Basic /w==", 401), ("Bearer \xff", 401),
    ],
)  # fmt: skip
def test_the_token(open_client: Callable[..., TestClient], header: str | None, status: int) -> None:
    client = open_client(token=TOKEN)
    headers = {} if header is None else {"Authorization": header.encode("latin-1")}
    answer = client.post("/v1/predict", content=PNG, headers=headers)  # type: ignore[arg-type]
    assert answer.status_code == status
    if status == 401:
        assert list(answer.json()) == ["error"]
        assert answer.headers["www-authenticate"].startswith("Bearer")
        assert TOKEN not in answer.text


def test_what_needs_no_token(open_client: Callable[..., TestClient]) -> None:
    client = open_client(token=TOKEN)
    for path in ("/", "/v1/health", "/v1/ready", "/docs", "/openapi.json"):
        assert client.get(path).status_code in (200, 503), path
    for path in ("/v1/model", "/metrics", "/v1/metrics", "/v1/nothing", "//v1/model", "/v1/health/../model", "/static/../v1/model"):
        assert client.get(path).status_code == 401, path


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost", 200), ("localhost:8000", 200), ("LOCALHOST.", 200), ("127.0.0.1:8000", 200), ("127.9.9.9", 200),
        ("[::1]:8000", 200),
        ("evil.example", 403), ("localhost.evil.example", 403), ("127.0.0.1.evil.example", 403), ("", 403), ("[::1", 403),
        ("10.0.0.1", 403),
        ("0.0.0.0", 403), ("localhost@evil.example", 403), ("evil@localhost", 403), ("localhost/x", 403), ("localhost?x", 403),
    ],
)  # fmt: skip
def test_names_of_the_server(open_client: Callable[..., TestClient], host: str, status: int) -> None:
    """A page whose name an attacker points at 127.0.0.1 is refused."""
    answer = open_client().get("/v1/model", headers={"Host": host})
    assert answer.status_code == status
    if status == 403:
        assert "--allow-host" in answer.json()["error"]


def test_other_names(open_client: Callable[..., TestClient]) -> None:
    for wrong in ("http://seg.example.org", "seg.example.org:8080", "seg.example.org/x", ""):
        with pytest.raises(SettingError, match="is not a name like"):
            open_client(hosts=[wrong])
    assert open_client(hosts=["Seg.Example.org"]).get("/v1/health", headers={"Host": "seg.example.ORG"}).status_code == 200
    named, with_token = open_client(hosts=["seg.example.org"]), open_client(token=TOKEN)
    both = open_client(hosts=["seg.example.org"], token=TOKEN)
    assert named.get("/v1/health", headers={"Host": "seg.example.org:80"}).status_code == 200
    assert named.get("/v1/health", headers={"Host": "other.example.org"}).status_code == 403
    assert with_token.get("/v1/health", headers={"Host": "anything.example.org"}).status_code == 200
    assert both.get("/v1/health", headers={"Host": "anything.example.org"}).status_code == 403


def test_pages_of_other_origins(open_client: Callable[..., TestClient]) -> None:
    closed = open_client()
    for origin, status in (
        ("http://localhost", 200),
        ("http://evil.example", 403),
        ("null", 403),
        ("http://localhost:1", 403),
        ("http://[", 403),
        ("http://", 403),
        ("x" * 5000, 403),
    ):
        answer = closed.post("/v1/predict", content=PNG, headers={"Origin": origin})
        assert answer.status_code == status, origin
        assert "access-control-allow-origin" not in answer.headers
    page = "https://app.example.org"
    opened = open_client(cors=[page])
    answer = opened.post("/v1/predict", content=PNG, headers={"Origin": page})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, page)
    assert "X-Vocseg-Size" in answer.headers["access-control-expose-headers"]
    assert opened.post("/v1/predict", content=PNG, headers={"Origin": "http://evil.example"}).status_code == 403
    asks = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    assert opened.options("/v1/predict", headers=asks).status_code == 200
    broken = opened.post("/v1/predict", content=b"no image", headers={"Origin": page})
    assert (broken.status_code, broken.headers["access-control-allow-origin"]) == (415, page)
