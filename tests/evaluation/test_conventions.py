"""The conventions of other tools against these tools, or against plain implementations on pixels."""

from __future__ import annotations

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassJaccardIndex
from torchmetrics.functional.segmentation import mean_iou
from torchmetrics.segmentation import MeanIoU

from vocseg.evaluation.record import Record, count_masks
from vocseg.evaluation.result import Evaluation

CLASSES = ("background", "cat", "dog", "cow", "bird")
Pair = tuple[np.ndarray, np.ndarray]


def images(seed: int, number: int, void: bool = True) -> list[Pair]:
    """Random truths and predictions, most of them right; each image lacks classes, often all do."""
    random = np.random.default_rng(seed)
    pairs = []
    for _ in range(number):
        truth = random.choice(random.choice(5, 3), (12, 9)).astype(np.uint8)
        guess = np.where(random.random(truth.shape) < 0.7, truth, random.choice(random.choice(5, 2), truth.shape))
        if void:
            truth[random.random(truth.shape) < 0.2] = 255
        pairs.append((truth, guess.astype(np.uint8)))
    return pairs


def evaluation(pairs: list[Pair]) -> Evaluation:
    rows = [
        count_masks(f"{place:03}", torch.from_numpy(guess), torch.from_numpy(truth), len(CLASSES))
        for place, (truth, guess) in enumerate(pairs)
    ]
    return Evaluation.from_record(Record.of(CLASSES, rows), "val", {})


def values(pairs: list[Pair]) -> dict[str, float | None]:
    return {row.name: row.miou for row in evaluation(pairs).conventions()}


def pooled(pairs: list[Pair]) -> Pair:
    truth, guess = (np.concatenate([pair[place].ravel() for pair in pairs]) for place in (0, 1))
    return truth, guess


def class_ious(truth: np.ndarray, guess: np.ndarray) -> dict[int, float]:
    """IoU of the classes that occur, of one array of labels, pixel sets apart."""
    found = {}
    for label in range(len(CLASSES)):
        own, other = truth == label, guess == label
        if (own | other).any():
            found[label] = (own & other).sum() / (own | other).sum()
    return found


def mean(numbers: list[float]) -> float | None:
    return float(np.mean(numbers)) if numbers else None


@given(st.integers(0, 9999), st.integers(1, 4))
@settings(max_examples=25, deadline=None)
def test_plain_implementations(seed: int, number: int) -> None:
    pairs = images(seed, number)
    got = values(pairs)
    truth, guess = pooled(pairs)
    valid = truth != 255
    whole = class_ious(truth[valid], guess[valid])
    each = [class_ious(own[own != 255], other[own != 255]) for own, other in pairs]
    absent = len(CLASSES) - len(whole)
    expected = {
        "vocseg": mean([*whole.values()]),
        "torchvision references": None if absent else mean([*whole.values()]),
        "detectron2": mean([value for label, value in whole.items() if (truth == label).any()]),
        "PaddleSeg": (sum(whole.values()) + absent) / len(CLASSES),
        "PaddleSeg, older": sum(whole.values()) / len(CLASSES),
        "per-image mean": mean([float(np.mean([*one.values()])) for one in each if one]),
        "torchmetrics MeanIoU": mean([value for one in each for value in one.values()]),
        "void as error": mean([*class_ious(truth, guess).values()]),
        "without background": mean([value for label, value in whole.items() if label]),
    }
    for name, value in expected.items():
        assert got[name] == (value if value is None else pytest.approx(value, abs=1e-12)), name


@given(st.integers(0, 9999), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_example_of_transformers(seed: int, number: int) -> None:
    """As the metric mean_iou of Hugging Face's evaluate computes it, with ``ignore_index=0``: histograms of each image."""
    pairs, size = images(seed, number), len(CLASSES)
    areas = np.zeros((3, size))
    for truth, guess in pairs:
        kept = truth != 0
        label, predicted = truth[kept], guess[kept]
        for row, array in enumerate((predicted[predicted == label], predicted, label)):
            areas[row] += np.histogram(array, bins=size, range=(0, size - 1))[0]
    with np.errstate(invalid="ignore"):
        expected = np.nanmean(areas[0] / (areas[1] + areas[2] - areas[0]))
    assert values(pairs)["transformers example"] == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 9999), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_segmentation_models_pytorch(seed: int, number: int) -> None:
    pairs = images(seed, number)
    truth, guess = (torch.from_numpy(np.stack([pair[place] for pair in pairs])).long() for place in (0, 1))
    stats = smp.metrics.get_stats(guess, truth, "multiclass", ignore_index=255, num_classes=len(CLASSES))
    got = values(pairs)
    for reduction in ("macro", "micro", "micro-imagewise", "macro-imagewise"):
        expected = float(smp.metrics.iou_score(*stats, reduction=reduction))
        assert got[f"smp {reduction}"] == pytest.approx(expected, abs=1e-6), reduction


@given(st.integers(0, 9999), st.integers(1, 4))
@settings(max_examples=15, deadline=None)
def test_torchmetrics(seed: int, number: int) -> None:
    pairs = images(seed, number, void=False)
    truth, guess = (torch.from_numpy(np.stack([pair[place] for pair in pairs])).long() for place in (0, 1))
    got, size = values(pairs), len(CLASSES)
    metric = MeanIoU(size, input_format="index")
    metric.update(guess, truth)
    assert got["torchmetrics MeanIoU"] == pytest.approx(float(metric.compute()), abs=1e-6)
    assert got["per-image mean"] == pytest.approx(float(mean_iou(guess, truth, size, input_format="index").mean()), abs=1e-6)
    jaccard = MulticlassJaccardIndex(size, ignore_index=255)
    truth[torch.rand(truth.shape, generator=torch.Generator().manual_seed(seed)) < 0.2] = 255
    void = [(own.numpy().astype(np.uint8), other) for own, (_, other) in zip(truth, pairs, strict=True)]
    assert values(void)["vocseg"] == pytest.approx(float(jaccard(guess, truth)), abs=1e-6)


def test_order_of_the_images_and_missing_counts() -> None:
    pairs = images(1, 7)
    whole = evaluation(pairs)
    assert whole.record is not None
    shuffled = Evaluation.from_record(whole.record.select([3, 1, 6, 0, 2, 5, 4]), "val", {})
    assert shuffled.conventions() == whole.conventions()
    assert whole.to_dict()["conventions"] == values(pairs)
    before = {name: value for name, value in whole.record.details.items() if name != "void"}
    record = Record(*(getattr(whole.record, name) for name in ("classes", "ids", "truth", "matrices", "loss")), before)
    missing = [row.name for row in Evaluation.from_record(record, "val", {}).conventions() if row.miou is None]
    assert missing == ["transformers example", "void as error"]


def test_all_pixels_void() -> None:
    truth = np.full((3, 4), 255, np.uint8)
    got = values([(truth, np.zeros_like(truth))])
    assert (got["vocseg"], got["per-image mean"], got["smp micro"], got["void as error"]) == (None, None, None, 0.0)
