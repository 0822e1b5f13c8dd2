"""Gradients of 2-D convolutions that torch's kernels are slow at on a CPU: depthwise and widely dilated ones.

oneDNN, below torch on CPUs, is good at all forward convolutions and at most gradients; it is up to fifty times too slow at
some. :func:`choose` is the rule that picks an algorithm, by shapes and data type only, so that the same seed gives the same
bits. It was written from measurements by hand (torch 2.14, AVX-512 with and without BF16, and AVX2; milliseconds on one core):

====================================================================== ====== =======
gradient                                                               native chosen
====================================================================== ====== =======
input, depthwise 5x5, dilation 2, 4x1248x22x22, bfloat16                  9.6     0.7
input, depthwise 3x3, stride 2, 4x96x168x168, bfloat16                   20.2     2.4
weight, depthwise 5x5, 4x720x22x22, bfloat16                             11.8     1.9
weight, depthwise 5x5, dilation 2, 4x960x21x21, float32                  15.0    11.6
weight, dense 3x3, dilation 24, 2x2048x41x41 to 256, bfloat16             174      30
weight, dense 3x3, dilation 24, 2x2048x41x41 to 256, float32              268     119
====================================================================== ====== =======
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import product
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.overrides import TorchFunctionMode

Pair = tuple[int, int]


class Geometry(NamedTuple):
    """What defines a convolution beside its weight."""

    stride: Pair
    padding: Pair
    dilation: Pair
    groups: int


class Choice(NamedTuple):
    """The algorithms for a convolution's gradients."""

    input: Literal["native", "forward"]
    weight: Literal["native", "forward", "offsets"]


NATIVE = Choice("native", "native")


def choose(inputs: torch.Size, weight: torch.Size, geometry: Geometry, dtype: torch.dtype) -> Choice:
    """Pick the algorithms for the gradients of a convolution of ``inputs`` (N x C x H x W) with ``weight`` (O x C/groups x h x w).

    - Depthwise, with respect to the input: a forward convolution, except with a stride and no dilation in float32.
    - Depthwise, with respect to the weight: a forward convolution, except for 1x1 and undilated 3x3 kernels.
    - Dense, with respect to the weight: a product of matrices per kernel offset, when the dilated kernel is larger than the
      input.
    - Everything else: torch's own.
    """
    if dtype not in (torch.float32, torch.bfloat16):
        return NATIVE
    kernel = weight[2:]
    spans = [dilation * (size - 1) + 1 for size, dilation in zip(kernel, geometry.dilation, strict=True)]
    if geometry.groups == weight[0] > 1 == weight[1]:
        # The transposed convolution would have to crop where there is more padding than kernel.
        as_forward = all(span > padding for span, padding in zip(spans, geometry.padding, strict=True))
        undilated = kernel == (1, 1) or geometry.dilation == (1, 1)
        strided_float32 = undilated and geometry.stride != (1, 1) and dtype == torch.float32
        small = kernel in ((1, 1), (3, 3)) and undilated
        return Choice("forward" if as_forward and not strided_float32 else "native", "native" if small else "forward")
    keeps_size = geometry.stride == (1, 1) and all(span == 2 * pad + 1 for span, pad in zip(spans, geometry.padding, strict=True))
    larger = any(span > side for span, side in zip(spans, inputs[2:], strict=True))
    centered = all(size % 2 for size in kernel)
    if geometry.groups == 1 and keeps_size and centered and larger:
        return Choice("native", "offsets")
    return NATIVE


def fast_convolutions(device: torch.device) -> AbstractContextManager[Any]:
    """Return a context in which ``conv2d`` on a CPU has faster gradients, equal up to rounding.

    They can be differentiated once. The context does nothing on other devices, without gradients, and in code that
    ``torch.compile`` compiles.
    """
    return _FastGradients() if device.type == "cpu" else nullcontext()


class _FastGradients(TorchFunctionMode):
    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        # By its name, for NNCF replaces torch.conv2d.
        if getattr(func, "__name__", "") == "conv2d" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
            return _conv2d(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))


def _conv2d(
    input: Tensor,  # noqa: A002, torch's name: callers may pass it by keyword
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | Pair = 1,
    padding: int | Pair | str = 0,
    dilation: int | Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Compute :func:`torch.nn.functional.conv2d`; the gradient follows :func:`choose`, and autocast is respected."""
    differentiable = input.requires_grad or weight.requires_grad
    if not differentiable or isinstance(padding, str) or input.dim() != 4 or not input.numel() or input.device.type != "cpu":
        return torch.conv2d(input, weight, bias, stride, padding, dilation, groups)
    geometry = Geometry(_pair(stride), _pair(padding), _pair(dilation), groups)
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else input.dtype
    choice = choose(input.shape, weight.shape, geometry, dtype)
    if choice == NATIVE:
        return torch.conv2d(input, weight, bias, *geometry)
    return _Convolution.apply(input.to(dtype), weight.to(dtype), None if bias is None else bias.to(dtype), geometry, choice)


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry, choice: Choice) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.geometry, ctx.choice = geometry, choice
        return torch.conv2d(inputs, weight, bias, *geometry)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tensors = *ctx.saved_tensors, gradient.contiguous(memory_format=torch.channels_last), ctx.geometry
        needs_input, needs_weight, needs_bias, *_ = ctx.needs_input_grad
        return (
            INPUT_GRADIENTS[ctx.choice.input](*tensors) if needs_input else None,
            WEIGHT_GRADIENTS[ctx.choice.weight](*tensors) if needs_weight else None,
            gradient.sum((0, 2, 3)) if needs_bias else None,
            None,
            None,
        )


def _native(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry, position: int) -> Tensor:
    stride, padding, dilation, groups = geometry
    needed = [position == 0, position == 1, False]
    gradients: tuple[Tensor, ...] = torch.ops.aten.convolution_backward(
        gradient, inputs, weight, None, stride, padding, dilation, False, (0, 0), groups, needed
    )
    return gradients[position]


def _input_forward(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Depthwise: a forward convolution of the gradient, its pixels a stride apart, with the weight turned by 180 degrees."""
    reach = [dilation * (size - 1) for size, dilation in zip(weight.shape[2:], geometry.dilation, strict=True)]
    padding = (reach[0] - geometry.padding[0], reach[1] - geometry.padding[1])
    if geometry.stride != (1, 1):
        sides = [side + reached - 2 * pad for side, reached, pad in zip(inputs.shape[2:], reach, padding, strict=True)]
        spread = gradient.new_zeros(len(gradient), *sides, gradient.shape[1]).permute(0, 3, 1, 2)
        spread[..., :: geometry.stride[0], :: geometry.stride[1]] = gradient
        gradient = spread
    turned = weight.flip(2, 3).contiguous(memory_format=torch.channels_last)
    return torch.conv2d(gradient, turned, None, (1, 1), padding, geometry.dilation, geometry.groups)


def _weight_forward(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Depthwise: a forward convolution of all images' channels side by side, whose filters are the gradient.

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


def _weight_offsets(inputs: Tensor, weight: Tensor, gradient: Tensor, geometry: Geometry) -> Tensor:
    """Dense: for each offset in the kernel, a product of matrices over the positions at which it meets the input."""
    height, width = inputs.shape[2:]
    rows, columns = weight.shape[2:]
    out = weight.new_zeros(weight.shape[2:] + weight.shape[:2])
    for row, column in product(range(rows), range(columns)):
        down, right = (row - rows // 2) * geometry.dilation[0], (column - columns // 2) * geometry.dilation[1]
        if abs(down) < height and abs(right) < width:
            met = inputs[..., _shifted(down, height), _shifted(right, width)]
            there = gradient[..., _shifted(-down, height), _shifted(-right, width)]
            torch.matmul(_pixels(there).T, _pixels(met), out=out[row, column])
    return out.permute(2, 3, 0, 1)


def _shifted(shift: int, length: int) -> slice:
    return slice(max(0, shift), length + min(0, shift))


def _pixels(planes: Tensor) -> Tensor:
    return planes.permute(0, 2, 3, 1).reshape(-1, planes.shape[1])


def _pair(value: int | Pair) -> Pair:
    return (value, value) if isinstance(value, int) else (value[0], value[1])


Gradient = Callable[[Tensor, Tensor, Tensor, Geometry], Tensor]
"""Takes inputs, weight, the gradient of the output and the geometry."""
INPUT_GRADIENTS: dict[str, Gradient] = {"native": partial(_native, position=0), "forward": _input_forward}
WEIGHT_GRADIENTS: dict[str, Gradient] = {
    "native": partial(_native, position=1),
    "forward": _weight_forward,
    "offsets": _weight_offsets,
}
