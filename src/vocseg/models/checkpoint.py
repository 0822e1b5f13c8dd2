"""Model files: weights and their description in one ``.safetensors``. And weights files of other programs."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from vocseg import __version__
from vocseg.errors import ModelError
from vocseg.models.base import ModelInfo, SegmentationModel
from vocseg.models.quantize import pack, unpack
from vocseg.utils.files import cannot_write, replacing

METADATA_KEY = "vocseg"
WRAPPERS = ("model", "state_dict", "model_state_dict", "model_state", "network")
"""Keys under which training programs store the state dict in a checkpoint."""


def save_model(path: Path, model: SegmentationModel, info: ModelInfo | None = None, *, compact: bool = False) -> None:
    """Write a model file atomically; raise OutputError if it cannot be written.

    ``info`` replaces the model's own. ``compact`` writes most weights as int8 (:mod:`vocseg.models.quantize`), which
    takes little more than a quarter of the size.
    """
    values = (info or model.info).to_dict() | {"vocseg_version": __version__}
    # The format refuses tied tensors and writes views as a whole: plain copies are neither.
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.network.state_dict().items()}
    if compact:
        state = pack(state)
    with replacing(path) as temporary:
        try:
            save_file(state, temporary, metadata={METADATA_KEY: json.dumps(values)})
        except SafetensorError as error:
            raise cannot_write(path, OSError(str(error))) from error


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
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(METADATA_KEY)
            if metadata is None:
                raise ModelError(f"{path} holds weights but no vocseg metadata; use --model NAME --weights {path}")
            info = ModelInfo.from_dict(json.loads(metadata))
            return info, _tensors(file) if weights else {}
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path} is not a model file: {error}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ModelError(f"{path} has damaged vocseg metadata: {error!r}") from error


def read_weights_file(path: Path) -> tuple[dict[str, Tensor], tuple[str, ...] | None]:
    """Read the state dict of a model file, or of another program's ``.safetensors``, ``.pth`` or ``.ckpt``.

    Also returns the class names if the file has them, else None. Pickles are loaded with ``weights_only=True``, so
    nothing in them is executed. Raises ModelError.
    """
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                is_model_file = METADATA_KEY in (file.metadata() or {})
                state = _tensors(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is not a weights file: {error}") from error
        return state, read_info(path).classes if is_model_file else None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is not a weights file that can be loaded safely: {str(error).splitlines()[0]}") from error
    for key in WRAPPERS:
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no state dict of tensors")
    return content, None


def _tensors(file: Any) -> dict[str, Tensor]:
    return unpack({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118  (not a dict)
