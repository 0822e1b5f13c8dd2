"""What a run would cost, by a few real steps that leave nothing behind."""

from __future__ import annotations

import time
from contextlib import closing
from itertools import islice

import torch

from vocseg.data.loader import sample_seed
from vocseg.training.loop import TrainState, train_step
from vocseg.training.setup import TrainSetup
from vocseg.utils.progress import duration
from vocseg.utils.system import peak_memory

MEASURED_STEPS = 3


def dry_run(setup: TrainSetup) -> list[str]:
    """Measure three steps, after one to warm up; report classes, settings, and the run's time and memory in lines."""
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
    return [
        *_class_counts(setup),
        "",
        *setup.describe(),
        f"{fastest:.3g} s per step, {setup.schedule.batch_size / fastest:.3g} images/s; "
        f"about {duration(fastest * setup.schedule.total)} in all, without validation",
        f"memory: {_memory(setup.processes.device)}",
    ]


def _class_counts(setup: TrainSetup) -> list[str]:
    """A line per class: images that show it and its share of the valid pixels, in training and validation."""
    width = max(map(len, setup.train_set.classes))
    lines = ["images, and share of the pixels that are not void", " " * width]
    lines[-1] += "".join(f"{summary.split:>18}" for summary in setup.summaries)
    for label, name in enumerate(setup.train_set.classes):
        shares = [int(summary.pixels[label]) / max(1, int(summary.pixels[:-1].sum())) for summary in setup.summaries]
        counts = [int(summary.images_per_class[label]) for summary in setup.summaries]
        cells = (f"{images:>10,}{share:>8.2%}" for images, share in zip(counts, shares, strict=True))
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return lines


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of the GPU"
    peak = peak_memory()
    return "unknown on this system" if peak is None else f"{peak / 2**30:.1f} GiB at its peak, without loader processes"
