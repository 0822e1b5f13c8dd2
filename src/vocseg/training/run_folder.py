"""The run folder: the files that a training run writes, and what it resumes from."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vocseg.data.layout import VocFolder, protect_data
from vocseg.errors import InputError, OutputError, SettingError, shown
from vocseg.models.checkpoint import load_pickle
from vocseg.training.config import TrainConfig
from vocseg.utils.files import cannot_write, replacing, writable_folder, write_text
from vocseg.utils.remote import local_path
from vocseg.utils.staging import is_there, kept, staging_of
from vocseg.utils.stand_ins import url_of
from vocseg.utils.urls import is_remote

log = logging.getLogger("vocseg")

STEPS_HEADER = "iteration,loss,lr\n"
KEPT_CHECKPOINTS = 2
STATE_KEYS = {"network", "optimizer", "iteration", "epoch", "best", "best_epoch", "loss", "steps", "totals"}
"""What every checkpoint holds; see :class:`vocseg.training.loop.TrainState`."""

LOCK_SECONDS = 10.0
"""How long to wait for the lock of a run: loader processes outlive a killed training process by some seconds."""

Step = tuple[int, float, float]
"""Iteration, loss and learning rate: a line of ``steps.csv``."""


class RunFolder:
    """Paths of a run folder."""

    def __init__(self, root: str | Path) -> None:
        self.root = Path(root)
        self.config = self.root / "config.toml"
        """The settings."""
        self.environment = self.root / "environment.json"
        """Versions, machine, source revision, command, and digests of the data."""
        self.metrics = self.root / "metrics.jsonl"
        """One line of JSON per epoch."""
        self.steps = self.root / "steps.csv"
        """Loss and learning rate of every step, in full precision."""
        self.best = self.root / "best.safetensors"
        """The model with the best validation mIoU."""
        self.last = self.root / "last" / "model.safetensors"
        """The model after the last validated epoch."""
        self.last_average = self.root / "last" / "average.safetensors"
        """The moving average of the weights after the last validated epoch."""
        self.curves = self.root / "curves.png"
        """Loss, mIoU and learning rate by iteration."""
        self.report = self.root / "report.md"
        """The plan, the best epoch's scores by class, and every epoch."""

    @property
    def files(self) -> list[Path]:
        """The files of a finished run."""
        return [path for name, path in vars(self).items() if name != "root"]

    def __repr__(self) -> str:
        return f"RunFolder({shown(self.root)!r})"

    @classmethod
    def create(cls, config: TrainConfig) -> RunFolder:
        """Make the folder of a new run; OutputError if it contains a run or cannot be written."""
        run = cls(_local(config.out) if config.out else _free_name(Path("runs"), Path(config.model).stem.replace(":", "-")))
        if is_there(run.config):
            raise OutputError(f"{run.root} already contains a run; use --resume {run.root}, or choose another --out")
        data = Path(config.data).resolve(), VocFolder.find(config.data, config.mask_dir).root.resolve()
        if run.root.resolve() in data or shown(run.root) in map(shown, (config.data.rstrip("/"), data[1])):
            raise OutputError(f"cannot write a run to {run.root}: it is the data folder; choose another --out")
        protect_data(config.data, [config.mask_dir], run.files, [config.model, config.weights, config.teacher])
        writable_folder(run.root)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder; InputError if ``path`` is not one."""
        if not isinstance(path, str | Path):
            raise InputError(f"cannot resume {path!r:.80}: it is not the path of a run folder")
        run = cls(_local(path))
        if staging := staging_of(run.root):
            staging.pull(run.root)
        if not run.config.is_file():
            raise InputError(f"cannot resume {path}: it is not a run folder (it has no config.toml)")
        return run

    def checkpoints(self) -> list[Path]:
        """List the checkpoints that a resumed run can start from, newest first."""
        return sorted((self.root / "last").glob("state-*.pt"), reverse=True)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Write all that a resumed run needs, atomically, and delete all but the two newest checkpoints.

        Raises OutputError, e.g. for a full disk; the older checkpoints are then unchanged.
        """
        with replacing(self.root / "last" / f"state-{state['iteration']:09d}.pt") as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:
                # torch's zip writer reports a full disk as a RuntimeError about the position in the file.
                raise OSError(str(error).splitlines()[0]) from error
        for old in self.checkpoints()[KEPT_CHECKPOINTS:]:
            old.unlink(missing_ok=True)
        self.upload()

    def upload(self) -> None:
        """Upload what has changed, the checkpoint last, if the folder is at a URL; failures that may pass are logged."""
        try:
            if staging := staging_of(self.root):
                staging.keep_up()
        except OutputError as error:
            if error.exit_code != 1:
                raise
            log.warning(f"{error}; training continues, and the next checkpoint is uploaded with this one's files")

    @contextmanager
    def uploaded(self) -> Iterator[None]:
        """Upload what has changed before the block and, all of it, after; OutputError if that fails."""
        self.upload()
        try:
            yield
        except BaseException:
            with suppress(OutputError):
                self.upload()
            raise
        if staging := staging_of(self.root):
            staging.keep_up()

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the newest undamaged checkpoint; None if there is no checkpoint yet, InputError if all are damaged."""
        paths = self.checkpoints()
        for path in paths:
            try:
                return _read_checkpoint(path)
            except Exception as error:  # torch raises many kinds for a damaged file
                damage = f"{path} is damaged ({(str(error) or type(error).__name__).splitlines()[0]})"
                log.warning(f"{damage}: it is skipped")
        if paths:
            raise InputError(f"cannot resume {self.root}: {damage}; start a new run from best.safetensors, if it is there")
        return None

    def append_steps(self, rows: list[Step]) -> None:
        """Append lines to ``steps.csv``, in full precision: runs are compared bit for bit."""
        try:
            with open(self.steps, "a", encoding="utf-8") as file:
                file.write("" if file.tell() else STEPS_HEADER)
                file.writelines(_step_line(*row) for row in rows)
        except OSError as error:
            raise cannot_write(self.steps, error) from error

    def read_steps(self) -> list[Step]:
        """Read the lines of ``steps.csv`` up to the first that a kill or a full disk cut."""
        return _whole_rows(self.steps, _parse_step)

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a line to ``metrics.jsonl``."""
        self._write_metrics([*self.read_metrics(), record])

    def read_metrics(self) -> list[dict[str, Any]]:
        """Read the records of ``metrics.jsonl``."""
        return _whole_rows(self.metrics, _parse_record)

    def truncate(self, until: int) -> None:
        """Delete records after iteration ``until``: a resumed run writes them again."""
        if self.metrics.exists():
            self._write_metrics([row for row in self.read_metrics() if row["iteration"] <= until])
        if self.steps.exists():
            kept = [row for row in self.read_steps() if row[0] <= until]
            write_text(self.steps, STEPS_HEADER + "".join(_step_line(*row) for row in kept))

    def _write_metrics(self, rows: list[dict[str, Any]]) -> None:
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def how_to_resume(self) -> str:
        """Return what ends the message of a run that stops."""
        if self.checkpoints():
            return f"; continue with: vocseg train --resume {self.root}"
        return f"; {self.root} has no checkpoint yet"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block, keep other processes from training here; InputError if one does.

        Files that a killed process left half written are removed. A folder at a URL is not locked.
        """
        if url_of(self.root) is not None:
            yield
            return
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise InputError(f"another process is training in {self.root}") from None
        except NotImplementedError:  # a file system without locks
            pass
        except OSError as error:
            raise cannot_write(self.root, error) from error
        try:
            for leftover in (*self.root.glob(".*.part"), *self.root.glob("last/.*.part")):
                leftover.unlink(missing_ok=True)
            yield
        finally:
            lock.release()

    @contextmanager
    def log_to_file(self) -> Iterator[None]:
        """Within the block, write what the logger ``vocseg`` gets to ``log.txt``, from level INFO on."""
        handler = logging.FileHandler(self.root / "log.txt", encoding="utf-8")
        handler.setFormatter(_Formatter("%(asctime)s %(message)s"))
        level = log.level
        log.addHandler(handler)
        log.setLevel(min(log.getEffectiveLevel(), logging.INFO))
        try:
            yield
        finally:
            log.setLevel(level)
            log.removeHandler(handler)
            handler.close()


def _local(path: str | Path) -> Path:
    """Return a path; of a URL, a local folder that stands in for it."""
    return (local_path(str(path)) or kept(str(path))) if is_remote(path) else Path(path)


class _Formatter(logging.Formatter):
    """Hides what is secret in URLs."""

    def format(self, record: logging.LogRecord) -> str:
        return shown(super().format(record))


def _read_checkpoint(path: Path) -> dict[str, Any]:
    state: dict[str, Any] = load_pickle(path)
    if not isinstance(state, dict) or not state.keys() >= STATE_KEYS or not state["network"]:
        raise TypeError("it holds no state of a run")
    return state


def _whole_rows(path: Path, parse: Callable[[str], Any]) -> list[Any]:
    rows: list[Any] = []
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True) if path.exists() else []
    for line in lines:
        if line == STEPS_HEADER:
            continue
        try:
            if not line.endswith("\n"):
                raise ValueError("cut")
            rows.append(parse(line))
        except ValueError:
            log.warning(f"{path} is damaged after {len(rows)} lines: the rest is skipped")
            break
    return rows


def _parse_step(line: str) -> Step:
    step, loss, rate = line.split(",")
    return int(step), float(loss), float(rate)


def _parse_record(line: str) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(line)
    if not isinstance(record, dict) or not isinstance(record.get("iteration"), int):
        raise ValueError("not a record")
    return record


def _step_line(step: int, loss: float, rate: float) -> str:
    return f"{step},{loss!r},{rate!r}\n"


def _free_name(folder: Path, name: str) -> Path:
    taken = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    names = (f"{name}-{number}" if number > 1 else name for number in range(1, len(taken) + 2))
    return folder / next(candidate for candidate in names if candidate not in taken)


MAY_CHANGE = ("epochs", "iterations", "patience", "data", "out", "device", "precision", "compile", "workers", "tensorboard")
"""Settings that a resumed run may change; of ``data`` the contents are compared."""


def check_resumable(run: RunFolder, before: TrainConfig, now: TrainConfig) -> None:
    """Raise SettingError, naming the first, if settings differ that a resumed run must keep."""
    for item in fields(TrainConfig):
        old, new = getattr(before, item.name), getattr(now, item.name)
        if old != new and item.name not in MAY_CHANGE:
            weights = next((path for path in (run.last, run.best) if path.exists()), None)
            hint = f"; to start a new run from its weights, use --model {weights}" if weights else "; start a new run"
            raise SettingError(f"cannot resume with another {item.name}: the run has {old!r}, not {new!r}{hint}")
