"""Intervals and tests against plain implementations that resample confusion matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import t

from vocseg.evaluation import statistics as own
from vocseg.metrics import scores


def matrices(images: int, classes: int = 3, seed: int = 0, empty: float = 0.5) -> np.ndarray:
    random = np.random.default_rng(seed)
    shown = random.random((images, 1, classes)) > empty
    return random.integers(1, 60, (images, classes, classes)) * (shown | shown.transpose(0, 2, 1))


def plain(total: np.ndarray) -> float:
    miou = scores(torch.from_numpy(total), [str(label) for label in range(len(total))]).miou
    return np.nan if miou is None else miou


@given(st.integers(0, 10_000), st.integers(2, 12), st.integers(1, 5))
@settings(max_examples=40, deadline=None)
def test_jackknife_is_that_of_the_textbook(seed: int, images: int, classes: int) -> None:
    counts = matrices(images, classes, seed)
    whole = plain(counts.sum(0))
    interval = own.jackknife(own.hits_and_unions(counts))[-1]
    left = [plain(np.delete(counts, image, 0).sum(0)) for image in range(images)]
    if np.isnan(left).any():
        assert interval is None
        return
    variance = (images - 1) / images * sum((value - np.mean(left)) ** 2 for value in left)
    half = t.ppf(0.975, images - 1) * np.sqrt(variance)
    assert interval is not None
    assert tuple(interval) == pytest.approx((max(0, whole - half), min(1, whole + half)), abs=1e-12)


def test_bootstrap_resamples_images_in_pairs() -> None:
    first, second = matrices(7, seed=1), matrices(7, seed=2)
    drawn = own.bootstrap([own.hits_and_unions(run) for run in (first, second)], resamples=600, seed=3)
    random = np.random.default_rng(3)
    weights = np.concatenate([own.resample_weights(7, count, random) for count in (500, 100)]).astype(int)
    assert (weights.sum(1) == 7).all()
    for row in (0, 499, 500, 599):
        for run, values in zip((first, second), drawn, strict=True):
            resample = np.repeat(run, weights[row], 0).sum(0)
            assert values[row, -1] == pytest.approx(plain(resample), abs=1e-12, nan_ok=True)


def test_weights_are_those_of_drawing_with_replacement() -> None:
    weights = own.resample_weights(20, 4000, np.random.default_rng(0))
    assert weights.mean(0) == pytest.approx(1, abs=0.08)
    assert (weights == 0).mean() == pytest.approx((1 - 1 / 20) ** 20, abs=0.01)


def test_p_value_against_all_exchanges() -> None:
    first, second = matrices(8, seed=4, empty=0), matrices(8, seed=5, empty=0)
    second[:, 0, 0] += 40
    observed = abs(plain(second.sum(0)) - plain(first.sum(0)))
    reached = 0
    for flips in itertools.product((False, True), repeat=8):
        chosen = np.array(flips)[:, None, None]
        one, other = np.where(chosen, second, first), np.where(chosen, first, second)
        reached += abs(plain(other.sum(0)) - plain(one.sum(0))) >= observed - 1e-12
    exact = reached / 2**8
    got = own.permutation_p_value([own.hits_and_unions(first)], [own.hits_and_unions(second)], permutations=20_000)
    assert got == pytest.approx(exact, abs=0.01)
    assert own.permutation_p_value([own.hits_and_unions(first)], [own.hits_and_unions(first)]) == 1


def test_several_runs_a_side_are_exchanged_together() -> None:
    first, second = own.hits_and_unions(matrices(9, seed=6)), own.hits_and_unions(matrices(9, seed=7))
    one = own.permutation_p_value([first], [second], seed=1)
    assert own.permutation_p_value([first, first], [second, second], seed=1) == one
    assert own.permutation_p_value([first], [second, second], seed=1) == one


def test_lost_classes() -> None:
    counts = np.zeros((10, 2, 2))
    counts[:, 1, 0] = 5
    counts[3, 1, 1] = 5
    assert own.lost_classes(counts, resamples=4000) == pytest.approx(0.9**10, abs=0.03)
    counts[:, 1, 1] = 5
    assert own.lost_classes(counts) == 0


def test_nothing_to_resample() -> None:
    assert own.jackknife(own.hits_and_unions(matrices(1))) == [None] * 4
    assert own.percentile_interval(np.array([np.nan])) is None
    assert own.percentile_interval(np.arange(101.0)) == pytest.approx((2.5, 97.5))


def test_of_a_class_that_one_image_shows_nothing_is_known() -> None:
    counts = matrices(6, 2, empty=0)
    counts = np.pad(counts, ((0, 0), (0, 1), (0, 1)))
    counts[4, 2, 2] = 9
    intervals = own.jackknife(own.hits_and_unions(counts))
    assert intervals[2] is None
    assert None not in (intervals[0], intervals[1], intervals[3])
