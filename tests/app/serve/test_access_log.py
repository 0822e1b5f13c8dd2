"""The log says what happened, and nothing about what was on the image."""

from __future__ import annotations

import asyncio
import json
import logging

import pytest
from starlette.testclient import TestClient

from app.serve.hostile import FORM, JPEG, field, form
from app.serve.test_service import forever
from vocseg.app.serve.access_log import AccessLog, JsonLines, TextLines


def test_lines(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vocseg.serve")
    body = form((field(filename="private name.jpg"), JPEG))
    headers = {"Content-Type": FORM, "X-Request-Id": "a-1", "Authorization": "Bearer hidden"}
    answer = client.post("/v1/predict?name=private", content=body, headers=headers)
    assert answer.headers["x-request-id"] == "a-1"
    [record] = [record for record in caplog.records if hasattr(record, "access")]
    line = JsonLines().format(record)
    row = json.loads(line)
    expected = {
        "id": "a-1",
        "method": "POST",
        "path": "/v1/predict",
        "status": 200,
        "received": len(body),
        "width": 60,
        "height": 40,
    }
    assert {name: row[name] for name in expected} == expected
    assert {"time", "client", "ms", "wait", "decode", "network", "encode", "format"} <= row.keys()
    for text in (line, TextLines().format(record)):
        assert not any(secret in text for secret in ("private", "hidden", "\n"))


def test_the_line_of_a_batch_has_the_times_of_its_stages(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vocseg.serve")
    client.post("/v1/predict-batch", files=[("image", ("a", JPEG)), ("image", ("b", JPEG)), ("image", ("c", b"text"))])
    [row] = [record.access for record in caplog.records if hasattr(record, "access")]
    assert row["images"] == 3
    assert all(row[stage] > 0 for stage in ("wait", "decode", "network", "encode"))


@pytest.mark.parametrize("given", ["", "two words", "x" * 65, "a\tb", "<script>", "%0a"])
def test_ids_that_are_not_taken(client: TestClient, given: str) -> None:
    answer = client.get("/v1/health", headers={"X-Request-Id": given})
    assert len(answer.headers["x-request-id"]) == 32


def test_paths_cannot_forge_lines(client: TestClient, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "vocseg.serve")
    client.get("/a%0a2026-01-01%20POST%1b[2J" + "x" * 500)
    [record] = [record for record in caplog.records if hasattr(record, "access")]
    assert "\n" not in TextLines().format(record)
    assert "\x1b" not in TextLines().format(record)
    assert len(TextLines().format(record)) < 600


def test_a_client_that_does_not_read_its_answer(client: TestClient) -> None:
    async def run() -> None:
        app = AccessLog(client.app, client.app.state.metrics, timeout=0.05)  # type: ignore[arg-type, attr-defined]
        scope = {
            "type": "http", "method": "GET", "path": "/v1/health", "raw_path": b"/v1/health", "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost")], "http_version": "1.1", "scheme": "http",
        }  # fmt: skip
        await app(scope, forever, lambda message: forever())

    asyncio.run(asyncio.wait_for(run(), 20))
