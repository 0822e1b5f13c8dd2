"""Splits that keep groups whole and show every class."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.convert.stratify import parse_fractions, stratified_split
from vocseg.errors import SettingError


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 1000), st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.7, 0.2, 0.1)]))
@settings(deadline=None)
def test_partition_with_groups_whole(images: int, classes: int, seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.random((images, classes)) < rng.random(classes)
    order = rng.permutation(images).tolist()
    groups = [order[:3], order[3:5]] if images > 8 else []
    if images < len(shares):
        return
    splits = stratified_split(shown, shares, groups, seed)
    assert sorted(image for split in splits for image in split) == list(range(images))
    assert all(splits)
    for group in groups:
        assert sum(bool(set(group) & set(split)) for split in splits) == 1
    assert splits == stratified_split(shown, shares, groups, seed)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.integers(0, 1000))
@settings(deadline=None)
def test_each_class_in_both(sizes: list[int], seed: int) -> None:
    """Images of one class each, shuffled: the shares hold for every class, and none is missing anywhere."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    _, val = stratified_split(np.eye(len(sizes), dtype=bool)[labels], (0.8, 0.2), (), seed)
    for label, size in enumerate(sizes):
        in_val = int((labels[val] == label).sum())
        assert 1 <= in_val < size
        assert abs(in_val - 0.2 * size) <= 1


def test_rare_classes_among_common_ones() -> None:
    rng = np.random.default_rng(1)
    shown = np.zeros((400, 12), dtype=bool)
    shown[:, :4] = True  # road, sky and the like
    for label in range(4, 12):
        shown[rng.choice(400, 2 + 3 * (label - 4), replace=False), label] = True
    for seed in range(10):
        train, val = stratified_split(shown, (0.8, 0.2), (), seed)
        assert shown[train].any(0).all()
        assert shown[val].any(0).all()
        assert abs(len(val) - 80) <= 8
        random = rng.permutation(400)[:80]
        assert np.abs(shown[val].mean(0) - shown.mean(0)).max() <= np.abs(shown[random].mean(0) - shown.mean(0)).max() + 0.01


def test_moves_mend_what_dealing_left() -> None:
    # every class in two or three groups that overlap
    shown = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=bool)
    for seed in range(20):
        train, val = stratified_split(shown, (0.5, 0.5), (), seed)
        assert shown[train].any(0).all()
        assert shown[val].any(0).all()


def test_seeds_differ() -> None:
    shown = np.ones((50, 1), dtype=bool)
    assert stratified_split(shown, (0.8, 0.2), (), 1) != stratified_split(shown, (0.8, 0.2), (), 2)


def test_too_few() -> None:
    with pytest.raises(SettingError, match="cannot divide 1 image into 2 splits"):
        stratified_split(np.ones((1, 1), dtype=bool), (0.8, 0.2))
    with pytest.raises(SettingError, match=r"cannot divide 1 image \(near-duplicates counted once\) into"):
        stratified_split(np.ones((3, 1), dtype=bool), (0.8, 0.2), [(0, 1, 2)])
    # no class at all is still a split
    assert [len(part) for part in stratified_split(np.zeros((10, 3), dtype=bool), (0.8, 0.2))] == [8, 2]


def test_fractions() -> None:
    assert parse_fractions("0.8/0.2") == (0.8, 0.2)
    assert parse_fractions("80/10/10") == (0.8, 0.1, 0.1)
    for wrong in ("0.8", "0.8/0.1", "a/b", "1/0", "-1/2", "nan/1", "0.25/0.25/0.25/0.25", ""):
        with pytest.raises(SettingError, match="neither a folder of lists nor fractions"):
            parse_fractions(wrong)
