"""Store weights in one or two bytes each, for small model files."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

SCALE = ".scale"
SMALL = 100_000
"""Layers with fewer weights stay in half precision: int8 hurts depthwise and early layers most, and these are small."""


def pack(state: Mapping[str, Tensor], small: int = SMALL) -> dict[str, Tensor]:
    """Quantize the matrices and kernels of a state dict to int8, with a float32 ``NAME.scale`` per output channel.

    Those of fewer than ``small`` weights become float16. The scale is the channel's largest weight / 127, so a weight
    changes by at most half a scale (symmetric per-channel quantization: Krishnamoorthi, "Quantizing deep convolutional
    networks for efficient inference", 2018, section 3.1). Biases and normalization are unchanged.

    >>> packed = pack({"weight": torch.tensor([[127.0, -3.2]]), "bias": torch.ones(1)}, small=0)
    >>> packed["weight"], packed["weight.scale"]
    (tensor([[127,  -3]], dtype=torch.int8), tensor([1.]))
    >>> unpack(packed)["weight"]
    tensor([[127.,  -3.]])
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
    """Undo :func:`pack`, in float32. Other state dicts are unchanged, except that half precision becomes float32."""
    packed = {name for name, value in state.items() if value.dtype == torch.int8 and name + SCALE in state}
    plain = {name: value for name, value in state.items() if name.removesuffix(SCALE) not in packed or not name.endswith(SCALE)}
    plain = {name: value.float() if value.dtype == torch.float16 else value for name, value in plain.items()}
    for name in packed:
        value, scale = state[name], state[name + SCALE]
        plain[name] = value * scale.view(-1, *[1] * (value.dim() - 1))
    return plain
