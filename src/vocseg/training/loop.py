"""The training loop: the state of a run, one step, and the loop over steps and epochs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from vocseg.data.dataset import Batch
from vocseg.data.loader import sample_seed
from vocseg.errors import TrainingError, TrainingStopped
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel
from vocseg.ops.conv_cpu import fast_convolutions
from vocseg.ops.cross_entropy import valid_weight
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.distillation import Distillation
from vocseg.training.distillation.features import Hints, recorded
from vocseg.training.losses import Criterion
from vocseg.training.optimizer import CLIP_NORM, MovingAverage, build_optimizer, lr_factor, set_lr, set_train_mode
from vocseg.training.run_folder import RunFolder
from vocseg.training.setup import TrainSetup
from vocseg.training.step_log import StepLog, not_finite, steps_between_reads
from vocseg.training.validation import finish_epoch
from vocseg.utils.distributed import Processes
from vocseg.utils.system import autocast

CHECKPOINT_SECONDS = 600.0
"""Seconds between checkpoints within an epoch; there is also one after each epoch."""


class StepNetwork(nn.Module):
    """What the loss needs of a model, before the last upsampling: the module that data-parallel training wraps."""

    def __init__(self, model: SegmentationModel, hints: Hints | None) -> None:
        super().__init__()
        self.model = model
        self.hints = hints

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        inputs = self.model.pad(self.model.normalize(images))
        if self.hints is None:
            return self.model.layers(inputs), {}
        with recorded(self.model.features) as features:
            values = self.model.layers(inputs)
        return values, self.hints(features)


COUNTERS = ("iteration", "epoch", "best", "best_epoch", "loss", "steps")


class TrainState:
    """Everything that changes during a run: networks, optimizer, averages, counters.

    ``iteration`` counts the steps done, ``epoch`` is the running one (1, 2, ...), ``best`` the best validation mIoU so
    far, of ``best_epoch``. ``totals`` is the confusion matrix of the running epoch's training batches in this process,
    ``loss`` the sum of their ``steps`` losses.
    """

    def __init__(
        self, model: SegmentationModel, config: TrainConfig, processes: Processes, distillation: Distillation | None = None,
        precision: torch.dtype = torch.float32, find_unused: bool = False,
    ) -> None:  # fmt: skip
        self.config, self.processes, self.precision = config, processes, precision
        self.model = model.to(processes.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.distillation = None if distillation is None else distillation.to(processes.device)
        self.hints = None if distillation is None else distillation.hints
        set_train_mode(model, config.freeze)
        self.ema = MovingAverage(model, config.ema) if config.ema else None
        network = StepNetwork(model, self.hints)
        if config.compile:
            network.compile()
        self.network = processes.wrap(network, find_unused)
        self.optimizer = build_optimizer(model, config, self.hints)
        self.scaler = torch.amp.GradScaler(processes.device.type, enabled=precision == torch.float16)
        self.iteration, self.epoch, self.best, self.best_epoch = 0, 1, -1.0, 0
        self.start_epoch(1)

    def start_epoch(self, epoch: int) -> None:
        """Begin an epoch: training mode, totals of zero."""
        self.epoch, self.loss, self.steps = epoch, 0.0, 0
        self.totals = ConfusionMatrix(self.model.info.classes, self.processes.device)
        set_train_mode(self.model, self.config.freeze)

    def averaged_model(self) -> SegmentationModel:
        """Return the model with the moving average of the weights, or the model itself if there is none."""
        return self.model if self.ema is None else cast(SegmentationModel, self.ema.module)

    def has_stalled(self) -> bool:
        """Tell whether validation has not improved for as many epochs as ``patience`` allows."""
        return 0 < self.config.patience <= self.epoch - 1 - self.best_epoch

    def state_dict(self) -> dict[str, Any]:
        """Return all that a resumed run needs; call it in all processes, since the totals are summed over them."""
        states = {name: part.state_dict() for name, part in self._parts().items()}
        return states | {name: getattr(self, name) for name in COUNTERS} | {"totals": self.processes.sum(self.totals.counts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`state_dict` returned."""
        for name, part in self._parts().items():
            if name != "scaler" or (state[name] and self.scaler.is_enabled()):  # one without float16 has no state
                part.load_state_dict(state[name])
        for name in COUNTERS:
            setattr(self, name, state[name])
        if self.processes.main:  # the others' share is in the main process's totals
            self.totals.counts.copy_(state["totals"])

    def _parts(self) -> dict[str, Any]:
        parts = {"network": self.model.network, "optimizer": self.optimizer, "scaler": self.scaler, "ema": self.ema}
        return {name: part for name, part in (parts | {"hints": self.hints}).items() if part is not None}


class StepResult(NamedTuple):
    """This process's part of the main output's loss and of the total loss, its predicted classes, and its masks."""

    loss: Tensor
    total: Tensor
    classes: Tensor
    masks: Tensor


def train_step(state: TrainState, batch: Batch, criterion: Criterion) -> StepResult:
    """Take one optimizer step.

    Losses are divided by the valid pixels of the whole batch, so that it does not matter how many micro-batches and
    processes share it. On a GPU nothing waits for the device; on a CPU, raises TrainingError for a loss that is not
    finite, before the weights change.
    """
    config, processes, distillation = state.config, state.processes, state.distillation
    device, parts = processes.device, config.accumulate
    layout = torch.channels_last if device.type == "cuda" else torch.preserve_format
    images = batch.images.to(device, non_blocking=True, memory_format=layout)
    masks = batch.masks.to(device, non_blocking=True)
    maps = {name: values.to(device, non_blocking=True) for name, values in batch.maps.items()}
    pixels = valid_weight(masks, criterion.class_weights)
    cells = pixels.new_zeros(()) if distillation is None else distillation.cells(masks, maps).float()
    pixels, cells = processes.sum(torch.stack([pixels, cells]))
    share = 1 / (parts * processes.count)

    state.optimizer.zero_grad(set_to_none=True)
    losses, totals, classes = [], [], []
    micro_batches = zip(images.chunk(parts), masks.chunk(parts), *(values.chunk(parts) for values in maps.values()), strict=True)
    for number, (image, mask, *extra) in enumerate(micro_batches, 1):
        with processes.translate_errors(), processes.no_sync(state.network, number < parts):
            with autocast(device, state.precision), fast_convolutions(device):
                values, features = state.network(image)
            logits = {name: state.model.upsample(value, *mask.shape[1:]) for name, value in values.items()}
            loss = criterion(logits, mask, pixels, share)
            total = loss.total
            if distillation is not None:
                maps_here = dict(zip(maps, extra, strict=True))
                total = total + distillation.extra_loss(image, maps_here, logits["out"], features, cells, share)
            if steps_between_reads(device) == 1 and not torch.isfinite(total):
                raise TrainingError(not_finite(state.iteration + 1, total.item(), batch.names))
            # Gradients are averaged over processes, but each loss is a share of a sum.
            state.scaler.scale(total * processes.count).backward()  # type: ignore[no-untyped-call]
        losses.append(loss.main.detach())
        totals.append(total.detach())
        classes.append(loss.classes)
    if config.optimizer == "adamw":
        state.scaler.unscale_(state.optimizer)
        torch.nn.utils.clip_grad_norm_(state.model.parameters(), CLIP_NORM)
    state.scaler.step(state.optimizer)
    state.scaler.update()
    if state.ema is not None:
        state.ema.update_parameters(state.model)
    state.iteration += 1
    return StepResult(torch.stack(losses).sum(), torch.stack(totals).sum(), torch.cat(classes), masks)


def train_loop(
    setup: TrainSetup,
    state: TrainState,
    run: RunFolder,
    should_stop: Callable[[], signal.Signals | None],
    callbacks: Sequence[object] = (),
) -> None:
    """Train from ``state`` to the end of the schedule, or until validation stalls.

    Raises TrainingError for a loss that is not finite, TrainingStopped if ``should_stop`` returns a signal in any
    process.
    """
    config, processes, schedule = setup.config, setup.processes, setup.schedule
    log = StepLog(setup, state)
    saved = time.monotonic()
    with closing(setup.batches(state.iteration)) as batches, closing(log):
        while state.iteration < schedule.total and not state.has_stalled():
            batch = next(batches)
            # Dropout draws from a seed of the iteration, so that a resumed run draws the same. (Set after the batch is
            # fetched: starting a loader takes a number from torch's generator.)
            torch.manual_seed(sample_seed(config.seed, state.iteration * processes.count + processes.rank))
            factor = lr_factor(state.iteration, schedule.total, config)
            set_lr(state.optimizer, factor)
            result = train_step(state, batch, setup.criterion)
            state.totals.update(result.classes, result.masks)
            log.add(result.loss, result.total, config.lr * factor, batch.names)
            notify(callbacks, "on_step", state)

            epoch_ends = state.iteration == schedule.end_of_epoch(state.epoch)
            stop_now = processes.count == 1 and should_stop() is not None
            if not (epoch_ends or stop_now or log.is_full()):
                continue  # without waiting for the device
            log.read()
            stop, due = processes.any(should_stop() is not None, time.monotonic() - saved > CHECKPOINT_SECONDS)
            if epoch_ends:
                log.close()
                record = finish_epoch(setup, state, run, log.began, config.lr * factor)
                notify(callbacks, "on_epoch_end", state, record)
                if processes.main:
                    run.append_metrics(record)
                state.start_epoch(state.epoch + 1)
            if epoch_ends or stop or due:
                values = state.state_dict()
                if processes.main:
                    run.append_steps(log.rows)
                    run.save_checkpoint(values)
                log.rows = []
                saved = time.monotonic()
            if stop and state.iteration < schedule.total:
                cause = should_stop() or signal.SIGTERM  # which another process received
                raise TrainingStopped(f"stopped by {cause.name} at iteration {state.iteration}", cause)
            if epoch_ends and state.iteration < schedule.total:
                log.start_epoch()


def notify(callbacks: Sequence[object], event: str, *arguments: Any) -> None:
    """Call the method ``event`` of the callbacks that have it."""
    for callback in callbacks:
        method = getattr(callback, event, None)
        if method is not None:
            method(*arguments)
