"""Pixels near boundaries against erosion of binary masks and against distances pixel by pixel."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vocseg.ops.boundaries import boundary_levels, near_boundary

DISTANCES = (1, 2, 4, 8)


def blocks(seed: int, height: int, width: int, cell: int = 3) -> np.ndarray:
    """A label map of blocks of a few labels, with void."""
    random = np.random.default_rng(seed)
    small = random.choice([0, 1, 2, 255], (height // cell + 1, width // cell + 1))
    return small.repeat(cell, 0).repeat(cell, 1)[:height, :width].astype(np.uint8)


def eroded_away(mask: np.ndarray, distance: int) -> np.ndarray:
    """The band of boundary_iou_api: the mask without its erosion by a 3 x 3 square, repeated, with zeros outside."""
    kept = ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=distance, border_value=0)
    return mask & ~kept


@given(st.integers(0, 9999), st.integers(1, 40), st.integers(1, 40), st.integers(1, 13))
@settings(max_examples=60, deadline=None)
def test_the_band_of_each_label_is_what_erosion_takes_away(seed: int, height: int, width: int, distance: int) -> None:
    labels = blocks(seed, height, width)
    near = near_boundary(torch.from_numpy(labels), distance).numpy()
    for label in np.unique(labels):
        mask = labels == label
        assert np.array_equal(near & mask, eroded_away(mask, distance))


@given(st.integers(0, 9999), st.integers(1, 30), st.integers(1, 30))
@settings(max_examples=40, deadline=None)
def test_levels_are_distances_to_another_label(seed: int, height: int, width: int) -> None:
    labels = blocks(seed, height, width, cell=5)
    levels = boundary_levels(torch.from_numpy(labels), DISTANCES).numpy()
    for label in np.unique(labels):
        mask = labels == label
        distance = np.full(mask.shape, np.inf) if mask.all() else ndimage.distance_transform_cdt(mask, "chessboard")
        want = sum((distance > step).astype(int) for step in DISTANCES)
        assert np.array_equal(levels[mask], want[mask])


def test_batches_are_computed_together() -> None:
    maps = torch.stack([torch.from_numpy(blocks(seed, 21, 33)) for seed in range(3)])
    assert torch.equal(near_boundary(maps, 4), torch.stack([near_boundary(labels, 4) for labels in maps]))
    assert torch.equal(boundary_levels(maps, DISTANCES), torch.stack([boundary_levels(labels, DISTANCES) for labels in maps]))


@pytest.mark.gpu
def test_on_a_gpu() -> None:
    labels = torch.from_numpy(blocks(0, 50, 70))
    assert torch.equal(near_boundary(labels.cuda(), 5).cpu(), near_boundary(labels, 5))
    assert torch.equal(boundary_levels(labels.cuda(), DISTANCES).cpu(), boundary_levels(labels, DISTANCES))
