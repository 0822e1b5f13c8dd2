"""A recipe in stages: runs one after another, each from the weights that the one before ended with."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from vocseg.cli.signals import StopSignals
from vocseg.errors import InputError, SettingError, TrainingStopped
from vocseg.models.registry import is_file_name
from vocseg.training.config import Changes, Settings, load_settings, read_settings, settings_of_stages
from vocseg.training.distributed import Processes
from vocseg.training.loop import train_job
from vocseg.training.report import best_of, require_tensorboard
from vocseg.training.run_folder import RunFolder, log, same_run
from vocseg.training.setup import Job, prepare
from vocseg.utils.files import write_text
from vocseg.utils.system import find_device
from vocseg.utils.text import percent

LENGTHS = ("epochs", "iterations")
"""Settings that a resumed run may change, but not one in stages."""


def train_in_stages(settings: Settings, stages: Sequence[Changes], resume: RunFolder | None = None) -> list[RunFolder]:
    """Train the stages of a recipe, or go on with those of the folder ``resume``; returns the run folder of each.

    Stages 1, 2, ... are runs of their own, in folders of these names within ``settings.out``, with what they set otherwise than
    ``settings``. Each but the first begins with the moving average that the one before ended with, or with its weights where it
    kept no average. Raises what :func:`vocseg.training.loop.train` does; what is wrong with any stage before the first one
    that is still to be trained begins.
    """
    planned = settings_of_stages(settings, stages)
    if any(stage.tensorboard for stage in planned):
        require_tensorboard()
    if resume is not None:
        _same_stages(resume, planned)
    processes = Processes(find_device(settings.device))
    try:
        chosen = str((resume or RunFolder.choose(settings)).root) if processes.main else None
        whole = RunFolder(Path(processes.from_main(chosen)))
        runs = [RunFolder(whole.root / str(number)) for number in range(1, len(planned) + 1)]
        # The main process looks, for all: it makes what is looked for.
        begun, done = processes.from_main(([run.config.is_file() for run in runs], [run.report.is_file() for run in runs]))
        coming = [number for number in range(1, len(runs) + 1) if not done[number - 1]]
        for number in coming:
            stage, run = planned[number - 1], runs[number - 1]
            if processes.main:
                log.info(f"stage {number} of {len(runs)}")
            if begun[number - 1]:
                own = load_settings(run.config)
                stage = replace(stage, model=own.model, weights=own.weights)
            elif number > 1:
                stage = _beginning_with(stage, runs[number - 2], planned[number - 2].ema > 0)
            job = prepare_stage(number, replace(stage, out=str(run.root)))
            if number == coming[0]:
                for later in coming[1:]:  # to tell at once what is wrong with them
                    prepare_stage(later, planned[later - 1])
                if processes.main:
                    found = {name: getattr(job.settings, name) for name in ("device", "precision", "workers")}
                    write_text(whole.config, _in_toml(replace(settings, out=str(whole.root), **found), stages))
            with StopSignals() as signals:
                train_job(job, run if begun[number - 1] else None, processes, signals)
            if number < len(runs) and processes.any(signals.received is not None):
                cause = signals.received or signal.SIGTERM  # which another process received
                raise TrainingStopped(
                    f"stopped by {cause.name} after stage {number}; go on with: vocseg train --resume {whole.root}", cause
                )
        if processes.main:
            log.info(f"all {len(runs)} stages of {whole.root} are complete; {_best(runs)}")
    finally:
        processes.end()
    return runs


def prepare_stage(number: int, settings: Settings) -> Job:
    """The job of a stage; errors name the stage."""
    try:
        return prepare(settings)
    except InputError as error:
        raise type(error)(f"stage {number}: {error}") from error


def _best(runs: Sequence[RunFolder]) -> str:
    found = [(row[part], run) for run in runs for row, part in [best_of(run.read_metrics())]]
    figures, run = max(found, key=lambda pair: pair[0]["miou"] or 0)
    return f"best {figures['split']} mIoU {percent(figures['miou'])}; model {run.best}"


def _in_toml(settings: Settings, stages: Sequence[Changes]) -> str:
    """Settings and stages as a recipe in TOML."""
    import tomli_w

    # (tomli_w would put short ones into a list of inline tables.)
    return settings.to_toml() + "".join(f"\n[[stages]]\n{tomli_w.dumps(changes)}" for changes in stages)


def _beginning_with(stage: Settings, before: RunFolder, averaged: bool) -> Settings:
    weights = str(before.last_average if averaged else before.last)
    return replace(stage, model=weights) if is_file_name(stage.model) else replace(stage, weights=weights)


def _same_stages(run: RunFolder, now: Sequence[Settings]) -> None:
    """Raise SettingError where settings differ that the stages of a folder must keep."""
    values, stages = read_settings(run.config)
    for before, stage in zip(settings_of_stages(Settings(**values), stages), now, strict=True):
        if any(getattr(before, name) != getattr(stage, name) for name in LENGTHS):
            raise SettingError(
                f"cannot resume {run.root} with other epochs or iterations; one stage can: --resume {run.root / str(len(now))}"
            )
        same_run(before, stage)
