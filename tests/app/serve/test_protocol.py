"""What is not HTTP, or could be read in two ways, gets one line of JSON, and its connection is closed."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

import vocseg
from app.serve.hostile import JPEG, PIXELS, PNG, refusal
from app.serve.test_server import answer_of
from vocseg.app.serve import protocol

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
IMAGE = HEAD + b"Content-Type: image/jpeg\r\n"
NEXT = b"GET /v1/model HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""What a client could smuggle: a request in the body of another one."""


@pytest.fixture(scope="module")
def server(segmenter: vocseg.Segmenter, running: Callable[..., Any]) -> Any:
    return running(segmenter)


def answers(server: Any, request: bytes) -> bytes:
    """All that the server sends in a connection until it closes it."""
    with server.connect() as client:
        client.sendall(request)
        return b"".join(iter(partial(client.recv, 65536), b""))


NOT_HTTP = {
    "noise": PIXELS.tobytes()[:300] + b"\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(90) + b"\r\n\r\n",
    "no version": b"POST /v1/predict\r\n\r\n", "length that is a word": HEAD + b"Content-Length: ten\r\n\r\n",
    "negative length": HEAD + b"Content-Length: -5\r\n\r\n", "no host": b"POST /v1/predict HTTP/1.1\r\n\r\n",
    "two lengths": HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
    "bad chunk": HEAD + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    "head of 200 KB": HEAD + b"X: " + b"y" * 200_000, "3,000 heads": HEAD + b"X: yyyyyyyyyyyyyyyyyyyyyyyyy\r\n" * 3000,
    "space in a name": b"POST / HTTP/1.1\r\nHo st: localhost\r\n\r\n",
    "space after a name": HEAD + b"Content-Length : 5\r\n\r\nhello", "two hosts": HEAD + b"Host: evil\r\n\r\n",
    "a carriage return in a header": HEAD + b"X: a\rContent-Length: 5\r\n\r\nhello",
    "a zero byte in a header": HEAD + b"X: a\0b\r\n\r\n", "empty line first": b"\r\n" + NEXT,
    "HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/9.9": NEXT.replace(b"1.1", b"9.9"), "HTTP/0.9": NEXT.replace(b"1.1", b"0.9"),
}  # fmt: skip
CHUNKED = IMAGE + b"Transfer-Encoding: chunked\r\n"
TWICE = "this is not HTTP: the length of its body is given twice, by Content-Length or Transfer-Encoding"
BARE = "this is not HTTP: a line of its head ends without a carriage return"
FOLDED = "this is not HTTP: a header is folded into several lines"
SMUGGLED = {
    "length, then chunks": (IMAGE + b"Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, TWICE),
    "chunks, then length": (CHUNKED + b"cOnTeNt-LeNgTh: 4\r\n\r\n0\r\n\r\n" + NEXT, TWICE),
    "two lengths": (IMAGE + b"Content-Length: 0\r\nContent-Length: 50\r\n\r\n" + NEXT, TWICE),
    "the same length twice": (IMAGE + b"Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello" + NEXT, TWICE),
    "a list of lengths": (IMAGE + b"Content-Length: 5, 5\r\n\r\nhello" + NEXT, TWICE),
    "chunked twice": (CHUNKED + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + NEXT, TWICE),
    "chunked and another coding": (CHUNKED + b"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n" + NEXT, TWICE),
    "a list of codings": (IMAGE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n" + NEXT, "Transfer-Encoding: chunked"),
    "a coding of another case": (IMAGE + b"Transfer-Encoding: x\r\nContent-Length: 5\r\n\r\nhello", TWICE),
    "chunks in HTTP/1.0": (CHUNKED.replace(b"1.1", b"1.0") + b"\r\n0\r\n\r\n" + NEXT, "HTTP/1.1 only"),
    "bare line feeds": (NEXT.replace(b"\r", b""), BARE),
    "a bare line feed after the first line": (NEXT.replace(b"\r", b"", 1), BARE),
    "a bare line feed before a header": (IMAGE + b"X: y\nContent-Length: 5\r\n\r\nhello", BARE),
    "a bare line feed at the end": (IMAGE + b"Content-Length: 5\r\n\nhello", BARE),
    "bare line feeds around chunks": (CHUNKED + b"\r\n5\nhello\n0\n\n" + NEXT, "illegal chunk header"),
    "a bare line feed in a chunk's extension": (CHUNKED + b"\r\n5;a\nb\r\nhello\r\n0\r\n\r\n", "illegal chunk header"),
    "a chunk without its end": (CHUNKED + b"\r\n5\r\nhelloXX0\r\n\r\n" + NEXT, "malformed chunk footer"),
    "bare line feeds after trailers": (CHUNKED + b"\r\n0\r\nX: y\n\n" + NEXT, BARE),
    "a bare line feed for no trailers": (CHUNKED + b"\r\n0\r\n\n" + NEXT, BARE),
    "a length among trailers": (CHUNKED + b"\r\n0\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n", TWICE),
    "folded header": (IMAGE + b"X: y\r\n Content-Length: 5\r\n\r\nhello", FOLDED),
    "folded length": (IMAGE + b"Content-Length:\r\n\t5\r\n\r\nhello", FOLDED),
    "fold before the first header": (b"GET / HTTP/1.1\r\n Host: localhost\r\n\r\n", FOLDED),
    "length with a sign": (IMAGE + b"Content-Length: +5\r\n\r\nhello", "bad Content-Length"),
    "length in base 16": (IMAGE + b"Content-Length: 0x5\r\n\r\nhello", "bad Content-Length"),
    "empty length": (IMAGE + b"Content-Length:\r\n\r\n" + NEXT, "bad Content-Length"),
    "chunk size with a sign": (CHUNKED + b"\r\n+5\r\nhello\r\n0\r\n\r\n", "illegal chunk header"),
    "chunk size in base 16": (CHUNKED + b"\r\n0x5\r\nhello\r\n0\r\n\r\n", "illegal chunk header"),
}  # fmt: skip


@pytest.mark.parametrize("name", NOT_HTTP)
def test_what_is_not_http(server: Any, name: str) -> None:
    head, _, content = answers(server, NOT_HTTP[name]).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ")
    refusal(400, content)
    assert server.post({"Content-Type": "image/png"}, PNG)[0] == 200


@pytest.mark.parametrize("name", SMUGGLED)
def test_no_request_is_smuggled_in_another(server: Any, name: str) -> None:
    """One answer, 400, though a second request follows; the reason is named."""
    request, why = SMUGGLED[name]
    found = answers(server, request)
    head, _, content = found.partition(b"\r\n\r\n")
    assert found.count(b"HTTP/1.1 4") == found.count(b"connection: ") == 1
    assert head.startswith(b"HTTP/1.1 400 ")
    assert why.lower() in refusal(400, content).lower()
    assert (server.service.taken, server.service.buffered) == (0, 0)
    assert server.post({"Content-Type": "image/png"}, PNG)[0] == 200


def test_a_head_in_pieces(server: Any) -> None:
    """A bare line feed is noticed wherever the pieces of a request are cut."""
    request, why = SMUGGLED["a bare line feed before a header"]
    for place in range(len(request) - 60, len(request), 7):
        with server.connect() as client:
            client.sendall(request[:place])
            client.sendall(request[place:])
            assert why.encode() in b"".join(iter(partial(client.recv, 2000), b""))


def test_requests_one_after_another_in_a_connection(server: Any) -> None:
    """The second head is as strict as the first; what is right stays right."""
    chunked = CHUNKED + b"\r\n%x;name=value\r\n%b\r\n0\r\nX-Trailer: yes\r\n\r\n" % (len(JPEG), JPEG)
    found = answers(server, NEXT + chunked + NEXT + NEXT.replace(b"\r\n\r\n", b"\r\n folded\r\n\r\n"))
    assert [part[:3] for part in found.split(b"HTTP/1.1 ")[1:]] == [b"200", b"200", b"200", b"400"]
    assert FOLDED.encode() in found


def test_a_malformed_body_ends_its_request(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The app hears that the client is gone, at once: nothing waits, nothing is an error of the server's."""
    with caplog.at_level("INFO", "vocseg.serve"):
        answers(server, CHUNKED + b"\r\n5\r\nhello\r\nzz\r\n")
        while not (rows := [row.access for row in caplog.records if "/v1/predict" in str(getattr(row, "access", ""))]):
            time.sleep(0.01)
    assert [row["status"] for row in rows] == [499]
    assert not any(record.exc_info for record in caplog.records)


def test_a_refused_client_that_goes_on_sending(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "LINGER", 0.05)
    with server.connect() as client:
        client.sendall(b"nonsense\r\n\r\n")
        assert b" 400 " in client.recv(1000)
        with pytest.raises(ConnectionError):
            client.sendall(bytes(1 << 28))


def test_silent_connections_end(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "PATIENCE", 0.1)
    for start in (b"", b"POST /v1/pre", HEAD):
        assert answers(server, start) == b""


def test_an_answer_before_the_end_of_an_upload_arrives(server: Any) -> None:
    """A proxy asks for the connection's end: it is not reset while the upload still comes, so that the answer is seen."""
    head = HEAD.replace(b"Host: localhost", b"Host: evil") + b"Connection: close\r\nContent-Length: 30000000\r\n\r\n"
    for _ in range(3):
        with server.connect() as client:
            client.sendall(head)
            client.sendall(bytes(30_000_000))
            status, content = answer_of(client)
            assert (status, "not called 'evil'" in refusal(status, content)) == (403, True)


def test_a_client_that_does_not_take_its_answer(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds the answer's memory only until it is seen to take nothing; one that is slow gets all."""
    monkeypatch.setattr(protocol, "PATIENCE", 0.5)
    monkeypatch.setattr(server.app.state.metrics, "text", lambda: bytes(16 << 20))
    request = NEXT.replace(b"model", b"metrics")
    with server.connect() as slow, server.connect() as client:
        slow.sendall(request)
        answer = http.client.HTTPResponse(slow)
        answer.begin()
        parts = []
        while part := answer.read(1 << 20):
            parts.append(part)
            time.sleep(0.1)
        assert sum(map(len, parts)) == 16 << 20
        client.sendall(request)
        while server.connections:
            time.sleep(0.01)


def test_a_web_socket_is_not_opened(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    """The request is answered as it is, as RFC 9110 allows, and no log line recommends another package."""
    asks = b"Connection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\r\n"
    assert answers(server, NEXT[:-2] + asks).startswith(b"HTTP/1.1 200 ")
    assert answers(server, HEAD.replace(b"POST", b"GET") + asks).startswith(b"HTTP/1.1 405 ")
    assert "WebSocket" not in caplog.text


def test_the_reason_is_h11s(server: Any) -> None:
    content = answers(server, b"GET / HTTP/1.1\r\n\r\n").partition(b"\r\n\r\n")[2]
    assert json.loads(content) == {"error": "this is not HTTP: missing mandatory Host: header"}
