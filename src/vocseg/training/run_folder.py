"""The run folder: what a training leaves behind, and what it resumes from."""

from __future__ import annotations

import hashlib
import json
import logging
import pickle
import platform
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout

from vocseg import __version__
from vocseg.data.dataset import SplitDataset
from vocseg.errors import InputError, OutputError, SettingError
from vocseg.training.config import TrainConfig
from vocseg.training.distributed import launched
from vocseg.utils.files import cannot_write, replacing, writable_folder, write_json, write_text
from vocseg.utils.system import processor

log = logging.getLogger("vocseg")
log.setLevel(logging.INFO)


STEPS_HEADER = "iteration,loss,lr\n"

LOCK_SECONDS = 10.0
"""How long to wait for another process to be done with a run: loader processes outlive one that was killed by some seconds."""


@dataclass(frozen=True)
class RunFolder:
    """Paths of a run folder."""

    root: Path

    @property
    def config(self) -> Path:
        return self.root / "config.toml"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def best(self) -> Path:
        return self.root / "best.safetensors"

    @property
    def last(self) -> Path:
        return self.root / "last" / "model.safetensors"

    @property
    def last_average(self) -> Path:
        return self.root / "last" / "average.safetensors"

    @property
    def curves(self) -> Path:
        return self.root / "curves.png"

    @property
    def report(self) -> Path:
        return self.root / "report.md"

    @property
    def steps(self) -> Path:
        return self.root / "steps.csv"

    def states(self) -> list[Path]:
        """The checkpoints that a resumed run may start from, newest first."""
        return sorted((self.root / "last").glob("state-*.pt"), reverse=True)

    @classmethod
    def choose(cls, settings: TrainConfig) -> RunFolder:
        """Where a new run with ``settings`` is to lie, nothing made yet; OutputError where it holds a run already."""
        if settings.out is not None:
            run = cls(Path(settings.out))
            if run.config.exists():
                raise OutputError(f"{run.root} holds a run already; go on with --resume {run.root}, or choose another --out")
            return run
        return cls(_free_name(Path("runs"), Path(settings.model).stem.replace(":", "-")))

    @classmethod
    def create(cls, settings: TrainConfig) -> RunFolder:
        """A new run folder for ``settings``; OutputError where it holds a run already or cannot be written."""
        run = cls.choose(settings)
        writable_folder(run.root)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder; InputError where ``path`` is none."""
        run = cls(Path(path))
        if not run.config.is_file():
            raise InputError(f"cannot resume {path}: it is no run folder (it has no config.toml)")
        return run

    def save_state(self, state: dict[str, Any], keep: int) -> None:
        """Write everything that a resumed run needs, atomically, and drop all but the ``keep`` newest checkpoints.

        Raises OutputError, with the older checkpoints left as they are, e.g. for a full disk.
        """
        with replacing(self.root / "last" / f"state-{state['iteration']:09d}.pt") as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:
                # torch's zip writer reports a full disk as a RuntimeError about the position in the file.
                raise OSError(str(error).splitlines()[0]) from error
        for old in self.states()[keep:]:
            old.unlink(missing_ok=True)

    def load_state(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None where the run has not come to one yet.

        Raises InputError where all are damaged.
        """
        reason = ""
        for path in self.states():
            try:
                state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
                reason = reason or f"{path} is damaged ({str(error).splitlines()[0]})"
                log.warning(f"{path} is damaged and left out")
                continue
            return state
        if reason:
            raise InputError(f"cannot resume {self.root}: {reason}")
        return None

    def append_steps(self, rows: list[tuple[int, float, float]]) -> None:
        """Add lines ``iteration,loss,rate`` to ``steps.csv``; full precision, so that runs can be compared bit for bit."""
        try:
            with open(self.steps, "a", encoding="utf-8") as file:
                file.write("" if file.tell() else STEPS_HEADER)
                file.writelines(_step_line(*row) for row in rows)
        except OSError as error:
            raise cannot_write(self.steps, error) from error

    def read_steps(self) -> list[tuple[int, float, float]]:
        """The lines of ``steps.csv``."""
        if not self.steps.exists():
            return []
        rows = (line.split(",") for line in self.steps.read_text(encoding="utf-8").splitlines()[1:] if line.count(",") == 2)
        return [(int(step), float(loss), float(rate)) for step, loss, rate in rows]

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in [*self.read_metrics(), record]))

    def read_metrics(self, until: int | None = None) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``, those after iteration ``until`` left out."""
        if not self.metrics.exists():
            return []
        rows = [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if until is None or row["iteration"] <= until]

    def cut(self, until: int) -> None:
        """Drop records after iteration ``until``: a resumed run will write them again."""
        if self.metrics.exists():
            write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in self.read_metrics(until)))
        if self.steps.exists():
            kept = [row for row in self.read_steps() if row[0] <= until]
            write_text(self.steps, STEPS_HEADER + "".join(_step_line(*row) for row in kept))

    def write_environment(self, device: torch.device, precision: torch.dtype, data: dict[str, str], settings: TrainConfig) -> None:
        """Write ``environment.json``: versions, machine, source revision, seed, command, and fingerprints of the data."""
        import torchvision

        write_json(
            self.root / "environment.json",
            {
                "vocseg": __version__,
                "torch": torch.__version__,
                "torchvision": torchvision.__version__,
                "python": platform.python_version(),
                "platform": platform.platform(),
                "processor": processor(),
                "threads": torch.get_num_threads(),
                "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
                "precision": str(precision).removeprefix("torch."),
                "git": _revision(),
                "seed": settings.seed,
                "processes": launched(),
                "data": data,
                "command": sys.argv,
            },
        )

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Within the block no other process trains here; InputError where one does."""
        lock = FileLock(self.root / ".lock")
        try:
            lock.acquire(timeout=LOCK_SECONDS)
        except Timeout:
            raise InputError(f"{self.root} is being trained by another process") from None
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
        """Send the log to ``log.txt`` as well within the block."""
        handler = logging.FileHandler(self.root / "log.txt", encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
        log.addHandler(handler)
        try:
            yield
        finally:
            log.removeHandler(handler)
            handler.close()


def _step_line(step: int, loss: float, rate: float) -> str:
    return f"{step},{loss!r},{rate!r}\n"


MAY_CHANGE = (
    "epochs", "iterations", "patience", "data", "out", "device", "precision", "workers", "checkpoint_minutes",
    "tensorboard",
)  # fmt: skip
"""TrainConfig that a resumed run may change; of ``data`` the contents are compared."""


def same_run(before: TrainConfig, now: TrainConfig) -> None:
    """Raise SettingError where settings that a resumed run must keep differ, saying which."""
    for item in fields(TrainConfig):
        old, new = getattr(before, item.name), getattr(now, item.name)
        if old != new and item.name not in MAY_CHANGE:
            raise SettingError(
                f"cannot resume with another {item.name}: the run has {old!r}, now it is {new!r}; a new run can start from the "
                "weights of this one (--model RUN/last/model.safetensors)"
            )


def _revision() -> str | None:
    """The commit that the source was at, with ``+`` where it was changed since; None outside a working copy."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + "+" * bool(status.stdout.strip())


def fingerprint(dataset: SplitDataset) -> str:
    """A digest of a split's ids and of the contents of its images and masks."""
    digest = hashlib.blake2b(digest_size=16)
    for name in dataset.masked:
        for path in (dataset.folder.image(name), dataset.folder.mask(name)):
            digest.update(name.encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def same_data(run: RunFolder, now: dict[str, str]) -> None:
    """Raise SettingError where the run was trained on other data."""
    try:
        before = json.loads((run.root / "environment.json").read_text(encoding="utf-8")).get("data", {})
    except (OSError, ValueError):
        return
    for split, digest in now.items():
        if before.get(split, digest) != digest:
            raise SettingError(f"cannot resume {run.root} on other data: the files of split {split} have changed since")


def _free_name(folder: Path, name: str) -> Path:
    taken = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return folder / next(
        candidate for number in range(1, len(taken) + 2) if (candidate := f"{name}-{number}" if number > 1 else name) not in taken
    )
