"""Outlines of regions, against pycocotools and plain slow code."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as reference

from convert.scenes import whole
from vocseg.convert import regions
from vocseg.convert.outlines import Ring, Tracer, cut_open, filled, parts, trace

masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


def _outlines(region: np.ndarray) -> list[Ring]:
    return [cut_open(part.outline, part.holes) for part in parts(region)]


@given(masks)
@settings(deadline=None)
def test_outlines_give_the_region_back(region: np.ndarray) -> None:
    drawn = [whole(regions.fill(ring, *region.shape), *region.shape) for ring in _outlines(region)]
    assert np.array_equal(sum(part.astype(int) for part in drawn) if drawn else np.zeros(region.shape), region.astype(int))
    assert len(drawn) == count_parts(region)
    # pycocotools fills outlines along pixel edges in the same way
    for ring, part in zip(_outlines(region), drawn, strict=True):
        theirs = reference.decode(reference.frPyObjects([ring.reshape(-1).tolist()], *region.shape))[..., 0] > 0
        assert np.array_equal(theirs, part)


def count_parts(region: np.ndarray) -> int:
    left, parts = {(int(y), int(x)) for y, x in np.argwhere(region)}, 0
    while left:
        parts += 1
        edge = [left.pop()]
        while edge:
            y, x = edge.pop()
            near = {(y + 1, x), (y - 1, x), (y, x + 1), (y, x - 1)} & left
            left -= near
            edge += near
    return parts


def test_ring_in_a_hole_in_a_ring() -> None:
    region = np.ones((11, 11), dtype=bool)
    region[1:10, 1:10] = False
    region[3:8, 3:8] = True
    region[4:7, 4:7] = False
    region[5, 5] = True
    rings = _outlines(region)
    assert len(rings) == 3
    assert [int(regions.fill(ring, 11, 11).pixels.sum()) for ring in rings] == [40, 16, 1]


labels = hnp.arrays(
    np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=16), elements=st.sampled_from([0, 1, 2, 255])
)


@given(labels, st.lists(st.integers(1, 15), max_size=4), st.sampled_from([None, 0, 255]))
@settings(deadline=None)
def test_strips_give_the_parts_of_the_whole(labels: np.ndarray, cuts: list[int], skip: int | None) -> None:
    tracer = Tracer(labels.shape[1], skip)
    for strip in np.split(labels, sorted({cut for cut in cuts if cut < len(labels)})):
        tracer.add(strip)
    traced = tracer.parts()
    assert str(traced) == str(trace(labels, skip))
    assert set(traced) == set(np.unique(labels).tolist()) - {skip}
    for label, found in traced.items():
        assert str(found) == str(parts(labels == label))
        assert sum(part.area for part in found) == (labels == label).sum()


@given(masks)
@settings(deadline=None)
def test_rings_do_not_touch_themselves(region: np.ndarray) -> None:
    for part in parts(region):
        assert sum(map(_area, part.rings)) == part.area
        assert _area(part.outline) > 0
        for ring in part.rings:
            assert len(set(map(tuple, ring.tolist()))) == len(ring)
        assert all(_area(hole) < 0 for hole in part.holes)


def _area(ring: Ring) -> int:
    points = ring.tolist()
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(points, [*points[1:], points[0]], strict=True)) // 2


@given(labels, st.integers(0, 15), st.integers(1, 16))
@settings(deadline=None)
def test_parts_fill_to_the_label_map(labels: np.ndarray, first: int, count: int) -> None:
    rows = range(min(first, len(labels) - 1), min(first + count, len(labels)))
    assert np.array_equal(filled(trace(labels), labels.shape[1], rows), labels[rows.start : rows.stop])
