"""Logits before the bilinear upsampling that ends a network, and what can be read off them without doing it in full.

The planes of all classes at the picture's size are by far the largest thing in a prediction or a training step. Bilinear
upsampling is linear along each axis, so it is two matrices, and any strip of full-size rows can be had on its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import interpolate

STRIP = 1 << 19
"""Numbers in a strip: two megabytes of float32, which stay in the processor's cache."""


@lru_cache(maxsize=256)
def upsampling_matrix(source: int, target: int, align_corners: bool = False) -> Tensor:
    """Bilinear interpolation along one axis as a matrix: float32, target x source, at most two weights a row."""
    unit = torch.eye(source, dtype=torch.float32)[None]
    with torch.inference_mode(False), torch.no_grad():
        return interpolate(unit, size=target, mode="linear", align_corners=align_corners)[0].T.contiguous()


@lru_cache(maxsize=64)
def averaging_matrix(source: int, cells: int) -> Tensor:
    """Means over ``cells`` intervals of one axis as a matrix: float32, cells x source."""
    edges = torch.linspace(0, source, cells + 1, dtype=torch.float64)
    places = torch.arange(source, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)
    return (overlap.clamp(min=0) * (cells / source)).float()


@torch.no_grad()
def classes_of(logits: Tensor, largest: Tensor) -> Tensor:
    """The first class of the ``largest`` logit (N x 1 x ...) of each pixel, of float N x classes x ...: uint8, N x ...

    A few times faster than torch's arg-max along an inner axis.
    """
    classes = logits.shape[1]
    # Comparisons are vectorised into floats only.
    found = torch.ge(logits, largest, out=torch.empty_like(logits))
    order = torch.arange(classes - 1, -1, -1, dtype=logits.dtype, device=logits.device)
    return (classes - 1 - found.mul_(order.view(-1, *[1] * (logits.dim() - 2))).amax(1)).to(torch.uint8)


class Strip(NamedTuple):
    """Full-size logits of some rows of a picture: float32, rows x classes x width."""

    picture: int
    rows: slice
    source_rows: slice
    logits: Tensor


@dataclass(frozen=True)
class CoarseLogits:
    """Logits N x classes x h x w whose upsampling to H x W is ``rows @ values @ columns.T``; without those, full already.

    ``rows`` (H x h) and ``columns`` (W x w) are banded, as of :func:`upsampling_matrix` and products of such.
    """

    values: Tensor
    rows: Tensor | None = None
    columns: Tensor | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the full logits."""
        if self.rows is None or self.columns is None:
            return self.values.shape[2], self.values.shape[3]
        return len(self.rows), len(self.columns)

    def upsampled(self, size: tuple[int, int], align_corners: bool = False) -> CoarseLogits:
        """These logits followed by (one more) bilinear upsampling, to ``size``."""
        if self.size == size:
            return self
        rows, columns = (upsampling_matrix(*pair, align_corners) for pair in zip(self.size, size, strict=True))
        if self.rows is not None and self.columns is not None:
            rows, columns = rows @ self.rows, columns @ self.columns
        return CoarseLogits(self.values, rows, columns)

    def cropped(self, height: int, width: int) -> CoarseLogits:
        """The top left part of the full logits."""
        if self.rows is None or self.columns is None:
            return CoarseLogits(self.values[..., :height, :width])
        return CoarseLogits(self.values, self.rows[:height], self.columns[:width])

    def full(self) -> Tensor:
        """Logits at full size: float32, N x classes x H x W; differentiable."""
        values = self.values.float()
        if self.rows is None or self.columns is None:
            return values
        return self.rows.to(values.device) @ (values @ self.columns.to(values.device).T)

    def averaged(self, cells: tuple[int, int]) -> Tensor:
        """Means of the full logits over a grid of cells, without forming them: float32, N x classes x cells; differentiable."""
        averages = [averaging_matrix(side, count).to(self.values.device) for side, count in zip(self.size, cells, strict=True)]
        if self.rows is not None and self.columns is not None:
            averages[0] = averages[0] @ self.rows.to(self.values.device)
            averages[1] = averages[1] @ self.columns.to(self.values.device)
        return averages[0] @ (self.values.float() @ averages[1].T)

    def classes(self) -> Tensor:
        """The class of the largest logit of each pixel: uint8, N x H x W."""
        if self.values.device.type != "cpu":
            return self.full().max(1).indices.to(torch.uint8)
        out = torch.empty(len(self.values), *self.size, dtype=torch.uint8)
        for strip in self.strips():
            out[strip.picture, strip.rows] = classes_of(strip.logits, strip.logits.amax(1, keepdim=True))
        return out

    @torch.no_grad()
    def strips(self) -> Iterator[Strip]:
        """The full logits, strip by strip; each is the caller's to overwrite."""
        height, width = self.size
        step = max(1, STRIP // (self.values.shape[1] * width))
        for picture, planes in enumerate(self.values):
            wide = planes.permute(1, 0, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            if self.columns is not None:
                wide = wide @ self.columns.T
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                if self.rows is None:
                    yield Strip(picture, rows, rows, wide[rows])
                else:
                    source = _band(self.rows[rows])
                    yield Strip(picture, rows, source, torch.einsum("rs,scw->rcw", self.rows[rows, source], wide[source]))


def _band(rows: Tensor) -> slice:
    """The columns outside which ``rows`` are 0."""
    used = rows.any(0).nonzero()
    return slice(int(used[0]), int(used[-1]) + 1)
