"""Saving and restoring the state of a run."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vocseg.errors import SettingError
from vocseg.training.run_folder import RunFolder, log
from vocseg.utils.text import counted

if TYPE_CHECKING:
    from vocseg.training.loop import TrainState
    from vocseg.training.setup import Schedule


def save_checkpoint(state: TrainState, run: RunFolder, rows: list[tuple[int, float, float]]) -> None:
    """Write the state, and the ``rows`` of steps.csv that lead to it; call it in all processes."""
    values = state.state_dict()
    if state.processes.main:
        run.append_steps(rows)
        run.save_checkpoint(values)


def restore(state: TrainState, run: RunFolder, schedule: Schedule) -> None:
    """Load the newest checkpoint, if there is one, and delete records of later iterations.

    Raises InputError if all checkpoints are damaged, SettingError if the run is longer than the schedule or has another
    network.
    """
    values = run.load_checkpoint()
    if state.processes.main:
        run.truncate(0 if values is None else values["iteration"])
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
    if state.iteration == schedule.total:
        message = f"the run is complete at iteration {state.iteration}; use more --epochs or --iterations to extend it"
    else:
        state.epoch = schedule.epoch_of(state.iteration)
        message = f"resumed at iteration {state.iteration} of {schedule.total}, epoch {state.epoch}"
    if state.processes.main:
        log.info(message)
