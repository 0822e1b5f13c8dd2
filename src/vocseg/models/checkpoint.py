"""Model files: weights and their description in one ``.safetensors``. And weights files of other programs."""

from __future__ import annotations

import hashlib
import os
import pickle
import re
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vocseg import __version__
from vocseg.errors import ModelError, reason
from vocseg.models.base import SegmentationModel
from vocseg.models.info import ModelInfo
from vocseg.utils.files import replacing

METADATA_KEY = "vocseg"
_CHECKSUM = re.compile(r', "sha256": "(\w+)"}\Z')
"""The last member of the description, a JSON object. (A key of its own would stand before or after it, by chance.)"""
WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "network")
"""Keys under which training programs store the state dict in a checkpoint."""


def save_model(path: Path, model: SegmentationModel, info: ModelInfo | None = None, *, half: bool = False) -> None:
    """Write a model file atomically; raise OutputError if it cannot be written.

    ``info`` replaces the model's own. ``half`` writes matrices and kernels as float16, in half the size; they are read as
    float32.
    """
    # The format refuses tied tensors and writes views as a whole: plain copies are neither.
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.network.state_dict().items()}
    if half:
        state = {key: value.half() if _fits_half(value) else value for key, value in state.items()}
    _write(path, info or model.info, state)


def _fits_half(value: Tensor) -> bool:
    return value.dim() > 1 and value.is_floating_point() and bool(value.abs().amax() < torch.finfo(torch.float16).max)


def copy_model(source: Path, target: Path, **changes: Any) -> None:
    """Copy a model file, its weights bit for bit, with other values of some fields of its description.

    Raises ModelError if the source is not a complete model file, OutputError if the target cannot be written.
    """
    info = read_info(source)
    _write(target, replace(info, **changes), _read_safetensors(source, "model", weights=True, as_stored=True)[0])


def _write(path: Path, info: ModelInfo, state: dict[str, Tensor]) -> None:
    text = replace(info, vocseg_version=__version__).to_json()
    with replacing(path) as temporary:
        try:
            save_file(state, temporary, metadata={METADATA_KEY: f'{text[:-1]}, "sha256": "{_checksum(text, state)}"}}'})
        except SafetensorError as error:
            number = re.search(r"os error (\d+)", str(error))
            raise (OSError(int(number[1]), os.strerror(int(number[1]))) if number else OSError(str(error))) from error


def read_info(path: Path) -> ModelInfo:
    """Read the description of a model file; raise ModelError if it is not a model file."""
    return _read(path, weights=False)[0]


def read_model_file(path: Path) -> tuple[ModelInfo, dict[str, Tensor]]:
    """Read description and state dict of a model file; raise ModelError if it is not a complete model file."""
    return _read(path, weights=True)


def _read(path: Path, weights: bool) -> tuple[ModelInfo, dict[str, Tensor]]:
    if path.is_dir():
        inside = sorted(path.glob("*.safetensors")) or sorted(path.glob("*/best.safetensors"), reverse=True)
        hint = f"; {inside[0]} is one" if inside else ""
        raise ModelError(f"{path} is a folder, not a model file{hint}")
    if not path.is_file():
        raise ModelError(f"no model file {path}")
    state, metadata = _read_safetensors(path, "model", weights)
    if METADATA_KEY not in metadata:
        raise ModelError(f"{path} holds weights but no vocseg metadata; give the model's name, and {path} as its weights")
    return ModelInfo.from_json(metadata[METADATA_KEY], path), state


def _read_safetensors(path: Path, kind: str, weights: bool, as_stored: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read tensors (float16 as float32, unless ``as_stored``) and metadata.

    Raises ModelError if the file is not a ``kind`` file, or its checksum is wrong.
    """
    try:
        with safe_open(path, framework="pt") as file:
            metadata: dict[str, str] = file.metadata() or {}
            state = {key: file.get_tensor(key) for key in file.keys()} if weights else {}  # noqa: SIM118  (not a dict)
        text = metadata.get(METADATA_KEY, "")
        expected = _CHECKSUM.search(text) if weights else None
        if expected is not None and expected[1] != _checksum(text[: expected.start()] + "}", state):
            raise ModelError(f"{path} is damaged: its checksum is wrong; copy or download it again")
        if not as_stored:
            state = {key: value.float() if value.dtype == torch.float16 else value for key, value in state.items()}
        return state, metadata
    except (SafetensorError, OSError, RuntimeError) as error:
        raise ModelError(f"{path} is not a {kind} file: {reason(error)}") from error


def _checksum(text: str, state: Mapping[str, Tensor]) -> str:
    """Return the SHA-256 of the description and of the names, types, shapes and bytes of all tensors."""
    digest = hashlib.sha256(text.encode())
    for key, value in sorted(state.items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        digest.update(value.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_weights_file(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Read the state dict of a model file, or of another program's ``.safetensors``, ``.pth`` or ``.ckpt``.

    Also returns the class names if the file has them, else None. Pickles are loaded with ``weights_only=True``, so
    nothing in them is executed. Raises ModelError.
    """
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        state, metadata = _read_safetensors(path, "weights", weights=True)
        described = METADATA_KEY in metadata
        return state, ModelInfo.from_json(metadata[METADATA_KEY], path).classes if described else None
    try:
        content = load_pickle(path)
    except Exception as error:  # torch raises many kinds for a damaged file
        raise ModelError(f"{path} is not a weights file that can be loaded safely: {reason(error)}") from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no state dict of tensors")
    return content, None


def load_pickle(path: Path) -> Any:
    """Load what ``torch.save`` wrote, without executing anything in it; raise an error of any kind for a damaged file."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:  # torch.save writes checksums; torch.load does not compare them
            if damaged := archive.testzip():
                raise pickle.UnpicklingError(f"the checksum of {damaged} is wrong")
    return torch.load(path, map_location="cpu", weights_only=True)
