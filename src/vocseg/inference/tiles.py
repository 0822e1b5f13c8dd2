"""Huge images in bounded memory: overlapping tiles, blended at the network's resolution, and the mask written by strips.

A tile is what the network sees at once, at the image's own scale. Tiles begin at multiples of ``UNIT`` pixels, so the
low-resolution logits of all of them lie on one grid, where they are averaged: at a stride of 8 that takes a 64th of the
memory of full-size logits. Only one row of tiles is held; what later tiles do not change is upsampled and given away.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from vocseg.errors import DataError, SettingError
from vocseg.inference.georeference import Georeference, from_tags
from vocseg.inference.options import SMALLEST_TILE
from vocseg.inference.result import Segmentation
from vocseg.inference.strip_readers import ImageRows, open_rows
from vocseg.inference.strip_writers import check_suffix, write_strips
from vocseg.inference.tile_plan import UNIT, Axis, Grid, part, plan
from vocseg.models import ModelInfo
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.files import refuse_to_replace
from vocseg.utils.progress import progress

if TYPE_CHECKING:
    from vocseg.convert.outlines import Part, Tracer
    from vocseg.inference.segmenter import Segmenter

TILE = 512
"""Default side of a tile, pixels: the size of VOC's images, which networks were trained on."""
BATCH = 16
"""Tiles that go through the network together on a GPU."""
BLOCK = 128
"""Columns of low-resolution logits that are upsampled at a time."""
OVERVIEW = 2048
"""Longest side of the overview, pixels."""


@dataclass(frozen=True)
class TiledSegmentation:
    """What :meth:`Segmenter.segment_tiled` wrote to ``mask``, for an image of ``size`` (height, width).

    ``tile``, ``overlap``: pixels, as used; ``tiles``: how many. ``areas``: share of the image, 0..1, of each class found,
    largest first. ``overview``: every n-th pixel of the image and its mask, at most 2048 a side. ``reader``: what read
    the image. ``notes``: how it was read, if that may surprise. ``place``: where the pixels of a GeoTIFF are.

    >>> import tempfile
    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     image = FOLDER / "JPEGImages" / "chelsea.jpg"
    ...     result = vocseg.Segmenter(device="cpu").segment_tiled(image, f"{folder}/mask.png", tile=256)
    >>> result.size, result.tile, result.overlap, result.tiles
    ((300, 451), 241, 64, 6)
    """

    mask: Path | None
    size: tuple[int, int]
    tile: int
    overlap: int
    tiles: int
    areas: dict[str, float]
    seconds: float
    overview: Segmentation
    reader: str
    notes: tuple[str, ...] = ()
    place: Georeference | None = None
    _regions: dict[int, list[Part]] | None = field(default=None, repr=False, compare=False)

    def regions(self) -> dict[int, list[Part]]:
        """Return the connected regions as :meth:`Segmentation.regions` does; SettingError if polygons were not wanted."""
        if self._regions is None:
            raise SettingError("no polygons were traced; segment_tiled(..., polygons=True) traces them")
        return self._regions

    def polygons(self, simplify: float = 0.0) -> list[dict[str, Any]]:
        """Return polygons as :meth:`Segmentation.polygons` does; SettingError if they were not wanted."""
        from vocseg.inference.polygons import rows

        return rows(self, self.overview.info, simplify)

    def __repr__(self) -> str:
        height, width = self.size
        return f"TiledSegmentation({height}x{width} pixels in {self.tiles} tiles of {self.tile}, {self.mask})"


def grid_of(segmenter: Segmenter) -> Grid:
    """Find the grid of a network's logits from those of a small image."""
    padding = segmenter.model.padding
    unit = padding.multiple if padding.multiple > 1 else UNIT
    side = padding.side(4 * unit + (padding.extra == 1))
    logits = segmenter.run(torch.zeros(1, 3, side, side, dtype=torch.uint8), tta="none")
    height = logits.values.shape[2]
    corners = bool(logits.steps and logits.steps[0].align_corners and height > 1 and (side - 1) % (height - 1) == 0)
    stride = (side - 1) // (height - 1) if corners else max(1, round(side / height))
    return Grid(stride, corners, math.lcm(unit, stride), padding.smallest)


def segment_tiled(
    segmenter: Segmenter,
    source: Any,
    out: str | Path | None,
    tile: int = TILE,
    overlap: int | None = None,
    title: str | None = None,
    info: ModelInfo | None = None,
    polygons: bool = False,
) -> TiledSegmentation:
    """See :meth:`vocseg.Segmenter.segment_tiled`; ``info``: the model's, with other colors. ``out`` None: no file."""
    begin = time.perf_counter()
    out, info = None if out is None else Path(out), info or segmenter.info
    if out is not None:
        check_suffix(out)
    refuse_to_replace([out], [source] if isinstance(source, str | Path) else [])
    grid = grid_of(segmenter)
    tile, overlap = _sizes(tile, overlap, grid)
    with open_rows(source) as image:
        down, across = plan(image.height, tile, overlap, grid), plan(image.width, tile, overlap, grid)
        work = _Work(segmenter, image, grid, down, across, polygons)
        try:
            if out is None:
                for _ in work.strips(title):
                    pass
            else:
                write_strips(out, work.strips(title), (image.height, image.width), info.palette, image.geo_tags)
        except (MemoryError, RuntimeError) as error:
            raise DataError(f"cannot segment image {source} in tiles of {tile} pixels: {error}") from error
    taken = time.perf_counter() - begin
    size, count = (image.height, image.width), len(down.starts) * len(across.starts)
    overview, place = work.overview(source, info), from_tags({code: value for code, _, _, value, _ in image.geo_tags})
    regions = None if work.tracer is None else work.tracer.parts()
    return TiledSegmentation(
        out, size, tile, overlap, count, work.areas(), taken, overview, image.reader, tuple(image.notes), place, regions
    )  # fmt: skip


def _sizes(tile: int, overlap: int | None, grid: Grid) -> tuple[int, int]:
    """Return a tile and an overlap that fit the grid: the tile at most as large as wanted, the overlap at least."""
    if tile < SMALLEST_TILE:
        raise SettingError(f"tile is {tile}; it must be at least {SMALLEST_TILE} pixels")
    side = max(grid.side(1), grid.side(tile + 1) - grid.unit)
    if overlap is not None and not 0 <= overlap <= tile // 2:
        raise SettingError(f"overlap {overlap} must lie in 0..{tile // 2}, half a tile of {tile} pixels")
    wanted = side // 4 if overlap is None else overlap
    return side, min(math.ceil(wanted / grid.unit) * grid.unit, side - grid.corners - grid.unit)


def _tracer(width: int) -> Tracer:
    from vocseg.convert.outlines import Tracer  # brings twenty modules with it

    return Tracer(width)


class _Work:
    """The state of a segmentation: counts of classes, the overview, and outlines if polygons are wanted."""

    def __init__(
        self, segmenter: Segmenter, image: ImageRows, grid: Grid, down: Axis, across: Axis, polygons: bool = False
    ) -> None:  # fmt: skip
        self.segmenter, self.image, self.grid, self.down, self.across = segmenter, image, grid, down, across
        self.counts = np.zeros(256, dtype=np.int64)
        self.every = math.ceil(max(image.height, image.width) / OVERVIEW)
        self.thumbnail: list[NDArray[np.uint8]] = []
        self.thumbnail_mask: list[NDArray[np.uint8]] = []
        self.tracer = _tracer(image.width) if polygons else None

    def areas(self) -> dict[str, float]:
        """Return the share of the image, 0..1, of each class found, largest first."""
        classes = self.segmenter.info.classes
        shares = (self.counts / self.counts.sum()).tolist()
        found = [(name, share) for name, share in zip(classes, shares, strict=False) if share]
        return dict(sorted(found, key=lambda item: -item[1]))

    def overview(self, source: Any, info: ModelInfo) -> Segmentation:
        pixels = torch.from_numpy(np.concatenate(self.thumbnail)).permute(2, 0, 1).contiguous()
        path = Path(source) if isinstance(source, str | Path) else None
        return Segmentation(pixels, torch.from_numpy(np.concatenate(self.thumbnail_mask)), info, path)

    def strips(self, title: str | None) -> Iterator[NDArray[np.uint8]]:
        """Yield the mask from top to bottom, some rows at a time."""
        down = self.down
        held = torch.zeros(len(self.segmenter.info.classes), 0, self.across.cells, device=self.segmenter.device)
        first = done = 0  # row of logits that ``held`` begins with, and rows that were upsampled
        windows = self._windows()
        for number in progress(range(len(down.starts)), len(down.starts), title, unit="row"):
            start = down.starts[number]
            held = pad(held, (0, 0, 0, start + down.length - first - held.shape[1]))
            self._add_tiles(held[:, start - first :], next(windows), down.weights[number])
            # A pixel is a mean of two rows of logits, so the last row that later tiles do not change must wait for the next.
            ready = down.cells if number + 1 == len(down.starts) else down.starts[number + 1] - 1
            if ready > done:
                yield from self._upsampled(held, first, done, ready)
                keep = max(0, ready - 1)
                held, first, done = held[:, keep - first :].clone(), keep, ready

    def _windows(self) -> Iterator[NDArray[np.uint8]]:
        """Yield the pixels of each row of tiles, rows x width x 3; fewer rows at the image's end."""
        height, width, every = self.image.height, self.image.width, self.every
        blocks, side = self.image.blocks(), self.grid.pixels(self.down.length)
        held, top = np.zeros((0, width, 3), np.uint8), 0
        for start in self.down.starts:
            begin = start * self.grid.stride
            parts = [held[begin - top :]]
            end = begin + len(parts[0])
            while end < min(begin + side, height):
                block = next(blocks, None)
                if block is None:
                    raise DataError(f"cannot read image {self.image.name}: it ends after {end} of {height} rows")
                self.thumbnail.append(block[-end % every :: every, ::every].copy())
                parts.append(block)
                end += len(block)
            held, top = np.concatenate(parts), begin
            yield held[:side]

    def _add_tiles(self, held: Tensor, window: NDArray[np.uint8], weights: Tensor) -> None:
        """Add the weighted logits of a row of tiles, whose pixels are ``window``, to ``held``, classes x rows x columns."""
        segmenter, axis, stride = self.segmenter, self.across, self.grid.stride
        height, width = self.grid.pixels(self.down.length), self.grid.pixels(axis.length)
        batch = 1 if segmenter.device.type == "cpu" else BATCH
        total = len(self.down.starts) * len(axis.starts)
        for begin in range(0, len(axis.starts), batch):
            numbers = range(begin, min(begin + batch, len(axis.starts)))
            # The mean color, which normalization makes 0, beyond the image.
            tiles = segmenter.model.mean.repeat(len(numbers), 1, height, width)
            for tile, number in zip(tiles, numbers, strict=True):
                pixels = torch.from_numpy(window[:, axis.starts[number] * stride :][:, :width]).permute(2, 0, 1)
                tile[:, : pixels.shape[1], : pixels.shape[2]] = pixels
            logits = segmenter.run(tiles, total)
            cells = (self.down.length, axis.length)
            regular = tuple(logits.values.shape[2:]) == cells and len(logits.steps) <= 1
            if regular:
                values = logits.values.float()
            else:
                values = logits.full()[..., ::stride, ::stride] if self.grid.corners else logits.averaged(cells)
            for planes, number in zip(values, numbers, strict=True):
                weight = (weights[:, None] * axis.weights[number]).to(planes.device)
                held[:, :, axis.starts[number] :][:, :, : axis.length].addcmul_(planes, weight)

    def _upsampled(self, held: Tensor, first: int, start: int, stop: int) -> Iterator[NDArray[np.uint8]]:
        """Yield the mask of the rows of logits from ``start`` to ``stop``; ``held`` begins with row ``first``."""
        stride, width = self.grid.stride, self.image.width
        rows = part(start, stop, self.down.cells, self.image.height, stride)
        if not rows.pixels:
            return
        mask = np.empty((rows.pixels, width), np.uint8)
        for column in range(0, self.across.cells, BLOCK):
            columns = part(column, column + BLOCK, self.across.cells, width, stride)
            values = held[None, :, rows.above - first : rows.below - first, columns.above : columns.below]
            size = (self.grid.pixels(values.shape[2]), self.grid.pixels(values.shape[3]))
            classes = LowResLogits(values).upsampled(size, self.grid.corners).classes()[0].cpu().numpy()
            place = column * stride
            mask[:, place : place + columns.pixels] = classes[rows.skip :, columns.skip :][: rows.pixels, : columns.pixels]
        self.counts += np.bincount(mask.ravel(), minlength=256)
        if self.tracer is not None:
            self.tracer.add(mask)
        every = self.every
        self.thumbnail_mask.append(mask[-(start * stride) % every :: every, ::every].copy())
        yield mask
