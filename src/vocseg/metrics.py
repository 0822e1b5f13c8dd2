"""The score: one confusion matrix over all images, and the figures derived from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocseg import voc
from vocseg.errors import InputError
from vocseg.utils.arguments import checked
from vocseg.utils.text import percent


def confusion_matrix(prediction: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Count pixels by true class (row) and predicted class (column); void pixels of the target do not count.

    ``prediction`` and ``target`` are integer class ids of one shape; the result is int64, num_classes x num_classes.
    Raises InputError for different shapes, a true label outside 0..num_classes-1 and 255, and for any predicted value
    outside 0..num_classes-1, under void too, as the devkit does (``VOCevalseg.m``: "out of range value").

    >>> confusion_matrix(torch.tensor([[0, 1]]), torch.tensor([[1, 1]]), 2)
    tensor([[0, 0],
            [1, 1]])
    """
    _check_shapes(prediction, target)
    void = target == voc.VOID
    _check_range("predicted", prediction, num_classes)
    _check_range("true", target.masked_fill(void, 0), num_classes)
    ignored = num_classes**2
    index = target.to(torch.int32).mul_(num_classes).add_(prediction).masked_fill_(void, ignored)
    return torch.bincount(index.flatten(), minlength=ignored + 1)[:ignored].view(num_classes, num_classes)


def _confusion_matrix_on_device(prediction: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """Count as :func:`confusion_matrix` does, without waiting for a GPU; also count the pixels with an invalid value.

    ``torch.bincount`` and reading a minimum or maximum would each wait for the device.
    """
    prediction, target = prediction.long(), target.long()
    void = target == voc.VOID
    stray = (prediction < 0) | (prediction >= num_classes) | (((target < 0) | (target >= num_classes)) & ~void)
    ignored = num_classes**2
    index = (target * num_classes + prediction).masked_fill(void | stray, ignored).flatten()
    counts = torch.zeros(ignored + 1, dtype=torch.int64, device=prediction.device)
    counts.scatter_add_(0, index, torch.ones_like(index))
    return counts[:ignored].view(num_classes, num_classes), stray.sum()


def _check_shapes(prediction: Tensor, target: Tensor) -> None:
    if prediction.shape != target.shape:
        predicted, true = ("x".join(map(str, tensor.shape)) for tensor in (prediction, target))
        hint = "; logits must become class ids first: logits.argmax(1)" if prediction.dim() > target.dim() else ""
        raise InputError(f"prediction is {predicted} but ground truth is {true}{hint}")


def _check_range(what: str, values: Tensor, num_classes: int) -> None:
    if values.numel() == 0:
        return
    low, high = (int(value) for value in values.aminmax())
    if low < 0 or high >= num_classes:
        worst = low if low < 0 else high
        hint = "; 255 (void) is only allowed in ground truth" * (worst == voc.VOID)
        raise InputError(f"{what} value {worst} is outside the classes 0..{num_classes - 1}{hint}")


def _class_ids(what: str, values: Any) -> Tensor:
    """Return an array or a nested list as a tensor; InputError unless it holds integers."""
    try:
        ids = values if isinstance(values, Tensor) else torch.as_tensor(np.array(values))
    except (TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{what} class ids are integers in a tensor or an array, not in a {type(values).__name__}") from error
    if ids.is_floating_point() or ids.is_complex():
        raise InputError(f"{what} class ids must be integers, not {ids.dtype}; logits become ids by argmax(1)")
    return ids if ids.dtype in (torch.uint8, torch.int32, torch.int64) else ids.long()  # torch computes little with some


@dataclass(frozen=True)
class ClassScore:
    """One class: IoU, precision and recall in 0..1, None if undefined, and its true and predicted pixel counts."""

    name: str
    iou: float | None
    precision: float | None
    recall: float | None
    true_pixels: int
    predicted_pixels: int


@dataclass(frozen=True)
class Scores:
    """All scores of one confusion matrix; fractions in 0..1, None if a score is undefined (no scored pixel).

    ``miou`` is the mean over the ``classes_scored`` classes that occur in the ground truth or the prediction;
    ``mean_accuracy`` the mean recall over classes that occur in the ground truth; ``frequency_weighted_iou`` weighs IoU
    with the class's share of true pixels (Long et al., "Fully convolutional networks for semantic segmentation", 2015).
    """

    miou: float | None
    pixel_accuracy: float | None
    mean_accuracy: float | None
    frequency_weighted_iou: float | None
    classes_scored: int
    per_class: tuple[ClassScore, ...]

    def __repr__(self) -> str:
        return f"Scores(mIoU {percent(self.miou)} % over {self.classes_scored} of {len(self.per_class)} classes)"

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON; ``per_class`` is keyed by class name."""
        values = asdict(self)
        return values | {"per_class": {row.pop("name"): row for row in values["per_class"]}}


def scores(matrix: Tensor, classes: Sequence[str]) -> Scores:
    """Compute the scores of a confusion matrix (int64, true rows, predicted columns).

    IoU of a class is true positives / (true + predicted - true positives), as in ``VOCevalseg.m`` of the VOC2012
    devkit, which counts over all images at once. A class in neither ground truth nor prediction has none and is not in
    the mean.
    """
    counts = matrix.to(torch.float64).cpu()
    hits, truth, predicted = counts.diagonal(), counts.sum(1), counts.sum(0)
    total = float(truth.sum())
    rows = tuple(
        ClassScore(name, _ratio(hit, true + guess - hit), _ratio(hit, guess), _ratio(hit, true), int(true), int(guess))
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
    """A confusion matrix that grows batch by batch.

    ``classes`` are the names in the order of their ids, or their number. ``counts`` is int64, true class x predicted class, on the
    device of the predictions. On a GPU nothing waits for the device before :meth:`compute`.

    >>> matrix = ConfusionMatrix(("background", "cat"))
    >>> matrix.update(torch.tensor([[0, 1]]), torch.tensor([[0, 0]]))
    >>> matrix.compute().pixel_accuracy
    0.5
    >>> other = ConfusionMatrix(("background", "cat"))
    >>> other.update(torch.tensor([[1, 1]]), torch.tensor([[1, 1]]))
    >>> matrix.merge(other)
    >>> matrix.compute().pixel_accuracy
    0.75
    """

    @checked
    def __init__(self, classes: Sequence[str] | int, device: torch.device | str = "cpu") -> None:
        self.classes = tuple(map(str, range(classes))) if isinstance(classes, int) else tuple(classes)
        self.device = torch.device(device)
        self.reset()

    def reset(self) -> None:
        """Forget all pixels."""
        self.counts = torch.zeros(len(self.classes), len(self.classes), dtype=torch.int64, device=self.device)
        self._stray = torch.zeros((), dtype=torch.int64, device=self.device)

    def __repr__(self) -> str:
        return f"ConfusionMatrix({len(self.classes)} classes, {int(self.counts.sum()):,} pixels)"

    def update(self, prediction: Any, target: Any) -> None:
        """Add the pixels of one or more images, class ids in tensors or arrays; see :func:`confusion_matrix`.

        On a GPU a value outside the classes raises its InputError in :meth:`compute`.
        """
        prediction, target = _class_ids("predicted", prediction), _class_ids("true", target)
        _check_shapes(prediction, target)
        if prediction.device.type != "cuda":
            self.counts += confusion_matrix(prediction.cpu(), target.cpu(), len(self.classes)).to(self.counts.device)
            return
        counts, stray = _confusion_matrix_on_device(prediction, target.to(prediction.device), len(self.classes))
        self.counts, self._stray = self.counts.to(counts.device) + counts, self._stray.to(counts.device) + stray

    def merge(self, other: ConfusionMatrix) -> None:
        """Add the pixels of another matrix; InputError if its classes differ."""
        if other.classes != self.classes:
            raise InputError(f"cannot merge a matrix of classes {other.classes} into one of {self.classes}")
        self.counts = self.counts + other.counts.to(self.counts.device)
        self._stray = self._stray + other._stray.to(self._stray.device)

    def compute(self) -> Scores:
        """Compute the scores of all pixels so far; InputError if a value on a GPU was outside the classes."""
        if stray := int(self._stray):
            raise InputError(f"{stray} pixels have a predicted or true value outside the classes 0..{len(self.classes) - 1}")
        return scores(self.counts, self.classes)
