"""Logits before the bilinear upsampling that ends a network, and what can be read off them without doing it in full.

The planes of all classes at the image's size are by far the largest thing in a prediction or a training step. Bilinear
upsampling is linear along each axis, so it is two matrices, and any strip of full-size rows can be had on its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag, interpolate

STRIP = 1 << 19
"""Numbers in a strip: two megabytes of float32, which stay in the processor's cache."""

DISAGREEING = 0.25
"""Share of pixels between coarse ones of different classes above which all are upsampled; one alone costs four times as much."""


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
    """Full-size logits of some rows of an image: float32, rows x classes x width."""

    image: int
    rows: slice
    source_rows: slice
    logits: Tensor


class Resize(NamedTuple):
    """One bilinear upsampling, or a crop to the top left part."""

    height: int
    width: int
    align_corners: bool = False
    crop: bool = False


@lru_cache(maxsize=256)
def _matrices(shape: tuple[int, int], steps: tuple[Resize, ...]) -> tuple[Tensor, Tensor]:
    """Steps along the two axes as matrices: H x h and W x w."""
    with torch.inference_mode(False), torch.no_grad():  # they are used in training too
        rows, columns = (torch.eye(side) for side in shape)
        for step in steps:
            if step.crop:
                rows, columns = rows[: step.height], columns[: step.width]
            else:
                rows = upsampling_matrix(len(rows), step.height, step.align_corners) @ rows
                columns = upsampling_matrix(len(columns), step.width, step.align_corners) @ columns
    return rows, columns


@dataclass(frozen=True)
class LowResLogits:
    """Logits N x classes x h x w, and the ``steps`` that bring them to H x W; without steps, full already.

    On a CPU the upsampled logits are ``rows @ values @ columns.T``, where ``rows`` (H x h) and ``columns`` (W x w) are banded.
    """

    values: Tensor
    steps: tuple[Resize, ...] = ()

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of the full logits."""
        return (self.steps[-1].height, self.steps[-1].width) if self.steps else (self.values.shape[2], self.values.shape[3])

    @property
    def rows(self) -> Tensor | None:
        """The steps along the vertical axis as a matrix, H x h; None without steps."""
        return _matrices((self.values.shape[2], self.values.shape[3]), self.steps)[0] if self.steps else None

    @property
    def columns(self) -> Tensor | None:
        """The steps along the horizontal axis as a matrix, W x w; None without steps."""
        return _matrices((self.values.shape[2], self.values.shape[3]), self.steps)[1] if self.steps else None

    def upsampled(self, size: tuple[int, int], align_corners: bool = False) -> LowResLogits:
        """These logits followed by (one more) bilinear upsampling, to ``size``."""
        return self if self.size == tuple(size) else LowResLogits(self.values, (*self.steps, Resize(*size, align_corners)))

    def cropped(self, height: int, width: int) -> LowResLogits:
        """The top left part of the full logits."""
        if self.size == (height, width):
            return self
        if not self.steps:
            return LowResLogits(self.values[..., :height, :width])
        return LowResLogits(self.values, (*self.steps, Resize(height, width, crop=True)))

    def full(self) -> Tensor:
        """Logits at full size: float32, N x classes x H x W; differentiable."""
        if self.values.device.type != "cpu" or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return self.interpolated()
        rows, columns = self.rows, self.columns
        if rows is None or columns is None:
            return self.values.float()
        return rows @ (self.values.float() @ columns.T)

    def interpolated(self) -> Tensor:
        """The same as :meth:`full`, by torch's interpolation one step after another: for GPUs, compilers and exporters."""
        values = self.values.float()
        for step in self.steps:
            if step.crop:
                values = values[..., : step.height, : step.width]
            else:
                values = interpolate(values, size=(step.height, step.width), mode="bilinear", align_corners=step.align_corners)
        return values

    def averaged(self, cells: tuple[int, int]) -> Tensor:
        """Means of the full logits over a grid of cells, without forming them: float32, N x classes x cells; differentiable."""
        averages = [averaging_matrix(side, count).to(self.values.device) for side, count in zip(self.size, cells, strict=True)]
        if self.rows is not None and self.columns is not None:
            averages[0] = averages[0] @ self.rows.to(self.values.device)
            averages[1] = averages[1] @ self.columns.to(self.values.device)
        return averages[0] @ (self.values.float() @ averages[1].T)

    @torch.no_grad()
    def classes(self) -> Tensor:
        """The class of the largest logit of each pixel: uint8, N x H x W."""
        if self.values.device.type != "cpu":
            return self.full().max(1).indices.to(torch.uint8)
        if self.rows is None or self.columns is None:
            return self.values.float().max(1).indices.to(torch.uint8)
        rows, columns = support(self.rows), support(self.columns)
        out = torch.empty(len(self.values), *self.size, dtype=torch.uint8)
        for image, planes in enumerate(self.values.float()):
            self._classes_of_image(planes, rows, columns, out[image])
        return out

    def _classes_of_image(self, planes: Tensor, rows: Support, columns: Support, out: Tensor) -> None:
        """Classes of one image (classes x h x w), with logits upsampled only where the coarse ones around disagree.

        Upsampled logits are means of the coarse ones around: what is the largest in all of these is the largest in the mean.
        """
        coarse = planes.max(0).indices.to(torch.uint8)
        least, most = (
            _reduced(_reduced(coarse.T, columns.places, pick).T, rows.places, pick) for pick in (torch.minimum, torch.maximum)
        )
        out.copy_(least)
        down, across = (least != most).nonzero(as_tuple=True)
        if len(down) > DISAGREEING * out.numel():
            for strip in LowResLogits(planes[None], self.steps).strips():
                out[strip.rows] = classes_of(strip.logits, strip.logits.amax(1, keepdim=True))
            return
        table = planes.permute(1, 2, 0).flatten(0, 1).contiguous()
        step = max(1, STRIP // len(planes))
        for some, others in zip(torch.split(down, step), torch.split(across, step), strict=True):
            vertical, horizontal = rows.at(some), columns.at(others)
            places = [row * planes.shape[2] + column for row in vertical.places for column in horizontal.places]
            weights = [row * column for row in vertical.weights for column in horizontal.weights]
            logits = embedding_bag(torch.stack(places, 1), table, mode="sum", per_sample_weights=torch.stack(weights, 1))
            out[some, others] = logits.max(1).indices.to(torch.uint8)

    @torch.no_grad()
    def strips(self) -> Iterator[Strip]:
        """The full logits, strip by strip; each is the caller's to overwrite."""
        height, width = self.size
        step = max(1, STRIP // (self.values.shape[1] * width))
        for image, planes in enumerate(self.values):
            wide = planes.permute(1, 0, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            if self.columns is not None:
                wide = wide @ self.columns.T
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                if self.rows is None:
                    yield Strip(image, rows, rows, wide[rows])
                else:
                    source = _band(self.rows[rows])
                    yield Strip(image, rows, source, torch.einsum("rs,scw->rcw", self.rows[rows, source], wide[source]))


class Support(NamedTuple):
    """The coarse places that each of n full-size ones is a mean of, and their weights: int64 and float32, k x n.

    Places with fewer repeat the last with weight 0.
    """

    places: Tensor
    weights: Tensor

    def at(self, which: Tensor) -> Support:
        """The support of some of the full-size places."""
        return Support(self.places[:, which], self.weights[:, which])


def support(matrix: Tensor) -> Support:
    """The support of each row of a banded matrix."""
    used = (matrix != 0).byte()
    first, last = used.argmax(1), matrix.shape[1] - 1 - used.flip(1).argmax(1)
    steps = torch.arange(int((last - first).max()) + 1)[:, None]
    places = torch.minimum(first + steps, last)
    return Support(places, matrix.T.gather(0, places) * (first + steps <= last))


def _reduced(values: Tensor, places: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """What ``pick`` makes of the rows of ``values`` at ``places``, k x n."""
    values = values.contiguous()
    return reduce(pick, (values.index_select(0, row) for row in places))


def _band(rows: Tensor) -> slice:
    """The columns outside which ``rows`` are 0."""
    used = rows.any(0).nonzero()
    return slice(int(used[0]), int(used[-1]) + 1)
