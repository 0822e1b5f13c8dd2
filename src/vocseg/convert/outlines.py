"""Trace the outlines of regions along pixel edges; filled by :func:`vocseg.convert.regions.fill`, they give their pixels.

Outlines come from their corners, which are found strip by strip: of a huge image, only the corners are held. In each row
of pixel corners, the corners of a region are the ends of its horizontal edges in pairs, and in each column those of its
vertical edges.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg.convert.regions import Mask, Pixels

Ring = NDArray[np.int64]
"""Corners on pixel edges, N x 2 (x, y), with the region on the right; the first is not repeated at the end."""
Ints = NDArray[np.int64]

OUTSIDE = -1
"""Label of what is beyond the image."""
_BITS = np.array([1, 2, 4, 8], dtype=np.int16)
"""Which of the four pixels around a pixel corner are in a region: upper left, upper right, lower left, lower right."""
_STRAIGHT = (0, 3, 5, 10, 12, 15)
_TOUCHING = {6: (2, 4), 9: (1, 8)}
"""Pixels that only touch at a corner: each has a corner of its own there."""
_HOLE = 7
"""What the uppermost, then leftmost, corner of a hole looks like."""


def _table(*shapes: int) -> NDArray[np.bool_]:
    return np.isin(np.arange(16), shapes)


_GOES_RIGHT, _GOES_DOWN = _table(2, 7, 8, 13), _table(4, 7, 8, 11)
"""Whether the horizontal edge at a corner is to the right of it, and the vertical one below."""
_LEAVES_ALONG_ROW = _table(1, 8, 11, 13)
"""Whether the outline, which has the region on its right, leaves a corner along the horizontal edge."""


class Part(NamedTuple):
    """A 4-connected part of a region: its outline, the outlines of its holes, and its number of pixels."""

    outline: Ring
    holes: list[Ring]
    area: int

    @property
    def rings(self) -> list[Ring]:
        """The outline, then the holes."""
        return [self.outline, *self.holes]


Traced = dict[int, list[Part]]
"""Parts of each label of a label map."""


class _Corners(NamedTuple):
    """Corners of regions: ``label``, place, ``shape`` (sum of _BITS), and where the run of pixels to the left begins."""

    label: Ints
    x: Ints
    y: Ints
    shape: Ints
    run: Ints


class Tracer:
    """Traces the regions of a label map whose rows come from top to bottom; ``skip``: a label that is not traced.

    >>> tracer = Tracer(3)
    >>> tracer.add(np.array([[1, 1, 1], [1, 0, 1]], dtype=np.uint8))
    >>> tracer.add(np.array([[1, 1, 1]], dtype=np.uint8))
    >>> [(label, part.area, len(part.holes)) for label, parts in tracer.parts().items() for part in parts]
    [(0, 1, 0), (1, 8, 1)]
    """

    def __init__(self, width: int, skip: int | None = None) -> None:
        self.width, self.height, self.skip = width, 0, skip
        self._last = np.full((1, width + 2), OUTSIDE, dtype=np.int16)
        self._found: list[_Corners] = []

    def add(self, rows: Mask) -> None:
        """Add rows of labels, uint8, rows x width."""
        block = np.pad(rows.astype(np.int16), ((0, 0), (1, 1)), constant_values=OUTSIDE)
        self._found.append(_corners(np.concatenate([self._last, block]), self.height, self.skip))
        self._last = block[-1:].copy()
        self.height += len(rows)

    def parts(self) -> Traced:
        """Return the 4-connected parts of each label, the uppermost, then leftmost, first; nothing can be added after."""
        self._found.append(_corners(np.concatenate([self._last, np.full_like(self._last, OUTSIDE)]), self.height, self.skip))
        found = _Corners(*(np.concatenate(column) for column in zip(*self._found, strict=True)))
        self._found.clear()
        return _assembled(found, self.width, self.height) if len(found.x) else {}


def trace(labels: Mask, skip: int | None = None) -> Traced:
    """Return the :meth:`Tracer.parts` of a whole label map, H x W."""
    tracer = Tracer(labels.shape[1], skip)
    tracer.add(labels)
    return tracer.parts()


def parts(region: Pixels) -> list[Part]:
    """Find the 4-connected parts of a region, the uppermost, then leftmost, first."""
    return trace(region.astype(np.uint8), skip=0).get(1, [])


def filled(traced: Traced, width: int, rows: range) -> Mask:
    """Return rows of the label map that the parts of all labels give, which have no pixel in common; 0 where there is none.

    A pixel has the label of the part that its center is in, by the even-odd rule.
    """
    # Each crossing of a row flips the bits of the label of the pixels whose centers are to the right of it.
    flips = np.zeros((len(rows), width + 1), dtype=np.uint8)
    for label, parts in traced.items():
        rings = [ring for part in parts for ring in part.rings]
        starts, ends = np.concatenate(rings), np.concatenate([np.roll(ring, -1, axis=0) for ring in rings])
        down = starts[:, 1:] <= ends[:, 1:]  # from the upper to the lower end, so that both sides find the same place
        (x0, y0), (x1, y1) = np.where(down, starts, ends).T, np.where(down, ends, starts).T
        count = np.clip(y1, rows.start, rows.stop) - np.clip(y0, rows.start, rows.stop)
        edge = np.repeat(np.arange(len(starts)), count)
        row = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count) + np.maximum(y0, rows.start)[edge]
        x = x0[edge] + (row + 0.5 - y0[edge]) * (x1 - x0)[edge] / (y1 - y0)[edge]
        np.bitwise_xor.at(flips, (row - rows.start, np.ceil(x - 0.5).astype(np.int64)), np.uint8(label))
    return np.bitwise_xor.accumulate(flips[:, :-1], axis=1)


def enclosed(ring: Ring) -> int:
    """Return the pixels that a ring encloses, negative for a hole."""
    (x, y), (to_x, to_y) = ring.T, np.roll(ring, -1, axis=0).T
    return int((x * to_y - to_x * y).sum()) // 2


def cut_open(outline: Ring, holes: Iterable[Ring]) -> Ring:
    """Join holes to an outline: a bridge of zero width runs from the nearest corner of the outline to each and back."""
    for hole in holes:
        at = int(np.abs(outline - hole[0]).sum(1).argmin())
        outline = np.concatenate((outline[: at + 1], hole, hole[:1], outline[at:]))
    return outline


def _corners(block: NDArray[np.int16], top: int, skip: int | None) -> _Corners:
    """Find the corners between the rows of a block, whose first row lies above ``top``; a column on either side is outside."""
    pixels = (block[:-1, :-1], block[:-1, 1:], block[1:, :-1], block[1:, 1:])
    upper_left, upper_right, lower_left, lower_right = pixels
    level = (upper_left == upper_right) & (lower_left == lower_right)
    upright = (upper_left == lower_left) & (upper_right == lower_right)
    y, x = np.nonzero(~(level | upright))
    around = np.stack([each[y, x] for each in pixels], axis=1)
    begins = np.flatnonzero(np.diff(block[1:], axis=1, prepend=OUTSIDE - 1))
    run = begins[np.searchsorted(begins, y * block.shape[1] + x, "right") - 1] % block.shape[1] - 1
    found = []
    for place in range(4):
        label = around[:, place]
        shape = (around == label[:, None]) @ _BITS
        # Each label once, by the first of its pixels.
        wanted = (shape % (1 << place) == 0) & ~np.isin(shape, _STRAIGHT) & (label != OUTSIDE)
        wanted &= label != (OUTSIDE if skip is None else skip)
        for kind in np.unique(shape[wanted]).tolist():
            here = np.flatnonzero(wanted & (shape == kind))
            for single in _TOUCHING.get(kind, (kind,)):
                found.append((label[here], x[here], y[here] + top, np.full(len(here), single), run[here]))
    columns = (
        [np.concatenate(column).astype(np.int64) for column in zip(*found, strict=True)] if found else [np.zeros(0, np.int64)] * 5
    )
    return _Corners(*columns)


def _assembled(corners: _Corners, width: int, height: int) -> Traced:
    """Join corners to rings, and rings to parts."""
    label, x, y, shape, run = corners
    in_rows = np.lexsort((2 * x + _GOES_RIGHT[shape], y, label))
    in_columns = np.lexsort((2 * y + _GOES_DOWN[shape], x, label))
    along = np.where(_LEAVES_ALONG_ROW[shape], _partners(in_rows), _partners(in_columns))
    order, begins = _cycles(along, in_rows)
    ring = np.empty(len(x), np.int64)
    ring[order] = np.repeat(np.arange(len(begins)), np.diff(begins, append=len(order)))
    after = along[order]
    areas = (np.add.reduceat(x[order] * y[after] - x[after] * y[order], begins) // 2).tolist()
    first = order[begins]
    # A hole is in the part whose outline, or another hole of which, is at the other end of the run to the left of it.
    tops = in_columns[::2]
    keys = (label[tops] * (width + 1) + x[tops]) * (height + 1) + y[tops]
    wanted = (label[first] * (width + 1) + run[first]) * (height + 1) + y[first]
    left = ring[tops[np.searchsorted(keys, wanted, "right") - 1]].tolist()
    twice = _touch_themselves(corners, ring, in_rows)
    points = np.stack([x, y], axis=1)[order]
    found: Traced = {}
    part_of: list[Part] = []
    for number, (each, value) in enumerate(zip(np.split(points, begins[1:]), label[first].tolist(), strict=True)):
        loops = _split(each) if number in twice else [each]
        if areas[number] > 0:
            outline = next(loop for loop in loops if enclosed(loop) > 0) if len(loops) > 1 else each
            part = Part(outline, [loop for loop in loops if loop is not outline], areas[number])
            found.setdefault(value, []).append(part)
        else:
            part = part_of[left[number]]
            part.holes.extend(loops)
        part_of.append(part)
    return {value: [_counted(part) for part in parts] for value, parts in found.items()}


def _counted(part: Part) -> Part:
    return part._replace(area=enclosed(part.outline) + sum(map(enclosed, part.holes)))


def _partners(order: Ints) -> Ints:
    """Return for each corner the other end of its edge, if edges are pairs in ``order``."""
    partners = np.empty_like(order)
    partners[order[::2]], partners[order[1::2]] = order[1::2], order[::2]
    return partners


def _cycles(along: Ints, order: Ints) -> tuple[Ints, Ints]:
    """Return the corners ring by ring, and where each ring begins: with its first corner in ``order``."""
    following, done = along.data, bytearray(len(along))  # faster than indices of arrays
    result, begins = np.empty_like(along), []
    out, count = result.data, 0
    for start in order.data:
        if done[start]:
            continue
        begins.append(count)
        at = start
        while not done[at]:
            done[at] = 1
            out[count] = at
            count += 1
            at = following[at]
    return result, np.array(begins, dtype=np.int64)


def _touch_themselves(corners: _Corners, ring: Ints, in_rows: Ints) -> set[int]:
    """Return the rings that go through a pixel corner twice."""
    here, there = in_rows[:-1], in_rows[1:]
    same = (ring[here] == ring[there]) & (corners.x[here] == corners.x[there]) & (corners.y[here] == corners.y[there])
    return set(ring[here[same]].tolist())


def _split(ring: Ring) -> list[Ring]:
    """Split a ring that goes through some corners twice into rings that do not."""
    return [np.array(loop, dtype=np.int64) for loop in _loops([(x, y) for x, y in ring.tolist()])]


def _loops(ring: list[tuple[int, int]]) -> Iterator[list[tuple[int, int]]]:
    path: list[tuple[int, int]] = []
    places: dict[tuple[int, int], int] = {}
    for corner in ring:
        if corner in places:
            begin = places[corner]
            yield path[begin:]
            for gone in path[begin:]:
                del places[gone]
            del path[begin:]
        places[corner] = len(path)
        path.append(corner)
    yield path
