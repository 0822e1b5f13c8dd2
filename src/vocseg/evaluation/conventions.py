"""The mIoU of the same predictions as other tools compute it, from the counts of each image."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.evaluation.statistics import Floats, as_number, hits_and_unions, ious, mean_over_classes


class Convention(NamedTuple):
    """A way to compute an mIoU: its name, the value in 0..1 (None if undefined), and how it differs from vocseg's."""

    name: str
    miou: float | None
    differs: str


@dataclass(frozen=True)
class _Counts:
    """``each``: true positives and unions of each image, n x 2 x K; ``matrix``: of all images; ``void``: predictions on void."""

    each: Floats
    matrix: NDArray[np.int64]
    void: NDArray[np.int64] | None
    background: int | None

    @property
    def hits(self) -> Floats:
        return np.asarray(self.each[:, 0].sum(0))

    @property
    def unions(self) -> Floats:
        return np.asarray(self.each[:, 1].sum(0))


def conventions(
    matrices: NDArray[np.integer[Any]], void: NDArray[np.integer[Any]] | None, classes: tuple[str, ...]
) -> list[Convention]:
    """Compute the mIoU of confusion matrices of images, n x K x K, by each convention.

    ``void``: the predicted classes of the void pixels, n x K; without it, what needs it has no value.
    """
    counts = _Counts(
        hits_and_unions(matrices), matrices.sum(0, dtype=np.int64),
        None if void is None else void.sum(0, dtype=np.int64), voc.background(classes),
    )  # fmt: skip
    return [Convention(name, as_number(compute(counts)), differs) for name, compute, differs in CONVENTIONS]


def _mean(values: Iterable[float]) -> float:
    """Average without NaN, exactly, so that the order of the images changes nothing."""
    known = [value for value in values if not math.isnan(value)]
    return math.fsum(known) / len(known) if known else math.nan


def _over_all(counts: _Counts) -> float:
    return float(mean_over_classes(ious(counts.hits, counts.unions)))


def _absent_as(value: float) -> Callable[[_Counts], float]:
    return lambda counts: float(np.nan_to_num(ious(counts.hits, counts.unions), nan=value).mean())


def _torchvision(counts: _Counts) -> float:
    return float(ious(counts.hits, counts.unions).mean())


def _detectron(counts: _Counts) -> float:
    in_truth = counts.matrix.sum(1) > 0
    return float(mean_over_classes(ious(counts.hits, counts.unions)[in_truth])) if in_truth.any() else math.nan


def _without_background(counts: _Counts) -> float:
    values = ious(counts.hits, counts.unions)
    return float(mean_over_classes(values if counts.background is None else np.delete(values, counts.background)))


def _void_as_error(counts: _Counts) -> float:
    return math.nan if counts.void is None else float(mean_over_classes(ious(counts.hits, counts.unions + counts.void)))


def _transformers(counts: _Counts) -> float:
    if counts.void is None:
        return math.nan
    matrix = counts.matrix.copy()
    matrix[0] = 0
    hits, unions = hits_and_unions(matrix)
    return float(mean_over_classes(ious(hits, unions + counts.void)))


def _all_pixels(counts: _Counts) -> float:
    return float(ious(counts.hits.sum(), counts.unions.sum()))


def _all_pixels_of_each_image(counts: _Counts) -> float:
    return _mean(np.nan_to_num(ious(*counts.each.sum(2).T), nan=1.0).tolist())


def _each_image(counts: _Counts) -> float:
    return _mean(mean_over_classes(ious(*np.moveaxis(counts.each, 1, 0))).tolist())


def _each_image_absent_as_one(counts: _Counts) -> float:
    return _mean(np.nan_to_num(ious(*np.moveaxis(counts.each, 1, 0)), nan=1.0).ravel().tolist())


def _each_class_of_each_image(counts: _Counts) -> float:
    return _mean(ious(*np.moveaxis(counts.each, 1, 0)).ravel().tolist())


# As of mmsegmentation 1.2, Keras 3, torchmetrics 1.9, PaddleSeg of October 2024, segmentation_models_pytorch 0.6, evaluate of
# April 2026, transformers 4.51.
CONVENTIONS: tuple[tuple[str, Callable[[_Counts], float], str], ...] = (
    ("vocseg", _over_all, "the VOC devkit's; also mmsegmentation, Keras and torchmetrics' JaccardIndex, if they ignore void"),
    ("torchvision references", _torchvision, "no value if a class occurs nowhere; theirs also scores resized masks"),
    ("detectron2", _detectron, "without classes that have no true pixel, even if they are predicted"),
    ("PaddleSeg", _absent_as(1), "a class that occurs nowhere counts as 1"),
    ("PaddleSeg, older", _absent_as(0), "a class that occurs nowhere counts as 0"),
    ("smp macro", _absent_as(1), "segmentation_models_pytorch: a class that occurs nowhere counts as 1"),
    ("smp micro", _all_pixels, "one IoU over the pixels of all classes, not a mean over classes"),
    ("smp micro-imagewise", _all_pixels_of_each_image, "one IoU over all classes for each image, mean over images"),
    (
        "smp macro-imagewise",
        _each_image_absent_as_one,
        "mean over images and all classes; a class absent from an image is 1",
    ),
    ("per-image mean", _each_image, "mean over images of the mean over their classes; torchmetrics' mean_iou"),
    ("torchmetrics MeanIoU", _each_class_of_each_image, "mean over all classes of all images: images of more classes weigh more"),
    ("transformers example", _transformers, "run_semantic_segmentation.py: ignores class 0, and counts void (255) as error"),
    ("void as error", _void_as_error, "predictions on void pixels count as false positives"),
    ("without background", _without_background, "mean over the other classes"),
)
