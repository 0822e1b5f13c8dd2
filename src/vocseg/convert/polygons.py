"""Fill polygons and other shapes, and paint them onto masks.

Coordinates are x to the right and y down, in pixels; (0, 0) is the upper left corner of the image.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Region = NDArray[np.bool_]


def fill(rings: Sequence[ArrayLike], height: int, width: int) -> Region:
    """Fill the pixels whose centers are inside an odd number of ``rings``, so a ring in a ring is a hole.

    Rings are N x 2 corners. Because centers decide, one along pixel edges gives exactly the pixels that it encloses.
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
        np.add.at(flips, _crossings(outline - (left, top), *box.shape), 1)
    box[:] = np.cumsum(flips[:, :-1], axis=1) % 2 == 1
    return region


def _crossings(corners: NDArray[np.float64], height: int, width: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return row and column of the first pixel center to the right of each crossing with a row of centers."""
    ends = np.roll(corners, -1, axis=0)
    # From the upper to the lower end, so that an edge crosses rows at the same x in both directions.
    down = corners[:, 1:] <= ends[:, 1:]
    (x0, y0), (x1, y1) = np.where(down, corners, ends).T, np.where(down, ends, corners).T
    first = np.clip(np.ceil(y0 - 0.5), 0, height).astype(np.int64)
    count = np.clip(np.ceil(y1 - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(corners)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    return row, np.clip(np.ceil(x - 0.5), 0, width).astype(np.int64)


def ellipse(center: tuple[float, float], radii: tuple[float, float], height: int, width: int, degrees: float = 0) -> Region:
    """Fill the pixels whose centers are inside an ellipse, rotated clockwise by ``degrees``."""
    y, x = np.mgrid[:height, :width] + 0.5
    x, y = x - center[0], y - center[1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across, down = (x * cos + y * sin) / max(radii[0], 1e-9), (y * cos - x * sin) / max(radii[1], 1e-9)
    return across**2 + down**2 <= 1


def rectangle(x: float, y: float, width: float, height: float, degrees: float = 0) -> NDArray[np.float64]:
    """Return the four corners of a rectangle, rotated clockwise by ``degrees`` about its upper left corner (x, y)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    return corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


def paint(height: int, width: int, regions: Iterable[tuple[Region, int]]) -> NDArray[np.uint8]:
    """Paint the labels of regions onto a mask of zeros, in order, so that the last is on top."""
    mask = np.zeros((height, width), dtype=np.uint8)
    for region, label in regions:
        mask[region] = label
    return mask


def place(stamp: Region, left: int, top: int, height: int, width: int) -> Region:
    """Return an H x W region that is ``stamp`` with its upper left corner at (left, top), cropped to the image."""
    region = np.zeros((height, width), dtype=bool)
    inside = stamp[max(0, -top) : max(0, height - top), max(0, -left) : max(0, width - left)]
    top, left = max(0, top), max(0, left)
    region[top : top + inside.shape[0], left : left + inside.shape[1]] = inside
    return region
