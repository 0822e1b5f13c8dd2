"""What a run would cost, by a few real steps that leave nothing behind."""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice

import torch

from vocseg.data.loader import sample_seed
from vocseg.training.loop import TrainState, train_step
from vocseg.training.setup import TrainSetup
from vocseg.utils.progress import duration
from vocseg.utils.system import peak_memory

MEASURED_STEPS = 3


@dataclass(frozen=True)
class DryRun:
    """A dry run's report in lines, and the estimated seconds of the run without validation."""

    lines: list[str]
    seconds: float


def dry_run(setup: TrainSetup) -> DryRun:
    """Measure three steps, after one to warm up; report classes, settings, and the run's time and memory."""
    state = TrainState(setup.model, setup.config, setup.processes, setup.distillation, setup.precision, setup.unused_parameters)
    with closing(setup.batches()) as drawn:
        batches = list(islice(drawn, MEASURED_STEPS + 1))
    seconds = []
    for number, batch in enumerate(batches):
        torch.manual_seed(sample_seed(setup.config.seed, number))
        start = time.perf_counter()
        train_step(state, batch, setup.criterion).loss.item()
        seconds.append(time.perf_counter() - start)
    fastest = min(seconds[1:])
    total = fastest * setup.schedule.total
    lines = [
        *_class_counts(setup),
        "",
        *setup.describe(),
        f"{fastest:.3g} s per step, {setup.schedule.batch_size / fastest:.3g} images/s; about {duration(total)} in all, "
        "without validation",
        f"memory: {_memory(setup.processes.device)}",
    ]
    return DryRun(lines, total)


def _class_counts(setup: TrainSetup) -> list[str]:
    """A line per class: images that show it and its share of the valid pixels, in training and validation."""
    classes = setup.train_set.classes
    width = max(map(len, classes))
    valid = [max(1, int(summary.pixels[: len(classes)].sum())) for summary in setup.summaries]
    lines = [" " * width + "".join(f"{summary.split:>18}" for summary in setup.summaries)]
    for label, name in enumerate(classes):
        cells = (
            f"{int(summary.images_per_class[label]):>10,}{int(summary.pixels[label]) / total:>8.2%}"
            for summary, total in zip(setup.summaries, valid, strict=True)
        )
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return lines


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of the GPU"
    peak = peak_memory()
    return "unknown on this system" if peak is None else f"{peak / 2**30:.1f} GiB at its peak, without loader processes"
