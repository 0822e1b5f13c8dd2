"""Scores of labels against plain references, and the objects that labels and prediction disagree about."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from vocseg.evaluation.label_components import label_errors, softmin, worst_region

CLASSES = ("background", "cat", "dog")
PROBABILITIES = arrays(np.float64, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.floats(0, 1, width=32))


def plain_softmin(values: list[float], temperature: float) -> float:
    """The paper's formula: the scores times softmax of (1 - scores) / temperature."""
    powers = [math.exp((1 - value) / temperature) for value in values]
    total = math.fsum(powers)
    return math.fsum(value * power / total for value, power in zip(values, powers, strict=True))


@settings(max_examples=100, deadline=None)
@given(PROBABILITIES, st.sampled_from([0.05, 0.1, 1.0]))
def test_softmin_is_the_papers(values: np.ndarray, temperature: float) -> None:
    found = softmin(values, temperature)
    assert found == pytest.approx(plain_softmin(values.ravel().tolist(), temperature), abs=1e-12)
    assert values.min() - 1e-12 <= found <= values.mean() + 1e-12


def test_limits_of_softmin() -> None:
    values = np.array([0.2, 0.9, 1.0])
    assert softmin(values, 1e-6) == pytest.approx(0.2)
    assert softmin(values, 1e9) == pytest.approx(values.mean())
    assert softmin(np.zeros(0)) is None
    assert softmin(np.full(10**6, 0.5, dtype=np.float32)) == 0.5


@settings(max_examples=100, deadline=None)
@given(PROBABILITIES, st.data())
def test_the_worst_region_is_that_of_a_plain_search(values: np.ndarray, data: st.DataObject) -> None:
    valid = data.draw(arrays(bool, values.shape))
    window = data.draw(st.sampled_from([0.05, 0.3, 0.5, 1.0]))
    side = max(1, round(window * max(values.shape)))
    before, after = side // 2, side - side // 2
    means = []
    for y, x in np.argwhere(valid):
        part = slice(max(0, y - before), y + after), slice(max(0, x - before), x + after)
        means.append(values[part][valid[part]].mean())
    expected = min(means, default=None)
    assert worst_region(values, valid, window) == (None if expected is None else pytest.approx(expected, abs=1e-9))


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels, prediction, and the probability of each label, of an image in which all agree."""
    mask = np.zeros((40, 60), dtype=np.uint8)
    mask[5:15, 5:20], mask[20:35, 30:50] = 1, 2
    return mask, mask.copy(), np.full(mask.shape, 0.9, dtype=np.float32)


def test_agreement_and_small_objects_are_no_errors() -> None:
    mask, predicted, probability = scene()
    assert not list(label_errors("a", CLASSES, mask, predicted, probability, 1))
    predicted[0:3, 50:53] = 1
    assert not list(label_errors("a", CLASSES, mask, predicted, probability, 10))
    assert len(list(label_errors("a", CLASSES, mask, predicted, probability, 9))) == 1
    predicted[5:15, 5:18] = 0  # an object that is found in part
    assert not list(label_errors("a", CLASSES, mask, predicted, probability, 10))


def test_the_three_kinds() -> None:
    mask, predicted, probability = scene()
    predicted[2:6, 40:50] = 1
    probability[2:6, 40:50] = 0.25
    missing = [*label_errors("a", CLASSES, mask, predicted, probability, 5)]
    assert [(row.kind, row.label, row.suggested, row.area, row.box) for row in missing] == [
        ("missing", "background", "cat", 40, (40, 2, 10, 4))
    ]
    assert missing[0].doubt == 0.75
    pixels = missing[0].pixels(40, 60)
    assert pixels.sum() == 40
    assert pixels[2:6, 40:50].all()
    predicted[2:6, 40:50], predicted[5:15, 5:20], predicted[20:35, 30:50] = 0, 0, 1
    found = [*label_errors("a", CLASSES, mask, predicted, probability, 5)]
    assert [(row.kind, row.label, row.suggested) for row in found] == [("spurious", "cat", "background"), ("class", "dog", "cat")]
    assert sorted(found, key=lambda row: row.order)[0].box == (5, 5, 15, 10)


def test_a_part_of_an_object_that_is_of_another_class() -> None:
    mask, predicted, probability = scene()
    predicted[20:35, 30:36] = 1  # a cat before the dog, labeled as one dog
    [found] = label_errors("a", CLASSES, mask, predicted, probability, 5)
    assert (found.kind, found.label, found.suggested, found.box) == ("class", "dog", "cat", (30, 20, 6, 15))


def test_void_is_left_out() -> None:
    mask, predicted, probability = scene()
    mask[0:10, 40:60] = 255
    predicted[0:10, 40:60] = 1
    assert not list(label_errors("a", CLASSES, mask, predicted, probability, 1))
    mask[0:2, 40:60] = 0
    [found] = label_errors("a", CLASSES, mask, predicted, probability, 5)
    assert (found.area, found.box) == (40, (40, 0, 20, 2))


def test_classes_without_a_background() -> None:
    mask, predicted, probability = scene()
    predicted[:] = 1
    found = list(label_errors("a", ("road", "cat", "dog"), mask, predicted, probability, 5))
    assert {row.kind for row in found} == {"class"}


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_any_masks(data: st.DataObject) -> None:
    shape = data.draw(st.tuples(st.integers(1, 8), st.integers(1, 8)))
    mask = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2, 255])))
    predicted = data.draw(arrays(np.uint8, shape, elements=st.sampled_from([0, 1, 2])))
    probability = data.draw(arrays(np.float32, shape, elements=st.floats(0, 1, width=32)))
    for row in label_errors("a", CLASSES, mask, predicted, probability, 1):
        pixels = row.pixels(*shape)
        assert row.area == pixels.sum() > 0
        assert (mask[pixels] == CLASSES.index(row.label)).all() if row.kind == "missing" else (mask[pixels] != 255).all()
        assert row.label != row.suggested
        assert row.doubt == pytest.approx(1 - probability[pixels].mean(dtype=np.float64))
        left, top, width, height = row.box
        assert pixels[top : top + height, left : left + width].sum() == row.area
