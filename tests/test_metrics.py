"""The score against a slow plain implementation of VOCevalseg's definition, and against torchmetrics."""

from __future__ import annotations

import math
import random
import re

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torchmetrics.functional.classification import multiclass_accuracy, multiclass_jaccard_index

from vocseg.errors import InputError
from vocseg.metrics import ConfusionMatrix, _confusion_matrix_on_device, confusion_matrix, scores


def slow_voc_scores(
    pairs: list[tuple[list[list[int]], list[list[int]]]], num_classes: int
) -> tuple[list[float | None], float | None]:
    """IoU per class and pixel accuracy by the devkit's words: per class, true positives / (true positives + false positives
    + false negatives), counted pixel by pixel over all images; pixels marked void in the truth do not count."""
    tp, fp, fn = [0] * num_classes, [0] * num_classes, [0] * num_classes
    right = total = 0
    for prediction, truth in pairs:
        for predicted_row, true_row in zip(prediction, truth, strict=True):
            for predicted, true in zip(predicted_row, true_row, strict=True):
                if true == 255:
                    continue
                total += 1
                if predicted == true:
                    right += 1
                    tp[true] += 1
                else:
                    fp[predicted] += 1
                    fn[true] += 1
    unions = [tp[c] + fp[c] + fn[c] for c in range(num_classes)]
    return [tp[c] / unions[c] if unions[c] else None for c in range(num_classes)], right / total if total else None


@st.composite
def images(draw: st.DrawFn) -> tuple[int, list[tuple[torch.Tensor, torch.Tensor]]]:
    """A number of classes and some (prediction, truth) pairs: one-pixel images, absent classes and void included."""
    num_classes = draw(st.integers(1, 21))
    used = draw(st.lists(st.integers(0, num_classes - 1), min_size=1, max_size=5))
    pairs = []
    for _ in range(draw(st.integers(1, 3))):
        shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=7))
        prediction = draw(hnp.arrays("uint8", shape, elements=st.sampled_from(used)))
        truth = draw(hnp.arrays("uint8", shape, elements=st.sampled_from([*used, 255])))
        pairs.append((torch.from_numpy(prediction), torch.from_numpy(truth)))
    return num_classes, pairs


@given(images())
@settings(max_examples=150, deadline=None)
def test_against_slow_reference(case: tuple[int, list[tuple[torch.Tensor, torch.Tensor]]]) -> None:
    num_classes, pairs = case
    total = ConfusionMatrix([str(c) for c in range(num_classes)])
    for prediction, truth in pairs:
        total.update(prediction, truth)
    got = total.compute()
    ious, accuracy = slow_voc_scores([(p.tolist(), t.tolist()) for p, t in pairs], num_classes)
    assert [row.iou for row in got.per_class] == ious
    assert got.pixel_accuracy == accuracy
    present = [iou for iou in ious if iou is not None]
    assert got.classes_scored == len(present)
    assert got.miou == (pytest.approx(sum(present) / len(present)) if present else None)


@pytest.mark.parametrize("seed", range(3))
def test_against_torchmetrics(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    prediction = torch.randint(0, 6, (4, 33, 41), generator=generator)
    truth = torch.randint(0, 6, (4, 33, 41), generator=generator)
    truth[torch.rand(truth.shape, generator=generator) < 0.2] = 255
    got = scores(confusion_matrix(prediction, truth, 6), "abcdef")
    options = {"num_classes": 6, "ignore_index": 255}
    iou = multiclass_jaccard_index(prediction, truth, average="none", **options)
    recall = multiclass_accuracy(prediction, truth, average="none", **options)
    assert [row.iou for row in got.per_class] == pytest.approx(iou.tolist(), abs=1e-6)
    assert [row.recall for row in got.per_class] == pytest.approx(recall.tolist(), abs=1e-6)
    assert got.miou == pytest.approx(float(iou.mean()), abs=1e-6)
    assert got.mean_accuracy == pytest.approx(float(recall.mean()), abs=1e-6)
    weighted = multiclass_jaccard_index(prediction, truth, average="weighted", **options)
    assert got.frequency_weighted_iou == pytest.approx(float(weighted), abs=1e-6)
    micro = multiclass_accuracy(prediction, truth, average="micro", **options)
    assert got.pixel_accuracy == pytest.approx(float(micro), abs=1e-6)


def test_hand_made() -> None:
    truth = torch.tensor([[0, 0, 1, 1, 255, 2]])
    prediction = torch.tensor([[0, 1, 1, 1, 2, 0]])
    got = scores(confusion_matrix(prediction, truth, 4), ("a", "b", "c", "absent"))
    a, b, c, absent = got.per_class
    assert (a.iou, a.precision, a.recall) == (1 / 3, 1 / 2, 1 / 2)
    assert (b.iou, b.precision, b.recall) == (2 / 3, 2 / 3, 1.0)
    assert (c.iou, c.precision, c.recall) == (0.0, None, 0.0)
    assert (absent.iou, absent.precision, absent.recall) == (None, None, None)
    assert got.classes_scored == 3
    assert got.miou == pytest.approx((1 / 3 + 2 / 3 + 0) / 3)
    assert got.pixel_accuracy == 3 / 5
    assert got.frequency_weighted_iou == pytest.approx((2 * 1 / 3 + 2 * 2 / 3) / 5)


def test_one_matrix_over_all_images_is_no_mean_over_images() -> None:
    total = ConfusionMatrix(("a", "b"))
    total.update(torch.zeros(1, 99, dtype=torch.uint8), torch.zeros(1, 99, dtype=torch.uint8))
    total.update(torch.tensor([[0]]), torch.tensor([[1]]))
    assert total.compute().miou == pytest.approx((99 / 100 + 0) / 2)


def test_nothing_but_void() -> None:
    got = scores(confusion_matrix(torch.zeros(2, 2, dtype=torch.uint8), torch.full((2, 2), 255), 3), "abc")
    assert (got.miou, got.pixel_accuracy, got.mean_accuracy, got.frequency_weighted_iou) == (None,) * 4
    assert got.classes_scored == 0


@pytest.mark.parametrize("value", [3, 255, -1])
def test_prediction_out_of_range(value: int) -> None:
    prediction = torch.tensor([[0, value]])
    for truth in ([[0, 0]], [[0, 255]]):  # under void as well
        with pytest.raises(InputError, match=rf"predicted value {value} is outside the classes 0\.\.2"):
            confusion_matrix(prediction, torch.tensor(truth), 3)


def test_truth_out_of_range_and_shapes() -> None:
    with pytest.raises(InputError, match=r"true value 7 is outside the classes 0\.\.2"):
        confusion_matrix(torch.tensor([[0]]), torch.tensor([[7]]), 3)
    with pytest.raises(InputError, match="prediction is 1x2 but ground truth is 2x1"):
        confusion_matrix(torch.zeros(1, 2), torch.zeros(2, 1), 3)


def test_counts_are_exact_beyond_float_precision() -> None:
    matrix = torch.zeros(2, 2, dtype=torch.int64)
    matrix[0, 0], matrix[0, 1] = 2**53 - 2, 1
    assert math.isclose(scores(matrix, "ab").pixel_accuracy or 0, 1 - 1 / (2**53 - 1), rel_tol=0, abs_tol=1e-15)


def test_255_classes() -> None:
    labels = torch.arange(255, dtype=torch.uint8).view(5, 51)
    assert scores(confusion_matrix(labels, labels, 255), [str(c) for c in range(255)]).miou == 1.0


@given(images(), st.randoms())
@settings(max_examples=80, deadline=None)
def test_merged_parts_are_the_whole(case: tuple[int, list[tuple[torch.Tensor, torch.Tensor]]], random: random.Random) -> None:
    num_classes, pairs = case
    names = [str(c) for c in range(num_classes)]
    whole, parts = ConfusionMatrix(names), [ConfusionMatrix(names) for _ in range(3)]
    for prediction, truth in pairs:
        whole.update(prediction, truth)
        random.choice(parts).update(prediction, truth)
    before = [part.counts.clone() for part in parts]
    random.shuffle(parts)
    total = ConfusionMatrix(names)
    for part in parts:
        total.merge(part)
    assert torch.equal(total.counts, whole.counts)
    assert total.compute() == whole.compute()
    assert torch.equal(sum(before), whole.counts)  # merging changes none of the parts
    total.reset()
    assert not total.counts.any()
    total.merge(whole)
    assert torch.equal(total.counts, whole.counts)


def test_only_the_same_classes_can_be_merged() -> None:
    with pytest.raises(InputError, match="cannot merge a matrix of classes"):
        ConfusionMatrix(["a", "b"]).merge(ConfusionMatrix(["a", "c"]))


@given(images())
@settings(max_examples=80, deadline=None)
def test_counting_on_a_device(case: tuple[int, list[tuple[torch.Tensor, torch.Tensor]]]) -> None:
    num_classes, pairs = case
    for prediction, truth in pairs:
        counts, stray = _confusion_matrix_on_device(prediction, truth, num_classes)
        assert torch.equal(counts, confusion_matrix(prediction, truth, num_classes))
        assert int(stray) == 0
        wrong = prediction.long() + num_classes
        counts, stray = _confusion_matrix_on_device(wrong, truth, num_classes)
        assert (int(counts.sum()), int(stray)) == (0, truth.numel())


def test_invalid_values_on_a_device_are_counted_once_each() -> None:
    prediction = torch.tensor([[0, 3, 1, -1, 0, 255]])
    truth = torch.tensor([[0, 0, 9, 9, 255, 255]])
    counts, stray = _confusion_matrix_on_device(prediction, truth, 3)
    assert int(stray) == 4  # the second, third, fourth and, as the devkit has it, the last
    assert int(counts.sum()) == int(counts[0, 0]) == 1


def test_classes_by_number() -> None:
    assert ConfusionMatrix(3).classes == ("0", "1", "2")


@pytest.mark.parametrize("dtype", ["bool", "uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64"])
def test_arrays_of_every_integer_type(dtype: str) -> None:
    matrix = ConfusionMatrix(2)
    matrix.update(np.array([[0, 1], [1, 1]], dtype), np.array([[0, 1], [0, 1]], dtype))
    matrix.update([[0]], [[0]])
    assert matrix.counts.tolist() == [[2, 1], [0, 2]]
    assert repr(matrix) == "ConfusionMatrix(2 classes, 5 pixels)"


@pytest.mark.parametrize(
    ("prediction", "message"),
    [
        (torch.rand(1, 2, 4, 4), "predicted class ids must be integers, not torch.float32; logits become ids by argmax"),
        (torch.zeros(1, 2, 4, 4).int(), "prediction is 1x2x4x4 but ground truth is 1x4x4; logits must become class ids"),
        (np.zeros((1, 4, 4)), "predicted class ids must be integers, not torch.float64"),
        ("mask.png", "predicted class ids are integers in a tensor or an array, not in a str"),
        (None, "not in a NoneType"),
        ([[0, 1], [0]], "not in a list"),
        (np.full((1, 4, 4), 2**40), "predicted value 1099511627776 is outside"),
    ],
)
def test_what_are_not_class_ids(prediction: object, message: str) -> None:
    with pytest.raises(InputError, match=re.escape(message)):
        ConfusionMatrix(2).update(prediction, torch.zeros(1, 4, 4).int())
