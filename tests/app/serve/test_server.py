"""A real server: connections that are slow, silent, broken or many, and its end."""

from __future__ import annotations

import http.client
import io
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vocseg
from app.serve.hostile import FORM, JPEG, encoded, field, form
from app.serve.test_service import Held
from vocseg.app.serve.server import REPEAT_SECONDS, listen

HEAD = b"POST /v1/predict HTTP/1.1\r\nHost: localhost\r\n"
IMAGE = {"Content-Type": "image/jpeg"}


def unfinished(content: bytes = JPEG) -> bytes:
    """The first half of a request."""
    return HEAD + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(content) + content[: len(content) // 2]


def answer_of(client: socket.socket) -> tuple[int, bytes]:
    answer = http.client.HTTPResponse(client)
    answer.begin()
    return answer.status, answer.read()


def test_slow_uploads_and_many_connections_hold_nobody(open_server: Callable[..., Any]) -> None:
    """100 uploads that have stopped, 100 silent connections: others are served, and then the slow ones too."""
    server = open_server(queue=1, workers=1)
    with ExitStack() as open_sockets:
        clients = [open_sockets.enter_context(server.connect()) for _ in range(200)]
        for client in clients[:100]:
            client.sendall(unfinished())
        for _ in range(3):
            assert server.post(IMAGE, JPEG)[0] == 200
        for client in clients[:3]:
            client.sendall(JPEG[len(JPEG) // 2 :])
            assert answer_of(client)[0] == 200
    assert server.post(IMAGE, JPEG)[0] == 200


def test_an_upload_that_does_not_come_to_its_end(open_server: Callable[..., Any]) -> None:
    server = open_server(timeout=0.3)
    with server.connect() as client:
        client.sendall(unfinished())
        status, content = answer_of(client)
        assert (status, json.loads(content)) == (408, {"error": "the request did not arrive within 0.3 s"})
        assert client.recv(1) == b""  # closed


def test_a_client_that_is_killed_in_mid_upload(open_server: Callable[..., Any]) -> None:
    server = open_server()
    code = (
        "import socket, sys, time; client = socket.create_connection(('127.0.0.1', int(sys.argv[1]))); "
        "client.sendall(sys.stdin.buffer.read()); print('sent', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(server.port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdin.write(unfinished())
        client.stdin.close()
        assert client.stdout.readline() == b"sent\n"
        client.send_signal(signal.SIGKILL)
    assert server.post(IMAGE, JPEG)[0] == 200
    while server.service.buffered:
        time.sleep(0.01)
    assert server.service.taken == 0


def test_a_client_that_leaves_frees_its_place(segmenter: vocseg.Segmenter, open_server: Callable[..., Any]) -> None:
    held = Held(segmenter)
    held.may_go.set()
    server = open_server(segmenter, workers=1, queue=1)
    server.service.segmenter = held
    held.may_go.clear()
    try:
        with server.connect() as first, server.connect() as second:
            whole = HEAD + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(JPEG) + JPEG
            first.sendall(whole)
            assert held.began.acquire(timeout=20)
            second.sendall(whole)
            while server.service.waiting < 1:
                time.sleep(0.01)
            status, content = server.post(IMAGE, JPEG)
            assert (status, list(json.loads(content))) == (429, ["error"])
            second.close()
            while server.service.waiting:
                time.sleep(0.01)
            held.may_go.set()
            assert answer_of(first)[0] == 200
        assert server.post(IMAGE, JPEG)[0] == 200
        assert held.count == 2
    finally:
        held.may_go.set()


def test_many_clients_get_their_own_masks(open_server: Callable[..., Any], segmenter: vocseg.Segmenter) -> None:
    server = open_server(queue=64, workers=2)
    images = [encoded("PNG"), JPEG, *(encoded("JPEG", quality=quality) for quality in (20, 50))]
    masks = [segmenter(image).mask for image in images]
    found: dict[int, bytes] = {}

    def client(number: int) -> None:
        status, found[number] = server.post({"Content-Type": FORM}, form((field(), images[number % 4])))
        assert status == 200

    threads = [threading.Thread(target=client, args=(number,)) for number in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(24):
        assert np.array_equal(np.array(Image.open(io.BytesIO(found[number]))), masks[number % 4].numpy())


def test_200_clients_at_once_get_a_mask_or_are_told_to_wait(open_server: Callable[..., Any]) -> None:
    server, found = open_server(queue=8), list[int]()
    threads = [threading.Thread(target=lambda: found.append(server.post(IMAGE, JPEG)[0])) for _ in range(200)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 200
    assert set(found) <= {200, 429}
    assert server.post(IMAGE, JPEG)[0] == 200
    assert server.service.taken == 0


def test_a_port_that_is_taken() -> None:
    with listen("127.0.0.1", 0) as first:
        first.listen()
        with pytest.raises(vocseg.SettingError, match=r"cannot listen on 127\.0\.0\.1:\d+: Address already in use; choose another"):
            listen("127.0.0.1", first.getsockname()[1])
    with pytest.raises(vocseg.SettingError, match="cannot listen on nosuchhost:1"):
        listen("nosuchhost", 1)


@pytest.fixture
def process(tmp_path: Path) -> Iterator[Any]:
    """`vocseg serve` in a process of its own, with a network that takes a while when a file says so."""
    slow = tmp_path / "slow.py"
    slow.write_text(
        "import pathlib, time\n"
        "from vocseg.inference.segmenter import Segmenter\n"
        "real = Segmenter.segment_loaded\n"
        "def segment_loaded(self, *args, **options):\n"
        f"    hold = pathlib.Path({str(tmp_path / 'hold')!r})\n"
        "    (hold.with_name('began')).touch()\n"
        "    while hold.exists():\n"
        "        time.sleep(0.01)\n"
        "    return real(self, *args, **options)\n"
        "Segmenter.segment_loaded = segment_loaded\n"
    )
    command = [sys.executable, "-m", "vocseg", "serve", "two_layer_net", "--weights", "none", "--port", "0", "--device", "cpu"]
    environment = os.environ | {"PYTHONPATH": str(Path(vocseg.__file__).parents[1])}
    with subprocess.Popen(
        [*command, "--import", str(slow), "--log-format", "json"], stdout=subprocess.PIPE, text=True, env=environment
    ) as started:
        yield started
        started.kill()


def started(process: Any) -> int:
    """The port of a process, when it is ready."""
    port = int(json.loads(process.stdout.readline())["message"].rpartition(":")[2])
    while _get(http.client.HTTPConnection("127.0.0.1", port, timeout=20), "/v1/ready")[0] != 200:
        time.sleep(0.01)
    return port


def _get(connection: http.client.HTTPConnection, path: str) -> tuple[int, Any]:
    connection.request("GET", path)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def hold(folder: Path, client: socket.socket) -> None:
    """Send an image whose network does not come to its end before the file ``hold`` is deleted."""
    (folder / "began").unlink()
    (folder / "hold").touch()
    client.sendall(HEAD + b"Content-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(JPEG) + JPEG)
    while not (folder / "began").exists():
        time.sleep(0.01)


@pytest.mark.slow
def test_a_signal_ends_it_after_what_runs(process: Any, tmp_path: Path) -> None:
    port = started(process)
    kept = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        hold(tmp_path, client)
        process.send_signal(signal.SIGTERM)
        while (answer := _get(kept, "/v1/ready"))[0] != 503:
            time.sleep(0.01)
        assert answer == (503, {"error": "the server is ending"})
        kept.request("POST", "/v1/predict", JPEG, IMAGE)
        refused = kept.getresponse()
        assert (refused.status, list(json.loads(refused.read()))) == (503, ["error"])
        (tmp_path / "hold").unlink()
        assert answer_of(client)[0] == 200
    kept.close()
    assert process.wait(20) == 0
    assert json.loads(process.stdout.read().splitlines()[-1])["message"] == "ended"


@pytest.mark.slow
def test_a_second_signal_does_not_wait(process: Any, tmp_path: Path) -> None:
    port = started(process)
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        hold(tmp_path, client)
        process.send_signal(signal.SIGTERM)
        time.sleep(2 * REPEAT_SECONDS)
        process.send_signal(signal.SIGTERM)
        assert b" 200 " not in client.recv(100)
        (tmp_path / "hold").unlink()  # a network that has begun is not stopped
        assert process.wait(20) == 143
