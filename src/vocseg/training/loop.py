"""The training loop."""

from __future__ import annotations

import math
import signal
import time
from collections.abc import Generator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vocseg.cli.signals import StopSignals
from vocseg.data.dataset import Batch
from vocseg.data.loader import evaluation_workers, sample_seed
from vocseg.errors import OutputError, SettingError, TrainingError, TrainingStopped
from vocseg.evaluation.evaluate import evaluate_split
from vocseg.evaluation.result import Evaluation
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel, save_model
from vocseg.training.config import TrainConfig, load_config
from vocseg.training.distributed import Processes
from vocseg.training.ema import Ema
from vocseg.training.optimizer import build_optimizer, freeze, rate_factor, set_rate
from vocseg.training.report import Board, require_tensorboard, write_curves, write_report
from vocseg.training.run_folder import RunFolder, fingerprint, log, same_data, same_run
from vocseg.training.setup import Job, prepare
from vocseg.training.step import Step, StepResult
from vocseg.utils.progress import bar, duration
from vocseg.utils.text import counted, percent


class EpochTotals:
    """Loss of the main output and confusion matrix, summed over an epoch's training batches as they were trained on."""

    def __init__(self, classes: tuple[str, ...], device: torch.device) -> None:
        self.matrix = ConfusionMatrix(classes, device)
        self.loss = torch.zeros((), dtype=torch.float64, device=device)
        self.steps = torch.zeros((), dtype=torch.float64, device=device)

    def add(self, result: StepResult) -> None:
        self.loss += result.loss
        self.steps += 1
        self.matrix.update(result.classes, result.masks)

    def state(self) -> dict[str, Tensor]:
        return {"counts": self.matrix.counts, "loss": self.loss, "steps": self.steps}

    def load_state(self, state: dict[str, Tensor]) -> None:
        self.matrix.counts.copy_(state["counts"])
        self.loss.copy_(state["loss"])
        self.steps.copy_(state["steps"])

    def gathered(self, processes: Processes) -> EpochTotals:
        """The totals over all processes: each holds its share of a step's loss."""
        total = EpochTotals(self.matrix.classes, self.loss.device)
        total.matrix.counts = processes.sum(self.matrix.counts.clone())
        total.loss, total.steps = processes.sum(self.loss.clone()), self.steps
        return total

    def to_dict(self) -> dict[str, float | None]:
        scores = self.matrix.scores()
        loss = float(self.loss / self.steps) if int(self.matrix.counts.sum()) else None
        return {"loss": loss, "pixel_accuracy": scores.pixel_accuracy, "miou": scores.miou}


def train(settings: TrainConfig, resume: RunFolder | None = None) -> RunFolder:
    """Train a model as ``settings`` say, or go on with the run ``resume``; returns the run folder.

    Raises SettingError, DataError and ModelError before anything is written, TrainingError for a loss that is not
    finite or a run that was stopped, OutputError where a file cannot be written.
    """
    if settings.tensorboard:
        require_tensorboard()
    job = prepare(settings)
    processes = Processes(job.device)
    try:
        with StopSignals() as signals:
            return train_job(job, resume, processes, signals)
    finally:
        processes.end()


def train_job(job: Job, resume: RunFolder | None, processes: Processes, signals: StopSignals) -> RunFolder:
    """Do what :func:`train` does, with a job that is prepared and processes that may have others to do."""
    settings = job.settings
    data = {dataset.split: fingerprint(dataset) for dataset in (job.train_set, job.val_set)}
    if resume is not None:
        same_run(load_config(resume.config), settings)
        same_data(resume, data)
    processes.share(settings.batch_size // settings.accumulate)
    run = resume
    if run is None and processes.main:
        run = RunFolder.create(settings)
        settings.save(run.config)
        run.write_environment(job.device, job.precision, data, settings)
    root = processes.from_main(None if run is None else str(run.root))
    training = _Training(job, run if processes.main else None, resume, processes)
    try:
        training.go(signals)
    except OutputError as error:
        raise OutputError(f"{error}{training.how_to_go_on()}") from error
    return RunFolder(Path(root))


class _Training:
    """The state of a run and its loop."""

    def __init__(self, job: Job, run: RunFolder | None, resumed: RunFolder | None, processes: Processes) -> None:
        self.job, self.settings, self.plan, self.processes = job, job.settings, job.plan, processes
        self.run = run  # None in all processes but the main one, which alone writes
        self.resumed = resumed
        self.board: Board | None = None
        self.model = job.model
        job.to(processes.device)
        freeze(self.model, self.settings.freeze)
        self.ema = Ema(self.model, self.settings.ema) if self.settings.ema else None
        self.optimizer = build_optimizer(self.model, self.settings, job.hints)
        self.totals = EpochTotals(job.train_set.classes, processes.device)
        self.iteration, self.epoch, self.best, self.best_epoch = 0, 1, -1.0, 0
        self.loss = self.rate = 0.0
        self.unwritten: list[tuple[int, float, float]] = []

    def go(self, signals: StopSignals) -> None:
        """Train to the end of the plan."""
        with self._locked(), self._logging():
            self._say(f"run folder {self.run.root}" if self.run else "", *self.job.describe())
            self._restore()
            if self.run is not None and self.settings.tensorboard:
                self.board = Board(self.run.root, self.job, self.iteration)
            with closing(self.job.batches(self.iteration, (self.processes.rank, self.processes.count))) as batches:
                self._loop(batches, signals)
            self._end()

    def _loop(self, batches: Generator[Batch], signals: StopSignals) -> None:
        step = Step.of(self.job, self.optimizer, self.processes)
        self._train_mode()
        self.began = self.said = saved = time.monotonic()
        self.said_at = self.iteration
        steps = self._bar()
        while self.iteration < self.plan.total and not self._has_stalled():
            batch = next(batches)
            self._set_randomness_and_rate()
            due = signals.received is not None or time.monotonic() - saved > 60 * self.settings.checkpoint_minutes
            try:
                result = step(batch, due)
            except TrainingError as error:
                raise TrainingError(f"iteration {self.iteration}: {error}{self.how_to_go_on()}") from error
            self._note(result)
            steps.update(self.plan.batch_size)
            self._show(steps)
            if self.iteration == self.plan.end_of_epoch(self.epoch):
                steps.close()
                self._finish_epoch()
                steps = self._bar()
            elif not result.due:
                continue
            self._save()
            saved = time.monotonic()
            if self.processes.any(signals.received is not None) and self.iteration < self.plan.total:
                steps.close()
                cause = signals.received or signal.SIGTERM  # which another process received
                raise TrainingStopped(f"stopped by {cause.name} at iteration {self.iteration}{self.how_to_go_on()}", cause)
        steps.close()

    def _train_mode(self) -> None:
        self.model.train()
        freeze(self.model, self.settings.freeze)

    def _set_randomness_and_rate(self) -> None:
        # Dropout draws from a seed of the iteration, so that a resumed run draws the same. (After the batch is fetched: a
        # loader's first one takes a number from torch's generator.)
        torch.manual_seed(sample_seed(self.settings.seed, self.iteration * self.processes.count + self.processes.rank))
        factor = rate_factor(self.iteration, self.plan.total, self.settings)
        set_rate(self.optimizer, factor)
        self.rate = self.settings.lr * factor

    def _note(self, result: StepResult) -> None:
        self.iteration += 1
        if self.ema is not None:
            self.ema.update(self.model)
        self.totals.add(result)
        self.loss = float(self.processes.sum(result.loss))
        self.unwritten.append((self.iteration, self.loss, self.rate))

    def _show(self, steps: Any) -> None:
        """Loss and mIoU of the epoch so far: on the bar, or, where there is no terminal, in a line a minute."""
        miou = percent(self.totals.matrix.scores().miou)
        steps.set_postfix_str(f"loss {self.loss:.3f}, mIoU {miou}", refresh=False)
        now = time.monotonic()
        if steps.disable and now - self.said > 60:
            rate = (self.iteration - self.said_at) / (now - self.said)
            left = duration((self.plan.total - self.iteration) / rate)
            self._say(
                f"iteration {self.iteration}/{self.plan.total}: loss {self.loss:.3f}, mIoU {miou}, "
                f"{rate * self.plan.batch_size:.3g} images/s, {left} left"
            )
            self.said, self.said_at = now, self.iteration

    def _has_stalled(self) -> bool:
        """Whether validation has not got better for as many epochs as ``patience`` allows."""
        return 0 < self.settings.patience <= self.epoch - 1 - self.best_epoch

    def _finish_epoch(self) -> None:
        """Validate, record the epoch's figures, save the last model, and the best one where it is."""
        result = self._validate(self.model, "validate")
        averaged = None if self.ema is None else self._validate(self.ema.model, "validate average")
        for loss in (result.loss, None if averaged is None else averaged.loss):
            if loss is not None and not math.isfinite(loss):
                raise TrainingError(f"the validation loss is {loss} after epoch {self.epoch}{self.how_to_go_on()}")
        training, validation = self.totals.gathered(self.processes).to_dict(), result.to_dict()
        record = {
            "epoch": self.epoch,
            "iteration": self.iteration,
            "seconds": round(time.monotonic() - self.began, 1),
            "lr": self.rate,
            "train": training,
            "val": validation,
        }
        parts = [f"epoch {self.epoch}/{self.plan.epochs}", _line("train", training)]
        parts.append(_line("val", validation, best=self._keep("last", self.model, result)))
        if self.ema is not None and averaged is not None:
            record["val_ema"] = averaged.to_dict()
            parts.append(_line("val of average", averaged.to_dict(), best=self._keep("last_average", self.ema.model, averaged)))
        if self.run is not None:
            self.run.append_metrics(record)
            if self.board is not None:
                self.board.epoch(record, self.ema.model if self.ema else self.model)
        self._say("  |  ".join(parts))
        self.totals = EpochTotals(self.job.train_set.classes, self.processes.device)
        self.epoch += 1
        self._train_mode()
        self.said, self.said_at = time.monotonic(), self.iteration  # validation is no part of the rate

    def _validate(self, model: SegmentationModel, title: str) -> Evaluation:
        segmenter = Segmenter(model, device=self.settings.device, precision=self.settings.precision, engine="torch")
        return evaluate_split(
            segmenter,
            self.job.val_set,
            workers=min(self.settings.workers or 0, evaluation_workers(self.processes.device)),
            title=f"{title} {self.epoch}/{self.plan.epochs}",
            shard=(self.processes.rank, self.processes.count),
            gather=self.processes.sum,
        )

    def _keep(self, name: str, model: SegmentationModel, result: Evaluation) -> bool:
        """Write a model file with its scores, as the best one too where it is; returns whether it is."""
        miou = result.scores.miou or 0.0
        better = miou > self.best
        if self.run is not None:
            figures = {key: result.to_dict()[key] for key in ("miou", "pixel_accuracy", "loss", "images")}
            info = replace(self.model.info, scores={result.split: figures})
            save_model(getattr(self.run, name), model, info)
            if better:
                save_model(self.run.best, model, info)
        if better:
            self.best, self.best_epoch = miou, self.epoch
        return better

    def _save(self) -> None:
        totals = self.totals.gathered(self.processes)
        if self.run is None:
            return
        state = {
            "network": self.model.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "totals": totals.state(),
            "iteration": self.iteration,
            "epoch": self.epoch,
            "best": self.best,
            "best_epoch": self.best_epoch,
        } | ({} if self.ema is None else {"ema": self.ema.state()})
        if self.job.hints is not None:
            state["hints"] = self.job.hints.state_dict()
        self.run.append_steps(self.unwritten)
        self.unwritten = []
        self.run.save_state(state, 2)

    def _restore(self) -> None:
        if self.resumed is None:
            return
        state = self.resumed.load_state()
        if self.processes.main:
            self.resumed.cut(0 if state is None else state["iteration"])
        if state is None:
            return
        self.model.network.load_state_dict(state["network"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.ema is not None:
            self.ema.load_state(state["ema"])
        if self.job.hints is not None:
            self.job.hints.load_state_dict(state["hints"])
        if self.processes.main:
            self.totals.load_state(state["totals"])
        self.totals.steps.copy_(state["totals"]["steps"])
        self.iteration, self.epoch = state["iteration"], state["epoch"]
        self.best, self.best_epoch = state["best"], state["best_epoch"]
        if self.iteration > self.plan.total:
            raise SettingError(
                f"cannot resume {self.resumed.root} with {counted(self.plan.total, 'iteration')}: it has {self.iteration} already"
            )
        if self.processes.main:  # it may go on for longer than it was meant to
            replace(self.settings, out=load_config(self.resumed.config).out).save(self.resumed.config)
        if self.iteration == self.plan.total:
            self._say(f"the run is complete at iteration {self.iteration}; more --epochs or --iterations extend it")
        else:
            self.epoch = self.plan.epoch_of(self.iteration)
            self._say(f"resumed at iteration {self.iteration} of {self.plan.total}, epoch {self.epoch}")

    def _end(self) -> None:
        if self.run is None:
            return
        write_curves(self.run)
        write_report(self.run, self.job)
        if self.board is not None:
            self.board.close()
        if self._has_stalled():
            self._say(f"ended early: no better validation mIoU in {self.settings.patience} epochs")
        self._say(f"best {self.job.val_set.split} mIoU {percent(self.best)}; model {self.run.best}; report {self.run.report}")

    def how_to_go_on(self) -> str:
        """What a message of a run that stops ends with."""
        if self.run is None:
            return ""
        there = bool(self.run.states())
        return f"; go on with: vocseg train --resume {self.run.root}" if there else f"; {self.run.root} has no checkpoint yet"

    def _say(self, *lines: str) -> None:
        if self.processes.main:
            for line in lines:
                log.info(line)

    def _locked(self) -> AbstractContextManager[None]:
        return nullcontext() if self.run is None else self.run.locked()

    def _logging(self) -> AbstractContextManager[None]:
        return nullcontext() if self.run is None else self.run.log_to_file()

    def _bar(self) -> Any:
        before, end = self.plan.end_of_epoch(self.epoch - 1), self.plan.end_of_epoch(self.epoch)
        size = self.plan.batch_size
        return bar(
            total=(end - before) * size, initial=(self.iteration - before) * size, desc=f"epoch {self.epoch}/{self.plan.epochs}",
            unit="image", disable=None if self.processes.main else True,
        )  # fmt: skip


def _line(name: str, figures: dict[str, Any], best: bool = False) -> str:
    loss = "-" if figures["loss"] is None else f"{figures['loss']:.4f}"
    accuracy, miou = percent(figures["pixel_accuracy"]), percent(figures["miou"])
    return f"{name}: loss {loss}, pixel accuracy {accuracy}, mIoU {miou}" + " (best so far)" * best
