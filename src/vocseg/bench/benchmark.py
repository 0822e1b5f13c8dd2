"""`vocseg bench` from Python: set up the cases, time them, report."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocseg.bench import harness, prediction, training_step
from vocseg.inference.engines import EngineName
from vocseg.models import read_info
from vocseg.models.complexity import costs
from vocseg.utils.files import is_file_name, refuse_to_replace, write_json
from vocseg.utils.stand_ins import fetched
from vocseg.utils.system import machine


def benchmark(
    model: str,
    *,
    against: Sequence[str] | None = None,
    size: tuple[int, int] = (375, 500),
    train: bool = False,
    batch_size: int = 4,
    crop: int = 321,
    rounds: int = 10,
    memory: bool = True,
    weights: str | None = "none",
    device: str = "auto",
    precision: str = "auto",
    engine: EngineName = "auto",
    json: Path | None = None,
) -> dict[str, Any]:
    """Time one image of ``size`` (height, width), or with ``train`` a training step, against peers in turn.

    ``against`` names the peers as ``vocseg bench --help`` lists them; None: torchvision, and autocast with ``train``.
    Returns the figures as they are written to ``json``: ``results`` has a row per case, ``ratios`` says per peer how
    many times faster vocseg is. Raises ModelError for an unknown peer, or a model or package that cannot be used.
    """
    peers = against if against is not None else ["torchvision", "autocast"] if train else ["torchvision"]
    refuse_to_replace([json], [model, weights, *(peer.removeprefix("tflite:") for peer in peers)])
    if weights == "none" and model.endswith(".safetensors"):
        weights = None
    if train:
        size = (crop, crop)
        step = training_step.Task(model, weights, batch_size, crop, device)
        cases, task = training_step.cases(step, peers, precision), f"training step of {batch_size} x {crop}x{crop}"
    else:
        image = prediction.Task(model, weights, size, device)
        cases, task = prediction.cases(image, peers, precision, engine), f"one {size[0]}x{size[1]} image"
    parameters, multiply_adds = costs(read_info(fetched(model)).architecture if is_file_name(model) else model, *size)
    timings = harness.run(cases, rounds)
    peaks = harness.measure_memory(cases) if memory else [None] * len(cases)
    head = {"model": model, "task": task, "size": f"{size[0]}x{size[1]}", "machine": machine(), "rounds": rounds}
    work = {"parameters": parameters, "multiply_adds": multiply_adds}
    figures = head | work | harness.report(timings, peaks, batch_size if train else 1)
    if json is not None:
        write_json(json, figures)
    return figures
