"""The training loop."""

from __future__ import annotations

import copy
import math
import time
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from vocseg import voc
from vocseg.data.check import check_split
from vocseg.data.dataset import VocDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loading import default_workers, sample_seed, training_batches
from vocseg.data.transforms import training_transform
from vocseg.devices import autocast, find_device, find_precision
from vocseg.errors import SettingError, TrainingError
from vocseg.evaluation.evaluate import Evaluation, evaluate, progress
from vocseg.evaluation.report import percent
from vocseg.inference.segmenter import Segmenter
from vocseg.losses import Loss, segmentation_loss
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel, create_model, save_model
from vocseg.training.optimiser import build_optimiser, poly, set_rate
from vocseg.training.run import RunFolder, log, same_run
from vocseg.training.settings import Settings, load_settings


class EpochTotals:
    """Loss of the main output and confusion matrix, summed over an epoch's training batches as they were trained on."""

    def __init__(self, classes: tuple[str, ...], device: torch.device) -> None:
        self.matrix = ConfusionMatrix(classes, device)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, logits: Tensor, loss: Loss, masks: Tensor) -> None:
        self.loss += loss.main.detach() * (masks != voc.VOID).sum()
        self.matrix.update(logits.detach().argmax(1), masks)

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
        return min(self.total, math.ceil(epoch * self.images / self.batch_size))

    @property
    def epochs(self) -> int:
        return math.ceil(self.total * self.batch_size / self.images)


def train(settings: Settings, resume: RunFolder | None = None) -> RunFolder:
    """Train a model as ``settings`` say, or go on with the run ``resume``; returns the run folder.

    Raises SettingError, DataError and ModelError before anything is written, TrainingError for a loss that is not
    finite, OutputError where a file cannot be written.
    """
    device = find_device(settings.device)
    precision = find_precision(settings.precision, device)
    folder = VocFolder.find(settings.data, settings.mask_dir)
    train_set = VocDataset(folder, settings.split, training_transform(settings.augment, settings.crop))
    val_set = VocDataset(folder, settings.val_split)
    plan = Plan.of(settings, len(train_set))
    summaries = [check_split(dataset, progress) for dataset in (train_set, val_set)]
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
    settings = replace(settings, precision=_name(precision), device=device.type, workers=workers)
    if resume is None:
        run = RunFolder.create(settings)
        settings.save(run.config)
        run.write_environment(device, precision)
    else:
        run = resume
        same_run(load_settings(run.config), settings)
    handler = run.log_to_file()
    try:
        for line in (f"run folder {run.root}", *(summary.describe() for summary in summaries)):
            log.info(line)
        _loop(settings, run, plan, model, train_set, val_set, device, precision)
    finally:
        log.removeHandler(handler)
        handler.close()
    return run


def _loop(
    settings: Settings,
    run: RunFolder,
    plan: Plan,
    model: SegmentationModel,
    train_set: VocDataset,
    val_set: VocDataset,
    device: torch.device,
    precision: torch.dtype,
) -> None:
    assert settings.workers is not None
    segmenter = Segmenter(model, device=device.type, precision=_name(precision))
    optimiser = build_optimiser(model, settings)
    totals = EpochTotals(train_set.classes, device)
    start, epoch, best = 0, 1, -1.0
    state = run.load_state()
    if state is not None:
        model.network.load_state_dict(state["network"])
        optimiser.load_state_dict(state["optimiser"])
        totals.load_state(state["totals"])
        start, epoch, best = state["iteration"], state["epoch"], state["best"]
        run.cut_metrics(start)
        log.info(f"resumed at iteration {start} of {plan.total}, epoch {epoch}")

    def save_state(iteration: int) -> None:
        run.save_state(
            {
                "network": model.network.state_dict(),
                "optimiser": optimiser.state_dict(),
                "totals": totals.state(),
                "iteration": iteration,
                "epoch": epoch,
                "best": best,
            }
        )

    batches = training_batches(train_set, settings.batch_size, settings.workers, settings.seed, start)
    model.train()
    began = saved = time.monotonic()
    bar = _epoch_bar(plan, epoch, start)
    iteration = start
    try:
        while iteration < plan.total:
            # Dropout draws from a seed of the iteration, so that a resumed run draws the same.
            torch.manual_seed(sample_seed(settings.seed, iteration))
            batch = next(batches)
            pictures, masks = batch.pictures.to(device, non_blocking=True), batch.masks.to(device, non_blocking=True)
            set_rate(optimiser, poly(iteration, plan.total, settings.power))
            with autocast(device, precision):
                outputs = model(pictures)
            loss = segmentation_loss(outputs, masks, settings.aux_weight)
            if not torch.isfinite(loss.total):
                raise TrainingError(f"loss is {float(loss.total)} at iteration {iteration}, pictures {', '.join(batch.names)}")
            optimiser.zero_grad(set_to_none=True)
            loss.total.backward()
            optimiser.step()
            totals.add(outputs["out"], loss, masks)
            iteration += 1
            bar.update()
            bar.set_postfix_str(f"loss {loss.main.item():.3f}", refresh=False)
            if iteration == plan.end_of_epoch(epoch):
                bar.close()
                result = evaluate(segmenter, val_set, workers=settings.workers, title=f"validate {epoch}/{plan.epochs}")
                model.train()
                best = _finish_epoch(run, plan, model, epoch, iteration, optimiser, totals, result, best, time.monotonic() - began)
                epoch, totals = epoch + 1, EpochTotals(train_set.classes, device)
                save_state(iteration)
                saved, bar = time.monotonic(), _epoch_bar(plan, epoch, iteration)
            elif time.monotonic() - saved > 60 * settings.checkpoint_minutes:
                save_state(iteration)
                saved = time.monotonic()
    except KeyboardInterrupt:
        save_state(iteration)
        raise TrainingError(f"interrupted at iteration {iteration}; go on with: vocseg train --resume {run.root}") from None
    finally:
        bar.close()
    log.info(f"best val mIoU {percent(best)}; model {run.best}")


def _finish_epoch(
    run: RunFolder,
    plan: Plan,
    model: SegmentationModel,
    epoch: int,
    iteration: int,
    optimiser: torch.optim.Optimizer,
    totals: EpochTotals,
    result: Evaluation,
    best: float,
    seconds: float,
) -> float:
    """Record an epoch's figures, save the last model, and the best one where it is; returns the best mIoU so far."""
    training, validation = totals.to_dict(), result.to_dict()
    record = {
        "epoch": epoch,
        "iteration": iteration,
        "seconds": round(seconds, 1),
        "lr": optimiser.param_groups[0]["lr"],
        "train": training,
        "val": validation,
    }
    run.append_metrics(record)
    info = replace(model.info, scores={result.split: {key: validation[key] for key in ("miou", "pixel_accuracy", "loss", "images")}})
    save_model(run.last, model, info)
    miou = result.scores.miou or 0.0
    if miou > best:
        save_model(run.best, model, info)
    log.info(
        f"epoch {epoch}/{plan.epochs}  "
        + "  |  ".join(
            f"{name}: loss {values['loss'] or 0:.4f}, pixel accuracy {percent(values['pixel_accuracy'])}, mIoU {percent(values['miou'])}"
            for name, values in (("train", training), ("val", validation))
        )
        + ("  (best)" if miou > best else "")
    )
    return max(best, miou)


def _epoch_bar(plan: Plan, epoch: int, iteration: int) -> tqdm[Any]:
    before, end = plan.end_of_epoch(epoch - 1), plan.end_of_epoch(epoch)
    title = f"epoch {epoch}/{plan.epochs}"
    return tqdm(total=end - before, initial=iteration - before, desc=title, unit="step", disable=None, leave=False, dynamic_ncols=True)


def _try_forward(model: SegmentationModel, pictures: int, crop: int) -> None:
    """Raise SettingError where the model cannot train on crops of that size, before anything is written."""
    probe = copy.deepcopy(model).train()
    try:
        with torch.no_grad():
            probe(torch.zeros(pictures, 3, crop, crop, dtype=torch.uint8))
    except (RuntimeError, ValueError) as error:
        hint = " (batch normalisation needs more than one picture: --batch-size 2 or more)" if pictures == 1 else ""
        raise SettingError(f"{model.info.architecture} cannot train with crop {crop}{hint}: {str(error).splitlines()[0]}") from error


def _name(precision: torch.dtype) -> Any:
    return str(precision).removeprefix("torch.")
