"""What the masks of a network depend on, so that only shards of equal settings are merged."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from torch import nn

from vocseg.inference.optimize import OptimizedModel
from vocseg.inference.segmenter import Segmenter
from vocseg.utils.shards import named_file


def network_settings(model: object, weights: str | None, segmenter: Segmenter, total: int) -> dict[str, Any]:
    """Return by name what the masks of ``total`` images depend on: the model, how it is run, and on what."""
    network = segmenter.network
    return {
        "model": _named_model(model, segmenter),
        "weights": None if weights is None else named_file(weights),
        "classes": list(segmenter.info.classes),
        "device": segmenter.device.type,
        "precision": segmenter.precision,
        "engine": network.engine_for(total) if isinstance(network, OptimizedModel) else "exact",
        "max_short_side": segmenter.max_short_side,
        "tta": segmenter.tta,
    }


def _named_model(model: object, segmenter: Segmenter) -> str:
    """Return the name of a model; of a file or a network in memory with a hash of its content."""
    if isinstance(model, str | Path):
        return named_file(model)
    network = model if isinstance(model, nn.Module) else segmenter.model
    total = hashlib.sha256()
    for name, values in network.state_dict().items():
        total.update(name.encode())
        total.update(values.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return f"{segmenter.info.architecture} ({total.hexdigest()[:16]})"
