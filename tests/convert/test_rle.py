"""Run lengths against pycocotools, and Label Studio's against a packer written here."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as reference

from convert.scenes import whole
from vocseg.convert import rle
from vocseg.errors import DataError

sides = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=24)
masks = hnp.arrays(np.bool_, sides)


@given(masks)
def test_rle_is_cocos(region: np.ndarray) -> None:
    ours, theirs = rle.encode(region), reference.encode(np.asfortranarray(region.astype(np.uint8)))
    assert ours == {"size": list(theirs["size"]), "counts": theirs["counts"].decode()}
    assert np.array_equal(whole(rle.decode(ours, *region.shape), *region.shape), region)
    assert np.array_equal(whole(rle.decode(ours | {"counts": ours["counts"].encode()}, *region.shape), *region.shape), region)
    assert np.array_equal(whole(rle.decode(ours | {"counts": rle.runs(region)}, *region.shape), *region.shape), region)


def test_long_runs() -> None:
    region = np.zeros((3000, 2000), dtype=bool)
    region[5:2990, 7:1990] = True
    assert rle.encode(region)["counts"] == reference.encode(np.asfortranarray(region.astype(np.uint8)))["counts"].decode()
    assert np.array_equal(whole(rle.decode(rle.encode(region), *region.shape), *region.shape), region)


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
        rle.decode(broken, 4, 4)


LENGTHS = st.lists(st.one_of(st.integers(-2, 16), st.integers(), st.sampled_from([2**62, 2**63, -(2**63), 2**64])), max_size=6)


@st.composite
def lengths_modulo(draw: st.DrawFn) -> list[int]:
    """Run lengths whose sum is 16 for those who count in 64 bits."""
    lengths = draw(LENGTHS)
    return [*lengths, (16 - sum(lengths)) % 2**64]


@given(st.one_of(LENGTHS, lengths_modulo()), st.booleans())
def test_any_run_lengths_give_all_pixels_or_our_error(lengths: list[int], packed: bool) -> None:
    try:
        region = whole(rle.decode({"size": [2, 8], "counts": rle.pack(lengths) if packed else lengths}, 2, 8), 2, 8)
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


@given(masks)
def test_label_studio_rle(region: np.ndarray) -> None:
    packed = label_studio_rle(region)
    assert np.array_equal(whole(rle.decode_label_studio(packed, *region.shape), *region.shape), region)
    with pytest.raises(DataError, match="instead of 4 for each"):
        rle.decode_label_studio(packed, region.shape[0] + 1, region.shape[1])
    with pytest.raises(DataError, match="run lengths of a painted region"):
        rle.decode_label_studio(packed[:8], *region.shape)


def test_label_studio_rle_of_nonsense() -> None:
    for nonsense in ([], [1, 2], [300] * 20, ["a"], None):
        with pytest.raises(DataError, match="painted region"):
            rle.decode_label_studio(nonsense, 2, 2)  # type: ignore[arg-type]
