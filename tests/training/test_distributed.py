"""Two gloo processes on this machine against one."""

from __future__ import annotations

import json
import math
import os
import random
import signal
import socket
import sys
import time
from pathlib import Path

import pytest

from forked import Forked
from vocseg.data.layout import VocFolder
from vocseg.training.run_folder import RunFolder
from vocseg.utils.remote import read_bytes

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="gloo over loopback is tested on Linux")

TWO_HEADS = """
import vocseg
from torch import nn

@vocseg.register_model(name="two_heads")
class TwoHeads(nn.Module):
    def __init__(self, classes):
        super().__init__()
        self.main, self.auxiliary = nn.Conv2d(3, classes, 3, 4, 1), nn.Conv2d(3, classes, 1)

    def forward(self, images):
        return {"out": self.main(images), "aux": self.auxiliary(images)}
"""


@pytest.fixture(params=["synth", pytest.param("real_few", marks=pytest.mark.real_voc)])
def images(request: pytest.FixtureRequest) -> Path:
    """A made-up data set, and one of real images where there are."""
    return Path(request.getfixturevalue(request.param))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def start(
    arguments: list[str], rank: int = 0, count: int = 1, port: int = 0, often: bool = False, own_group: bool = False
) -> Forked:  # fmt: skip
    """One process of ``count``, as a launcher would start it on a host of its own."""
    environment = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
    if count > 1:
        environment |= {
            "RANK": str(rank), "WORLD_SIZE": str(count), "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1",
            "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "ACCELERATE_USE_CPU": "true",
        }  # fmt: skip
    return Forked(["train", *arguments], environment, often, own_group)


def options(synth: Path, out: str | Path, **changes: object) -> list[str]:
    values = {
        "data": synth, "out": out, "model": "simple_conv_net", "crop": 24, "batch-size": 4, "epochs": 3, "lr": 0.02,
        "workers": 0, "device": "cpu", "precision": "float32",
    } | changes  # fmt: skip
    return [part for name, value in values.items() for part in (f"--{name}", str(value))]


def finish(processes: list[Forked]) -> list[str]:
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    for process, output in zip(processes, outputs, strict=True):
        assert process.returncode == 0, output
    return outputs


@pytest.mark.parametrize(
    "changes", [{}, {"model": "lraspp_mobilenet_v3_large", "weights": "none", "freeze": "batch-norm", "crop": 64}]
)
def test_two_processes_on_two_hosts_are_as_one(images: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    port = free_port()
    pair = [start(options(images, tmp_path / "two", **changes), rank, 2, port) for rank in (0, 1)]
    outputs = finish(pair)
    assert "epoch 3/3" in outputs[0]
    assert "epoch" not in outputs[1]
    finish([start(options(images, tmp_path / "one", **changes))])
    images = len(VocFolder.find(images).ids("val"))
    one, two = RunFolder(tmp_path / "one"), RunFolder(tmp_path / "two")
    for mine, theirs in zip(one.read_steps(), two.read_steps(), strict=True):
        assert mine[0] == theirs[0]
        assert mine[1] == pytest.approx(theirs[1], rel=1e-5)
    for mine, theirs in zip(one.read_metrics(), two.read_metrics(), strict=True):
        assert mine["val"]["images"] == theirs["val"]["images"] == images
        pixels = [sum(row["true_pixels"] for row in part["val"]["per_class"].values()) for part in (mine, theirs)]
        assert pixels[0] == pixels[1]  # each validation pixel once
        assert mine["val"]["miou"] == pytest.approx(theirs["val"]["miou"], abs=1e-3)
        assert mine["train"]["loss"] == pytest.approx(theirs["train"]["loss"], rel=1e-5)
    assert json.loads((two.root / "environment.json").read_text())["processes"] == 2


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "pspnet:resnet18"},  # does not use all of its encoder
        {"model": "lraspp_mobilenet_v3_large", "class-weights": "auto"},
        {"model": "two_heads", "aux-weight": 0},
    ],
    ids=["pspnet", "class-weights", "auxiliary head off"],
)
def test_two_processes_train_networks_with_unused_parameters(synth: Path, tmp_path: Path, changes: dict[str, object]) -> None:
    port = free_port()
    (tmp_path / "heads.py").write_text(TWO_HEADS)
    common = {"import": tmp_path / "heads.py", "weights": "none", "crop": 32, "iterations": 3}
    arguments = options(synth, tmp_path / "run", **common | changes)
    finish([start(arguments, rank, 2, port) for rank in (0, 1)])
    losses = [loss for _, loss, _ in RunFolder(tmp_path / "run").read_steps()]
    assert len(losses) == 3
    assert all(map(math.isfinite, losses))


def test_an_error_of_the_main_process_ends_all_with_it(damaged: Path, tmp_path: Path) -> None:
    """Masks are checked once, by the main process."""
    next((damaged / "SegmentationClass").iterdir()).write_bytes(b"damaged")
    port = free_port()
    pair = [start(options(damaged, tmp_path / "run"), rank, 2, port) for rank in (0, 1)]
    outputs = [process.communicate(timeout=120)[0].splitlines()[-1] for process in pair]
    assert [process.returncode for process in pair] == [2, 2]
    assert outputs[0] == outputs[1]
    assert ".png" in outputs[0]


def test_the_loss_of_a_process_ends_the_others_and_the_run_resumes(synth: Path, tmp_path: Path) -> None:
    port, out = free_port(), tmp_path / "run"
    pair = [start(options(synth, out, epochs=2000), rank, 2, port, often=True) for rank in (0, 1)]
    deadline = time.monotonic() + 120
    while not RunFolder(out).checkpoints():
        assert time.monotonic() < deadline
        assert pair[0].poll() is None, pair[0].communicate()[0]
        time.sleep(0.1)
    pair[1].send_signal(signal.SIGKILL)
    output = pair[0].communicate(timeout=120)[0]
    assert pair[0].returncode == 1, output
    assert "another training process has ended; continue with" in output
    state = RunFolder(out).load_checkpoint()
    assert state is not None
    (resumed,) = finish([start(["--resume", str(out), "--iterations", str(state["iteration"] + 3)])])
    assert f"resumed at iteration {state['iteration']}" in resumed


def test_two_processes_write_one_run_to_a_url(bucket: str, synth: Path, tmp_path: Path) -> None:
    url, folder = f"{bucket}/run", tmp_path / "run"
    for out in (url, folder):
        port = free_port()
        finish([start(options(synth, out, epochs=2), rank, 2, port) for rank in (0, 1)])
    for name in ("best.safetensors", "last/model.safetensors", "metrics.jsonl", "steps.csv"):
        assert read_bytes(f"{url}/{name}") == (folder / name).read_bytes()
    port = free_port()
    outputs = finish([start(["--resume", url, "--epochs", "3"], rank, 2, port) for rank in (0, 1)])
    assert "resumed at iteration 3 of 5" in outputs[0]
    assert len(read_bytes(f"{url}/steps.csv").splitlines()) == 6


def test_a_batch_that_cannot_be_shared(synth: Path, tmp_path: Path) -> None:
    port = free_port()
    pair = [start(options(synth, tmp_path / "run", **{"batch-size": 3}), rank, 2, port) for rank in (0, 1)]
    for process in pair:
        output = process.communicate(timeout=120)[0]
        assert process.returncode == 2
        assert "batch_size 3 cannot be shared by 2 processes" in output
    assert not (tmp_path / "run").exists()


def test_a_signal_to_the_whole_group_ends_the_run_in_order(synth: Path, tmp_path: Path) -> None:
    """As schedulers and Ctrl-C send it: to the loader's processes too, which must outlive it."""
    run = RunFolder(tmp_path / "run")
    process = start(options(synth, run.root, workers=1, epochs=10000), often=True, own_group=True)
    deadline = time.monotonic() + 120
    while process.poll() is None and not run.read_steps() and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGTERM)
    output = process.communicate(timeout=60)[0]
    assert process.returncode == 128 + signal.SIGTERM, output
    assert output.splitlines()[-1].startswith("vocseg: stopped by SIGTERM at iteration"), output
    assert "RuntimeError" not in output
    assert RunFolder(run.root).load_checkpoint() is not None


def test_killed_at_ten_random_points_and_resumed_ends_as_if_nothing_had_happened(synth: Path, tmp_path: Path) -> None:
    changes = {"model": "lraspp_mobilenet_v3_large", "weights": "none", "crop": 32, "iterations": 30, "ema": 0.9}
    finish([start(options(synth, tmp_path / "whole", **changes), often=True)])
    run, whole = RunFolder(tmp_path / "cut"), RunFolder(tmp_path / "whole")
    randomness = random.Random(0)
    command = options(synth, run.root, **changes)
    for _ in range(10):
        process = start(command, often=True)
        seen = len(run.read_steps()) if run.root.exists() else 0
        deadline = time.monotonic() + 120
        while process.poll() is None and len(run.read_steps()) <= seen and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(randomness.uniform(0, 0.5))
        process.kill()
        process.communicate()
        command = ["--resume", str(run.root)]
    finish([start(command, often=True)])
    assert run.read_steps() == whole.read_steps()
    for name in ("best", "last", "last_average"):
        assert getattr(run, name).read_bytes() == getattr(whole, name).read_bytes()
    assert run.metrics.read_bytes() == whole.metrics.read_bytes()
