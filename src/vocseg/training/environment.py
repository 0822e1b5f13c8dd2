"""What a run was trained with and on: versions, machine, source revision, and digests of the data."""

from __future__ import annotations

import hashlib
import json
import platform
import subprocess
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch

from vocseg import __version__
from vocseg.data.dataset import SplitDataset
from vocseg.errors import DataError, SettingError
from vocseg.training.config import TrainConfig
from vocseg.training.distributed import world_size
from vocseg.training.run_folder import RunFolder
from vocseg.utils.files import write_json
from vocseg.utils.system import processor


def write_environment(run: RunFolder, config: TrainConfig, digests: dict[str, str]) -> None:
    """Write ``environment.json``."""
    import torchvision

    write_json(
        run.environment,
        {
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
            "command": sys.argv,
        },
    )


def data_digests(*datasets: SplitDataset) -> dict[str, str]:
    """Digest the ids of each split and the contents of its images and masks."""
    with ThreadPoolExecutor() as pool:  # hashing and reading release the interpreter's lock
        return {dataset.split: _combined(pool.map(_digest_of(dataset), dataset.masked)) for dataset in datasets}


def _digest_of(dataset: SplitDataset) -> Callable[[str], str]:
    def digest(name: str) -> str:
        found = hashlib.blake2b(name.encode(), digest_size=16)
        for path in (dataset.folder.image(name), dataset.folder.mask(name)):
            try:
                found.update(path.read_bytes())
            except OSError as error:
                raise DataError(f"cannot read {path}: {error.strerror}") from error
        return found.hexdigest()

    return digest


def _combined(digests: Iterable[str]) -> str:
    return hashlib.blake2b("".join(digests).encode(), digest_size=16).hexdigest()


def check_same_data(run: RunFolder, digests: dict[str, str]) -> None:
    """Raise SettingError if the run was trained on other data."""
    try:
        before = json.loads(run.environment.read_text(encoding="utf-8")).get("data", {})
    except (OSError, ValueError):
        return
    for split, digest in digests.items():
        if before.get(split, digest) != digest:
            raise SettingError(f"cannot resume {run.root} on other data: the files of split {split} have changed since")


def _revision() -> str | None:
    """Return the commit of the source, with ``+`` if it was changed since; None outside a working copy."""
    here = Path(__file__).parent
    try:
        commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=here, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return commit.stdout.strip() + "+" * bool(status.stdout.strip())
