"""What a run would cost, and what learning rate it might take, found by a few real steps that leave nothing behind."""

from __future__ import annotations

import time
from contextlib import closing
from itertools import islice
from typing import NamedTuple

import torch

from vocseg.data.loader import sample_seed
from vocseg.training.distributed import Processes
from vocseg.training.optimizer import build_optimizer, freeze
from vocseg.training.setup import Job
from vocseg.training.step import Step
from vocseg.utils.progress import duration
from vocseg.utils.system import peak_memory

MEASURED = 3
"""Steps that a dry run times, after one to warm up."""


def _rehearse(job: Job) -> tuple[Step, torch.optim.Optimizer]:
    settings = job.settings
    processes = Processes(job.device)
    job.to(job.device)
    job.model.train()
    freeze(job.model, settings.freeze)
    optimizer = build_optimizer(job.model, settings, job.hints)
    return Step.of(job, optimizer, processes), optimizer


class Rehearsal(NamedTuple):
    """What a dry run tells, in lines, and the time that the run would take, without validation."""

    lines: list[str]
    seconds: float


def dry_run(job: Job) -> Rehearsal:
    """The classes, the plan, and time and memory that it would take by three measured steps."""
    step, _ = _rehearse(job)
    with closing(job.batches()) as drawn:
        batches = list(islice(drawn, MEASURED + 1))
    seconds = []
    for number, batch in enumerate(batches):
        torch.manual_seed(sample_seed(job.settings.seed, number))
        start = time.perf_counter()
        step(batch)
        seconds.append(time.perf_counter() - start)
    fastest = min(seconds[1:])
    total = fastest * job.plan.total
    speed = job.plan.batch_size / fastest
    lines = [
        *_class_counts(job),
        "",
        *job.describe(),
        f"{fastest:.3g} s a step, {speed:.3g} images a second; about {duration(total)} in all, without validation",
        f"memory: {_memory(job.device)}",
    ]
    return Rehearsal(lines, total)


def _class_counts(job: Job) -> list[str]:
    """A line a class: images that show it and its share of the valid pixels, in training and validation."""
    width = max(map(len, job.train_set.classes))
    valid = [max(1, int(summary.pixels[: len(summary.classes)].sum())) for summary in job.summaries]
    lines = [" " * width + "".join(f"{summary.split:>18}" for summary in job.summaries)]
    for label, name in enumerate(job.train_set.classes):
        cells = (
            f"{int(summary.images_per_class[label]):>10,}{int(summary.pixels[label]) / total:>8.2%}"
            for summary, total in zip(job.summaries, valid, strict=True)
        )
        lines.append(f"{name:<{width}}{''.join(cells)}")
    return lines


def _memory(device: torch.device) -> str:
    if device.type == "cuda":
        return f"{torch.cuda.max_memory_allocated(device) / 2**30:.1f} GiB of the GPU's"
    peak = peak_memory()
    return "unknown on this system" if peak is None else f"{peak / 2**30:.1f} GiB at its peak, loader processes apart"
