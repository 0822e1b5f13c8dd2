"""3x3 convolutions by Winograd's minimal filtering, F(4x4, 3x3): a quarter of the multiplications, equal but for rounding.

Each 4x4 tile of the output is a product of 6x6 transformed tiles of input and weight, summed over channels (Lavin and Gray, "Fast
algorithms for convolutional neural networks", 2016). The transforms interpolate at 0, 1, -1, 1/2, -2 and infinity: in float32
a third of the error of the usual 0, 1, -1, 2, -2 (Barabasz et al., "Error analysis and improving the accuracy of Winograd
convolution for deep neural networks", 2020).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

Pair = tuple[int, int]

TILE = 4
"""Side of a tile of the output."""
WINDOW = TILE + 2
"""Side of the part of the input that a tile is made from."""
POINTS = (0.0, 1.0, -1.0, 0.5, -2.0)
TILES_AT_ONCE = 256
"""Tiles that are transformed and multiplied together, so that they stay in the processor's cache."""
LEAST_CHANNELS = 32
LARGEST_OVERHANG = 1.5
"""Area of the tiles beside that of the output, where a side is no multiple of a tile's times the dilation."""


def worthwhile(inputs: Tensor, weight: Tensor, dilation: Pair) -> bool:
    """Whether a convolution may gain: not in bfloat16, whose rounding the transforms would multiply, and not where these or the
    tiles' overhang cost more than the multiplications saved."""
    if weight.shape[2:] != (3, 3) or min(weight.shape[:2]) < LEAST_CHANNELS or inputs.dtype not in (torch.float32, torch.float64):
        return False
    sides = zip(inputs.shape[2:], dilation, strict=True)
    return math.prod(_tiles(side, apart) * TILE * apart / side for side, apart in sides) <= LARGEST_OVERHANG


def convolve(inputs: Tensor, weight: Tensor, bias: Tensor | None, dilation: Pair) -> Tensor:
    """A 3x3 convolution of stride 1 whose padding is its dilation: N x C x H x W, channels last.

    What is made of a weight that takes no gradient is kept with it: four times its size.
    """
    windows = _pieces(inputs, dilation, WINDOW)
    of_input, of_output = _transform("input", inputs.dtype), _transform("output", inputs.dtype)
    weights = _kept_weight(weight)
    images, rows, down, columns, right, channels = windows.shape[2:]
    output = inputs.new_empty(images, rows, TILE, down, columns, TILE, right, len(weight))
    for row, phase in _parts(windows):
        part = windows[:, :, :, row, phase]
        products = torch.bmm((of_input @ part.reshape(WINDOW**2, -1)).view(WINDOW**2, -1, channels), weights)
        tiles = (of_output @ products.view(WINDOW**2, -1)).view(TILE, TILE, *part.shape[2:-1], len(weight))
        output[:, row, :, phase] = tiles.permute(2, 3, 0, 4, 5, 1, 6, 7)
    height, width = inputs.shape[2:]
    whole = output.view(images, rows * TILE * down, columns * TILE * right, len(weight))[:, :height, :width]
    return (whole.contiguous() if bias is None else whole + bias).permute(0, 3, 1, 2)


def weight_gradient(inputs: Tensor, gradient: Tensor, dilation: Pair) -> Tensor:
    """Gradient of :func:`convolve` to its weight, from that to its output; each step of it transposed."""
    windows, tiles = _pieces(inputs, dilation, WINDOW), _pieces(gradient, dilation, TILE)
    of_input, of_output, of_weight = (_transform(name, inputs.dtype) for name in ("input", "output", "weight"))
    channels, outputs = windows.shape[-1], tiles.shape[-1]
    total = inputs.new_zeros(WINDOW**2, channels, outputs)
    for row, phase in _parts(windows):
        left = (of_input @ windows[:, :, :, row, phase].reshape(WINDOW**2, -1)).view(WINDOW**2, -1, channels)
        right = (of_output.T @ tiles[:, :, :, row, phase].reshape(TILE**2, -1)).view(WINDOW**2, -1, outputs)
        total.baddbmm_(left.transpose(1, 2), right)
    return (of_weight.T @ total.view(WINDOW**2, -1)).view(3, 3, channels, outputs).permute(3, 2, 0, 1)


def _pieces(planes: Tensor, dilation: Pair, side: int) -> Tensor:
    """N x C x H x W as tiles, or windows around them: side x side x N x rows x dilation x columns x dilation x C.

    A dilated convolution is an undilated one on each of the grids of pixels that lie a dilation apart.
    """
    images, channels, height, width = planes.shape
    down, right = dilation
    rows, columns = _tiles(height, down), _tiles(width, right)
    border = (side - TILE) // 2
    sides = ((rows * TILE + 2 * border) * down, (columns * TILE + 2 * border) * right)
    padded = planes.new_zeros(images, *sides, channels)
    top, left = border * down, border * right
    padded[:, top : top + height, left : left + width] = planes.permute(0, 2, 3, 1)
    line = sides[1] * channels
    return padded.as_strided(
        (side, side, images, rows, down, columns, right, channels),
        (down * line, right * channels, sides[0] * line, TILE * down * line, line, TILE * right * channels, channels, 1),
    )


def _tiles(side: int, dilation: int) -> int:
    """Tiles that cover a side, on each of the grids of pixels a dilation apart."""
    return -(-side // (TILE * dilation))


def _parts(pieces: Tensor) -> list[tuple[slice, slice]]:
    """Rows of tiles, and phases of the dilation in them, cut into parts of about ``TILES_AT_ONCE``."""
    images, rows, phases, columns, right = pieces.shape[2:7]
    many = max(1, TILES_AT_ONCE // (images * columns * right))
    down, across = (many // phases, phases) if many >= phases else (1, many)
    return [
        (slice(row, min(row + down, rows)), slice(phase, min(phase + across, phases)))
        for row in range(0, rows, down)
        for phase in range(0, phases, across)
    ]


_weights = WeakTensorKeyDictionary()


def _kept_weight(weight: Tensor) -> Tensor:
    if weight.requires_grad:
        return _transformed(weight)
    state = (weight.data_ptr(), None if weight.is_inference() else weight._version)
    if weight not in _weights or _weights[weight][0] != state:
        _weights[weight] = (state, _transformed(weight))
    kept: Tensor = _weights[weight][1]
    return kept


def _transformed(weight: Tensor) -> Tensor:
    """K x C x 3 x 3 to 36 x C x K."""
    outputs, channels = weight.shape[:2]
    taps = weight.permute(2, 3, 1, 0).reshape(9, channels * outputs)
    return (_transform("weight", weight.dtype) @ taps).view(WINDOW**2, channels, outputs)


@cache
@torch.inference_mode(False)
def _transform(of: str, dtype: torch.dtype) -> Tensor:
    """Transform of rows and columns at once, for tiles flattened to vectors: input 36 x 36, weight 36 x 9, output 16 x 36.

    Polynomials of degree 3 and 2 are multiplied by their values at five points and their leading coefficients (Toom and Cook);
    the transposed sum is a correlation.
    """
    shapes = ((TILE, WINDOW), (WINDOW, 3), (WINDOW, WINDOW))
    output, weight, window = (torch.zeros(shape, dtype=torch.float64) for shape in shapes)
    for place, point in enumerate(POINTS):
        others = [other for other in POINTS if other != point]
        powers = torch.tensor([point**power for power in range(TILE)], dtype=torch.float64)
        output[:, place] = powers
        weight[place] = powers[:3] / math.prod(point - other for other in others)
        window[place, :-1] = _polynomial(others)
    output[-1, -1] = weight[-1, -1] = 1
    window[-1] = _polynomial(POINTS)
    one_axis = {"output": output, "weight": weight, "input": window}[of]
    return torch.kron(one_axis, one_axis).to(dtype)


def _polynomial(roots: Sequence[float]) -> Tensor:
    """Coefficients, the constant first, of the product of x - root."""
    coefficients = [1.0]
    for root in roots:
        shifted, scaled = [0.0, *coefficients], [*(root * value for value in coefficients), 0.0]
        coefficients = [one - other for one, other in zip(shifted, scaled, strict=True)]
    return torch.tensor(coefficients, dtype=torch.float64)
