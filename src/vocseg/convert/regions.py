"""Fill shapes, and paint regions onto masks.

Coordinates are x to the right and y down, in pixels; (0, 0) is the upper left corner of the image. A pixel is filled if
its center is inside, so an outline along pixel edges gives exactly the pixels that it encloses. Only :func:`draw` takes
corners for pixels. A region is kept as its box: an image may have thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw

from vocseg import voc

Pixels = NDArray[np.bool_]
Mask = NDArray[np.uint8]

MAX_COORDINATE = 1e9
"""In pixels; beyond it, sums lose fractions or overflow."""


class Region(NamedTuple):
    """Pixels in a box of the image whose upper left corner is at (left, top); without pixels if it is outside."""

    pixels: Pixels
    left: int = 0
    top: int = 0

    @property
    def box(self) -> tuple[slice, slice]:
        """Rows and columns of the image."""
        height, width = self.pixels.shape
        return slice(self.top, self.top + height), slice(self.left, self.left + width)


class NotDrawn(Exception):
    """An object of a kind that is not drawn: a ``thing`` ("box") and ``why`` ("without an outline").

    The pixels of its ``region``, if it is known, become void; or those of its class, if the object is drawn ``in_part``.
    ``example`` is shown in the report; by default, the image's name is.
    """

    def __init__(self, thing: str, why: str, region: Region | None = None, in_part: bool = False, example: str = "") -> None:
        super().__init__(f"{thing} {why}")
        self.thing, self.why, self.region, self.in_part, self.example = thing, why, region, in_part, example


def _empty(low: ArrayLike, high: ArrayLike, height: int, width: int) -> Region:
    """Return an empty region of the pixels that lie, in part at least, from ``low`` to ``high`` (x, y)."""
    first = np.floor(low)
    left, top = np.clip(first, 0, (width, height)).astype(int).tolist()
    right, bottom = np.clip(np.maximum(np.ceil(high), first + 1), 0, (width, height)).astype(int).tolist()
    return Region(np.zeros((bottom - top, right - left), dtype=bool), left, top)


def fill(corners: ArrayLike, height: int, width: int) -> Region:
    """Fill a polygon (N x 2) by the even-odd rule; one with corners that are no numbers or too large is empty."""
    ring = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    if not len(ring) or not (np.abs(ring) <= MAX_COORDINATE).all():
        return Region(np.zeros((0, 0), dtype=bool))
    region = _empty(ring.min(0), ring.max(0), height, width)
    rows, columns = region.pixels.shape
    ring = ring - (region.left, region.top)
    ends = np.roll(ring, -1, axis=0)
    # From the upper to the lower end, so that an edge crosses rows at the same x in both directions.
    down = ring[:, 1:] <= ends[:, 1:]
    (x0, y0), (x1, y1) = np.where(down, ring, ends).T, np.where(down, ends, ring).T
    first, end = (np.clip(np.ceil(y - 0.5), 0, rows).astype(np.int64) for y in (y0, y1))
    count = end - first
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    # Each crossing of a row flips the pixels whose centers are to the right of it.
    flips = np.zeros((rows, columns + 1), dtype=np.int32)
    np.add.at(flips, (row, np.clip(np.ceil(x - 0.5), 0, columns).astype(np.int64)), 1)
    return region._replace(pixels=np.cumsum(flips[:, :-1], axis=1) % 2 == 1)


def polygons(
    rings: Sequence[Any], height: int, width: int, scale: ArrayLike = 1, thing: str = "object", unit: str = "pixels"
) -> Region:
    """Fill the polygons of an object, whose corners are multiplied by ``scale``; raise as :func:`corners_of` does.

    Rings of fewer than three corners enclose nothing: NotDrawn has the region of the others.
    """
    outlines = corners_of(rings, thing, unit)
    region = union([fill(ring * np.asarray(scale), height, width) for ring in outlines if len(ring) >= 3])
    if min(map(len, outlines)) < 3:
        raise NotDrawn("ring", "with fewer than three corners, in an object that is drawn", region, in_part=True)
    return region


def corners_of(rings: Sequence[Any], thing: str = "object", unit: str = "pixels") -> list[NDArray[np.float64]]:
    """Return corners (N x 2) from lists of x, y, x, y, ... or of pairs; raise NotDrawn for those that outline nothing.

    Raises ValueError or TypeError for other values.
    """
    outlines = []
    for ring in rings:
        values = np.asarray(ring, dtype=np.float64)
        if values.ndim > 1 and values.shape[-1] != 2:
            raise ValueError(f"corners of {values.shape[-1]} numbers instead of x and y")
        outlines.append(values.reshape(-1, 2))
    check(np.concatenate(outlines), thing, unit)
    if max(map(len, outlines)) < 3:
        raise NotDrawn(thing, "with fewer than three corners")
    return outlines


def check(points: NDArray[np.float64], thing: str = "object", unit: str = "pixels") -> None:
    """Raise NotDrawn for coordinates that are no numbers, or in shares of the image's size instead of in ``unit`` (if any)."""
    if not (np.abs(points) <= MAX_COORDINATE).all():
        raise NotDrawn(thing, "with coordinates that are no numbers or too large")
    if unit and ((points >= 0) & (points <= 1)).all() and (points % 1).any():
        raise NotDrawn(thing, f"with all coordinates from 0 to 1, which seem to be shares of the size instead of {unit}")


def draw(kind: str, corners: ArrayLike, height: int, width: int, holes: Iterable[ArrayLike] = ()) -> Region:
    """Draw a ``polygon``, or the ``rectangle`` or ``ellipse`` from corner to corner, whose corners are pixels.

    Pixels on the outline are filled and those on a hole's are cleared, as Pillow, and tools that are based on it, draw.
    """

    def whole(points: ArrayLike) -> NDArray[np.float64]:  # as Pillow rounds; limited to what it can count
        return np.clip(np.trunc(np.asarray(points, dtype=np.float64).reshape(-1, 2)), -(2.0**24), 2.0**24)

    ring = whole(corners)
    region = _empty(ring.min(0), ring.max(0) + 1, height, width)
    if not region.pixels.size:
        return region
    corner = (region.left, region.top)
    canvas = Image.new("1", region.pixels.shape[::-1])
    pen = ImageDraw.Draw(canvas)
    getattr(pen, kind)([tuple(point) for point in (ring - corner).tolist()], fill=1, outline=1)
    for hole in holes:
        pen.polygon([tuple(point) for point in (whole(hole) - corner).tolist()], fill=0, outline=0)
    return region._replace(pixels=np.asarray(canvas))


def ellipse(center: tuple[float, float], radii: tuple[float, float], height: int, width: int, degrees: float = 0) -> Region:
    """Fill an ellipse, rotated clockwise by ``degrees``."""
    reach = max(abs(radii[0]), abs(radii[1]))
    region = _empty(np.subtract(center, reach), np.add(center, reach), height, width)
    rows, columns = region.box
    y, x = np.mgrid[rows, columns] + 0.5
    x, y = x - center[0], y - center[1]
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    across, down = (x * cos + y * sin) / max(radii[0], 1e-9), (y * cos - x * sin) / max(radii[1], 1e-9)
    return region._replace(pixels=across**2 + down**2 <= 1)


def rectangle(x: float, y: float, width: float, height: float, degrees: float = 0) -> NDArray[np.float64]:
    """Return the four corners of a rectangle, rotated clockwise by ``degrees`` about its upper left corner (x, y)."""
    cos, sin = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float64)
    with np.errstate(invalid="ignore"):  # a file may say infinite
        return corners @ np.array([[cos, sin], [-sin, cos]]) + (x, y)


def place(stamp: Pixels, left: int, top: int, height: int, width: int) -> Region:
    """Return the part of ``stamp`` that is in the image when its upper left corner is at (left, top)."""
    rows = slice(max(0, -top), max(0, height - top))
    columns = slice(max(0, -left), max(0, width - left))
    return Region(stamp[rows, columns], max(0, left), max(0, top))


def crop(pixels: Pixels) -> Region:
    """Return the region of the pixels of a whole image."""
    rows, columns = np.flatnonzero(pixels.any(1)), np.flatnonzero(pixels.any(0))
    if not len(rows):
        return Region(pixels[:0, :0])
    return Region(pixels[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], int(columns[0]), int(rows[0]))


def union(regions: Sequence[Region]) -> Region:
    """Return the pixels of any of the regions."""
    if len(regions) == 1:
        return regions[0]
    ends = np.array([(region.left, region.top, *np.add(region.pixels.shape[::-1], region[1:])) for region in regions])
    (left, top), (right, bottom) = ends[:, :2].min(0).tolist(), ends[:, 2:].max(0).tolist()
    pixels = np.zeros((bottom - top, right - left), dtype=bool)
    for region in regions:
        rows, columns = region._replace(left=region.left - left, top=region.top - top).box
        pixels[rows, columns] |= region.pixels
    return Region(pixels, left, top)


def paint(height: int, width: int, regions: Iterable[tuple[Region, int]], by_size: bool = False) -> Mask:
    """Paint the labels of regions onto a mask of zeros, the last on top, or ``by_size`` the smallest, and void below all."""
    mask = np.zeros((height, width), dtype=np.uint8)
    # The area of what each pixel shows, so that no region has to be kept until all areas are known.
    shown = np.full(mask.shape, height * width + 2) if by_size else None
    for region, label in regions:
        drawn = region.pixels
        if shown is not None:
            area = height * width + 1 if label == voc.VOID else np.count_nonzero(drawn)
            drawn = drawn & (shown[region.box] >= area)
            shown[region.box][drawn] = area
        mask[region.box][drawn] = label
    return mask
