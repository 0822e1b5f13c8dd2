from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.inference.tile_plan import Grid, part, plan

GRIDS = [
    Grid(stride, corners, unit, 1) for stride, unit in ((1, 32), (4, 32), (8, 32), (16, 64), (3, 96)) for corners in (False, True)
]


@settings(deadline=None)
@given(st.integers(1, 3000), st.sampled_from(GRIDS), st.integers(1, 12), st.floats(0, 0.99))
def test_weights_are_a_partition_of_unity(pixels: int, grid: Grid, units: int, share: float) -> None:
    tile = grid.side(units * grid.unit)
    overlap = int(share * tile / grid.unit) * grid.unit
    axis = plan(pixels, tile, min(overlap, tile - grid.corners - grid.unit), grid)
    total = torch.zeros(axis.cells, dtype=torch.float64)
    for start, weights in zip(axis.starts, axis.weights, strict=True):
        total[start : start + axis.length] += weights.double()
        assert start * grid.stride % grid.unit == 0
    assert (axis.weights >= 0).all()
    torch.testing.assert_close(total, torch.ones_like(total), rtol=0, atol=1e-6)
    assert axis.starts[-1] + axis.length == axis.cells
    assert grid.pixels(axis.cells) >= pixels
    assert axis.length == grid.cells(min(tile, grid.side(pixels)))


@settings(deadline=None)
@given(st.integers(600, 3000), st.integers(0, 8))
def test_neighbors_overlap_by_no_less_than_they_must(pixels: int, units: int) -> None:
    grid = Grid(4, False, 32, 1)
    axis = plan(pixels, 512, 32 * units, grid)
    steps = [4 * (later - earlier) for earlier, later in zip(axis.starts, axis.starts[1:], strict=False)]
    assert steps
    assert max(steps) <= 512 - 32 * units
    assert max(steps) - min(steps) <= grid.unit


def test_weights_near_the_edge_of_a_tile_are_zero_unless_it_is_the_image_s() -> None:
    first, second = plan(112, 64, 16, Grid(1, False, 16, 1)).weights
    assert first[0] == second[-1] == 1
    assert first[60:].tolist() == second[:4].tolist() == [0, 0, 0, 0]


@pytest.mark.parametrize("corners", [False, True])
@settings(deadline=None)
@given(cells=st.integers(1, 40), step=st.integers(1, 50), missing=st.integers(0, 3))
def test_parts_cover_the_axis(corners: bool, cells: int, step: int, missing: int) -> None:
    grid = Grid(4, corners, 4, 1)
    pixels = max(1, grid.pixels(cells) - (0 if corners else missing))
    parts = [part(start, start + step, cells, pixels, 4) for start in range(0, cells, step)]
    assert sum(each.pixels for each in parts) == pixels
    assert all(each.skip + each.pixels <= grid.pixels(each.below - each.above) for each in parts)
