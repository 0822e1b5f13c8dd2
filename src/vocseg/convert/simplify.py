"""Give outlines fewer corners; regions that are neighbors keep a common border, without gaps and overlaps.

Outlines are cut into arcs at the points at which three or more regions meet, and each arc is simplified once, by D. H. Douglas
and T. K. Peucker, "Algorithms for the reduction of the number of points required to represent a digitized line or its
caricature" (1973): a chain of points becomes the line between its ends if none is farther from it than the tolerance;
otherwise it is cut at the farthest. A line is refused, and its chain cut as well, if a point of another border lies between
chain and line: A. Saalfeld, "Topologically consistent line simplification with the Douglas-Peucker algorithm" (1999). All
points of all borders count, with a distance of 1 from point to point, so what is decided for one arc does not depend on the
others, and no two lines cross: each would have a point of the other's chain between itself and its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from vocseg.convert.outlines import Ints, Ring, Traced
from vocseg.errors import SettingError


def simplified(traced: Traced, size: tuple[int, int], tolerance: float) -> Traced:
    """Return the parts of all labels of a label map of ``size`` (height, width) with fewer corners; areas stay those of pixels.

    ``traced``: all labels of the map, the background too, so that the borders of all are known. ``tolerance``: pixels that a
    border may move at most. A part keeps all its holes, and a ring three corners at least. Raises SettingError for a
    tolerance that is negative or not finite.

    >>> from vocseg.convert.outlines import trace
    >>> steps = np.tri(8, dtype=np.uint8)
    >>> {label: len(parts[0].outline) for label, parts in trace(steps).items()}
    {0: 16, 1: 18}
    >>> {label: len(parts[0].outline) for label, parts in simplified(trace(steps), steps.shape, 1).items()}
    {0: 3, 1: 5}
    """
    check_tolerance(tolerance)
    stride = size[1] + 1
    rings = [_steps(ring, stride) for parts in traced.values() for part in parts for ring in part.rings]
    if not rings:
        return traced
    borders = _Borders(np.concatenate(rings), size)
    places = [np.searchsorted(borders.points, ring) for ring in rings]
    kept = borders.meeting.copy()
    for arc in _keeping_sides(_arcs(places, borders.meeting), borders, tolerance):
        kept[arc] = True
    remaining = iter(places)

    def fewer(_: Ring) -> Ring:
        at = next(remaining)
        return np.stack(borders.xy(at[kept[at]]), axis=1)

    return {
        label: [part._replace(outline=fewer(part.outline), holes=[fewer(hole) for hole in part.holes]) for part in parts]
        for label, parts in traced.items()
    }


def check_tolerance(pixels: float) -> None:
    """Raise SettingError for a distance that is negative or not finite."""
    if not 0 <= pixels < math.inf:
        raise SettingError(f"simplify is {pixels}, not a distance in pixels of 0 or more")


def _steps(ring: Ring, stride: int) -> Ints:
    """Return all points of a ring, a pixel apart, as y x ``stride`` + x."""
    along = np.roll(ring, -1, axis=0) - ring
    length = np.abs(along).sum(1)
    step = np.sign(along) @ (1, stride)
    from_corner = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return np.repeat(ring @ (1, stride), length) + from_corner * np.repeat(step, length)


class _Borders:
    """All ``points`` of borders in the order of reading, and which are fixed since arcs are ``meeting`` there.

    Arcs meet at points that more than two regions touch; at the image's edge more than one; and at the image's corners.
    """

    def __init__(self, visits: Ints, size: tuple[int, int]) -> None:
        height, width = size
        self.stride = width + 1
        self.points, counts = np.unique(visits, return_counts=True)
        x, y = self.points % self.stride, self.points // self.stride
        at_side, at_end = (x == 0) | (x == width), (y == 0) | (y == height)
        self.meeting = (counts > 2 - (at_side | at_end)) | (at_side & at_end)
        self._own = np.zeros(len(self.points), dtype=bool)

    def xy(self, places: Ints) -> tuple[Ints, Ints]:
        points = self.points[places]
        return points % self.stride, points // self.stride

    def lie_between(self, chain: Ints, reach: float) -> bool:
        """Tell whether points that are not the chain's lie between it and the line from end to end, or on that line.

        ``reach``: how far the chain's points are from that line. A point lies between if a ray from it, here to the right,
        crosses chain and line an odd number of times.
        """
        x, y = self.xy(chain)
        others = self._near(chain, x, y)
        if not len(others):
            return False
        (x0, x1), (y0, y1) = x[[0, -1]].tolist(), y[[0, -1]].tolist()
        px, py = self.xy(others)
        side = (x1 - x0) * (py - y0) - (y1 - y0) * (px - x0)
        close = np.abs(side) <= (reach + 1e-6) * math.hypot(x1 - x0, y1 - y0)
        px, py, side = px[close], py[close], side[close]
        on_line = (side == 0) & (np.minimum(x0, x1) <= px) & (px <= max(x0, x1)) & (min(y0, y1) <= py) & (py <= max(y0, y1))
        if on_line.any():
            return True
        upright = np.sort((np.minimum(y[:-1], y[1:]) * self.stride + x[:-1])[y[:-1] != y[1:]])
        crossed = np.searchsorted(upright, (py + 1) * self.stride) - np.searchsorted(upright, py * self.stride + px)
        crosses_line = ((y0 > py) != (y1 > py)) & ((side > 0) if y1 > y0 else (side < 0))
        return bool(((crossed + crosses_line) % 2).any())

    def _near(self, chain: Ints, x: Ints, y: Ints) -> Ints:
        """Return the places of points in the box around a chain that are not in it."""
        rows = np.arange(y.min(), y.max() + 1) * self.stride
        begin = np.searchsorted(self.points, rows + x.min())
        count = np.searchsorted(self.points, rows + x.max(), "right") - begin
        found = np.arange(count.sum()) + np.repeat(begin - np.cumsum(count) + count, count)
        self._own[chain] = True
        found = found[~self._own[found]]
        self._own[chain] = False
        return found


def _arcs(rings: Iterable[Ints], meeting: NDArray[np.bool_]) -> Iterator[Ints]:
    """Yield each arc of the rings once, always in the same direction; one that meets no other is closed."""
    done = set()
    for ring in rings:
        ends = np.flatnonzero(meeting[ring])
        begin = int(ends[0]) if len(ends) else int(ring.argmin())
        ring = np.roll(ring, -begin)
        ring = np.append(ring, ring[:1])
        bounds = [0, *(ends[1:] - begin).tolist(), len(ring) - 1]
        for first, last in pairwise(bounds):
            arc = ring[first : last + 1]
            forward, backward = (int(arc[0]), int(arc[1])), (int(arc[-1]), int(arc[-2]))
            if (key := min(forward, backward)) not in done:
                done.add(key)
                yield arc if key == forward else arc[::-1]


def _keeping_sides(arcs: Iterable[Ints], borders: _Borders, tolerance: float) -> Iterator[Ints]:
    """Yield the points of each arc that stay, so that no region has fewer than three corners."""
    lines: dict[tuple[int, int], list[Ints]] = {}
    for arc in arcs:
        if arc[0] == arc[-1]:
            half, _ = _farthest(arc, borders)
            halves = [arc[: half + 1], arc[half:]]
            found = [_simplify(chain, borders, tolerance) for chain in halves]
            if not any(map(len, found)):
                found = [_simplify(max(halves, key=lambda chain: _farthest(chain, borders)[1]), borders, tolerance, True)]
            yield np.concatenate([arc[[0, half]], *found])
            continue
        found = [_simplify(arc, borders, tolerance)]
        yield found[0]
        if not len(found[0]):
            lines.setdefault((min(arc[0], arc[-1]), max(arc[0], arc[-1])), []).append(arc)
    for same in lines.values():
        for arc in same if len(same) > 1 else []:  # what is between them must not become a line
            if _farthest(arc, borders)[1] > 0:
                yield _simplify(arc, borders, tolerance, True)


def _simplify(arc: Ints, borders: _Borders, tolerance: float, cut: bool = False) -> Ints:
    """Return the points between its ends that an arc keeps; ``cut``: one at least."""
    kept, waiting = [], [(0, len(arc) - 1)]
    while waiting:
        begin, end = waiting.pop()
        if end - begin < 2:
            continue
        chain = arc[begin : end + 1]
        at, distance = _farthest(chain, borders)
        if cut or distance > tolerance or (distance > 0 and borders.lie_between(chain, distance)):
            kept.append(arc[begin + at])
            waiting += [(begin, begin + at), (begin + at, end)]
        cut = False
    return np.array(kept, dtype=np.int64)


def _farthest(chain: Ints, borders: _Borders) -> tuple[int, float]:
    """Return which point of a chain is farthest from the line between its ends, and its distance."""
    x, y = borders.xy(chain)
    x, y = x - x[0], y - y[0]
    length = max(1, int(x[-1] ** 2 + y[-1] ** 2))
    along = np.clip((x * x[-1] + y * y[-1]) / length, 0, 1)
    squares = (x - along * x[-1]) ** 2 + (y - along * y[-1]) ** 2
    at = int(squares.argmax())
    return at, math.sqrt(squares[at])
