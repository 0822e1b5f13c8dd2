"""2-D convolutions and their gradients, each computed in the way that is fastest for the layer, the size and the machine.

oneDNN, below torch on CPUs, is good at most convolutions and tens of times too slow at some: large dilations, and the
gradients of depthwise layers in bfloat16. Which, depends on the processor and the version, so nothing here goes by name:
each sum can be formed in several ways, the first input of a kind is timed in all of them, and the choice is kept
(:mod:`vocseg.ops.choices`).
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import pad
from torch.overrides import TorchFunctionMode

from vocseg.ops import winograd
from vocseg.ops.choices import choices, race

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """What a convolution is beside its weight."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int

    def plain(self, weight: Tensor) -> bool:
        """Of stride 1, all channels together, and an output of the input's size: what the sums over taps take."""
        same = all(2 * p == d * (k - 1) and k % 2 for k, p, d in zip(weight.shape[2:], self.padding, self.dilation, strict=True))
        return self.groups == 1 and self.stride == (1, 1) and same

    def depthwise(self, weight: Tensor) -> bool:
        """One filter a channel."""
        return self.groups == weight.shape[0] > 1 == weight.shape[1]


@contextlib.contextmanager
def fast_convolutions() -> Iterator[None]:
    """Within the block every ``conv2d`` on a CPU, and later its gradients, takes the fastest way; equal but for rounding."""
    with _Mode(conv2d):
        yield


@contextlib.contextmanager
def traced_convolutions(by_taps: Callable[[Tensor, Tensor, Geometry], bool]) -> Iterator[None]:
    """Within the block those convolutions are sums over taps, in operations that a tracer takes down for any size, for which
    ``by_taps(inputs, weight, geometry)`` holds: it is asked about all that could be."""

    def convolve(inputs: Tensor, weight: Tensor, *rest: Any) -> Tensor:
        bias, stride, padding, dilation, groups = rest
        if not isinstance(padding, str):
            geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
            if "taps" in possible("forward", inputs, weight, geometry) and by_taps(inputs, weight, geometry):
                return taps_for_tracing(inputs, weight, bias, geometry)
        return torch.conv2d(inputs, weight, *rest)

    with _Mode(convolve):
        yield


class _Mode(TorchFunctionMode):
    def __init__(self, convolve: Callable[..., Tensor]) -> None:
        super().__init__()
        self.convolve = convolve

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return self.convolve(*args, **(kwargs or {})) if func is torch.conv2d else func(*args, **(kwargs or {}))


def conv2d(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`torch.nn.functional.conv2d`, on CPUs in the fastest way; autocast is respected."""
    if isinstance(padding, str) or inputs.device.type != "cpu" or inputs.dim() != 4 or not inputs.numel():
        return torch.conv2d(inputs, weight, bias, stride, padding, dilation, groups)
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    if not (geometry.depthwise(weight) or geometry.plain(weight)):
        return torch.conv2d(inputs, weight, bias, stride, padding, dilation, groups)
    if torch.is_autocast_enabled("cpu"):
        dtype = torch.get_autocast_dtype("cpu")
        inputs, weight, bias = inputs.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype)
    if torch.is_grad_enabled() and (inputs.requires_grad or weight.requires_grad):
        return _Convolution.apply(inputs, weight, bias, geometry)
    return _fastest("forward", FORWARD, inputs, weight, geometry)(inputs, weight, bias, geometry)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.geometry = geometry
        return _fastest("forward", FORWARD, inputs, weight, geometry)(inputs, weight, bias, geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        gradient = gradient.contiguous(memory_format=torch.channels_last)
        found: list[Tensor | None] = [None, None, None, None]
        for position, kind, ways in ((0, "input gradient", INPUT_GRADIENT), (1, "weight gradient", WEIGHT_GRADIENT)):
            if ctx.needs_input_grad[position]:
                way = _fastest(kind, ways, inputs, weight, ctx.geometry, gradient)
                found[position] = way(inputs, weight, gradient, ctx.geometry)
        if ctx.needs_input_grad[2]:
            found[2] = gradient.sum((0, 2, 3))
        return tuple(found)


# Forward: (inputs, weight, bias, geometry) -> output.


def _forward_native(inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return torch.conv2d(inputs, weight, bias, *geometry)


def _forward_taps(inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """A 1x1 convolution a tap, each on the part of the input that the tap can see.

    Does no work on padding (at dilation 36 on a 47x63 map less than a third is left) and needs no kernel that is good at
    large dilations.
    """
    middle, *others = _taps(inputs, weight, geometry)
    out = torch.conv2d(inputs, weight[middle.weight], bias)
    for tap in others:
        out[tap.output] += torch.conv2d(inputs[tap.input], weight[tap.weight])
    return out


def _forward_winograd(inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    return winograd.convolve(inputs, weight, bias, geometry.dilation)


def taps_for_tracing(inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """:func:`_forward_taps` without writing into slices and without the input's size; larger inputs than the dilation only."""
    middle = (weight.shape[2] // 2, weight.shape[3] // 2)
    out = torch.conv2d(inputs, weight[:, :, middle[0] : middle[0] + 1, middle[1] : middle[1] + 1], bias)
    for row in range(weight.shape[2]):
        for column in range(weight.shape[3]):
            if (row, column) != middle:
                down, right = ((place - at) * d for place, at, d in zip((row, column), middle, geometry.dilation, strict=True))
                seen = inputs[:, :, max(0, down) : min(0, down) or None, max(0, right) : min(0, right) or None]
                part = torch.conv2d(seen, weight[:, :, row : row + 1, column : column + 1])
                out = out + pad(part, (max(0, -right), max(0, right), max(0, -down), max(0, down)))
    return out


# Gradients: (inputs, weight, gradient of the output, geometry) -> gradient.


def _input_native(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _native(inputs, weight, gradient, geometry, (True, False, False))


def _input_forward(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """A forward convolution of the gradient, its pixels a stride apart, with the weight turned by 180 degrees."""
    spread, padding = _spread(inputs, weight, gradient, geometry)
    return torch.conv2d(spread, _turned(weight, geometry), None, (1, 1), padding, geometry.dilation, geometry.groups)


def _input_taps(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _forward_taps(gradient, _turned(weight, geometry), None, geometry)


def _input_winograd(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _forward_winograd(gradient, _turned(weight, geometry), None, geometry)


def _input_float32(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _input_native(inputs.float(), weight.float(), gradient.float(), geometry).to(inputs.dtype)


def _weight_native(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _native(inputs, weight, gradient, geometry, (False, True, False))


def _weight_float32(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return _weight_native(inputs.float(), weight.float(), gradient.float(), geometry).to(weight.dtype)


def _weight_forward(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """A depthwise forward convolution of all images' channels side by side, whose filters are the gradient.

    dW[c, i, j] = sum over images n and positions y, x of G[n, c, y, x] I[n, c, y s + i d - p, x s + j d - p]: stride and
    dilation change places.
    """
    images, channels = inputs.shape[:2]
    planes = inputs.permute(2, 3, 0, 1).flatten(2)[None].permute(0, 3, 1, 2)
    filters = gradient.permute(2, 3, 0, 1).flatten(2)[None].permute(3, 0, 1, 2)
    swapped = (geometry.dilation, geometry.padding, geometry.stride, images * channels)
    products = torch.conv2d(planes, filters, None, *swapped)[..., : weight.shape[2], : weight.shape[3]]
    wide = torch.promote_types(weight.dtype, torch.float32)
    return products.view(images, *weight.shape).sum(0, dtype=wide).to(weight.dtype)


def _weight_taps(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """One product of matrices a tap, each over the positions that the tap can see."""
    out = torch.zeros(weight.shape[2:] + weight.shape[:2], dtype=weight.dtype)
    for tap in _taps(inputs, weight, geometry):
        torch.matmul(_rows(gradient[tap.output]).T, _rows(inputs[tap.input]), out=out[tap.place])
    return out.permute(2, 3, 0, 1)


def _weight_winograd(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    return winograd.weight_gradient(inputs, gradient, geometry.dilation)


def _native(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, wanted: tuple[bool, bool, bool]) -> Tensor:
    stride, padding, dilation, groups = geometry
    grads = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, stride, padding, dilation, False, (0, 0), groups, wanted
    )
    return next(grad for grad, asked in zip(grads, wanted, strict=True) if asked)


Way = Callable[..., Tensor]
FORWARD: dict[str, Way] = {"native": _forward_native, "taps": _forward_taps, "winograd": _forward_winograd}
INPUT_GRADIENT: dict[str, Way] = {
    "native": _input_native, "forward": _input_forward, "taps": _input_taps, "winograd": _input_winograd,
    "float32": _input_float32,
}  # fmt: skip
WEIGHT_GRADIENT: dict[str, Way] = {
    "native": _weight_native, "forward": _weight_forward, "taps": _weight_taps, "winograd": _weight_winograd,
    "float32": _weight_float32,
}  # fmt: skip


def possible(kind: str, inputs: Tensor, weight: Tensor, geometry: Geometry) -> list[str]:
    """Names of the ways, the native one first, that apply to a layer of ``kind`` forward, input gradient or weight gradient."""
    names = ["native"]
    if geometry.depthwise(weight):
        if kind == "weight gradient" or (kind == "input gradient" and _turns(weight, geometry)):
            names.append("forward")
        if kind != "forward" and inputs.dtype != torch.float32:
            names.append("float32")
        return names
    if (geometry.dilation != (1, 1) and weight.shape[2:] != (1, 1)) or (kind == "weight gradient" and weight.shape[2:] == (1, 1)):
        names.append("taps")
    if winograd.worthwhile(inputs, weight, geometry.dilation):
        names.append("winograd")
    return names


def _fastest(kind: str, ways: dict[str, Way], inputs: Tensor, weight: Tensor, geometry: Geometry, *gradient: Tensor) -> Way:
    names = possible(kind, inputs, weight, geometry)
    if len(names) == 1:
        return ways["native"]
    # Sizes count by the 16x16 patch, or images of many sizes would be timed over and over.
    patches = [-(-side // 16) for side in inputs.shape[2:]]
    sizes = [f"{len(inputs)}x{patches[0]}x{patches[1]}", "x".join(map(str, weight.shape))]
    layout = [f"{name} {value}" for name, value in geometry._asdict().items()]
    key = ", ".join([kind, str(inputs.dtype), *sizes, *layout])
    arguments = (inputs, weight, *(gradient or (None,)), geometry)
    runs = {name: partial(ways[name], *arguments) for name in names}
    return ways[choices.find(key, names, partial(race, runs, ROUNDS, LONG))]


ROUNDS = 4
LONG = 0.2
"""Seconds of runs in turn after which a layer's ways are told apart well enough."""


class _Tap(NamedTuple):
    place: Pair
    weight: tuple[Any, ...]
    input: tuple[Any, ...]
    output: tuple[Any, ...]


def _taps(inputs: Tensor, weight: Tensor, geometry: Geometry) -> Iterator[_Tap]:
    """The taps that see anything of the input, the middle one first, with the parts of input and output that each joins."""
    height, width = inputs.shape[2:]
    rows, columns = weight.shape[2:]
    places = [(row, column) for row in range(rows) for column in range(columns)]
    for row, column in sorted(places, key=lambda place: place != (rows // 2, columns // 2)):
        down, right = (row - rows // 2) * geometry.dilation[0], (column - columns // 2) * geometry.dilation[1]
        if abs(down) < height and abs(right) < width:
            yield _Tap(
                (row, column),
                (..., slice(row, row + 1), slice(column, column + 1)),
                (..., _seen(down, height), _seen(right, width)),
                (..., _seen(-down, height), _seen(-right, width)),
            )


def _seen(shift: int, length: int) -> slice:
    return slice(max(0, shift), length + min(0, shift))


def _rows(planes: Tensor) -> Tensor:
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


def _turned(weight: Tensor, geometry: Geometry) -> Tensor:
    turned = weight.flip(2, 3) if geometry.groups > 1 else weight.flip(2, 3).transpose(0, 1)
    return turned.contiguous(memory_format=torch.channels_last)


def _turns(weight: Tensor, geometry: Geometry) -> bool:
    """Whether the transposed convolution can be written as a forward one: it would crop where padding is excessive."""
    return all(d * (k - 1) >= p for k, p, d in zip(weight.shape[2:], geometry.padding, geometry.dilation, strict=True))


def _spread(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> tuple[Tensor, Pair]:
    """The gradient with its pixels a stride apart, and the padding that brings it to the input's size."""
    reach = [d * (k - 1) for k, d in zip(weight.shape[2:], geometry.dilation, strict=True)]
    padding = (reach[0] - geometry.padding[0], reach[1] - geometry.padding[1])
    if geometry.stride == (1, 1):
        return gradient, padding
    size = [side + reached - 2 * pad for side, reached, pad in zip(inputs.shape[2:], reach, padding, strict=True)]
    spread = gradient.new_zeros(len(gradient), *size, gradient.shape[1]).permute(0, 3, 1, 2)
    spread[..., :: geometry.stride[0], :: geometry.stride[1]] = gradient
    return spread, padding


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])
