"""The run folder: what a training leaves behind, and what it resumes from."""

from __future__ import annotations

import json
import logging
import pickle
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from vocseg import __version__
from vocseg.devices import processor
from vocseg.errors import InputError, OutputError, SettingError
from vocseg.files import replacing, writable_folder, write_json, write_text
from vocseg.training.settings import Settings

log = logging.getLogger("vocseg")
log.setLevel(logging.INFO)


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
    def state(self) -> Path:
        return self.root / "last" / "state.pt"

    @classmethod
    def create(cls, settings: Settings) -> RunFolder:
        """A new run folder for ``settings``; OutputError where it holds a run already or cannot be written."""
        if settings.out is not None:
            run = cls(Path(settings.out))
            if run.config.exists():
                raise OutputError(f"{run.root} holds a run already; go on with --resume {run.root}, or choose another --out")
        else:
            run = cls(_free_name(Path("runs"), Path(settings.model).stem.replace(":", "-")))
        writable_folder(run.root)
        return run

    @classmethod
    def open(cls, path: str | Path) -> RunFolder:
        """An existing run folder; InputError where ``path`` is none."""
        run = cls(Path(path))
        if not run.config.is_file():
            raise InputError(f"cannot resume {path}: it is no run folder (it has no config.toml)")
        return run

    def save_state(self, state: dict[str, Any]) -> None:
        """Write everything that a resumed run needs, atomically."""
        with replacing(self.state) as temporary:
            try:
                torch.save(state, temporary)
            except RuntimeError as error:
                # torch's zip writer reports a full disk as a RuntimeError about the position in the file.
                raise OSError(str(error).splitlines()[0]) from error

    def load_state(self) -> dict[str, Any] | None:
        """The saved state, or None where the run has not come to a checkpoint yet; InputError where it is damaged."""
        if not self.state.exists():
            return None
        try:
            state: dict[str, Any] = torch.load(self.state, map_location="cpu", weights_only=True)
        except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
            raise InputError(f"cannot resume {self.root}: {self.state} is damaged ({str(error).splitlines()[0]})") from error
        return state

    def append_metrics(self, record: dict[str, Any]) -> None:
        """Add a line to ``metrics.jsonl``."""
        write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in [*self.read_metrics(), record]))

    def read_metrics(self, until: int | None = None) -> list[dict[str, Any]]:
        """The records of ``metrics.jsonl``, those after iteration ``until`` left out."""
        if not self.metrics.exists():
            return []
        rows = [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
        return [row for row in rows if until is None or row["iteration"] <= until]

    def cut_metrics(self, until: int) -> None:
        """Drop records after iteration ``until``: a resumed run will write them again."""
        if self.metrics.exists():
            write_text(self.metrics, "".join(json.dumps(row) + "\n" for row in self.read_metrics(until)))

    def write_environment(self, device: torch.device, precision: torch.dtype) -> None:
        """Write ``environment.json``: versions, machine, command."""
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
                "command": sys.argv,
            },
        )

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


KEPT = (
    "model", "data", "split", "val_split", "mask_dir", "val_mask_dir", "augment", "crop", "batch_size", "seed", "optimiser", "ema",
    "freeze", "soft_labels", "unlabelled",
)  # fmt: skip
"""Settings that a resumed run must keep."""


def same_run(before: Settings, now: Settings) -> None:
    """Raise SettingError where settings that a resumed run must keep differ, saying which."""
    for name in KEPT:
        old, new = getattr(before, name), getattr(now, name)
        if old != new:
            raise SettingError(f"cannot resume with another {name}: the run has {old!r}, now it is {new!r}")


def _free_name(folder: Path, name: str) -> Path:
    taken = {entry.name for entry in folder.iterdir()} if folder.is_dir() else set()
    return folder / next(
        candidate for number in range(1, len(taken) + 2) if (candidate := f"{name}-{number}" if number > 1 else name) not in taken
    )
