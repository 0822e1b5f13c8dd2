"""Simplified borders against slow plain code: exact arithmetic, pixel by pixel, segment by segment."""

from __future__ import annotations

from collections import Counter
from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vocseg.convert.outlines import Part, trace
from vocseg.convert.simplify import simplified
from vocseg.errors import SettingError

Point = tuple[int, int]
Segment = tuple[Point, Point]


def _grown(seeds: np.ndarray, factor: int) -> np.ndarray:
    return np.kron(seeds, np.ones((factor, factor), np.uint8))


maps = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14), elements=st.sampled_from([0, 1, 2, 255])
)
noisy = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=16), elements=st.sampled_from([0, 0, 0, 0, 7])
)
blocks = hnp.arrays(np.uint8, (4, 5), elements=st.sampled_from([0, 1, 2])).flatmap(
    lambda seeds: st.sets(st.tuples(st.integers(0, 11), st.integers(0, 14)), max_size=12).map(lambda dots: _dotted(seeds, dots))
)
tolerances = st.sampled_from([0, 0.5, 0.75, 1, 1.5, 2, 3, 5, 50])


def _dotted(seeds: np.ndarray, dots: set[Point]) -> np.ndarray:
    labels = _grown(seeds, 3)
    for y, x in dots:
        labels[y, x] = (labels[y, x] + 1) % 3
    return labels


def _disc(seed: int, side: int = 40) -> np.ndarray:
    random = np.random.default_rng(seed)
    labels = np.zeros((side, side), np.uint8)
    y, x = np.mgrid[:side, :side]
    for label in (1, 2, 3, 1):
        cy, cx, r = random.uniform(5, side - 5), random.uniform(5, side - 5), random.uniform(4, side / 3)
        labels[(y - cy) ** 2 + (x - cx) ** 2 < r**2] = label
    return labels


def _segments(ring: np.ndarray) -> list[Segment]:
    points = [(x, y) for x, y in ring.tolist()]
    return list(zip(points, [*points[1:], points[0]], strict=True))


def _all_segments(traced: dict[int, list[Part]]) -> list[tuple[int, Segment]]:
    return [(label, one) for label, parts in traced.items() for part in parts for ring in part.rings for one in _segments(ring)]


def _is_inside(x: float, y: float, rings: list[np.ndarray]) -> bool:
    inside = False
    for ring in rings:
        for (x0, y0), (x1, y1) in _segments(ring):
            if (y0 <= y) != (y1 <= y):
                (xa, ya), (xb, yb) = sorted([(x0, y0), (x1, y1)], key=lambda point: point[1])  # as seen from either side
                inside ^= (x - xa) * (yb - ya) >= (y - ya) * (xb - xa)
    return inside


def _filled(traced: dict[int, list[Part]], shape: tuple[int, int]) -> np.ndarray:
    """How many polygons each pixel is in (plane 0), and the sum of their labels."""
    found = np.zeros((2, *shape), int)
    for label, parts in traced.items():
        for part in parts:
            for y, x in np.ndindex(*shape):
                if _is_inside(x + 0.5, y + 0.5, part.rings):
                    found[:, y, x] += (1, label)
    return found


def _turn(a: Point, b: Point, c: Point) -> int:
    value = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
    return (value > 0) - (value < 0)


def _on(a: Point, b: Point, c: Point) -> bool:
    return _turn(a, b, c) == 0 and all(min(p, q) <= r <= max(p, q) for p, q, r in zip(a, b, c, strict=True))


def _touch(one: Segment, other: Segment) -> bool:
    """Whether two segments share a point that is not an end of both."""
    (a, b), (c, d) = one, other
    if any(_on(*one, end) for end in set(other) - set(one)) or any(_on(*other, end) for end in set(one) - set(other)):
        return True
    if set(one) & set(other):
        return False
    return _turn(a, b, c) != _turn(a, b, d) and _turn(c, d, a) != _turn(c, d, b)


def _distance(point: Point, segment: Segment) -> float:
    (x0, y0), (x1, y1) = segment
    dx, dy = x1 - x0, y1 - y0
    along = min(1.0, max(0.0, ((point[0] - x0) * dx + (point[1] - y0) * dy) / (dx * dx + dy * dy)))
    return float(np.hypot(point[0] - x0 - along * dx, point[1] - y0 - along * dy))


def _check(labels: np.ndarray, tolerance: float) -> None:
    exact = trace(labels)
    found = simplified(exact, labels.shape, tolerance)
    assert {label: len(parts) for label, parts in found.items()} == {label: len(parts) for label, parts in exact.items()}
    counts = _filled(found, labels.shape)
    assert (counts[0] == 1).all()  # no gap, no overlap
    if tolerance == 0:
        assert np.array_equal(counts[1], labels)
    # A border is in the rings of both neighbors, in opposite directions, or at the image's edge in one.
    segments = Counter(one for _, one in _all_segments(found))
    assert set(segments.values()) <= {1}
    height, width = labels.shape
    for a, b in segments:
        on_edge = any(a[axis] == b[axis] and a[axis] in (0, end) for axis, end in ((0, width), (1, height)))
        assert ((b, a) in segments) != on_edge
    borders = {tuple(sorted(one)) for one in segments}
    assert not [pair for pair in combinations(borders, 2) if _touch(*pair)]
    for label, parts in found.items():
        for part, before in zip(parts, exact[label], strict=True):
            assert len(part.holes) == len(before.holes)
            assert part.area == before.area
            for ring, original in zip(part.rings, before.rings, strict=True):
                _check_ring(ring, original, tolerance)


def _check_ring(ring: np.ndarray, original: np.ndarray, tolerance: float) -> None:
    assert len(ring) >= 3
    assert _area(ring) * _area(original) > 0  # not turned inside out
    if tolerance:
        assert len(ring) == len(set(map(tuple, ring.tolist())))
    else:
        assert _area(ring) == _area(original)
    segments = _segments(ring)
    assert all(min(_distance((x, y), one) for one in segments) <= tolerance + 1e-9 for x, y in original.tolist())
    before = _segments(original)
    assert all(min(_distance((x, y), one) for one in before) == 0 for x, y in ring.tolist())


def _area(ring: np.ndarray) -> int:
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in _segments(ring))


@settings(deadline=None, max_examples=60)
@given(st.one_of(maps, noisy, blocks), tolerances)
def test_borders_stay_common_and_near(labels: np.ndarray, tolerance: float) -> None:
    _check(labels, tolerance)


@pytest.mark.parametrize("tolerance", [1, 2.5])
def test_round_regions(tolerance: float) -> None:
    labels = _disc(1)
    _check(labels, tolerance)
    exact = trace(labels)
    found = simplified(exact, labels.shape, tolerance)
    counts = [sum(len(ring) for parts in each.values() for part in parts for ring in part.rings) for each in (exact, found)]
    assert counts[1] < counts[0] / 2


CASES: dict[str, list[str]] = {
    "an island beside a border that would jump over it": ["aaaaaaaa", "aaabaaaa", "aabbbaaa", "aabcbaaa", "bbbbbbbb"],
    "a lens between two arcs with common ends": ["aaaaaa", "aabbaa", "abbbba", "ccccdd", "cccddd"],
    "a thin diagonal": ["abcccc", "aabccc", "aaabcc", "aaaabc", "aaaaab"],
    "one pixel": ["aaa", "aba", "aaa"],
    "pixels that touch at corners": ["aba", "bab", "aba"],
    "a hole that touches the outline": ["bbb", "bab", "bba"],
    "a region along the edge": ["aaaa", "bbbb", "aaaa"],
    "rings in rings": ["aaaaaaa", "abbbbba", "abaaaba", "ababaaa", "abaaaba", "abbbbba", "aaaaaaa"],
    "a comb": ["abababab", "abababab", "abababab", "bbbbbbbb"],
    "one": ["a"],
    "a row": ["aabbabc"],
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("tolerance", [0, 0.8, 2, 100])
def test_cases(name: str, tolerance: float) -> None:
    _check(np.array([[ord(letter) - ord("a") for letter in row] for row in CASES[name]], dtype=np.uint8), tolerance)


def test_nothing_depends_on_the_side_from_which_a_border_is_seen() -> None:
    labels = _disc(3)
    points = {(x, y) for _, one in _all_segments(simplified(trace(labels), labels.shape, 1.5)) for x, y in one}
    swapped = {(x, y) for _, one in _all_segments(simplified(trace(255 - labels), labels.shape, 1.5)) for x, y in one}
    assert points == swapped


@pytest.mark.parametrize("tolerance", [-1, float("nan"), float("inf")])
def test_tolerance_is_checked(tolerance: Any) -> None:
    with pytest.raises(SettingError, match="not a distance in pixels of 0 or more"):
        simplified({}, (1, 1), tolerance)
