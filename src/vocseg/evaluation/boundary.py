"""Scores at boundaries and by size, from the counts of each image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.evaluation.counts import DISTANCES, SHARES
from vocseg.evaluation.statistics import Interval, as_number, as_pair, jackknife, scores_of

Integers = NDArray[np.integer[Any]]


@dataclass(frozen=True)
class BoundaryScores:
    """Boundary IoU, fractions in 0..1.

    Cheng et al., "Boundary IoU: Improving object-centric image segmentation evaluation" (2021), for each class against the
    rest: the IoU of the pixels of the true and of the predicted class that are within some pixels of another class or of
    the image's edge, without void pixels. Intersections and unions are summed over all images. ``miou``: mean over the
    classes that have such pixels; ``interval``: of it, 95 %; ``width``: pixels, smallest and largest over the images, 2 %
    of the diagonal; ``per_class``: by name.

    >>> import vocseg
    >>> from vocseg.data.samples import FOLDER
    >>> result = vocseg.evaluate("vocseg-s", FOLDER, "samples", device="cpu")
    >>> result.boundary.width, 0 < result.boundary.per_class["cat"] < result.per_class["cat"].iou
    ((11, 15), True)
    """

    miou: float | None
    interval: Interval | None
    width: tuple[int, int]
    per_class: dict[str, float | None]

    @classmethod
    def of(cls, counts: Integers, widths: Integers, classes: Sequence[str]) -> BoundaryScores:
        """Compute the scores of counts ``boundary`` and ``boundary_width``."""
        values = scores_of(counts.sum(0, dtype=np.int64).astype(np.float64))
        names = dict(zip(classes, map(as_number, values), strict=False))
        width = (int(widths.min()), int(widths.max())) if len(widths) else (0, 0)
        return cls(as_number(values[-1]), jackknife(counts.astype(np.float64))[-1], width, names)

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self) | {"interval": as_pair(self.interval), "width": list(self.width)}


def trimap_scores(counts: Integers) -> dict[int, float | None]:
    """Return the mIoU of the pixels within each distance of a boundary of the truth, of counts ``trimap``."""
    values = scores_of(counts.sum(0, dtype=np.int64).astype(np.float64))[:, -1]
    return dict(zip(DISTANCES, map(as_number, values), strict=True))


@dataclass(frozen=True)
class SizeScore:
    """How well objects of a range of sizes are found: components of the truth, all classes but background.

    ``low``, ``high``: shares of the image, 0..1. ``objects``: how many. ``found``: share of them with an IoU of 0.5 or
    more. ``recall`` and ``iou``: of their pixels, all together. The union of an object is its pixels, and of the predicted
    components of its class that overlap it the pixels of another true class.
    """

    low: float
    high: float
    objects: int
    found: float | None
    recall: float | None
    iou: float | None

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return asdict(self)


def size_scores(counts: Integers, classes: Sequence[str]) -> tuple[SizeScore, ...]:
    """Compute the scores of each range of sizes, of counts ``sizes``."""
    total = counts.sum(0, dtype=np.int64)
    objects = [label for label in range(len(classes)) if label != voc.background(classes)]
    rows = []
    for low, high, row in zip(SHARES, SHARES[1:], total[:, objects].sum(1).tolist(), strict=False):
        number, found, pixels, hits, unions = row
        ratios = (part / whole if whole else None for part, whole in ((found, number), (hits, pixels), (hits, unions)))
        rows.append(SizeScore(low, high, number, *ratios))
    return tuple(rows)
