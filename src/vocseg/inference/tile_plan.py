"""Where tiles are along an axis, what they weigh, and which logits a part of it needs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

UNIT = 32
"""Tiles begin at multiples of what a network pads images to, or of this: layers inside it see all in the same phase."""


class Grid(NamedTuple):
    """The low-resolution grid of a network: a logit each ``stride`` pixels.

    ``corners``: logits are at pixels 0, stride, ...; otherwise at the centers of squares of ``stride`` pixels (of networks
    whose grid is neither, means over these squares are taken). ``unit``: tiles begin at multiples of it. ``smallest``: side
    of a tile at least.
    """

    stride: int
    corners: bool
    unit: int
    smallest: int

    def side(self, pixels: int) -> int:
        """Return the smallest side of a tile, which is a multiple of the unit (``corners``: and 1), for so many pixels."""
        return math.ceil((max(pixels, self.smallest) - self.corners) / self.unit) * self.unit + self.corners

    def cells(self, side: int) -> int:
        """Return the number of logits along a side of a tile."""
        return side // self.stride + self.corners

    def pixels(self, cells: int) -> int:
        """Return the pixels that so many logits stand for."""
        return (cells - self.corners) * self.stride + self.corners


class Axis(NamedTuple):
    """Tiles along one axis: where each begins (in logits), how many logits it has, and its weights, tiles x logits.

    The weights of all tiles add up to 1 at each of the ``cells`` logits of the axis.
    """

    starts: list[int]
    length: int
    cells: int
    weights: Tensor


def plan(pixels: int, tile: int, overlap: int, grid: Grid) -> Axis:
    """Spread tiles of ``tile`` pixels evenly along an axis, each overlapping the next by ``overlap`` pixels or more."""
    if pixels <= tile:
        side = grid.side(pixels)
        return Axis([0], grid.cells(side), grid.cells(side), torch.ones(1, grid.cells(side)))
    last = math.ceil((pixels - tile) / grid.unit)
    step = max(1, (tile - overlap) // grid.unit)
    count = math.ceil(last / step)
    per_unit = grid.unit // grid.stride
    starts = [number * last // count * per_unit for number in range(count + 1)]
    length = grid.cells(tile)
    return Axis(starts, length, starts[-1] + length, _weights(starts, length))


def _weights(starts: Sequence[int], length: int) -> Tensor:
    """Return weights, float32, tiles x length, whose sums over tiles are 1.

    In an overlap the weight goes from 0 to 1 along a line, over its middle half: near its edge a tile knows least, since the
    network does not see beyond.
    """
    places = torch.arange(length, dtype=torch.float64)
    weights = torch.ones(len(starts), length, dtype=torch.float64)
    total = torch.zeros(starts[-1] + length, dtype=torch.float64)
    for number, start in enumerate(starts):
        for other in (number - 1, number + 1):
            if not 0 <= other < len(starts) or (shared := length - abs(starts[other] - start)) <= 0:
                continue
            unused = shared // 4
            inside = places if other < number else length - 1 - places
            weights[number] *= ((inside - unused + 1) / (shared - 2 * unused + 1)).clamp(0, 1)
        total[start : start + length] += weights[number]
    return torch.stack([row / total[start : start + length] for row, start in zip(weights, starts, strict=True)]).float()


class Part(NamedTuple):
    """Logits of a part of an axis with a neighbor on either side; pixels to skip after upsampling, and then to take."""

    above: int
    below: int
    skip: int
    pixels: int


def part(start: int, stop: int, cells: int, pixels: int, stride: int) -> Part:
    """Return which of an axis's ``cells`` logits the pixels of those from ``start`` to ``stop`` are means of.

    ``pixels``: how many the axis has.

    >>> part(4, 8, 20, 80, 4)
    Part(above=3, below=9, skip=4, pixels=16)
    """
    stop = min(stop, cells)
    end = pixels if stop == cells else min(pixels, stop * stride)
    above = max(0, start - 1)
    return Part(above, min(stop + 1, cells), (start - above) * stride, max(0, end - start * stride))
