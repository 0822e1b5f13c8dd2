"""Logits before the bilinear upsampling that ends a network, and results computed from them without upsampling in full.

The logits of all classes at the image's size are by far the largest tensor of a prediction or a training step. Bilinear
upsampling is linear along each axis, so it is a product with two matrices, and any strip of full-size rows can be computed
by itself. That pays on a CPU; on a GPU, torch's interpolation is used.
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

KEPT_NUMBERS = 1 << 20
"""Numbers in the matrices of an upsampling above which they are made anew for each image: a bound of the cache's memory."""

DISAGREEING = 0.25
"""Share of the pixels whose low-resolution neighbors differ in class above which all pixels are upsampled, strip by strip.

Upsampling a single pixel costs four times as much as one in a strip.
"""


def _upsampled(matrix: Tensor, target: int, align_corners: bool) -> Tensor:
    """Return a matrix followed by bilinear interpolation of its rows to ``target`` ones."""
    return interpolate(matrix.T[None], size=target, mode="linear", align_corners=align_corners)[0].T.contiguous()


def _averaging_matrix(source: int, cells: int) -> Tensor:
    """Return means over ``cells`` equal intervals of one axis as a matrix: float32, cells x source."""
    edges = torch.linspace(0, source, cells + 1, dtype=torch.float64)
    places = torch.arange(source, dtype=torch.float64)
    overlap = torch.minimum(edges[1:, None], places + 1) - torch.maximum(edges[:-1, None], places)
    return (overlap.clamp(min=0) * (cells / source)).float()


@torch.no_grad()
def classes_of(logits: Tensor, largest: Tensor) -> Tensor:
    """Return the first class whose logit is the largest: uint8, N x ...

    ``logits``: float, N x classes x ...; ``largest``: their maximum over classes, N x 1 x ... A few times faster than torch's
    arg max along an inner axis.
    """
    classes = logits.shape[1]
    # Comparisons are vectorized only when they write floats.
    found = torch.ge(logits, largest, out=torch.empty_like(logits))
    order = torch.arange(classes - 1, -1, -1, dtype=logits.dtype, device=logits.device)
    return (classes - 1 - found.mul_(order.view(-1, *[1] * (logits.dim() - 2))).amax(1)).to(torch.uint8)


class Strip(NamedTuple):
    """Full-size logits of some rows of one image: float32, rows x classes x width, from ``source_rows`` of the values."""

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


Shape = tuple[int, int]
Steps = tuple[Resize, ...]


def _matrices(shape: Shape, steps: Steps) -> tuple[Tensor, Tensor]:
    """Return the steps along the two axes as matrices: H x h and W x w. Large ones are not kept: strips have hundreds of MB."""
    height, width = (steps[-1].height, steps[-1].width) if steps else shape
    numbers = height * shape[0] + width * shape[1]
    return _kept_matrices(shape, steps) if numbers <= KEPT_NUMBERS else _made_matrices(shape, steps)


def _made_matrices(shape: Shape, steps: Steps) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False), torch.no_grad():  # cached, and used in training too
        rows, columns = (torch.eye(side) for side in shape)
        for step in steps:
            if step.crop:
                rows, columns = rows[: step.height], columns[: step.width]
            else:
                rows = _upsampled(rows, step.height, step.align_corners)
                columns = _upsampled(columns, step.width, step.align_corners)
    return rows, columns


_kept_matrices = lru_cache(maxsize=128)(_made_matrices)


@lru_cache(maxsize=64)
def _averages(shape: Shape, steps: Steps, cells: Shape, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the steps followed by means over cells, along the two axes: n x h and m x w."""
    with torch.inference_mode(False), torch.no_grad():
        rows, columns = _matrices(shape, steps)
        means = _averaging_matrix(len(rows), cells[0]) @ rows, _averaging_matrix(len(columns), cells[1]) @ columns
        return means[0].to(device), means[1].to(device)


@dataclass(frozen=True)
class LowResLogits:
    """Logits N x classes x h x w, and the ``steps`` that bring them to H x W; without steps they are at full size.

    On a CPU the full logits are ``rows @ values @ columns.T`` with the two banded matrices of :meth:`matrices`.
    """

    values: Tensor
    steps: Steps = ()

    @property
    def size(self) -> Shape:
        """Height and width of the full logits."""
        return (self.steps[-1].height, self.steps[-1].width) if self.steps else self._shape

    @property
    def _shape(self) -> Shape:
        return self.values.shape[2], self.values.shape[3]

    def matrices(self) -> tuple[Tensor, Tensor] | tuple[None, None]:
        """Return the steps along the two axes as matrices on the CPU, H x h and W x w; None, None without steps."""
        return _matrices(self._shape, self.steps) if self.steps else (None, None)

    def of_image(self, number: int) -> LowResLogits:
        """Return the logits of one image."""
        return LowResLogits(self.values[number : number + 1], self.steps)

    def upsampled(self, size: Shape, align_corners: bool = False) -> LowResLogits:
        """Return these logits followed by (one more) bilinear upsampling, to ``size``."""
        return self if self.size == tuple(size) else LowResLogits(self.values, (*self.steps, Resize(*size, align_corners)))

    def cropped(self, height: int, width: int) -> LowResLogits:
        """Return the top left part of the full logits."""
        if self.size == (height, width):
            return self
        if not self.steps:
            return LowResLogits(self.values[..., :height, :width])
        return LowResLogits(self.values, (*self.steps, Resize(height, width, crop=True)))

    def full(self) -> Tensor:
        """Return logits at full size: float32, N x classes x H x W; differentiable."""
        if self.values.device.type != "cpu" or torch.compiler.is_compiling() or torch._C._get_tracing_state() is not None:
            return self.interpolated()
        rows, columns = self.matrices()
        if rows is None or columns is None:
            return self.values.float()
        return rows @ (self.values.float() @ columns.T)

    def interpolated(self) -> Tensor:
        """Return the same as :meth:`full` by torch's interpolation, step by step: for GPUs, compilers and exporters."""
        values = self.values.float()
        for step in self.steps:
            if step.crop:
                values = values[..., : step.height, : step.width]
            else:
                values = interpolate(values, size=(step.height, step.width), mode="bilinear", align_corners=step.align_corners)
        return values

    def averaged(self, cells: Shape) -> Tensor:
        """Return means of the full logits over a grid of cells: float32, N x classes x cells; differentiable."""
        down, across = _averages(self._shape, self.steps, cells, self.values.device)
        return down @ (self.values.float() @ across.T)

    @torch.no_grad()
    def classes(self) -> Tensor:
        """Return each pixel's class of the largest logit: uint8, N x H x W."""
        if self.values.device.type != "cpu" or not self.steps:
            return self.full().max(1).indices.to(torch.uint8)
        rows, columns = (_support(matrix) for matrix in _matrices(self._shape, self.steps))
        return torch.stack([self._classes_of_image(planes, rows, columns) for planes in self.values.float()])

    def _classes_of_image(self, planes: Tensor, rows: Support, columns: Support) -> Tensor:
        """Return the classes of one image (classes x h x w), upsampling only pixels whose neighbors disagree.

        An upsampled logit is a mean of its low-resolution neighbors: a class that is the largest in all of them is the
        largest in the mean.
        """
        classes = planes.max(0).indices.to(torch.uint8)
        out, most = (
            _reduced(_reduced(classes.T, columns.places, pick).T, rows.places, pick) for pick in (torch.minimum, torch.maximum)
        )
        down, across = (out != most).nonzero(as_tuple=True)
        if len(down) > DISAGREEING * out.numel():
            for strip in LowResLogits(planes[None], self.steps).strips():
                out[strip.rows] = classes_of(strip.logits, strip.logits.amax(1, keepdim=True))
            return out
        table = planes.permute(1, 2, 0).flatten(0, 1).contiguous()
        step = max(1, STRIP // len(planes))
        for some, others in zip(torch.split(down, step), torch.split(across, step), strict=True):
            places = [row[some] * planes.shape[2] + column[others] for row in rows.places for column in columns.places]
            weights = [row[some] * column[others] for row in rows.weights for column in columns.weights]
            logits = embedding_bag(torch.stack(places, 1), table, mode="sum", per_sample_weights=torch.stack(weights, 1))
            out[some, others] = logits.max(1).indices.to(torch.uint8)
        return out

    @torch.no_grad()
    def strips(self) -> Iterator[Strip]:
        """Yield the full logits strip by strip, on a CPU; the caller may overwrite each."""
        height, width = self.size
        vertical, horizontal = self.matrices()
        support = None if vertical is None else _support(vertical)
        step = max(1, STRIP // (self.values.shape[1] * width))
        for image, planes in enumerate(self.values):
            wide = planes.permute(1, 0, 2).to(torch.float32, memory_format=torch.contiguous_format, copy=True)
            if horizontal is not None:
                wide = wide @ horizontal.T
            for start in range(0, height, step):
                rows = slice(start, min(start + step, height))
                if support is None:
                    yield Strip(image, rows, rows, wide[rows])
                    continue
                # Not a matrix product, whose last digits depend on the number of threads.
                places, weights = support.places[:, rows], support.weights[:, rows, None, None]
                logits = wide.index_select(0, places[0]).mul_(weights[0])
                for place, weight in zip(places[1:], weights[1:], strict=True):
                    logits.addcmul_(wide.index_select(0, place), weight)
                yield Strip(image, rows, slice(int(places.min()), int(places.max()) + 1), logits)


class Support(NamedTuple):
    """The low-resolution positions that each of n full-size ones is a mean of, and their weights: int64, float32, k x n.

    Positions with fewer neighbors repeat the last one with weight 0.
    """

    places: Tensor
    weights: Tensor


def _support(matrix: Tensor) -> Support:
    """Return the support of each row of a banded matrix."""
    used = (matrix != 0).byte()
    first, last = used.argmax(1), matrix.shape[1] - 1 - used.flip(1).argmax(1)
    steps = torch.arange(int((last - first).max()) + 1)[:, None]
    places = torch.minimum(first + steps, last)
    return Support(places, matrix.T.gather(0, places) * (first + steps <= last))


def _reduced(values: Tensor, places: Tensor, pick: Callable[[Tensor, Tensor], Tensor]) -> Tensor:
    """Reduce the rows of ``values`` at ``places`` (k x n) with ``pick``, minimum or maximum: n rows."""
    values = values.contiguous()
    return reduce(pick, (values.index_select(0, row) for row in places))
