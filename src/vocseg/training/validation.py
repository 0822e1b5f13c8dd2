"""The end of an epoch: validation, the epoch's record, the model files."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vocseg.data.loader import evaluation_workers
from vocseg.errors import TrainingError
from vocseg.evaluation.evaluate import evaluate_split
from vocseg.evaluation.result import Evaluation
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel, save_model
from vocseg.training.run_folder import RunFolder, log
from vocseg.training.setup import TrainSetup
from vocseg.training.step_log import percents

if TYPE_CHECKING:
    from vocseg.training.loop import TrainState


def finish_epoch(setup: TrainSetup, state: TrainState, run: RunFolder, seconds: float, lr: float) -> dict[str, Any]:
    """Validate the weights and their moving average, write the model files, and return the epoch's record.

    Call it in all processes. Raises TrainingError for a validation loss that is not finite.
    """
    title = f"{state.epoch}/{setup.schedule.epochs}"
    models: dict[str, tuple[SegmentationModel, Path, str]] = {"val": (state.model, run.last, "val")}
    if state.ema is not None:
        models["val_ema"] = (state.averaged_model(), run.last_average, "val of average")
    results = {part: _validate(setup, model, f"validate {name} {title}") for part, (model, _, name) in models.items()}
    for result in results.values():
        if result.loss is not None and not math.isfinite(result.loss):
            raise TrainingError(f"the validation loss is {result.loss} after epoch {state.epoch}")
    training = _training_scores(setup, state)
    record: dict[str, Any] = {
        "epoch": state.epoch,
        "iteration": state.iteration,
        "seconds": round(seconds, 1),
        "lr": lr,
        "train": training,
    }
    line = [f"epoch {title}", _summary("train", training)]
    for part, result in results.items():
        model, path, name = models[part]
        better = _keep(setup, state, run, model, path, result)
        record[part] = result.to_dict()
        line.append(_summary(name, record[part]) + " (best so far)" * better)
    if setup.processes.main:
        log.info("  |  ".join(line))
    return record


def _validate(setup: TrainSetup, model: SegmentationModel, title: str) -> Evaluation:
    config, processes = setup.config, setup.processes
    return evaluate_split(
        Segmenter(model, device=config.device, precision=config.precision, engine="torch"),
        setup.val_set,
        workers=min(config.workers or 0, evaluation_workers(processes.device)),
        title=title,
        shard=processes.shard,
        gather=processes.sum,
    )


def _training_scores(setup: TrainSetup, state: TrainState) -> dict[str, float | None]:
    """Scores of the epoch's augmented batches as they were trained on, over all processes."""
    matrix = ConfusionMatrix(state.totals.classes)
    matrix.counts = setup.processes.sum(state.totals.counts).cpu()
    scores = matrix.compute()
    loss = state.loss / state.steps if int(matrix.counts.sum()) else None
    return {"loss": loss, "pixel_accuracy": scores.pixel_accuracy, "miou": scores.miou}


def _keep(setup: TrainSetup, state: TrainState, run: RunFolder, model: SegmentationModel, path: Path, result: Evaluation) -> bool:
    """Write a model file with its scores, also as the best one if it is; return whether it is."""
    miou = result.scores.miou or 0.0
    better = miou > state.best
    if setup.processes.main:
        values = result.to_dict()
        scores = {result.split: {key: values[key] for key in ("miou", "pixel_accuracy", "loss", "images")}}
        for target in (path, run.best) if better else (path,):
            save_model(target, model, replace(state.model.info, scores=scores))
    if better:
        state.best, state.best_epoch = miou, state.epoch
    return better


def _summary(name: str, scores: dict[str, Any]) -> str:
    loss = "-" if scores["loss"] is None else f"{scores['loss']:.4f}"
    return f"{name}: loss {loss}, pixel accuracy {percents(scores['pixel_accuracy'])}, mIoU {percents(scores['miou'])}"
