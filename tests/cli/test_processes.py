"""Verbs in several gloo processes on this machine, as torchrun and accelerate start them, against one."""

from __future__ import annotations

import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from forked import Forked
from verbs import data_and_model

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tested on Linux")


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data set of 9 + 5 images, and a model beside it."""
    return data_and_model(tmp_path_factory.mktemp("few"), train=9, val=5)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(arguments: list[object], count: int = 1) -> list[Forked]:
    """Start ``count`` processes as a launcher would on as many hosts."""
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    group = {
        "WORLD_SIZE": str(count), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()), "ACCELERATE_USE_CPU": "true",
    }  # fmt: skip
    ranks = range(count)
    return [Forked([*arguments], environment | (group | {"RANK": str(rank)} if count > 1 else {})) for rank in ranks]


def finish(processes: list[Forked], code: int = 0) -> list[str]:
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    assert [process.returncode for process in processes] == [code] * len(processes), outputs
    return outputs


def content(folder: Path) -> dict[str, list[bytes]]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    lines = {
        name: [line for line in text.splitlines() if b'"seconds"' not in line and b"per second" not in line]
        for name, text in files.items()
    }
    return {name: text for name, text in lines.items() if not name.startswith("shard-")}


def command(verb: str, few: Path) -> list[object]:
    data, model = few / "data", few / "m.safetensors"
    return {
        "evaluate": ["evaluate", model, "--data", data, "--split", "trainval", "--device", "cpu"],
        "predict": ["predict", data / "JPEGImages", "--model", model, "--device", "cpu", "--format=mask", "--format=coco"],
        "errors": ["data", "errors", data, "--model", model, "--split", "trainval", "--device", "cpu"],
        "doctor": ["data", "doctor", data],
    }[verb]


SLOW = [("evaluate", 4), ("predict", 4), ("errors", 2), ("doctor", 2)]


@pytest.mark.parametrize(
    ("verb", "count"), [("evaluate", 2), ("predict", 2), *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW)]
)
def test_the_bits_of_one_process(few: Path, tmp_path: Path, verb: str, count: int) -> None:
    finish(start([*command(verb, few), "--out", tmp_path / "one"]))
    outputs = finish(start([*command(verb, few), "--out", tmp_path / "many"], count))
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert [f"written: {tmp_path / 'many'}" in output for output in outputs] == [True] + [False] * (count - 1)


@pytest.mark.slow
def test_one_that_is_killed_ends_the_others_and_nothing_is_repeated(few: Path, tmp_path: Path) -> None:
    """The second process is stopped while it works, so that the first has to wait for it."""
    out, evaluate = tmp_path / "out", [*command("evaluate", few), "--out", tmp_path / "out"]
    first, second = start(evaluate, 2)
    deadline = time.monotonic() + 60
    while not (out / "masks").exists() and time.monotonic() < deadline:
        time.sleep(0.002)
    second.send_signal(signal.SIGSTOP)
    while not (out / "shard-1-of-2").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    began = time.monotonic()
    second.kill()
    output = first.communicate(timeout=60)[0]
    assert first.returncode == 1, output
    assert output.splitlines()[-1] == "vocseg: error: another process has ended; start all again: shards that are finished are kept"
    assert time.monotonic() - began < 60
    outputs = finish(start(evaluate, 2))
    assert f"shard 1/2 is finished: {out / 'shard-1-of-2'}" in outputs[0]
    finish(start([*evaluate[:-1], tmp_path / "one"]))
    assert content(out) == content(tmp_path / "one")


def test_results_need_a_folder(few: Path) -> None:
    outputs = finish(start(command("evaluate", few), 2), code=2)
    assert "vocseg: error: a run in 2 processes needs --out" in outputs[0]
