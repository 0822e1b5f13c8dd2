"""Training on a GPU, and on two if there are."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

import vocseg
from vocseg.data.dataset import Batch
from vocseg.models import create_model
from vocseg.training.config import TrainConfig
from vocseg.training.loop import TrainState, train_step
from vocseg.training.losses import Criterion, parse_loss
from vocseg.utils.distributed import Processes

pytestmark = pytest.mark.gpu

DEEPLAB = "deeplabv3_mobilenet_v3_large"


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
def test_a_run_starts_as_on_the_cpu_and_resumes(quick: TrainConfig, tmp_path: Path, precision: Any) -> None:
    on_cpu = vocseg.train(config=quick)
    config = replace(quick, device="cuda", precision=precision, out=str(tmp_path / "gpu"), ema=0.9, optimizer="adamw")
    on_gpu = vocseg.train(config=config)
    losses = [[loss for _, loss, _ in result.run.read_steps()] for result in (on_cpu, on_gpu)]
    assert losses[1][0] == pytest.approx(losses[0][0], rel=0.02)
    assert all(map(math.isfinite, losses[1]))
    longer = vocseg.train(resume=on_gpu.run.root, epochs=6)
    assert len(longer.history) == 6
    assert next(longer.model.parameters()).device.type == "cuda"


@pytest.mark.parametrize("loss", ["cross-entropy", "ohem+0.5*dice"])
def test_a_step_does_not_wait_for_the_device(loss: str) -> None:
    class NoHostReads(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            assert func is not torch.ops.aten._local_scalar_dense.default
            return func(*args, **(kwargs or {}))

    config = TrainConfig(batch_size=4, accumulate=2, optimizer="adamw")
    state = TrainState(create_model("deeplabv3_mobilenet_v3_large", weights="none"), config, Processes(torch.device("cuda")))
    images = torch.randint(0, 256, (4, 3, 64, 64), dtype=torch.uint8)
    batch = Batch(images, torch.randint(0, 21, (4, 64, 64), dtype=torch.uint8), ["a", "b", "c", "d"])
    train_step(state, batch, Criterion(parse_loss(loss)))
    with NoHostReads():
        result = train_step(state, batch, Criterion(parse_loss(loss)))
        state.totals.update(result.classes, result.masks)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize(
    "options",
    [
        ["--model", "pspnet:resnet18"],
        ["--model", DEEPLAB, "--class-weights", "auto"],
        ["--model", DEEPLAB, "--precision", "float16"],
    ],
)
def test_two_devices(synth: Path, tmp_path: Path, options: list[str]) -> None:
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "vocseg", "train",
        "--data", str(synth), "--out", str(tmp_path / "run"), "--weights", "none",
        "--crop", "64", "--batch-size", "4", "--iterations", "4", "--workers", "0", *options,
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "best.safetensors").is_file()
