"""The public function :func:`train`."""

from __future__ import annotations

import signal
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from torch import nn

from vocseg.errors import OutputError, SettingError, TrainingError, nearest, shown
from vocseg.models import SegmentationModel
from vocseg.models.checkpoint import read_model_file
from vocseg.training.config import PYTHON, TrainConfig, check_values, find_recipe, load_config, read_config
from vocseg.training.environment import check_same_data, data_digests, write_environment
from vocseg.training.loop import TrainState, notify, train_loop
from vocseg.training.losses import LossFunction
from vocseg.training.report import (
    TensorBoard,
    missed_classes,
    no_gain_advice,
    require_tensorboard,
    write_curves,
    write_report,
)
from vocseg.training.run_folder import RunFolder, check_resumable, log
from vocseg.training.setup import Schedule, TrainSetup, prepare
from vocseg.training.step_log import percents
from vocseg.training.validation import score_start
from vocseg.utils.arguments import checked
from vocseg.utils.distributed import Processes
from vocseg.utils.stand_ins import url_of
from vocseg.utils.system import find_device
from vocseg.utils.text import counted, percent
from vocseg.utils.urls import is_remote


@dataclass(frozen=True)
class TrainResult:
    """A finished run: its folder, its records by epoch (the lines of ``metrics.jsonl``), and the best model.

    >>> from vocseg import create_model
    >>> TrainResult(RunFolder(Path("run")), [], create_model("two_layer_net")).best.as_posix()
    'run/best.safetensors'
    """

    run: RunFolder
    history: list[dict[str, Any]]
    model: SegmentationModel

    def __repr__(self) -> str:
        scores = [record[part]["miou"] for record in self.history for part in ("val", "val_ema") if part in record]
        best = max((score for score in scores if score is not None), default=None)
        return f"TrainResult({shown(self.best)}: best val mIoU {percent(best)} %, {counted(len(self.history), 'epoch')})"

    @property
    def best(self) -> Path:
        """The file of the model with the best validation mIoU."""
        return self.run.best


@checked
def train(
    data: str | Path | None = None,
    model: str | Path | nn.Module | None = None,
    *,
    loss: str | LossFunction | None = None,
    transform: Callable[..., Any] | None = None,
    callbacks: Sequence[object] = (),
    config: TrainConfig | str | Path | None = None,
    resume: str | Path | None = None,
    should_stop: Callable[[], signal.Signals | None] = lambda: None,
    **settings: Any,
) -> TrainResult:
    """Train a model, validating after each epoch, and return the run with the best model.

    ``data`` is a folder in VOC layout. ``model`` is a name, a model file, or a network for the data's classes: a
    :class:`vocseg.SegmentationModel`, or a module that maps normalized images (float, N x 3 x H x W) to logits
    (N x classes x h x w). A network that is passed is trained in place and ends with the best weights.

    ``loss`` is a name such as ``"ohem+0.5*dice"`` or a function of logits (float32, N x classes x H x W) and masks
    (int64, N x H x W, 255 = void). ``transform`` replaces the augmentation: a torchvision v2 transform, any function of
    an image and a mask (tv_tensors), or of a :class:`vocseg.data.dataset.Sample` and a ``generator``; all results must
    have one size. ``callbacks`` are objects with any of the methods ``on_step(state)``, ``on_epoch_end(state, record)``
    and ``on_end(state)``, called in every process; ``state`` is a :class:`vocseg.training.loop.TrainState`.

    ``settings`` are those of :class:`vocseg.TrainConfig`; ``config``, a TrainConfig, TOML file or recipe name, has the
    values of the others. ``resume`` continues a run folder with its settings; pass again the objects that it was
    started with. ``should_stop`` is called after each step (on a GPU, every few steps); if it returns a signal, the run
    saves a checkpoint and raises TrainingStopped.

    Progress goes to the logger ``vocseg``. Raises SettingError, DataError and ModelError before anything is written,
    TrainingError for a loss that is not finite, and OutputError if a file cannot be written.

    >>> import tempfile, vocseg
    >>> from vocseg.data.synthetic import write_synthetic
    >>> folder = tempfile.mkdtemp()
    >>> counts = write_synthetic(Path(folder) / "data", train=4, val=2, size=(40, 48))
    >>> result = vocseg.train(f"{folder}/data", "two_layer_net", out=f"{folder}/run", epochs=2, crop=32, batch_size=2)
    >>> result.best.name, len(result.history)
    ('best.safetensors', 2)
    """
    _check_callbacks(callbacks)
    network = model if isinstance(model, nn.Module) else None
    named = {"data": data, "model": model if network is None else _python_name(network)}
    named["loss"] = PYTHON if callable(loss) else loss
    named["augment"] = None if transform is None else PYTHON
    resumed = None if resume is None else RunFolder.open(resume)
    config = _merge(config, resumed, settings | {name: value for name, value in named.items() if value is not None})
    if config.tensorboard:
        require_tensorboard()
    processes = Processes(find_device(config.device))
    try:
        function = loss if callable(loss) else None
        setup = prepare(config, processes, network=network, loss=function, transform=transform)
        return _run(setup, resumed, should_stop, callbacks)
    finally:
        processes.end()


EVENTS = ("on_step", "on_epoch_end", "on_end")
"""Methods of callbacks."""


def _check_callbacks(callbacks: Sequence[object]) -> None:
    """Raise SettingError for callbacks of which a method would never be called."""
    for callback in callbacks:
        methods = [name for name in dir(callback) if name.startswith("on_") and callable(getattr(callback, name))]
        unknown = sorted(set(methods).difference(EVENTS))
        if unknown or not methods:
            has = f"the unknown method {unknown[0]}{nearest(unknown[0], list(EVENTS))}" if unknown else "no method of a callback"
            raise SettingError(f"callback {type(callback).__name__} has {has} (there are {', '.join(EVENTS)})")


def _python_name(network: nn.Module) -> str:
    name = network.info.architecture if isinstance(network, SegmentationModel) else type(network).__name__
    return f"{PYTHON}:{name}"


def _merge(config: TrainConfig | str | Path | None, resumed: RunFolder | None, settings: dict[str, Any]) -> TrainConfig:
    """Return the settings of a config, or of the run to resume, with others in their place."""
    settings = check_values(settings, "vocseg.train")
    values: dict[str, Any] = {}
    if isinstance(config, TrainConfig):
        values = asdict(config)
    elif config is not None:
        values = read_config(find_recipe(str(config)))
    elif resumed is not None:
        values = read_config(resumed.config)
    if {"epochs", "iterations"} & settings.keys():  # the config's could win over the other
        values = {name: value for name, value in values.items() if name not in ("epochs", "iterations")}
    return TrainConfig(**values | settings)


def _run(
    setup: TrainSetup,
    resumed: RunFolder | None,
    should_stop: Callable[[], signal.Signals | None],
    callbacks: Sequence[object],
) -> TrainResult:
    processes, config = setup.processes, setup.config
    run = processes.from_main(lambda: _open(setup, resumed))
    run = resumed or run  # of a run at a URL, each process has a copy
    with ExitStack() as stack:
        if processes.main:
            stack.enter_context(run.locked())
            stack.enter_context(run.uploaded())
            stack.enter_context(run.log_to_file())
            for line in (f"run folder {shown(run.root)}", *setup.describe()):
                log.info(line)
        try:
            state = TrainState(setup.model, config, processes, setup.distillation, setup.precision, setup.unused_parameters)
            if resumed is not None:
                _restore(state, run, setup.schedule)
                if processes.main:  # with the settings that may change
                    replace(config, out=load_config(run.config).out).save(run.config)
            if config.tensorboard and processes.main:
                callbacks = [TensorBoard(run.root, setup, state.iteration), *callbacks]
            if setup.starts_trained and not state.iteration:
                score_start(setup, state, run)
            train_loop(setup, state, run, should_stop, callbacks)
            notify(callbacks, "on_end", state)
            if processes.main:
                _finish(setup, state, run)
        except (TrainingError, OutputError) as error:
            error.args = (f"{error}{run.how_to_resume()}",)
            raise
    url = config.out if resumed is None else url_of(resumed.root)
    if is_remote(url) and processes.count > 1:
        processes.any(False)  # wait until the main process has uploaded the run
        run = run if processes.main else RunFolder.open(str(url))
    if run.best.exists():
        state.model.network.load_state_dict(read_model_file(run.best)[1])
    return TrainResult(run, run.read_metrics(), state.model.eval())


def _open(setup: TrainSetup, resumed: RunFolder | None) -> RunFolder:
    """Make a new run folder, or check that a run can be resumed with these settings and data."""
    digests = data_digests(setup.train_set, setup.val_set)
    if resumed is None:
        run = RunFolder.create(setup.config)
        setup.config.save(run.config)
        write_environment(run, setup.config, digests)
        return run
    check_resumable(resumed, load_config(resumed.config), setup.config)
    check_same_data(resumed, digests)
    return resumed


def _restore(state: TrainState, run: RunFolder, schedule: Schedule) -> None:
    """Load the newest checkpoint, if there is one, and delete records of later iterations.

    Raises InputError if all checkpoints are damaged, SettingError if the run is longer than the schedule or has another
    network.
    """
    values = run.load_checkpoint()
    if state.processes.main:
        run.truncate(-1 if values is None else values["iteration"])  # the starting model is then scored again
    if values is None:
        return
    if values["iteration"] > schedule.total:
        raise SettingError(
            f"cannot resume {run.root} with {counted(schedule.total, 'iteration')}: it already has {values['iteration']}"
        )
    try:
        state.load_state_dict(values)
    except (RuntimeError, KeyError, ValueError) as error:
        reason = " ".join(str(error).split())[:200]
        raise SettingError(f"cannot resume {run.root} with this model or optimizer: {reason}") from error
    message = f"the run is complete at iteration {state.iteration}; use more --epochs or --iterations to extend it"
    if state.iteration < schedule.total:
        state.epoch = schedule.epoch_of(state.iteration)
        message = f"resumed at iteration {state.iteration} of {schedule.total}, epoch {state.epoch}"
    if state.processes.main:
        log.info(message)


def _finish(setup: TrainSetup, state: TrainState, run: RunFolder) -> None:
    write_curves(run)
    write_report(run, setup)
    if state.has_stalled():
        log.info(f"stopped early: no better validation mIoU in {setup.config.patience} epochs")
    rows = run.read_metrics()
    start = f" (starting model: {percents(rows[0]['val']['miou'])})" if rows[0]["epoch"] == 0 else ""
    if start and state.best_epoch == 0:
        advice = no_gain_advice(setup.config)
        log.warning(f"no gain: no epoch is better than the starting model, which {shown(run.best)} holds. {advice}")
    if missed := missed_classes(rows, setup.config):
        log.warning(missed)
    log.info(f"best {setup.val_set.split} mIoU {percents(state.best)}{start}; model {shown(run.best)}; report {shown(run.report)}")
