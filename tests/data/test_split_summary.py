from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.split_summary import check_split, median_frequency_weights, repeat_factors
from vocseg.errors import DataError


def check(folder: Path) -> str:
    return check_split(SplitDataset(VocFolder.find(folder), "val")).describe()


def test_counts(val_set: SplitDataset) -> None:
    summary = check_split(val_set)
    masks = [val_set[index].mask for index in range(len(val_set))]
    assert torch.equal(summary.pixels, sum(torch.bincount(mask.flatten(), minlength=256) for mask in masks))
    assert summary.images_per_class[0] == 4
    assert "val: 4 images" in summary.describe()


def test_repeat_factors_are_lvis(val_set: SplitDataset) -> None:
    summary = check_split(val_set)
    masks = [set(val_set[index].mask.unique().tolist()) - {255} for index in range(len(val_set))]
    share = {label: sum(label in mask for mask in masks) / len(masks) for label in range(len(val_set.classes))}
    for threshold in (0.0, 0.3, 0.9):
        expected = [max(max(1.0, (threshold / share[label]) ** 0.5) for label in mask) for mask in masks]
        assert repeat_factors(summary.labels, len(summary.classes), threshold).tolist() == pytest.approx(expected)
    lists = summary.images_of()
    shown = [label for label in range(1, len(val_set.classes)) if share[label]]
    assert lists == [[index for index, mask in enumerate(masks) if label in mask] for label in shown]


def test_absent_classes_are_named(damaged: Path) -> None:
    for name in VocFolder.find(damaged).ids("val"):
        path = damaged / voc.MASKS / f"{name}.png"
        mask = np.array(Image.open(path))
        Image.fromarray(np.where(mask == 2, 0, mask).astype(np.uint8)).save(path)
    assert "5 of 6 classes (none of square)" in check(damaged)


def test_defects(damaged: Path) -> None:
    image = damaged / voc.IMAGES / "synth_000007.jpg"
    content = image.read_bytes()
    image.write_bytes(content[:-200])
    with pytest.raises(DataError, match=r"synth_000007\.jpg: .*truncated"):
        check(damaged)
    with Image.open(damaged / voc.IMAGES / "synth_000006.jpg") as opened:
        opened.resize((10, 9)).save(image)
    with pytest.raises(DataError, match=r"image .*synth_000007\.jpg is 9x10 but mask .*synth_000007\.png is \d+x\d+"):
        check(damaged)
    with Image.open(damaged / voc.MASKS / "synth_000007.png") as mask:
        Image.new("RGB", mask.size[::-1]).save(image)
    with pytest.raises(DataError, match=r"is \d+x\d+: one is turned; `vocseg data doctor DATA --fix OUT` repairs it"):
        check(damaged)
    image.write_bytes(b"x")
    with pytest.raises(DataError, match=r"cannot read image .*synth_000007\.jpg"):
        check(damaged)
    image.write_bytes(content)
    Image.new("L", (10, 10), 6).save(damaged / voc.MASKS / "synth_000007.png")
    with pytest.raises(DataError, match=r"synth_000007\.png holds label 6"):
        check(damaged)


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(1, 50)), min_size=1, max_size=40))
def test_class_weights_against_numpy(rows: list[tuple[int, float]]) -> None:
    pixels = np.array([count for count, _ in rows], dtype=np.int64)
    shown_in = np.array([int(count * factor) for count, factor in rows], dtype=np.int64)
    weights = median_frequency_weights(torch.from_numpy(pixels), torch.from_numpy(shown_in))
    frequency = pixels[pixels > 0] / shown_in[pixels > 0]
    expected = np.ones(len(rows))
    if frequency.size:
        expected[pixels > 0] = np.sort(frequency)[(len(frequency) - 1) // 2] / frequency
    assert weights.dtype == torch.float32
    assert weights.numpy() == pytest.approx(expected, rel=1e-5)


def test_class_weights_if_nothing_is_shown() -> None:
    assert median_frequency_weights(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)).tolist() == [1, 1, 1]
