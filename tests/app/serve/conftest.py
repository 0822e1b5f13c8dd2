from __future__ import annotations

import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

import vocseg
from vocseg.app.serve.server import Server, listen, settings
from vocseg.data.samples import FOLDER

PHOTOGRAPH = FOLDER / "JPEGImages" / "chelsea.jpg"


@pytest.fixture(scope="session")
def segmenter() -> vocseg.Segmenter:
    """A network of two layers with random weights: fast."""
    return vocseg.Segmenter("two_layer_net", device="cpu")


@pytest.fixture
def open_client(segmenter: vocseg.Segmenter) -> Iterator[Callable[..., TestClient]]:
    """Makes a client of an app with some settings; the app's start and end are those of a server."""
    opened: list[TestClient] = []

    def make(model: Any = segmenter, **options: Any) -> TestClient:
        client = TestClient(vocseg.serve(model, **options), base_url="http://localhost")
        client.__enter__()
        opened.append(client)
        return client

    yield make
    for client in opened:
        client.__exit__()


@pytest.fixture
def client(open_client: Callable[..., TestClient]) -> TestClient:
    return open_client()


@pytest.fixture(scope="session")
def photograph() -> Path:
    return PHOTOGRAPH


class Running:
    """A server on a port of this machine, in a thread."""

    def __init__(self, app: Any) -> None:
        self.app, self.service = app, app.state.service
        listener = listen("127.0.0.1", 0)
        self.port = listener.getsockname()[1]
        self._server = Server(settings(app), self.service, lambda: None)
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [listener]})
        self._thread.start()
        self.connections = self._server.server_state.connections
        while not self._server.started:
            time.sleep(0.01)

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)

    def post(self, headers: dict[str, str], body: Any, path: str = "/v1/predict") -> tuple[int, bytes]:
        """Send a request in a connection of its own; return the status and the content."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def end(self) -> None:
        self._server.should_exit = True
        self._thread.join()


def _servers(segmenter: vocseg.Segmenter) -> Iterator[Callable[..., Running]]:
    opened: list[Running] = []

    def make(model: Any = segmenter, **options: Any) -> Running:
        opened.append(Running(vocseg.serve(model, **options)))
        return opened[-1]

    yield make
    for server in opened:
        server.end()


# Start servers with some settings, in threads.
open_server = pytest.fixture(_servers)
running = pytest.fixture(scope="module")(_servers)
