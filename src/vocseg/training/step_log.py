"""Losses of steps on their way from the device to steps.csv, the progress bar and the log."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor

from vocseg.errors import TrainingError
from vocseg.training.run_folder import log
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


class _Pending(NamedTuple):
    iteration: int
    lr: float
    loss: Tensor
    total: Tensor
    names: list[str]


class StepLog:
    """Losses that stay on the device until :meth:`read`; the progress bar, or a line per minute without a terminal."""

    def __init__(self, setup: TrainSetup, state: TrainState) -> None:
        self.setup, self.state = setup, state
        self.every = steps_between_reads(setup.processes.device)
        self.pending: list[_Pending] = []
        self.rows: list[tuple[int, float, float]] = []
        self.began = time.monotonic()
        self.start_epoch()
        self.line_seconds = FIRST_LINE_SECONDS

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
        self.pending.append(_Pending(self.state.iteration, lr, loss, total, names))

    def is_full(self) -> bool:
        """Tell whether it is time to :meth:`read`; the same in all processes."""
        return len(self.pending) >= self.every

    def read(self) -> None:
        """Read the losses, summed over processes; raise TrainingError for one that is not finite."""
        if not self.pending:
            return
        ours = torch.stack([torch.stack([step.loss, step.total]).float() for step in self.pending])
        for step, (loss, total) in zip(self.pending, self.setup.processes.sum(ours).tolist(), strict=True):
            if not math.isfinite(total):
                raise TrainingError(f"iteration {step.iteration}: loss is {total} with images {', '.join(step.names)}")
            self.rows.append((step.iteration, loss, step.lr))
            self.state.loss += loss
            self.state.steps += 1
        self.bar.update(len(self.pending) * self.setup.schedule.batch_size)
        self.pending = []
        self._show(loss)

    def take_rows(self) -> list[tuple[int, float, float]]:
        """Return the rows (iteration, loss, learning rate) read since the last call."""
        rows, self.rows = self.rows, []
        return rows

    def seconds(self) -> float:
        """Return the seconds since this process began to train."""
        return round(time.monotonic() - self.began, 1)

    def close(self) -> None:
        """Remove the bar."""
        self.bar.close()

    def _show(self, loss: float) -> None:
        now, (then, at) = time.monotonic(), self.last_line
        if self.bar.disable and (now - then <= self.line_seconds or not self.setup.processes.main):
            return
        miou = percent(self.state.totals.compute().miou)
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
