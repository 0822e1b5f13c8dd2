"""Which pixels lie near a boundary between labels.

Distances are Chebyshev distances, in pixels: a pixel is within distance d of another label if the square of side 2d + 1
around it holds another label. A square's maximum is that of two smaller squares that cover it, so each doubling of d costs
one maximum a pixel and axis.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def near_boundary(labels: Tensor, distance: int) -> Tensor:
    """Return which pixels are within ``distance`` of another label or of what is outside the image: bool.

    ``labels``: uint8, ... x H x W. The same, for each label, as the pixels that an erosion of its mask with a square of side
    2 ``distance`` + 1 takes away when the outside is 0.

    >>> near_boundary(torch.tensor([[0, 0, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 9]], dtype=torch.uint8), 1).int()
    tensor([[1, 1, 1, 1, 1],
            [1, 0, 0, 1, 1],
            [1, 1, 1, 1, 1]], dtype=torch.int32)
    """
    height, width = labels.shape[-2:]
    near = torch.ones(labels.shape, dtype=torch.bool, device=labels.device)
    if 2 * distance < min(height, width):
        *_, differ = _squares_differ(labels, [distance])
        near[..., distance : height - distance, distance : width - distance] = differ
    return near


def boundary_levels(labels: Tensor, distances: Sequence[int]) -> Tensor:
    """Return how many of the ``distances`` are too short to reach another label: uint8; what is outside has no label.

    ``labels``: uint8, ... x H x W. ``distances`` grow, each at most twice the one before, from 1.

    >>> boundary_levels(torch.tensor([[7, 7, 7, 7, 7, 7, 3]], dtype=torch.uint8), [1, 2, 4])
    tensor([[3, 3, 2, 2, 1, 0, 0]], dtype=torch.uint8)
    """
    levels = torch.zeros(labels.shape, dtype=torch.uint8, device=labels.device)
    height, width = labels.shape[-2:]
    widest = distances[-1]
    for distance, differ in zip(distances, _squares_differ(_repeat_edges(labels, widest), distances), strict=True):
        margin = widest - distance
        levels += ~differ[..., margin : margin + height, margin : margin + width]
    return levels


def _squares_differ(labels: Tensor, distances: Sequence[int]) -> Iterator[Tensor]:
    """Yield, for growing distances, which squares around the pixels that have a whole one hold different labels: bool."""
    largest = torch.stack([labels, ~labels])  # the minimum is the complement of the complement's maximum
    reach = 0
    for distance in distances:
        while reach < distance:
            step = max(1, min(reach, distance - reach))
            for axis in (-1, -2):
                length = largest.shape[axis] - 2 * step
                first, last = largest.narrow(axis, 0, length), largest.narrow(axis, 2 * step, length)
                grown = torch.maximum(first, last)
                largest = grown if reach else torch.maximum(grown, largest.narrow(axis, step, length))
            reach += step
        yield largest[0] != ~largest[1]


def _repeat_edges(labels: Tensor, margin: int) -> Tensor:
    """Continue the outermost pixels over a margin, which no square that reaches it can tell from the image."""
    height, width = labels.shape[-2:]
    padded = labels.new_empty((*labels.shape[:-2], height + 2 * margin, width + 2 * margin))
    inside = padded[..., margin : margin + height, :]
    inside[..., margin : margin + width] = labels
    inside[..., :margin] = labels[..., :1]
    inside[..., margin + width :] = labels[..., -1:]
    padded[..., :margin, :] = inside[..., :1, :]
    padded[..., margin + height :, :] = inside[..., -1:, :]
    return padded
