"""Check on a GPU what the tests check on a CPU: masks, scores, training, resuming. Prints a Markdown table.

    python benchmarks/gpu_check.py
    pytest -m gpu        # the tests that need a GPU

Masks and scores are compared with the CPU's in float32. Training uses synthetic data, and two devices if there are.
Exits with 1 if a check fails.
"""

from __future__ import annotations

import argparse
import math
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import torch

from vocseg import Segmenter, VocsegError, evaluate
from vocseg.data.samples import FOLDER, SPLIT, photographs
from vocseg.data.synthetic import write_synthetic
from vocseg.training.run_folder import RunFolder
from vocseg.utils.system import machine

MODEL = "vocseg-s"
STEPS = 60
Check = tuple[str, Callable[[], tuple[bool, str]]]
"""A name, and a function that returns whether the check passed, with its numbers."""


def masks(expected: list[torch.Tensor], least: float, **options: str) -> tuple[bool, str]:
    """Compare masks of the sample photographs, one at a time and in a list, with the expected ones."""
    segment = Segmenter(MODEL, **options)
    files = [photographs().folder.image(name) for name in photographs().names]
    one_by_one = [segment(file).mask for file in files]
    together = [result.mask for result in segment(files)]
    agreement = same(one_by_one, expected)
    batches = same(together, one_by_one)
    return agreement >= least and batches >= least, f"{agreement:.4%} as on the CPU, batches {batches:.4%} as single images"


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> float:
    """Return the fraction of equal pixels."""
    equal = sum(int((mine == theirs).sum()) for mine, theirs in zip(one, other, strict=True))
    return equal / sum(mask.numel() for mask in one)


def scores(device: str) -> tuple[bool, str]:
    """Compare scores with the CPU's."""
    mine, cpu = (
        evaluate(MODEL, FOLDER, SPLIT, device=place, precision="float32", workers=0).to_dict() for place in (device, "cpu")
    )
    passed = math.isclose(mine["miou"], cpu["miou"], abs_tol=1e-3) and math.isclose(mine["loss"], cpu["loss"], rel_tol=1e-3)
    return passed, f"mIoU {mine['miou']:.4f} and {cpu['miou']:.4f}, loss {mine['loss']:.4f} and {cpu['loss']:.4f}"


def vocseg(*arguments: object, processes: int = 1) -> str:
    """Run a verb in one process per device and return its output; raise RuntimeError if it fails."""
    launcher = [] if processes == 1 else ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    command = [sys.executable, *launcher, "-m", "vocseg", *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout.strip().splitlines() or [''])[-1]}")
    return done.stdout


def losses(run: Path) -> list[float]:
    """Read the training loss of each step."""
    return [loss for _, loss, _ in RunFolder(run).read_steps()]


def train(data: Path, run: Path, steps: int, processes: int, *options: str) -> tuple[bool, str]:
    """Train a small network; the loss must be finite and fall."""
    vocseg(
        "train", "--data", data, "--config", "synthetic", "--iterations", steps, "--out", run, *options, processes=processes
    )  # fmt: skip
    curve = losses(run)
    fell = sum(curve[-5:]) < sum(curve[:5])
    return len(curve) == steps and all(map(math.isfinite, curve)) and fell, f"{steps} steps, loss {curve[0]:.3f} to {curve[-1]:.3f}"


def resume(run: Path, steps: int, *options: str) -> tuple[bool, str]:
    """Resume a finished run for more steps."""
    before = losses(run)
    vocseg("train", "--resume", run, "--iterations", steps, *options)
    after = losses(run)
    return after[: len(before)] == before and len(after) == steps, f"from step {len(before)} to {len(after)}, loss {after[-1]:.3f}"


def checks(folder: Path, device: str, devices: int, steps: int) -> Iterator[Check]:
    """List the checks for a device, and for two if there are as many."""
    reference = Segmenter(MODEL, device="cpu", precision="float32", exact=True)
    expected = [reference(photographs().folder.image(name)).mask for name in photographs().names]
    yield "predict, float32", lambda: masks(expected, 0.999, device=device, precision="float32")
    yield "predict, bfloat16", lambda: masks(expected, 0.99, device=device, precision="bfloat16")
    if device != "cpu":
        yield "predict, float16", lambda: masks(expected, 0.99, device=device, precision="float16")
        yield "predict, compile", lambda: masks(expected, 0.999, device=device, precision="float32", engine="compile")
    yield "evaluate", lambda: scores(device)
    data = folder / "data"
    write_synthetic(data, train=40, val=8)
    for precision in ("float32", "auto"):
        run = folder / precision
        yield (
            f"train, {precision}",
            lambda run=run, kind=precision: train(data, run, steps, 1, "--device", device, "--precision", kind),
        )
    yield "resume", lambda: resume(folder / "auto", 2 * steps)
    if devices > 1:
        weighted = ("--device", device, "--class-weights", "auto")
        yield "train on 2 devices", lambda: train(data, folder / "two", steps, 2, *weighted)
        pspnet = ("--device", device, "--model", "pspnet:resnet18")
        yield "train on 2 devices, unused parameters", lambda: train(data, folder / "unused", steps, 2, *pspnet)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cuda", choices=["cuda", "mps", "cpu"])
    parser.add_argument("--steps", type=int, default=STEPS, help="training steps")
    arguments = parser.parse_args()
    available = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if not available[arguments.device]:
        sys.exit(f"torch finds no device {arguments.device} on this machine; nothing was checked")
    devices = torch.cuda.device_count() if arguments.device == "cuda" else 1
    name = torch.cuda.get_device_name() if arguments.device == "cuda" else arguments.device
    print(f"{devices} x {name}, {machine()}\n\n| check | result | numbers |\n|---|---|---|")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        for title, check in checks(Path(folder), arguments.device, devices, arguments.steps):
            try:
                passed, numbers = check()
            except (VocsegError, RuntimeError) as error:
                passed, numbers = False, " ".join(str(error).split())
            failed += not passed
            print(f"| {title} | {'passed' if passed else '**failed**'} | {numbers} |", flush=True)
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
