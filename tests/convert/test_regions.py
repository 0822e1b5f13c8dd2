"""Regions filled, against pycocotools and plain slow code."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as reference

from convert.scenes import whole
from vocseg.convert import regions

corners = st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 30)), min_size=1, max_size=12)


@given(corners, st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None)
def test_polygon_is_even_odd_at_centers(ring: list[tuple[float, float]], height: int, width: int) -> None:
    ours = whole(regions.fill(ring, height, width), height, width)
    slow, certain = np.zeros((height, width), dtype=bool), np.ones((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            for (x0, y0), (x1, y1) in zip(ring, [*ring[1:], ring[0]], strict=True):
                if (y0 <= y + 0.5) != (y1 <= y + 0.5):
                    cut = x0 + (y + 0.5 - y0) * (x1 - x0) / (y1 - y0)
                    slow[y, x] ^= cut <= x + 0.5
                    certain[y, x] &= abs(cut - x - 0.5) > 1e-6
                certain[y, x] &= abs(y0 - y - 0.5) > 1e-9
    assert np.array_equal(ours[certain], slow[certain])


def test_polygon_close_to_cocos() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        ring = np.c_[100 + rng.uniform(40, 80, 12) * np.cos(angles), 90 + rng.uniform(40, 80, 12) * np.sin(angles)]
        theirs = reference.decode(reference.merge(reference.frPyObjects([ring.reshape(-1).tolist()], 180, 200))) > 0
        ours = whole(regions.fill(ring, 180, 200), 180, 200)
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98


def test_polygon_degenerate() -> None:
    assert not regions.fill([], 3, 3).pixels.any()
    assert not regions.fill([(1, 1)], 3, 3).pixels.any()
    assert not regions.fill([(0, 0), (3, 3)], 3, 3).pixels.any()
    assert not regions.fill([(float("nan"), 0), (3, 3), (1, 2)], 3, 3).pixels.any()
    everything = regions.fill([(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)], 3, 3)
    assert whole(everything, 3, 3).all()


def test_ellipse_rectangle_place() -> None:
    disc = whole(regions.ellipse((10, 10), (5, 5), 20, 20), 20, 20)
    assert abs(disc.sum() - np.pi * 25) < 4
    lying = whole(regions.ellipse((10, 10), (8, 2), 20, 20), 20, 20)
    assert np.array_equal(whole(regions.ellipse((10, 10), (8, 2), 20, 20, 90), 20, 20), lying.T)
    upright = whole(regions.fill(regions.rectangle(2, 3, 4, 2), 9, 9), 9, 9)
    assert upright.sum() == 8
    assert upright[3:5, 2:6].all()
    turned = whole(regions.fill(regions.rectangle(6, 1, 4, 2, 90), 9, 9), 9, 9)  # clockwise: to the left of its corner, down
    assert turned.sum() == 8
    assert turned[1:5, 4:6].all()
    stamp = np.ones((4, 4), dtype=bool)
    assert whole(regions.place(stamp, -2, -1, 5, 5), 5, 5).sum() == 6
    assert whole(regions.place(stamp, 3, 4, 5, 5), 5, 5).sum() == 2
    assert not whole(regions.place(stamp, 7, 0, 5, 5), 5, 5).any()
    assert not whole(regions.place(stamp, -7, -7, 5, 5), 5, 5).any()
