"""The end of an epoch: validation, the epoch's record, the model files."""

from __future__ import annotations

import math
import time
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


def finish_epoch(setup: TrainSetup, state: TrainState, run: RunFolder, began: float, lr: float) -> dict[str, Any]:
    """Validate the weights and their moving average, write the model files, and return the epoch's record.

    ``began``: when training began, by the monotonic clock.
    Call it in all processes. Raises TrainingError for a validation loss that is not finite.
    """
    models: dict[str, tuple[SegmentationModel, Path, str]] = {"val": (state.model, run.last, "val")}
    if state.ema is not None:
        models["val_ema"] = (state.averaged_model(), run.last_average, "val of average")
    results = {part: _validate(setup, model, name, state.epoch) for part, (model, _, name) in models.items()}
    training = _training_scores(setup, state)
    # Without the time it took: the records of equal runs are equal, byte by byte.
    record: dict[str, Any] = {"epoch": state.epoch, "iteration": state.iteration, "lr": lr, "train": training}
    line = [f"epoch {state.epoch}/{setup.schedule.epochs}", _summary("train", training)]
    for part, result in results.items():
        model, path, name = models[part]
        better = _keep(setup, state, run, model, path, result)
        record[part] = _scores(result)
        line.append(_summary(name, record[part]) + " (best so far)" * better)
    if setup.processes.main:
        log.info("  |  ".join([*line, f"{time.monotonic() - began:.1f} s so far"]))
    return record


def score_start(setup: TrainSetup, state: TrainState, run: RunFolder) -> None:
    """Validate the model that the run starts from as epoch 0: the best one until an epoch is better.

    Call it in all processes. Raises TrainingError as :func:`finish_epoch`.
    """
    state.start_epoch(0)
    result = _validate(setup, state.model, "val", 0)
    _keep(setup, state, run, state.model, run.last, result)
    if setup.processes.main:
        record = {"epoch": 0, "iteration": 0, "lr": 0.0, "train": dict.fromkeys(("loss", "pixel_accuracy", "miou"))}
        run.append_metrics(record | {"val": _scores(result)})
        log.info(f"epoch 0, the starting model  |  {_summary('val', _scores(result))}")
    state.start_epoch(1)


def _scores(result: Evaluation) -> dict[str, Any]:
    return {key: value for key, value in result.to_dict().items() if key != "seconds"}


def _validate(setup: TrainSetup, model: SegmentationModel, name: str, epoch: int) -> Evaluation:
    config, processes = setup.config, setup.processes
    result = evaluate_split(
        Segmenter(model, device=config.device, precision=config.precision, engine="torch"),
        setup.val_set,
        workers=min(config.workers or 0, evaluation_workers(processes.device)),
        title=f"validate {name} {epoch}/{setup.schedule.epochs}",
        places=range(processes.rank, len(setup.val_set), processes.count),
        gather=processes.sum,
    )
    if result.loss is not None and not math.isfinite(result.loss):
        raise TrainingError(f"the validation loss is {result.loss} after epoch {epoch}")
    return result


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
