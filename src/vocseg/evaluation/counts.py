"""What is counted of an image besides its confusion matrix: boundaries, components, confidence.

All are integers, so that sums over images are the same in any order, and nothing needs pixels or the model again.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vocseg import voc
from vocseg.errors import DataError
from vocseg.evaluation.statistics import hits_and_unions
from vocseg.metrics import confusion_matrix
from vocseg.ops.boundaries import boundary_levels, near_boundary
from vocseg.ops.components import components, piece_starts

Integers = NDArray[np.integer[Any]]
Counts = Mapping[str, Integers]
"""Arrays by name, with the images on the first axis:

- ``boundary_width``: width of the band at the boundaries, pixels.
- ``boundary``: intersection and union of the true and the predicted band of each class, 2 x K.
- ``trimap``: true positives and unions of the pixels within each of DISTANCES, 6 x 2 x K.
- ``sizes``: of the components of the truth by share of the image (SHARES) and class, 5 x K x 5: how many, how many with an
  IoU of 0.5 or more, pixels, true positives, unions.
- ``void``: predicted class of the void pixels, K.
- ``calibration``: at boundaries and inside, by predicted class and bin of confidence, 2 x K x 15 x 3: pixels, right ones,
  sum of the confidence in units of 1 / STEPS. Missing for masks without probabilities.
"""

WIDTH = 0.02
"""Width of the band of Boundary IoU, as a share of the image's diagonal."""
DISTANCES = (1, 2, 4, 8, 16, 32)
"""Distances from a boundary of the truth, pixels."""
AT_BOUNDARY = 8
"""Distance within which a pixel counts as one at a boundary for the calibration."""
SHARES = (0.0, 0.0005, 0.01, 0.05, 0.2, 1.0)
"""Limits of the shares of the image that components of the truth are sorted by.

The first group is of fragments: most components of VOC are a few pixels that a void border cuts off.
"""
BINS = 15
STEPS = 1 << 16


def shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of each array of one image."""
    return {
        "boundary_width": (),
        "boundary": (2, classes),
        "trimap": (len(DISTANCES), 2, classes),
        "sizes": (len(SHARES) - 1, classes, 5),
        "void": (classes,),
        "calibration": (2, classes, BINS, 3),
    }


def band_width(height: int, width: int) -> int:
    """Return the width of the band at boundaries: 2 % of the diagonal, pixels.

    >>> band_width(375, 500)
    12
    """
    return max(1, round(WIDTH * math.hypot(height, width)))


def count_image(truth: Tensor, prediction: Tensor, confidence: Tensor | None, classes: int) -> tuple[Integers, Counts]:
    """Count an image: its confusion matrix, int64, and the other counts.

    ``truth`` and ``prediction``: labels, uint8, H x W; those of the prediction must be classes. ``confidence``: the
    probability of the predicted class, float, if there is one. Raises InputError for a true label that is not a class.
    """
    if not truth.numel():
        empty = {name: np.zeros(shape, np.int64) for name, shape in shapes(classes).items()}
        return np.zeros((classes, classes), np.int64), empty
    distance = band_width(*truth.shape)
    levels, void = boundary_levels(truth, DISTANCES), truth == voc.VOID
    joint = _joint(truth, prediction, levels, distance, classes)
    on_void = joint[..., classes, :].sum((0, 1, 2))
    if int(on_void.sum()) != int(void.sum()):
        confusion_matrix(prediction, truth, classes)  # raises
    joint = joint[..., :classes, :]
    by_level = joint.sum((1, 2))
    near = np.diagonal(joint[:, 1, 1].sum(0))
    bands = joint[:, 1].sum((0, 1)).sum(-1) + joint[:, :, 1].sum((0, 1)).sum(-2)
    counts: dict[str, Integers] = {
        "boundary_width": np.array(distance, np.int32),
        "boundary": np.stack([near, bands - near]).astype(np.int32),
        "trimap": hits_and_unions(by_level.cumsum(0)[: len(DISTANCES)]).astype(np.int32),
        "sizes": _sizes(truth.cpu().numpy(), prediction.cpu().numpy(), classes),
        "void": on_void.astype(np.int32),
    }
    if confidence is not None:
        group = void.to(torch.uint8).mul_(2).add_(levels > DISTANCES.index(AT_BOUNDARY))
        counts["calibration"] = _calibration(group, prediction, truth == prediction, confidence, classes)
    return by_level.sum(0), counts


def _joint(truth: Tensor, prediction: Tensor, levels: Tensor, distance: int, classes: int) -> Integers:
    """Count pixels by level, whether they are in the true and in the predicted band, true and predicted class.

    The last true class is void.
    """
    bands = near_boundary(torch.stack([truth, prediction]), distance).view(torch.uint8)
    shape = (len(DISTANCES) + 1, 2, 2, classes + 1, classes)
    index = _index(shape, levels, bands[0], bands[1], truth.clamp(max=classes), prediction)
    return _histogram(index, shape)


def _calibration(group: Tensor, prediction: Tensor, right: Tensor, confidence: Tensor, classes: int) -> Integers:
    """Count the groups 0, at boundaries, and 1, inside; 2 and 3 are void."""
    shape = (4, classes, BINS, 2)
    bins = (confidence * BINS).to(torch.uint8).clamp_(max=BINS - 1)
    index = _index(shape, group, prediction, bins, right)
    pixels = _histogram(index, shape)[:2]
    sums = _histogram(index, shape, (confidence * STEPS).round_())[:2]
    return np.stack([pixels.sum(-1), pixels[..., 1], sums.sum(-1)], -1)


def _index(shape: tuple[int, ...], *places: Tensor) -> Tensor:
    """Return each pixel's index in a flat table of the shape: int16 if that is enough, which is faster."""
    index = places[0].to(torch.int16 if math.prod(shape) < 1 << 15 else torch.int32)
    for length, place in zip(shape[1:], places[1:], strict=True):
        index.mul_(length).add_(place)
    return index


def _histogram(index: Tensor, shape: tuple[int, ...], weights: Tensor | None = None) -> Integers:
    """Count, or sum whole numbers, by index: int64."""
    size, index = math.prod(shape), index.flatten()
    if index.device.type == "cpu":  # float64 sums of whole numbers are exact
        counts = torch.bincount(index, None if weights is None else weights.flatten().double(), size).long()
    else:
        values = torch.ones_like(index, dtype=torch.int64) if weights is None else weights.flatten().long()
        counts = values.new_zeros(size).scatter_add_(0, index.long(), values).cpu()
    return counts.view(shape).numpy()


def _sizes(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], classes: int) -> NDArray[np.int64]:
    """Count the components of the truth by share of the image.

    The union of a component is its pixels, and of the predicted components of its class that overlap it the pixels of
    another true class.
    """
    starts = piece_starts(truth, prediction)
    length = np.diff(starts, append=truth.size)
    labels, predicted = truth.ravel()[starts], prediction.ravel()[starts]
    right, valid = labels == predicted, labels != voc.VOID
    own, others = components(truth).at(starts), components(prediction).at(starts)
    pixels = _sums(own, length)
    hits = _sums(own, length * right)
    wrong = _sums(others, length * (valid & ~right))
    overlaps = np.unique(own[right] * len(others) + others[right])
    unions = pixels + _sums(overlaps // len(others), wrong[overlaps % len(others)], len(pixels))
    kinds = np.zeros(len(pixels), dtype=np.int64)
    kinds[own] = labels
    groups = np.searchsorted(np.array(SHARES[1:-1]) * truth.size, pixels, "right")
    rows = (np.ones_like(pixels), (2 * hits >= unions).astype(np.int64), pixels, hits, unions)
    index = np.where(kinds == voc.VOID, (len(SHARES) - 1) * classes, groups * classes + kinds)
    table = np.stack([_sums(index, row, (len(SHARES) - 1) * classes + 1)[:-1] for row in rows], -1)
    return table.reshape(len(SHARES) - 1, classes, len(rows))


def _sums(index: NDArray[np.int64], values: NDArray[np.integer[Any]], size: int = 0) -> NDArray[np.int64]:
    """Sum integers by index."""
    return np.bincount(index, values, size).astype(np.int64)


def checked(counts: Counts, images: int, classes: int, where: object) -> Counts:
    """Return the counts that were read; DataError if an array is damaged."""
    for name, shape in shapes(classes).items():
        values = counts.get(name)
        if values is None:
            continue
        right = values.shape == (images, *shape) and np.issubdtype(values.dtype, np.integer)
        if not right or (values.size and values.min() < 0):
            raise DataError(f"{where} is damaged: {name} is {values.dtype} of shape {values.shape}; evaluate or score again")
    return counts
