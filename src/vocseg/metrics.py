"""The score: one confusion matrix over all images, and what is read off it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from vocseg import voc
from vocseg.errors import InputError


def confusion_matrix(prediction: Tensor, truth: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true class (row) and predicted class (column), leaving out void pixels of the truth.

    ``prediction`` and ``truth`` are integer class ids of one shape; the result is int64, num_classes x num_classes.
    Raises InputError for different shapes, a truth label outside 0..num_classes-1 and 255, and for any predicted value
    outside 0..num_classes-1, under void too, as the devkit does (``VOCevalseg.m``: "out of range value").

    >>> confusion_matrix(torch.tensor([[0, 1]]), torch.tensor([[1, 1]]), 2)
    tensor([[0, 0],
            [1, 1]])
    """
    if prediction.shape != truth.shape:
        raise InputError(f"prediction is {_shape(prediction)} but truth is {_shape(truth)}")
    void = truth == voc.VOID
    _check_range("predicted", prediction, num_classes)
    _check_range("true", truth.masked_fill(void, 0), num_classes)
    left_out = num_classes**2
    index = truth.to(torch.int32).mul_(num_classes).add_(prediction).masked_fill_(void, left_out)
    return torch.bincount(index.flatten(), minlength=left_out + 1)[:left_out].view(num_classes, num_classes)


def _shape(tensor: Tensor) -> str:
    return "x".join(map(str, tensor.shape))


def _check_range(what: str, values: Tensor, num_classes: int) -> None:
    if values.numel() == 0:
        return
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high >= num_classes:
        worst = low if low < 0 else high
        hint = "; 255, void, is for true masks alone" * (worst == voc.VOID)
        raise InputError(f"{what} value {worst} is outside the classes 0..{num_classes - 1}{hint}")


@dataclass(frozen=True)
class ClassScore:
    """One class: IoU, precision and recall in 0..1, None where undefined, and its true and predicted pixel counts."""

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    true_pixels: int
    predicted_pixels: int


@dataclass(frozen=True)
class Scores:
    """All scores of one confusion matrix; fractions in 0..1, None where a score is undefined (no scored pixel).

    ``miou`` is the mean over the ``classes_scored`` classes that occur in the truth or the prediction; ``mean_accuracy``
    the mean recall over classes that occur in the truth; ``frequency_weighted_iou`` weighs IoU with the class's share of
    true pixels (Long et al., "Fully convolutional networks for semantic segmentation", 2015).
    """

    miou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None
    classes_scored: int
    per_class: tuple[ClassScore, ...]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; ``per_class`` is keyed by class name."""
        return {
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "mean_accuracy": self.mean_accuracy,
            "frequency_weighted_iou": self.frequency_weighted_iou,
            "classes_scored": self.classes_scored,
            "per_class": {
                row.name: {
                    "iou": row.iou,
                    "precision": row.precision,
                    "recall": row.recall,
                    "true_pixels": row.true_pixels,
                    "predicted_pixels": row.predicted_pixels,
                }
                for row in self.per_class
            },
        }


def scores(matrix: Tensor, classes: Sequence[str]) -> Scores:
    """Read the scores off a confusion matrix (int64, true rows, predicted columns).

    IoU of a class is true positives / (true + predicted - true positives), as in ``VOCevalseg.m`` of the VOC2012 devkit,
    which counts over all images at once. A class in neither truth nor prediction has none and is left out of the mean.
    """
    counts = matrix.to(torch.float64).cpu()
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    total = float(truth.sum())
    rows = tuple(
        ClassScore(
            name,
            _ratio(hit, true + guess - hit),
            _ratio(hit, guess),
            _ratio(hit, true),
            int(true),
            int(guess),
        )
        for name, hit, true, guess in zip(classes, hits.tolist(), truth.tolist(), predicted.tolist(), strict=True)
    )
    ious = [row.iou for row in rows if row.iou is not None]
    recalls = [row.recall for row in rows if row.recall is not None]
    return Scores(
        miou=_ratio(sum(ious), len(ious)),
        pixel_accuracy=_ratio(float(hits.sum()), total),
        mean_accuracy=_ratio(sum(recalls), len(recalls)),
        frequency_weighted_iou=_ratio(sum(row.true_pixels * row.iou for row in rows if row.iou is not None), total),
        classes_scored=len(ious),
        per_class=rows,
    )


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


class ConfusionMatrix:
    """A confusion matrix that grows image by image.

    >>> total = ConfusionMatrix(("background", "cat"))
    >>> total.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    >>> total.scores().pixel_accuracy
    0.5
    """

    def __init__(self, classes: Sequence[str], device: torch.device | str = "cpu") -> None:
        self.classes = tuple(classes)
        self.counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64, device=device)

    def update(self, prediction: Tensor, truth: Tensor) -> None:
        """Add the pixels of one or more images; see :func:`confusion_matrix`."""
        self.counts += confusion_matrix(prediction, truth, len(self.classes))

    def scores(self) -> Scores:
        """The scores of all pixels so far."""
        return scores(self.counts, self.classes)
