"""The run folder: the files that a training run writes, and what it resumes from."""

from __future__ import annotations

import json
import logging
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vocseg.errors import InputError, OutputError, SettingError
from vocseg.training.config import TrainConfig
from vocseg.utils.files import cannot_write, replacing, writable_folder, write_text

log = logging.getLogger("vocseg")

STEPS_HEADER = "iteration,loss,lr\n"
KEPT_CHECKPOINTS = 2

LOCK_SECONDS = 10.0
"""How long to wait for the lock of a run: loader processes outlive a killed training process by some seconds."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder."""

    root: Path

    @property
    def config(self) -> Path:
        """The settings, as TOML."""
        return self.root / "config.toml"

    @property
    def environment(self) -> Path:
        """Versions, machine, source revision, command, and digests of the data."""
        return self.root / "environment.json"

    @property
    def metrics(self) -> Path:
        """One line of JSON per epoch."""
        return self.root / "metrics.jsonl"

    @property
    def steps(self) -> Path:
        """Loss and learning rate of every step, in full precision."""
        return self.root / "steps.csv"

    @property
    def best(self) -> Path:
        """The model with the best validation mIoU."""
        return self.root / "best.safetensors"

    @property
    def last(self) -> Path:
        """The model after the last validated epoch."""
        return self.root / "last" / "model.safetensors"

    @property
    def last_average(self) -> Path:
        """The moving average of the weights after the last validated epoch."""
        return self.root / "last" / "average.safetensors"

    @property
    def curves(self) -> Path:
        """Loss, mIoU and learning rate by iteration."""
        return self.root / "curves.png"

    @property
    def report(self) -> Path:
        """The plan, the best epoch's scores by class, and every epoch."""
        return self.root / "report.md"

    def checkpoints(self) -> list[Path]:
        """List the checkpoints that a resumed run can start from, newest first."""
        return sorted((self.root / "last").glob("state-*.pt"), reverse=True)

    @classmethod
    def create(cls, config: TrainConfig) -> RunFolder:
        """Make the folder of a new run; OutputError if it contains a run or cannot be written."""
        if config.out is None:
            run = cls(_free_name(Path("runs"), Path(config.model).stem.replace(":", "-")))
        else:
            run = cls(Path(config.out))
            if run.config.exists():
                raise OutputError(f"{run.root} already contains a run; use --resume {run.root}, or choose another --out")
        writable_folder(run.root)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """Open an existing run folder; InputError if ``path`` is not one."""
        run = cls(Path(path))
        if not run.config.is_file():
            raise InputError(f"cannot resume {path}: it is not a run folder (it has no config.toml)")
        return run

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

    def load_checkpoint(self) -> dict[str, Any] | None:
        """Read the newest undamaged checkpoint; None if there is no checkpoint yet, InputError if all are damaged."""
        damage = ""
        for path in self.checkpoints():
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
                damage = damage or f"{path} is damaged ({str(error).splitlines()[0]})"
                log.warning(f"skipping {path}, which is damaged")
                continue
            return state
        if damage:
            raise InputError(f"cannot resume {self.root}: {damage}")
        return None

    def append_steps(self, rows: list[tuple[int, float, float]]) -> None:
        """Append ``iteration,loss,lr`` lines to ``steps.csv``, in full precision: runs are compared bit for bit."""
        try:
            with open(self.steps, "a", encoding="utf-8") as file:
                file.write("" if file.tell() else STEPS_HEADER)
                file.writelines(_step_line(*row) for row in rows)
        except OSError as error:
            raise cannot_write(self.steps, error) from error

    def read_steps(self) -> list[tuple[int, float, float]]:
        """Read the lines of ``steps.csv``."""
        if not self.steps.exists():
            return []
        rows = (line.split(",") for line in self.steps.read_text(encoding="utf-8").splitlines()[1:] if line.count(",") == 2)
        return [(int(step), float(loss), float(rate)) for step, loss, rate in rows]

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Append a line to ``metrics.jsonl``."""
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in [*self.read_metrics(), record]))

    def read_metrics(self, until: int | None = None) -> list[dict[str, Any]]:
        """Read the records of ``metrics.jsonl`` up to iteration ``until``."""
        if not self.metrics.exists():
            return []
        rows = [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if until is None or row["iteration"] <= until]

    def truncate(self, until: int) -> None:
        """Delete records after iteration ``until``: a resumed run writes them again."""
        if self.metrics.exists():
            write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in self.read_metrics(until)))
        if self.steps.exists():
            kept = [row for row in self.read_steps() if row[0] <= until]
            write_text(self.steps, STEPS_HEADER + "".join(_step_line(*row) for row in kept))

    def how_to_resume(self) -> str:
        """Return what ends the message of a run that stops."""
        if self.checkpoints():
            return f"; continue with: vocseg train --resume {self.root}"
        return f"; {self.root} has no checkpoint yet"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block, keep other processes from training here; InputError if one does."""
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
            yield
        finally:
            lock.release()

    @contextmanager
    def log_to_file(self) -> Iterator[None]:
        """Within the block, write what the logger ``vocseg`` gets to ``log.txt``, from level INFO on."""
        handler = logging.FileHandler(self.root / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        level = log.level
        log.addHandler(handler)
        log.setLevel(min(log.getEffectiveLevel(), logging.INFO))
        try:
            yield
        finally:
            log.setLevel(level)
            log.removeHandler(handler)
            handler.close()


def _step_line(step: int, loss: float, rate: float) -> str:
    return f"{step},{loss!r},{rate!r}\n"


def _free_name(folder: Path, name: str) -> Path:
    taken = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    names = (f"{name}-{number}" if number > 1 else name for number in range(1, len(taken) + 2))
    return folder / next(candidate for candidate in names if candidate not in taken)


MAY_CHANGE = (
    "epochs", "iterations", "patience", "data", "out", "device", "precision", "compile", "workers", "checkpoint_minutes",
    "tensorboard",
)  # fmt: skip
"""Settings that a resumed run may change; of ``data`` the contents are compared."""


def check_resumable(before: TrainConfig, now: TrainConfig) -> None:
    """Raise SettingError, naming the first, if settings differ that a resumed run must keep."""
    for item in fields(TrainConfig):
        old, new = getattr(before, item.name), getattr(now, item.name)
        if old != new and item.name not in MAY_CHANGE:
            raise SettingError(
                f"cannot resume with another {item.name}: the run has {old!r}, not {new!r}; to start a new run from its "
                "weights, use --model RUN/last/model.safetensors"
            )
