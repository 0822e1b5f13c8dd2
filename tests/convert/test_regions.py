"""Run lengths, filled outlines and outlines of regions, against pycocotools and plain slow code."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as reference

from vocseg.convert import contours, rle, shapes
from vocseg.errors import DataError

sides = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
regions = hnp.arrays(np.bool_, sides)


@given(regions)
def test_rle_is_cocos(region: np.ndarray) -> None:
    ours, theirs = rle.encode(region), reference.encode(np.asfortranarray(region.astype(np.uint8)))
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
    assert np.array_equal(rle.decode(ours), region)
    assert np.array_equal(rle.decode(ours | {"counts": ours["counts"].encode()}), region)
    assert np.array_equal(rle.decode(ours | {"counts": rle.runs(region)}), region)


def test_long_runs() -> None:
    region = np.zeros((3000, 2000), dtype=bool)
    region[5:2990, 7:1990] = True
    assert rle.encode(region)["counts"] == reference.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(rle.decode(rle.encode(region)), region)


@pytest.mark.parametrize(
    "broken",
    [
        {"size": [4, 4], "counts": [3, 4]},
        {"size": [4, 4], "counts": [20, -4]},
        {"size": [4, 4], "counts": "zzz"},
        {"size": [4, 4], "counts": "P"},
        {"size": [4, 4], "counts": "\x01é"},
        {"size": [4], "counts": [16]},
        {"counts": [16]},
        {"size": [4, 4], "counts": None},
        {"size": [4, 4], "counts": [2**62, 2**62, 2**62, 2**62 + 16]},  # 16 modulo 2^64
        {"size": [4, 4], "counts": rle.pack([2**62, 2**62, 2**62, 2**62 + 16])},
        {"size": [4, 4], "counts": [2**63, 16]},
        {"size": [4, 4], "counts": rle.pack([2**70])},
        {"size": [2**32, 2**32], "counts": [2**62] * 4},
        {"size": [-4, -4], "counts": [16]},
    ],
)
def test_broken_rle(broken: dict) -> None:
    with pytest.raises(DataError, match="run lengths"):
        rle.decode(broken)


LENGTHS = st.lists(st.one_of(st.integers(-2, 16), st.integers(), st.sampled_from([2**62, 2**63, -(2**63), 2**64])), max_size=6)


@st.composite
def lengths_modulo(draw: st.DrawFn) -> list[int]:
    """Run lengths whose sum is 16 for those who count in 64 bits."""
    lengths = draw(LENGTHS)
    return [*lengths, (16 - sum(lengths)) % 2**64]


@given(st.one_of(LENGTHS, lengths_modulo()), st.booleans())
def test_any_run_lengths_give_all_pixels_or_our_error(lengths: list[int], packed: bool) -> None:
    try:
        region = rle.decode({"size": [2, 8], "counts": rle.pack(lengths) if packed else lengths})
    except DataError:
        assert sum(lengths) != 16 or min(lengths) < 0
    else:
        assert region.shape == (2, 8)
        assert region.sum() == sum(lengths[1::2])


def label_studio_rle(region: np.ndarray, sizes: tuple[int, ...] = (3, 4, 8, 16)) -> list[int]:
    """A region as Label Studio packs it: RGBA values, runs of equal ones and stretches of single ones."""
    values = np.repeat(region.reshape(-1).astype(np.uint8) * 255, 4)
    text = f"{len(values):032b}{7:05b}" + "".join(f"{size - 1:04b}" for size in sizes)
    place = 0
    while place < len(values):
        run = 1
        while place + run < len(values) and values[place + run] == values[place] and run < 2 ** sizes[3]:
            run += 1
        which = next(index for index, size in enumerate(sizes) if run <= 2**size)
        if run < 3:  # a stretch of values that are each written out
            run = min(5, len(values) - place)
            which = 0
            text += f"0{which:02b}{run - 1:0{sizes[which]}b}" + "".join(f"{value:08b}" for value in values[place : place + run])
        else:
            text += f"1{which:02b}{run - 1:0{sizes[which]}b}{values[place]:08b}"
        place += run
    text += "0" * (8 - len(text) % 8)
    return [int(text[at : at + 8], 2) for at in range(0, len(text), 8)]


@given(regions)
def test_label_studio_rle(region: np.ndarray) -> None:
    packed = label_studio_rle(region)
    assert np.array_equal(rle.decode_label_studio(packed, *region.shape), region)
    with pytest.raises(DataError, match="not 4 for each"):
        rle.decode_label_studio(packed, region.shape[0] + 1, region.shape[1])
    with pytest.raises(DataError, match="run lengths of a painted region"):
        rle.decode_label_studio(packed[:8], *region.shape)


def test_label_studio_rle_of_nonsense() -> None:
    for nonsense in ([], [1, 2], [300] * 20, ["a"], None):
        with pytest.raises(DataError, match="painted region"):
            rle.decode_label_studio(nonsense, 2, 2)  # type: ignore[arg-type]


corners = st.lists(st.tuples(st.floats(-9, 30), st.floats(-9, 30)), min_size=1, max_size=9)


@given(st.lists(corners, min_size=1, max_size=3), st.integers(1, 20), st.integers(1, 20))
@settings(deadline=None)
def test_polygon_is_even_odd_at_centers(rings: list[list[tuple[float, float]]], height: int, width: int) -> None:
    ours = shapes.polygon(rings, height, width)
    slow, certain = np.zeros((height, width), dtype=bool), np.ones((height, width), dtype=bool)
    for y in range(height):
        for x in range(width):
            for ring in rings:
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
        ours = shapes.polygon([ring], 180, 200)
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98


def test_polygon_degenerate() -> None:
    assert not shapes.polygon([], 3, 3).any()
    assert not shapes.polygon([[(1, 1)]], 3, 3).any()
    assert not shapes.polygon([[(0, 0), (3, 3)]], 3, 3).any()
    assert not shapes.polygon([[(float("nan"), 0), (3, 3), (1, 2)]], 3, 3).any()
    assert shapes.polygon([[(-1e9, -1e9), (1e9, -1e9), (1e9, 1e9), (-1e9, 1e9)]], 3, 3).all()


@given(regions)
@settings(deadline=None)
def test_outlines_give_the_region_back(region: np.ndarray) -> None:
    parts = [shapes.polygon([ring], *region.shape) for ring in contours.components(region)]
    assert np.array_equal(sum(part.astype(int) for part in parts) if parts else np.zeros(region.shape), region.astype(int))
    assert len(parts) == count_parts(region)
    # pycocotools fills outlines along pixel edges in the same way
    for ring, part in zip(contours.components(region), parts, strict=True):
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
    rings = contours.components(region)
    assert len(rings) == 3
    assert [int(shapes.polygon([ring], 11, 11).sum()) for ring in rings] == [40, 16, 1]


def test_ellipse_rectangle_place() -> None:
    disc = shapes.ellipse((10, 10), (5, 5), 20, 20)
    assert abs(disc.sum() - np.pi * 25) < 4
    lying = shapes.ellipse((10, 10), (8, 2), 20, 20)
    assert np.array_equal(shapes.ellipse((10, 10), (8, 2), 20, 20, 90), lying.T)
    upright = shapes.polygon([shapes.rectangle(2, 3, 4, 2)], 9, 9)
    assert upright.sum() == 8
    assert upright[3:5, 2:6].all()
    turned = shapes.polygon([shapes.rectangle(6, 1, 4, 2, 90)], 9, 9)  # clockwise: to the left of its corner, down
    assert turned.sum() == 8
    assert turned[1:5, 4:6].all()
    stamp = np.ones((4, 4), dtype=bool)
    assert shapes.place(stamp, -2, -1, 5, 5).sum() == 6
    assert shapes.place(stamp, 3, 4, 5, 5).sum() == 2
    assert not shapes.place(stamp, 7, 0, 5, 5).any()
    assert not shapes.place(stamp, -7, -7, 5, 5).any()
