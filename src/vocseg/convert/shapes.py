"""Regions from outlines. Coordinates are x to the right and y down, in pixels, (0, 0) the image's upper left corner."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Region = NDArray[np.bool_]


def polygon(rings: Sequence[ArrayLike], height: int, width: int) -> Region:
    """Pixels whose centers lie inside an odd number of ``rings`` (each N x 2 corners), so that a ring in a ring is a hole.

    The rule of the center: an outline along pixel edges gives exactly the pixels that it encloses.
    """
    outlines = [np.asarray(ring, dtype=np.float64).reshape(-1, 2) for ring in rings]
    region = np.zeros((height, width), dtype=bool)
    corners = np.concatenate(outlines) if outlines else np.zeros((0, 2))
    if not np.isfinite(corners).all() or not len(corners):
        return region
    left, top = np.clip(np.floor(corners.min(0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(corners.max(0)), 0, (width, height)).astype(int)
    box = region[top:bottom, left:right]
    flips = np.zeros((box.shape[0], box.shape[1] + 1), dtype=np.int32)
    for outline in outlines:
        np.add.at(flips, _cuts(outline - (left, top), *box.shape), 1)
    box[:] = np.cumsum(flips[:, :-1], axis=1) % 2 == 1
    return region


def _cuts(corners: NDArray[np.float64], height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row and column of the first pixel whose center is to the right of the outline, wherever it cuts a row of centers."""
    ends = np.roll(corners, -1, axis=0)
    # Always from the upper to the lower end, so that an edge walked both ways cuts rows at the very same place.
    down = corners[:, 1:] <= ends[:, 1:]
    (x0, y0), (x1, y1) = np.where(down, corners, ends).T, np.where(down, ends, corners).T
    first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(corners)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    cut = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    return row, np.clip(np.ceil(cut - 0.5), 0, width).astype(np.int64)


def ellipse(center: tuple[float, float], radii: tuple[float, float], height: int, width: int, degrees: float = 0) -> Region:
    """Pixels whose centers lie inside an ellipse, turned clockwise by ``degrees``."""
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = x - center[0], y - center[1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across, down = (x * cos + y * sin) / max(radii[0], 1e-9), (y * cos - x * sin) / max(radii[1], 1e-9)
    return across**2 + down**2 <= 1


def rectangle(x: float, y: float, wide: float, high: float, degrees: float = 0) -> NDArray[np.float64]:
    """The four corners of a rectangle, turned clockwise by ``degrees`` about its upper left corner."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = np.array([[0, 0], [wide, 0], [wide, high], [0, high]], dtype=np.float64)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


def paint(height: int, width: int, regions: Iterable[tuple[Region, int]]) -> NDArray[np.uint8]:
    """A mask of 0 with the regions' labels painted on in turn, so that the last is on top."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for region, label in regions:
        mask[region] = label
    return mask


def place(stamp: Region, left: int, top: int, height: int, width: int) -> Region:
    """A region of H x W that is ``stamp`` with its upper left corner at (left, top), cut off at the image's edge."""
    region = np.zeros((height, width), dtype=bool)
    inside = stamp[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    top, left = max(0, top), max(0, left)
    region[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return region
