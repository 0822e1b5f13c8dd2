"""Fill shapes, paint regions onto masks, trace their outlines, and encode and decode their run lengths.

Coordinates are x to the right and y down, in pixels; (0, 0) is the upper left corner of the image. A pixel is filled if
its center is inside, so an outline along pixel edges gives exactly the pixels that it encloses.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from vocseg import voc
from vocseg.errors import DataError

Region = NDArray[np.bool_]
Mask = NDArray[np.uint8]
Ring = NDArray[np.int64]
"""Corners on pixel edges, N x 2 (x, y); the first is not repeated at the end."""
Edge = tuple[int, int, int]
"""Where a pixel's edge starts (x, y), and its direction: an index of STEPS."""

STEPS = ((1, 0), (0, 1), (-1, 0), (0, -1))
"""Directions along an outline, clockwise on the screen: right, down, left, up."""


class Part(NamedTuple):
    """A 4-connected part of a region: its outline, the outlines of its holes, and its number of pixels."""

    outline: Ring
    holes: list[Ring]
    area: int


def fill(corners: ArrayLike, height: int, width: int) -> Region:
    """Fill a polygon (N x 2) by the even-odd rule; one with corners that are not finite is empty."""
    ring = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
    region = np.zeros((height, width), dtype=bool)
    if not len(ring) or not np.isfinite(ring).all():
        return region
    left, top = np.clip(np.floor(ring.min(0)), 0, (width, height)).astype(int)
    right, bottom = np.clip(np.ceil(ring.max(0)), 0, (width, height)).astype(int)
    box = region[top:bottom, left:right]
    ring = ring - (left, top)
    ends = np.roll(ring, -1, axis=0)
    # From the upper to the lower end, so that an edge crosses rows at the same x in both directions.
    down = ring[:, 1:] <= ends[:, 1:]
    (x0, y0), (x1, y1) = np.where(down, ring, ends).T, np.where(down, ends, ring).T
    first, end = (np.clip(np.ceil(y - 0.5), 0, len(box)).astype(np.int64) for y in (y0, y1))
    count = end - first
    edge = np.repeat(np.arange(len(ring)), count)
    row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + first[edge]
    x = x0[edge] + (row + 0.5 - y0[edge]) * (x1[edge] - x0[edge]) / (y1[edge] - y0[edge])
    # Each crossing of a row flips the pixels whose centers are to the right of it.
    flips = np.zeros((box.shape[0], box.shape[1] + 1), dtype=np.int32)
    np.add.at(flips, (row, np.clip(np.ceil(x - 0.5), 0, box.shape[1]).astype(np.int64)), 1)
    box[:] = np.cumsum(flips[:, :-1], axis=1) % 2 == 1
    return region


def ellipse(center: tuple[float, float], radii: tuple[float, float], height: int, width: int, degrees: float = 0) -> Region:
    """Fill an ellipse, rotated clockwise by ``degrees``."""
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


def place(stamp: Region, left: int, top: int, height: int, width: int) -> Region:
    """Return an H x W region that is ``stamp`` with its upper left corner at (left, top), cropped to the image."""
    canvas = Image.new("L", (width, height))
    canvas.paste(Image.fromarray(stamp), (left, top))
    return np.asarray(canvas) > 0


def paint(height: int, width: int, regions: Iterable[tuple[Region, int]], by_size: bool = False) -> Mask:
    """Paint the labels of regions onto a mask of zeros, the last on top, or ``by_size`` void first, the smallest on top."""
    if by_size:
        regions = sorted(regions, key=lambda one: (one[1] != voc.VOID, -int(one[0].sum())))
    mask = np.zeros((height, width), dtype=np.uint8)
    for region, label in regions:
        mask[region] = label
    return mask


def outlines(region: Region) -> list[Ring]:
    """Return one ring for each of the :func:`parts` of a region, for formats without holes.

    Holes are cut open: a bridge of zero width runs from the nearest corner of the outline to the hole and back.
    """
    rings = []
    for outline, holes, _ in parts(region):
        for hole in holes:
            at = int(np.abs(outline - hole[0]).sum(1).argmin())
            outline = np.concatenate((outline[: at + 1], hole, hole[:1], outline[at:]))
        rings.append(outline)
    return rings


def parts(region: Region) -> list[Part]:
    """Find the 4-connected parts of a region, the uppermost, then leftmost, first."""
    from scipy import ndimage

    labels = ndimage.label(region)[0]
    areas = np.bincount(labels.ravel())
    rings: dict[int, list[Ring]] = {}
    for (x, y, direction), ring in _trace(region):
        # A ring begins right, above the part's first pixel, or down a hole's left side, to the right of a pixel.
        rings.setdefault(int(labels[y, x - direction]), []).append(ring)
    return [Part(outline, holes, int(areas[label])) for label, (outline, *holes) in rings.items()]


def _trace(region: Region) -> Iterator[tuple[Edge, Ring]]:
    """Yield closed outlines with the region on their right, each after its first edge, in reading order of these.

    Pixels that only touch at a corner get separate rings.
    """
    padded = np.pad(region, 1)
    edges: set[Edge] = set()
    for direction, beyond in enumerate((padded[:-2, 1:-1], padded[1:-1, 2:], padded[2:, 1:-1], padded[1:-1, :-2])):
        ys, xs = np.nonzero(region & ~beyond)
        # An edge to the right starts at its pixel's upper left corner, an edge down at the upper right one, ...
        dx, dy = ((0, 0), (1, 0), (1, 1), (0, 1))[direction]
        edges.update(zip((xs + dx).tolist(), (ys + dy).tolist(), [direction] * len(xs), strict=True))
    for start in sorted(edges, key=lambda edge: (edge[1], edge[0], edge[2])):
        if start not in edges:
            continue
        corners = []
        x, y, direction = start
        while (x, y, direction) in edges:
            edges.remove((x, y, direction))
            x, y = x + STEPS[direction][0], y + STEPS[direction][1]
            # Right first: it stays at the same pixel, so parts that touch at a corner stay apart.
            turned = next((turn for turn in (1, 0, 3) if (x, y, (direction + turn) % 4) in edges), None)
            if turned is None:
                turned = (start[2] - direction) % 4
            if turned:
                corners.append((x, y))
            direction = (direction + turned) % 4
        yield start, np.array(corners, dtype=np.int64)


def encode(region: Region) -> dict[str, Any]:
    """Encode a region as COCO's packed run lengths, ``{"size": [H, W], "counts": str}``."""
    return {"size": list(region.shape), "counts": pack(runs(region))}


def decode(rle: dict[str, Any]) -> Region:
    """Decode COCO's run lengths, packed or a list. Raises DataError if they do not add up to the size."""
    try:
        height, width = (int(side) for side in rle["size"])
        counts = rle["counts"]
        lengths = np.asarray(unpack(counts) if isinstance(counts, (str, bytes)) else counts, dtype=np.int64).reshape(-1)
    except (KeyError, TypeError, ValueError, IndexError, OverflowError) as error:
        raise DataError(f"malformed run lengths ({type(error).__name__}: {error})") from error
    # Python's sum: numpy's wraps around at 2^64, and np.repeat would then write past the end of its buffer.
    total = sum(lengths.tolist())
    if min(height, width) < 0 or total != height * width or (lengths < 0).any():
        raise DataError(f"run lengths add up to {total} pixels instead of {height}x{width} = {height * width}")
    if total > np.iinfo(np.int64).max:
        raise DataError(f"run lengths of {height}x{width} pixels are too many to count")
    values = np.arange(len(lengths)) % 2 == 1
    return np.repeat(values, lengths).reshape((height, width), order="F")


def runs(region: Region) -> list[int]:
    """Return the lengths of alternating runs of 0s and 1s, down the columns, 0s first (COCO's uncompressed form)."""
    flat = region.reshape(-1, order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def pack(counts: Sequence[int]) -> str:
    """Pack run lengths into COCO's string: differences to the one two before, as in ``rleToString`` (maskApi.c)."""
    text = []
    for index, count in enumerate(counts):
        rest = count - counts[index - 2] if index > 2 else count
        more = True
        while more:
            low, rest = rest & 0x1F, rest >> 5
            more = rest != (-1 if low & 0x10 else 0)
            text.append(chr((low | (0x20 if more else 0)) + 48))
    return "".join(text)


def unpack(text: str | bytes) -> list[int]:
    """Unpack run lengths from COCO's string (``rleFrString``, maskApi.c). Raises ValueError for other strings."""
    counts: list[int] = []
    value = shift = 0
    for code in text.encode("ascii") if isinstance(text, str) else text:
        bits = code - 48
        if not 0 <= bits < 64:
            raise ValueError(f"invalid character {chr(code)!r} in run lengths")
        value |= (bits & 0x1F) << shift
        shift += 5
        if not bits & 0x20:
            if bits & 0x10:
                value -= 1 << shift
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    if shift:
        raise ValueError("run lengths are truncated")
    return counts


def decode_label_studio(data: Sequence[int], height: int, width: int) -> Region:
    """Decode a region painted in Label Studio: the pixels of its packed RGBA image that are not transparent.

    The format is @thi.ng/rle-pack's, as label-studio-converter reads it: number of values (32 bits), word size - 1 (5
    bits), four run sizes - 1 (4 bits each), then the runs: repeated or not (1 bit), index of the run size (2 bits),
    length - 1, and one or ``length`` values. Raises DataError for truncated data or another size.
    """
    try:
        bits = np.unpackbits(np.array(data, dtype=np.uint8))
        text = (bits + ord("0")).tobytes().decode()
        total, word = int(text[:32], 2), int(text[32:37], 2) + 1
        sizes = [int(text[start : start + 4], 2) + 1 for start in range(37, 53, 4)]
        if total != height * width * 4:
            raise DataError(f"painted region has {total} values instead of 4 for each of {height}x{width} pixels")
        out = np.empty(total, dtype=np.uint8)
        done, place = 0, 53
        while done < total:
            size = sizes[int(text[place + 1 : place + 3], 2)]
            length = int(text[place + 3 : place + 3 + size], 2) + 1
            start = place + 3 + size
            end = start + (word if text[place] == "1" else word * length)
            if end > len(bits) or done + length > total:
                raise DataError("run lengths of a painted region are truncated")
            out[done : done + length] = bits[start:end].reshape(-1, word) @ (1 << np.arange(word)[::-1]) & 0xFF
            done, place = done + length, end
    except (ValueError, TypeError, OverflowError, IndexError) as error:
        raise DataError(f"malformed run lengths of a painted region ({error})") from error
    return out.reshape(height, width, 4)[..., 3] > 0
