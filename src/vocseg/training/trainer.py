"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.check import check_split
from vocseg.data.dataset import VocDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loading import Batch, default_workers, sample_seed, training_batches
from vocseg.data.transforms import training_transform
from vocseg.devices import find_device, find_precision
from vocseg.errors import SettingError, TrainingError
from vocseg.evaluation.evaluate import evaluate
from vocseg.evaluation.report import percent
from vocseg.inference.segmenter import Segmenter
from vocseg.losses import Loss
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel, create_model, save_model
from vocseg.models.choices import choices
from vocseg.progress import bar
from vocseg.training.optimiser import build_optimiser, poly, set_rate
from vocseg.training.run import RunFolder, log, same_run
from vocseg.training.settings import Settings, load_settings
from vocseg.training.step import training_step


class EpochTotals:
    """Loss of the main output and confusion matrix, summed over an epoch's training batches as they were trained on."""

    def __init__(self, classes: tuple[str, ...], device: torch.device) -> None:
        self.matrix = ConfusionMatrix(classes, device)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, loss: Loss, masks: Tensor) -> None:
        self.loss += loss.main.detach() * (masks != voc.VOID).sum()
        self.matrix.update(loss.classes, masks)

    def state(self) -> dict[str, Tensor]:
        return {"counts": self.matrix.counts, "loss": self.loss}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.matrix.counts.copy_(state["counts"])
        self.loss.copy_(state["loss"])

    def to_dict(self) -> dict[str, float | None]:
        scores, pixels = self.matrix.scores(), int(self.matrix.counts.sum())
        loss = float(self.loss) / pixels if pixels else None
        return {"loss": loss, "pixel_accuracy": scores.pixel_accuracy, "miou": scores.miou}


@dataclass(frozen=True)
class Plan:
    """How many iterations an epoch and a run have. Epochs are cut at whole iterations, so they may differ by one."""

    images: int
    batch_size: int
    total: int

    @classmethod
    def of(cls, settings: Settings, images: int) -> Plan:
        if settings.batch_size > images:
            raise SettingError(f"batch_size {settings.batch_size} is larger than the split {settings.split} of {images} pictures")
        total = settings.iterations or math.ceil(settings.epochs * images / settings.batch_size)
        return cls(images, settings.batch_size, total)

    def end_of_epoch(self, epoch: int) -> int:
        """The iteration after the last one of an epoch 1, 2, ..."""
        return min(self.total, -(-epoch * self.images // self.batch_size))

    @property
    def epochs(self) -> int:
        """The epoch, 1, 2, ..., that ends with the last iteration."""
        return (self.total - 1) * self.batch_size // self.images + 1


def train(settings: Settings, resume: RunFolder | None = None) -> RunFolder:
    """Train a model as ``settings`` say, or go on with the run ``resume``; returns the run folder.

    Raises SettingError, DataError and ModelError before anything is written, TrainingError for a loss that is not
    finite, OutputError where a file cannot be written.
    """
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    folder = VocFolder.find(settings.data, settings.mask_dir)
    train_set = VocDataset(folder, settings.split, training_transform(settings.augment, settings.crop))
    val_mask_dir = settings.val_mask_dir or (voc.MASKS if (folder.root / voc.MASKS).is_dir() else settings.mask_dir)
    val_set = VocDataset(VocFolder.find(settings.data, val_mask_dir), settings.val_split)
    plan = Plan.of(settings, len(train_set))
    summaries = [check_split(dataset) for dataset in (train_set, val_set)]
    torch.manual_seed(settings.seed)
    model = create_model(settings.model, folder.classes, settings.weights)
    model.info = replace(
        model.info,
        short_side=settings.eval_short_side or model.info.short_side,
        trained_on=f"{folder.root.name} {settings.split} ({len(train_set)} pictures, masks {settings.mask_dir})",
        scores={},
    )
    _try_forward(model, min(2, settings.batch_size), settings.crop)
    workers = default_workers() if settings.workers is None else settings.workers
    settings = replace(settings, val_mask_dir=val_mask_dir, device=_word(device.type), precision=_word(precision), workers=workers)
    if resume is None:
        run = RunFolder.create(settings)
        settings.save(run.config)
        run.write_environment(device, precision)
    else:
        run = resume
        same_run(load_settings(run.config), settings)
    with run.log_to_file():
        for line in (f"run folder {run.root}", *(summary.describe() for summary in summaries)):
            log.info(line)
        _Training(settings, run, plan, model, train_set, val_set, workers).go()
    return run


class _Training:
    """The state of a run and its loop."""

    def __init__(
        self,
        settings: Settings,
        run: RunFolder,
        plan: Plan,
        model: SegmentationModel,
        train_set: VocDataset,
        val_set: VocDataset,
        workers: int,
    ) -> None:
        self.settings, self.run, self.plan, self.model = settings, run, plan, model
        self.train_set, self.val_set, self.workers = train_set, val_set, workers
        self.device = find_device(settings.device)
        self.precision = find_precision(settings.precision, self.device)
        model.to(self.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.optimiser = build_optimiser(model, settings)
        self.totals = EpochTotals(train_set.classes, self.device)
        self.iteration, self.epoch, self.best = 0, 1, -1.0

    def go(self) -> None:
        """Train to the end of the plan."""
        self._restore()
        batches = training_batches(self.train_set, self.settings.batch_size, self.workers, self.settings.seed, self.iteration)
        self.model.train()
        self.began = saved = time.monotonic()
        steps = self._bar()
        try:
            while self.iteration < self.plan.total:
                loss = self._step(next(batches))
                steps.update()
                steps.set_postfix_str(f"loss {loss:.3f}", refresh=False)
                if self.iteration == self.plan.end_of_epoch(self.epoch):
                    steps.close()
                    self._finish_epoch()
                    self._save()
                    saved, steps = time.monotonic(), self._bar()
                elif time.monotonic() - saved > 60 * self.settings.checkpoint_minutes:
                    self._save()
                    saved = time.monotonic()
        except KeyboardInterrupt:
            self._save()
            text = f"interrupted at iteration {self.iteration}; go on with: vocseg train --resume {self.run.root}"
            raise TrainingError(text) from None
        finally:
            steps.close()
        log.info(f"best {self.val_set.split} mIoU {percent(self.best)}; model {self.run.best}")

    def _step(self, batch: Batch) -> float:
        """One optimiser step; returns the main output's loss."""
        # Dropout draws from a seed of the iteration, so that a resumed run draws the same. (Here, not before the batch
        # is fetched: a loader's first one takes a number from torch's generator.)
        torch.manual_seed(sample_seed(self.settings.seed, self.iteration))
        pictures = batch.pictures.to(self.device, non_blocking=True)
        masks = batch.masks.to(self.device, non_blocking=True)
        set_rate(self.optimiser, poly(self.iteration, self.plan.total, self.settings.power))
        try:
            loss = training_step(self.model, pictures, masks, self.optimiser, self.precision, self.settings.aux_weight)
        except TrainingError as error:
            raise TrainingError(f"{error} at iteration {self.iteration}, pictures {', '.join(batch.names)}") from None
        self.totals.add(loss, masks)
        self.iteration += 1
        return loss.main.item()

    def _finish_epoch(self) -> None:
        """Validate, record the epoch's figures, save the last model, and the best one where it is."""
        title = f"validate {self.epoch}/{self.plan.epochs}"
        segmenter = Segmenter(self.model, device=self.settings.device, precision=self.settings.precision)
        result = evaluate(segmenter, self.val_set, workers=self.workers, title=title)
        training, validation = self.totals.to_dict(), result.to_dict()
        self.run.append_metrics(
            {
                "epoch": self.epoch,
                "iteration": self.iteration,
                "seconds": round(time.monotonic() - self.began, 1),
                "lr": self.optimiser.param_groups[0]["lr"],
                "train": training,
                "val": validation,
            }
        )
        figures = {key: validation[key] for key in ("miou", "pixel_accuracy", "loss", "images")}
        info = replace(self.model.info, scores={result.split: figures})
        save_model(self.run.last, self.model, info)
        miou = result.scores.miou or 0.0
        if miou > self.best:
            save_model(self.run.best, self.model, info)
        mark = "  (best)" if miou > self.best else ""
        parts = (f"epoch {self.epoch}/{self.plan.epochs}", _line("train", training), _line("val", validation))
        log.info("  |  ".join(parts) + mark)
        self.best = max(self.best, miou)
        self.totals = EpochTotals(self.train_set.classes, self.device)
        self.epoch += 1

    def _save(self) -> None:
        self.run.save_state(
            {
                "network": self.model.network.state_dict(),
                "optimiser": self.optimiser.state_dict(),
                "totals": self.totals.state(),
                "iteration": self.iteration,
                "epoch": self.epoch,
                "best": self.best,
                # The ways that convolutions take decide the last bits of a sum.
                "choices": choices.made,
            }
        )

    def _restore(self) -> None:
        state = self.run.load_state()
        if state is None:
            return
        self.model.network.load_state_dict(state["network"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.totals.load_state(state["totals"])
        self.iteration, self.epoch, self.best = state["iteration"], state["epoch"], state["best"]
        choices.made.update(state["choices"])
        self.run.cut_metrics(self.iteration)
        if self.iteration >= self.plan.total:
            log.info(f"the run is complete at iteration {self.iteration}; more --epochs or --iterations extend it")
        else:
            log.info(f"resumed at iteration {self.iteration} of {self.plan.total}, epoch {self.epoch}")

    def _bar(self) -> Any:
        before, end = self.plan.end_of_epoch(self.epoch - 1), self.plan.end_of_epoch(self.epoch)
        title = f"epoch {self.epoch}/{self.plan.epochs}"
        return bar(total=end - before, initial=self.iteration - before, desc=title, unit="step")


def _line(name: str, figures: dict[str, Any]) -> str:
    loss = "-" if figures["loss"] is None else f"{figures['loss']:.4f}"
    return f"{name}: loss {loss}, pixel accuracy {percent(figures['pixel_accuracy'])}, mIoU {percent(figures['miou'])}"


def _try_forward(model: SegmentationModel, pictures: int, crop: int) -> None:
    """Raise SettingError where the model cannot train on crops of that size, before anything is written."""
    probe = copy.deepcopy(model).train()
    try:
        with torch.no_grad():
            probe(torch.zeros(pictures, 3, crop, crop, dtype=torch.uint8))
    except (RuntimeError, ValueError) as error:
        hint = " (batch normalisation needs more than one picture: --batch-size 2 or more)" if pictures == 1 else ""
        reason = str(error).splitlines()[0]
        raise SettingError(f"{model.info.architecture} cannot train with crop {crop}{hint}: {reason}") from error


def _word(value: object) -> Any:
    """The setting's word for a device type or dtype."""
    return str(value).removeprefix("torch.")
