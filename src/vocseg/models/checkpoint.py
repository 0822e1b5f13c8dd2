"""Model files: weights and all that is needed to use them in one ``.safetensors``; foreign ``.pth`` weights."""

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


def save_model(path: Path, model: SegmentationModel, info: ModelInfo | None = None, *, compact: bool = False) -> None:
    """Write a model file atomically. ``info`` replaces the model's own. Raises OutputError, e.g. for a full disk.

    ``compact`` writes most weights as int8 (:mod:`vocseg.models.quantize`): little more than a quarter of the size.
    """
    values = (info or model.info).to_dict() | {"vocseg_version": __version__}
    # Tied tensors are refused by the format, and views would be written as a whole: plain copies are neither.
    state = {key: value.detach().cpu().contiguous().clone() for key, value in model.network.state_dict().items()}
    if compact:
        state = pack(state)
    with replacing(path) as temporary:
        try:
            save_file(state, temporary, metadata={METADATA_KEY: json.dumps(values)})
        except SafetensorError as error:
            raise cannot_write(path, OSError(str(error))) from error


def read_info(path: Path) -> ModelInfo:
    """What a model file says about its network; ModelError where it is none."""
    return _read(path, weights=False)[0]


def read_model_file(path: Path) -> tuple[ModelInfo, dict[str, Tensor]]:
    """Metadata and state dict of a model file; ModelError where it is missing, damaged or of another kind."""
    return _read(path, weights=True)


def _read(path: Path, weights: bool) -> tuple[ModelInfo, dict[str, Tensor]]:
    if path.is_dir():
        # (Of a run in stages the last one's.)
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
    """State dict and, where the file says, class names of a model file or of a foreign ``.safetensors`` or ``.pth``.

    Foreign checkpoints are unwrapped from the usual keys (``model``, ``state_dict``, ...).
    Pickles are loaded with ``weights_only=True``. Raises ModelError.
    """
    if not path.is_file():
        raise ModelError(f"no weights file {path}")
    if path.suffix == ".safetensors":
        try:
            with safe_open(path, framework="pt") as file:
                ours = METADATA_KEY in (file.metadata() or {})
                state = _tensors(file)
        except (SafetensorError, OSError) as error:
            raise ModelError(f"{path} is not a weights file: {error}") from error
        return state, read_info(path).classes if ours else None
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError, KeyError) as error:
        raise ModelError(f"{path} is not a weights file that can be loaded safely: {str(error).splitlines()[0]}") from error
    for key in ("model", "state_dict", "model_state_dict", "model_state", "network"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict) or not content or not all(isinstance(value, Tensor) for value in content.values()):
        raise ModelError(f"{path} holds no state dict of tensors")
    return content, None


def _tensors(file: Any) -> dict[str, Tensor]:
    return unpack({key: file.get_tensor(key) for key in file.keys()})  # noqa: SIM118  (no dict)
