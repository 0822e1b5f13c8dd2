"""Outlines of regions, filled by us and by pycocotools, give the regions back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp
from pycocotools import mask as reference

from vocseg.convert import contours, polygons

regions = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24))


@given(regions)
@settings(deadline=None)
def test_outlines_give_the_region_back(region: np.ndarray) -> None:
    parts = [polygons.fill([ring], *region.shape) for ring in contours.outlines(region)]
    assert np.array_equal(sum(part.astype(int) for part in parts) if parts else np.zeros(region.shape), region.astype(int))
    assert len(parts) == count_parts(region)
    # pycocotools fills outlines along pixel edges in the same way
    for ring, part in zip(contours.outlines(region), parts, strict=True):
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
    rings = contours.outlines(region)
    assert len(rings) == 3
    assert [int(polygons.fill([ring], 11, 11).sum()) for ring in rings] == [40, 16, 1]
