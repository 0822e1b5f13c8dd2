"""Measure `vocseg serve`: requests a second and latency, beside LitServe, gradio and bare forward passes.

pip install 'vocseg[serve]' litserve gradio
python benchmarks/serve.py
python benchmarks/serve.py --modes vocseg --requests 10000 --rounds 1

All serve the same Segmenter, and stay up while rounds alternate between them. The load is a closed loop: each of a number
of clients, threads of a process of their own, sends a JPEG of 500 x 375 pixels, waits for the mask, and sends the next.
``bare`` is the network alone, on images in memory, in as many threads as `vocseg serve` has.
"""

from __future__ import annotations

import argparse
import base64
import http.client
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from serve_peers import jpegs

MODES = ("bare", "vocseg", "litserve", "gradio")
SHOWN = 1000
"""Requests after which the memory is printed."""


class Connection:
    """A connection that sends prepared requests: what a client computes is taken from the server, on the same processors."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=120)

    def ask(self, request: bytes) -> bytes:
        """Send a request; return the body of its answer, whose length it must tell."""
        self._socket.sendall(request)
        received = self._socket.recv(1 << 16)
        while (end := received.find(b"\r\n\r\n")) < 0 and received:
            received += self._socket.recv(1 << 16)
        head, body = received[:end].lower(), received[end + 4 :]
        if not head.startswith(b"http/1.1 200"):
            raise SystemExit(f"answer {received[:300]!r}")
        length = int(head.partition(b"content-length:")[2].split()[0])
        while len(body) < length:
            body += self._socket.recv(1 << 16)
        return body


def post(path: str, kind: str, body: bytes) -> bytes:
    """Return a request."""
    return f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


def vocseg_request(body: bytes) -> bytes:
    return post("/v1/predict", "image/jpeg", body)


def litserve_request(body: bytes) -> bytes:
    """Put the image in JSON, as LitServe's workers, which are processes, take it."""
    return post("/predict", "application/json", json.dumps({"image": base64.b64encode(body).decode()}).encode())


def ask_gradio(connection: http.client.HTTPConnection, body: bytes) -> bytes:
    """Upload, call, wait for the event, download: what gradio's clients do."""
    form = b'--B\r\nContent-Disposition: form-data; name="files"; filename="a.jpg"\r\n\r\n' + body + b"\r\n--B--\r\n"
    connection.request("POST", "/gradio_api/upload", form, {"Content-Type": "multipart/form-data; boundary=B"})
    [uploaded] = json.loads(_read(connection))
    data = json.dumps({"data": [{"path": uploaded, "meta": {"_type": "gradio.FileData"}}]})
    connection.request("POST", "/gradio_api/call/mask", data, {"Content-Type": "application/json"})
    event = json.loads(_read(connection))["event_id"]
    connection.request("GET", f"/gradio_api/call/mask/{event}")
    lines = _read(connection).decode().splitlines()
    file = json.loads(lines[lines.index("event: complete") + 1].removeprefix("data: "))[0]["path"]
    connection.request("GET", f"/gradio_api/file={file}")
    return _read(connection)


PREPARED = {"vocseg": vocseg_request, "litserve": litserve_request}


def _read(connection: http.client.HTTPConnection) -> bytes:
    answer = connection.getresponse()
    content = answer.read()
    if answer.status != 200:
        raise SystemExit(f"status {answer.status}: {content[:300]!r}")
    return content


def load(mode: str, port: int, clients: int, requests: int) -> None:
    """Send requests in a closed loop; print the seconds of all and of each as JSON."""
    numbers, images = count(), jpegs()
    requested = [PREPARED[mode](image) for image in images] if mode in PREPARED else images

    def client(_: int) -> list[float]:
        ask: Callable[[bytes], bytes]
        if mode in PREPARED:
            ask = Connection(port).ask
        else:
            ask = partial(ask_gradio, http.client.HTTPConnection("127.0.0.1", port, timeout=120))
        times = []
        while (number := next(numbers)) < requests:
            start = time.perf_counter()
            content = ask(requested[number % len(images)])
            times.append(time.perf_counter() - start)
            assert content.startswith(b"\x89PNG"), content[:100]
        return times

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        each = [value for times in pool.map(client, range(clients)) for value in times]
    print(json.dumps({"seconds": time.perf_counter() - start, "each": each}))


class Server:
    """A server, or the bare network, in a process of its own."""

    def __init__(self, mode: str, workers: int, engine: str) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.mode = mode
        peers = str(Path(__file__).with_name("serve_peers.py"))
        command = [sys.executable, peers, mode, "--port", str(self.port), "--workers", str(workers), "--engine", engine]
        if mode == "vocseg":
            command = [
                sys.executable,
                "-m",
                "vocseg",
                "serve",
                "--port",
                str(self.port),
                "--workers",
                str(workers),
                "--engine",
                engine,
            ]
        pipe = subprocess.PIPE if mode == "bare" else subprocess.DEVNULL
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, start_new_session=True)
        for _ in range(600):
            if mode == "bare" or self._listens():
                return
            time.sleep(0.2)
        raise SystemExit(f"{mode} does not listen")

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def measure(self, clients: int, requests: int) -> dict[str, Any]:
        """Return the seconds of all requests and of each, and the processor's seconds of the server."""
        before = self.cpu()
        if self.process.stdin is not None and self.process.stdout is not None:
            print(requests, file=self.process.stdin, flush=True)
            found: dict[str, Any] = {"seconds": float(self.process.stdout.readline()), "each": []}
        else:
            options = ["--port", str(self.port), "--clients", str(clients), "--requests", str(requests)]
            command = [sys.executable, __file__, "--role", "load", "--modes", self.mode, *options]
            found = json.loads(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
        return found | {"cpu": self.cpu() - before}

    def end(self) -> None:
        """End its processes."""
        os.killpg(self.process.pid, signal.SIGTERM)

    def processes(self) -> list[int]:
        """Return the server's process and those below it."""
        parents = {}
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                parents[int(path.parent.name)] = int(path.read_text().rpartition(")")[2].split()[1])
            except OSError:
                continue
        found = [self.process.pid]
        for parent in found:
            found += [child for child, its in parents.items() if its == parent]
        return found

    def cpu(self) -> float:
        """Return the processor's seconds so far."""
        ticks = 0
        for pid in self.processes():
            ticks += sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]))
        return ticks / os.sysconf("SC_CLK_TCK")

    def megabytes(self, kind: str = "Pss") -> float:
        """Return the memory that the processes hold, in MB: what they share counts once; of kind Anonymous, without files."""
        total = 0
        for pid in self.processes():
            rows = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
            total += next(int(row.split()[1]) for row in rows if row.startswith(f"{kind}:"))
        return total * 1024 / 1e6


def percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))] if values else float("nan")


def compare(modes: list[str], workers: int, engine: str, clients: int, requests: int, rounds: int) -> None:
    """Alternate rounds between the servers, and print a table."""
    found: dict[str, list[dict[str, Any]]] = {mode: [] for mode in modes}
    with ExitStack() as ends:
        servers = []
        for mode in modes:
            servers.append(Server(mode, workers, engine))
            ends.callback(servers[-1].end)
            servers[-1].measure(clients, 4 * clients)
        for _ in range(rounds):
            for server in servers:
                found[server.mode].append(server.measure(clients, requests))
        show(servers, found, requests, rounds)


def show(servers: list[Server], found: dict[str, list[dict[str, Any]]], requests: int, rounds: int) -> None:
    """Print the table of a comparison."""
    print("| | requests/s | p50 ms | p95 ms | CPU ms a request | MB | of bare |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for server in servers:
        rows = found[server.mode]
        speed = statistics.median(requests / row["seconds"] for row in rows)
        each = [value for row in rows for value in row["each"]]
        p50, p95 = (1000 * percentile(each, share) for share in (0.5, 0.95))
        cpu = 1000 * sum(row["cpu"] for row in rows) / (requests * rounds)
        pairs = zip(found.get("bare", []), rows, strict=False)
        ratio = statistics.median(base["seconds"] / row["seconds"] for base, row in pairs) if "bare" in found else float("nan")
        print(f"| {server.mode} | {speed:.1f} | {p50:.0f} | {p95:.0f} | {cpu:.1f} | {server.megabytes():.0f} | {ratio:.2f} |")


def endure(workers: int, engine: str, clients: int, requests: int) -> None:
    """Send many requests to vocseg, and print its memory now and then."""
    server = Server("vocseg", workers, engine)
    print(f"at the start: {server.megabytes('Anonymous'):.0f} MB")
    for done in range(0, requests, SHOWN):
        found = server.measure(clients, min(SHOWN, requests - done))
        memory = server.megabytes("Anonymous")
        print(f"{done + SHOWN} requests: {memory:.0f} MB, {SHOWN / found['seconds']:.1f} requests/s", flush=True)
    server.end()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--modes", nargs="+", choices=MODES, default=MODES)
    parser.add_argument("--clients", type=int, default=8)
    parser.add_argument("--requests", type=int, default=200, help="a round")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="images that each server segments at a time")
    parser.add_argument("--engine", default="auto", help="of each Segmenter")
    parser.add_argument("--endurance", action="store_true", help=f"print vocseg's memory each {SHOWN} of --requests")
    parser.add_argument("--role", choices=("load",), help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role == "load":
        load(given.modes[0], given.port, given.clients, given.requests)
    elif given.endurance:
        endure(given.workers, given.engine, given.clients, given.requests)
    else:
        compare(list(given.modes), given.workers, given.engine, given.clients, given.requests, given.rounds)


if __name__ == "__main__":
    main()
