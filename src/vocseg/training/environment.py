"""What a run was trained with and on: versions, machine, source revision, and digests of the data."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import torch

from vocseg import __version__
from vocseg.data.dataset import SplitDataset
from vocseg.data.packed import read_bytes
from vocseg.errors import DataError, SettingError
from vocseg.training.config import TrainConfig
from vocseg.training.run_folder import RunFolder
from vocseg.utils.distributed import world_size
from vocseg.utils.files import write_json
from vocseg.utils.system import processor
from vocseg.utils.text import portable


def write_environment(run: RunFolder, config: TrainConfig, digests: dict[str, str]) -> None:
    """Write ``environment.json``."""
    import torchvision

    values = {
        "vocseg": __version__,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "processor": processor(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if config.device == "cuda" else config.device,
        "precision": config.precision,
        "git": _revision(),
        "seed": config.seed,
        "processes": world_size(),
        "data": digests,
        "command": [portable(argument) for argument in sys.argv],
    }
    write_json(run.environment, values)


def data_digests(*datasets: SplitDataset) -> dict[str, str]:
    """Digest the ids of each split and the contents of its images and masks."""
    digests = {}
    with ThreadPoolExecutor() as pool:  # hashing and reading release the interpreter's lock
        for dataset in datasets:
            combined = "".join(pool.map(partial(_digest, dataset), dataset.masked))
            digests[dataset.split] = hashlib.blake2b(combined.encode(), digest_size=16).hexdigest()
    return digests


def _digest(dataset: SplitDataset, name: str) -> str:
    found = hashlib.blake2b(name.encode(), digest_size=16)
    for path in (dataset.folder.image(name), dataset.folder.mask(name)):
        try:
            found.update(read_bytes(path))
        except OSError as error:
            raise DataError(f"cannot read {path}: {error.strerror}") from error
    return found.hexdigest()


def check_same_data(run: RunFolder, digests: dict[str, str]) -> None:
    """Raise SettingError if the run was trained on other data."""
    try:
        before = dict(json.loads(run.environment.read_text(encoding="utf-8"))["data"])
    except (OSError, ValueError, KeyError, TypeError):  # missing or damaged: nothing to compare with
        return
    for split, digest in digests.items():
        if before.get(split, digest) != digest:
            raise SettingError(f"cannot resume {run.root} on other data: the files of split {split} have changed since")


def _revision() -> str | None:
    """Return the commit of the source, with ``+`` if it was changed since; None outside a working copy."""
    run = partial(subprocess.run, cwd=Path(__file__).parent, capture_output=True, text=True, check=True, timeout=10)
    try:
        commit, status = (run(["git", *command.split()]).stdout.strip() for command in ("rev-parse HEAD", "status --porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None
    return commit + "+" * bool(status)
