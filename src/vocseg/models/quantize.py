"""Weights in a byte or two each, for model files that travel."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
SMALL = 100_000
"""Weights below which a layer is kept in half precision: depthwise and early layers, which int8 hurts most, are small."""


def pack(state: Mapping[str, Tensor], small: int = SMALL) -> dict[str, Tensor]:
    """A state dict with its matrices and kernels as int8, each output channel times a scale of its own (float32, ``NAME.scale``).

    Those of fewer than ``small`` weights become float16. The scale is the channel's largest weight / 127, so a weight moves by at
    most half a scale (symmetric quantization by channel: Krishnamoorthi, "Quantizing deep convolutional networks for
    efficient inference", 2018, section 3.1). Biases and normalization stay as they are.
    """
    packed: dict[str, Tensor] = {}
    for name, value in state.items():
        if value.dim() < 2 or not value.is_floating_point():
            packed[name] = value
            continue
        if value.numel() < small and bool(value.abs().amax() < torch.finfo(torch.float16).max):
            packed[name] = value.half()
            continue
        rows = value.float().flatten(1)
        scale = (rows.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        packed[name] = (rows / scale[:, None]).round().to(torch.int8).view_as(value)
        packed[name + SCALE] = scale
    return packed


def unpack(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict, float32, of one that :func:`pack` made; any other as it is but for half precision."""
    packed = {name for name, value in state.items() if value.dtype == torch.int8 and name + SCALE in state}
    plain = {name: value for name, value in state.items() if name.removesuffix(SCALE) not in packed or not name.endswith(SCALE)}
    plain = {name: value.float() if value.dtype == torch.float16 else value for name, value in plain.items()}
    for name in packed:
        value, scale = state[name], state[name + SCALE]
        plain[name] = value * scale.view(-1, *[1] * (value.dim() - 1))
    return plain
