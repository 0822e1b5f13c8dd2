"""Convolutions that apply the activation after them as they write their output, which saves a pass over memory each.

oneDNN, below torch on CPUs, can do that; torch's eager mode does not ask it to. ReLU and ReLU6 commute with rounding, so
nothing else changes: on the machines tried, logits are the same bit for bit.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor, nn

from vocseg.inference.layer_pairs import called_in_turn

Number = complex | float | int
_ACTIVATIONS: dict[type[nn.Module], tuple[str, list[Number | None]]] = {nn.ReLU: ("relu", []), nn.ReLU6: ("hardtanh", [0.0, 6.0])}
"""oneDNN's names and parameters."""


class ConvActivation(nn.Module):
    """A convolution and the ReLU or ReLU6 after it in one call; it shares the convolution's weights."""

    def __init__(self, conv: nn.Conv2d, activation: nn.Module) -> None:
        super().__init__()
        self.conv = conv
        self.activation = _ACTIVATIONS[type(activation)]

    def forward(self, features: Tensor) -> Tensor:
        conv, (name, scalars) = self.conv, self.activation
        run: Callable[..., Tensor] = _scripted() if torch.jit.is_tracing() else _convolution  # type: ignore[attr-defined, no-untyped-call]
        return run(features, conv.weight, conv.bias, conv.padding, conv.stride, conv.dilation, conv.groups, name, scalars)


def _convolution(
    features: Tensor, weight: Tensor, bias: Tensor | None, padding: list[int], stride: list[int], dilation: list[int],
    groups: int, activation: str, scalars: list[Number | None],
) -> Tensor:  # fmt: skip
    return torch.ops.mkldnn._convolution_pointwise(
        features, weight, bias, padding, stride, dilation, groups, activation, scalars, ""
    )


@cache
def _scripted() -> Callable[..., Tensor]:
    """Return what the tracer can record: it does not know lists of numbers as arguments."""
    return torch.jit.script(_convolution)


def fuse_activations(layers: nn.Module, example: Tensor) -> nn.Module:
    """Return a copy, with the same weights, whose convolutions on a CPU apply the activations after them.

    The copy must give on ``example`` the very output that ``layers`` give: a network that uses the output of such a
    convolution elsewhere too, or a machine whose oneDNN computes another way, keeps its layers.
    """
    if example.device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return layers
    names = {module: name for name, module in layers.named_modules()}
    outputs: list[Tensor] = []
    pairs = called_in_turn(layers, _can_fuse, lambda module: type(module) in _ACTIVATIONS, lambda: outputs.append(layers(example)))
    if not pairs:
        return layers
    weights = {id(tensor): tensor for tensor in [*layers.parameters(), *layers.buffers()]}
    fused = copy.deepcopy(layers, weights)
    for conv, activation in pairs:
        place = names[conv]
        fused.set_submodule(place, ConvActivation(fused.get_submodule(place), activation))  # type: ignore[arg-type]
        fused.set_submodule(names[activation], nn.Identity())
    try:
        with torch.inference_mode():
            return fused if torch.equal(fused(example), outputs[0]) else layers
    except (RuntimeError, AttributeError):  # a build of torch without this operation
        return layers


def _can_fuse(module: nn.Module) -> bool:
    return type(module) is nn.Conv2d and module.padding_mode == "zeros" and not isinstance(module.padding, str)
