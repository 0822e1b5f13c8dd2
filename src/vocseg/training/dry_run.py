"""What a run would cost, and what learning rate it might take, found by a few real steps that leave nothing behind."""

from __future__ import annotations

import statistics
import time
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import torch

from vocseg.data.loader import sample_seed
from vocseg.errors import TrainingError
from vocseg.training.distributed import Processes
from vocseg.training.optimizer import build_optimizer, freeze, set_rate
from vocseg.training.setup import Job
from vocseg.training.step import Step
from vocseg.utils.files import replacing
from vocseg.utils.progress import duration, progress

WINDOW = 0.15
"""Share of the rates tried over which a fall of the loss is looked for: of six decades nearly one."""

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
    total = fastest * job.plan.total * _relative_work(job)
    speed = job.plan.batch_size / fastest
    lines = [
        *_class_counts(job),
        "",
        *job.describe(),
        f"{fastest:.3g} s a step, {speed:.3g} images a second; about {duration(total)} in all, without validation",
        f"memory: {_memory(job.device)}",
    ]
    return Rehearsal(lines, total)


def _relative_work(job: Job) -> float:
    """Work of the run's steps, on average, to that of its first: larger crops take as much longer as they are larger."""
    settings = job.settings
    growth = 1.0 if settings.final_crop is None else (settings.final_crop / settings.crop) ** 2
    return 1 + settings.final_share * (growth - 1)


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
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
        peak = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))
    except (OSError, StopIteration):
        return "unknown on this system"
    return f"{peak / 2**20:.1f} GiB at its peak, loader processes apart"


@dataclass(frozen=True)
class RateSearch:
    """Learning rates tried, growing exponentially, and the smoothed loss after each."""

    rates: list[float]
    losses: list[float]

    @property
    def suggestion(self) -> float:
        """The rate in the middle of the steepest fall before the least loss.

        Falls are slopes of lines fitted over a window of rates: between two single steps noise decides, at its most just before
        the loss explodes.
        """
        width = max(2, round(WINDOW * len(self.rates)))
        low = max(width, min(range(len(self.losses)), key=self.losses.__getitem__) + 1)
        slopes = [
            statistics.linear_regression(range(width), self.losses[start : start + width]).slope for start in range(low - width + 1)
        ]
        return self.rates[slopes.index(min(slopes)) + (width - 1) // 2]


def find_rate(job: Job, low: float = 1e-6, high: float = 1.0, count: int = 100) -> RateSearch:
    """The learning rate range test: ``count`` steps at exponentially growing rates, until the loss is four times its least.

    Smith, "Cyclical learning rates for training neural networks" (2017), section 3.3; losses are smoothed by an average with
    decay 0.9. The model is spoiled by it.
    """
    step, optimizer = _rehearse(job)
    rates: list[float] = []
    losses: list[float] = []
    average = 0.0
    settings = job.settings
    with closing(job.batches()) as batches:
        for number in progress(range(count), count, "find the learning rate", "step"):
            rate = low * (high / low) ** (number / (count - 1))
            torch.manual_seed(sample_seed(settings.seed, number))
            set_rate(optimizer, rate / settings.lr)
            try:
                average = 0.9 * average + 0.1 * float(step(next(batches)).loss)
            except TrainingError:  # not finite: the end of the range
                break
            rates.append(rate)
            losses.append(average / (1 - 0.9 ** (number + 1)))
            if losses[-1] > 4 * min(losses):
                break
    if len(rates) < 3:
        raise TrainingError(f"the loss is not finite at a learning rate of {low:g} already")
    return RateSearch(rates, losses)


def plot_rates(search: RateSearch, path: Path) -> None:
    """Draw loss by learning rate as PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(6, 4), layout="constrained")
    axes.plot(search.rates, search.losses)
    axes.axvline(search.suggestion, color="tab:orange", linestyle="--", label=f"steepest fall: {search.suggestion:.2g}")
    axes.set(xscale="log", xlabel="learning rate", ylabel="training loss, smoothed")
    axes.grid(alpha=0.3)
    axes.legend()
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
    pyplot.close(figure)
