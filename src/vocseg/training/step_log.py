"""Losses of steps on their way from the device to steps.csv, the progress bar and the log."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vocseg.errors import TrainingError
from vocseg.training.run_folder import Step, log
from vocseg.utils.progress import bar, duration
from vocseg.utils.text import percent

if TYPE_CHECKING:
    from vocseg.training.loop import TrainState
    from vocseg.training.setup import TrainSetup

READ_EVERY = 20
"""Steps on a GPU after which losses are read, which waits for the device."""
LINE_SECONDS = 60
"""Seconds between lines in the log without a terminal; the first one comes earlier, so that a run does not look hung."""
FIRST_LINE_SECONDS = 10


def steps_between_reads(device: torch.device) -> int:
    """Return after how many steps losses are read: on a CPU after each, before the weights change."""
    return 1 if device.type == "cpu" else READ_EVERY


class StepLog:
    """Losses that stay on the device until :meth:`read`; the progress bar, or a line per minute without a terminal."""

    def __init__(self, setup: TrainSetup, state: TrainState) -> None:
        self.setup, self.state = setup, state
        self.pending: list[tuple[int, float, list[str], Tensor]] = []
        self.rows: list[Step] = []
        self.began, self.line_seconds = time.monotonic(), FIRST_LINE_SECONDS
        self.start_epoch()

    def start_epoch(self) -> None:
        """Show a new bar."""
        schedule, state = self.setup.schedule, self.state
        before, end = schedule.end_of_epoch(state.epoch - 1), schedule.end_of_epoch(state.epoch)
        self.bar: Any = bar(
            total=(end - before) * schedule.batch_size, initial=(state.iteration - before) * schedule.batch_size,
            desc=f"epoch {state.epoch}/{schedule.epochs}", unit="image", disable=None if self.setup.processes.main else True,
        )  # fmt: skip
        self.last_line = time.monotonic(), state.iteration

    def add(self, loss: Tensor, total: Tensor, lr: float, names: list[str]) -> None:
        """Add a step's loss and total loss in this process, its learning rate, and its images."""
        self.pending.append((self.state.iteration, lr, names, torch.stack([loss, total]).float()))

    def is_full(self) -> bool:
        """Tell whether it is time to :meth:`read`; the same in all processes."""
        return len(self.pending) >= steps_between_reads(self.setup.processes.device)

    def read(self) -> None:
        """Read the losses, summed over processes; raise TrainingError for one that is not finite."""
        if not self.pending:
            return
        summed = self.setup.processes.sum(torch.stack([losses for *_, losses in self.pending])).tolist()
        for (iteration, lr, names, _), (loss, total) in zip(self.pending, summed, strict=True):
            if not math.isfinite(total):
                raise TrainingError(not_finite(iteration, total, names))
            self.rows.append((iteration, loss, lr))
            self.state.loss += loss
            self.state.steps += 1
        self.bar.update(len(self.pending) * self.setup.schedule.batch_size)
        self.pending = []
        self._show(loss)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()

    def _show(self, loss: float) -> None:
        now, (then, at) = time.monotonic(), self.last_line
        if self.bar.disable and (now - then <= self.line_seconds or not self.setup.processes.main):
            return
        miou = percents(self.state.totals.compute().miou)
        if not self.bar.disable:
            self.bar.set_postfix_str(f"loss {loss:.3f}, mIoU {miou}", refresh=False)
            return
        schedule, iteration = self.setup.schedule, self.state.iteration
        rate = (iteration - at) / (now - then)
        log.info(
            f"iteration {iteration}/{schedule.total}: loss {loss:.3f}, mIoU {miou}, "
            f"{rate * schedule.batch_size:.3g} images/s, {duration((schedule.total - iteration) / rate)} left"
        )
        self.last_line, self.line_seconds = (now, iteration), LINE_SECONDS


def percents(value: float | None) -> str:
    """Format a fraction as in ``70.20 %``, and an undefined one as a dash."""
    return percent(value) + " %" * (value is not None)


def not_finite(iteration: int, loss: float, names: list[str]) -> str:
    """Return the message for a loss that is not finite, and what to do."""
    return f"iteration {iteration}: loss is {loss} with images {', '.join(names)}"
