"""How much a model believes the labels of an image, and the objects that model and labels disagree about."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from vocseg import voc
from vocseg.convert import regions, rle
from vocseg.convert.regions import Mask, Pixels

Kind = Literal["missing", "spurious", "class"]
KINDS: dict[Kind, str] = {
    "missing": "predicted objects that the labels do not have",
    "spurious": "labeled objects that are not predicted",
    "class": "labeled objects that are predicted as another class",
}
AGREEMENT = 0.1
"""Share of an object's pixels from which on labels and prediction agree that it is there."""


TEMPERATURE = 0.1
"""Of softmin, as in the paper."""
WINDOW = 0.05
"""Side of the windows of :func:`worst_region`, as a share of the image's longer side."""


def softmin(probabilities: NDArray[Any], temperature: float = TEMPERATURE) -> float | None:
    """Return the quality of labels, 0 (wrong) to 1, from the probability that each pixel's label was given; None without pixels.

    The mean weighted by exp((1 - probability) / temperature): near the lowest probability for a small temperature, and
    the plain mean for a large one (Lad and Mueller 2023, "Estimating label quality and errors in semantic segmentation
    data via any model", https://arxiv.org/abs/2307.05080). In float64.

    >>> round(softmin(np.array([1.0, 0.0])), 6)
    4.5e-05
    """
    values = np.asarray(probabilities, dtype=np.float64).ravel()
    if not len(values):
        return None
    weights = np.exp((values.min() - values) / temperature)  # the largest is 1
    return float((values * weights).sum() / weights.sum())


def worst_region(probability: NDArray[Any], valid: Pixels, window: float = WINDOW) -> float | None:
    """Return the quality of labels, 0 (wrong) to 1: the lowest mean probability of a square window; None if nothing is valid.

    ``probability``: what the model gives to each pixel's label, H x W. Windows are centered at ``valid`` pixels, of which
    alone the means are. Single pixels, as along any border, do not count, which objects do. In float64.

    >>> probability = np.ones((100, 100))
    >>> probability[40:60, 40:60] = 0.1
    >>> probability[10, 10] = 0
    >>> round(worst_region(probability, probability >= 0), 6)
    0.1
    """
    if not valid.any():
        return None
    side = max(1, round(window * max(valid.shape)))
    sums, counts = (
        ndimage.uniform_filter(values, side, mode="constant")
        for values in (np.where(valid, probability, 0).astype(np.float64), valid.astype(np.float64))
    )
    return float(np.clip((sums[valid] / counts[valid]).min(), 0, 1))


@dataclass(frozen=True)
class LabelError:
    """A connected region of an image that is probably labeled wrong.

    ``label`` and ``suggested``: the classes of the labels and of the model. ``doubt``: 1 minus the mean probability that
    the model gives to the label there. ``area`` in pixels; ``box``: left, top, width, height. ``segmentation``: its pixels
    as COCO's run lengths. ``accept``: what a reviewer decided; None: nothing yet.
    """

    id: str
    kind: Kind
    label: str
    suggested: str
    doubt: float
    area: int
    box: tuple[int, int, int, int]
    segmentation: dict[str, Any]
    accept: bool | None = None

    def __repr__(self) -> str:
        return f"LabelError({self.id}: {self.label} should be {self.suggested}, doubt {self.doubt:.2f})"

    @property
    def order(self) -> tuple[Any, ...]:
        """A key that sorts the most doubtful first, and is never the same for two."""
        return -self.doubt, self.id, self.box[1], self.box[0], self.box[2:], self.kind, self.label, self.suggested

    def pixels(self, height: int, width: int) -> Pixels:
        """Return the region as pixels of its image: bool, height x width; DataError for an image of another size."""
        found = np.zeros((height, width), dtype=bool)
        region = rle.decode(self.segmentation, height, width)
        found[region.box] = region.pixels
        return found


def label_errors(
    name: str, classes: tuple[str, ...], mask: Mask, predicted: Mask, probability: NDArray[np.float32], smallest: int
) -> Iterator[LabelError]:
    """Yield the objects of an image that labels and prediction disagree about, if they have ``smallest`` pixels or more.

    Objects are the 4-connected regions of each class except the background, in the labels and in the prediction; void
    pixels do not count. Labels and prediction disagree about one if they share less than AGREEMENT of its pixels.
    ``probability``: what the model gives to the label of each pixel.
    """
    background = voc.background(classes)
    valid = mask != voc.VOID
    explained = np.zeros_like(valid)  # pixels of labeled objects that were yielded

    def error(kind: Kind, pixels: Pixels, label: int, suggested: int) -> LabelError:
        box = regions.crop(pixels)
        place = (box.left, box.top, box.pixels.shape[1], box.pixels.shape[0])
        doubt = 1 - float(probability[pixels].mean(dtype=np.float64))
        return LabelError(name, kind, classes[label], classes[suggested], doubt, int(pixels.sum()), place, rle.encode(pixels))

    for label, pixels in _objects(mask, background, valid):
        counts = np.bincount(predicted[pixels], minlength=len(classes))
        if counts.sum() < smallest or counts[label] >= AGREEMENT * counts.sum():
            continue
        suggested = int(counts.argmax())
        explained |= pixels
        yield error("spurious" if suggested == background else "class", pixels, label, suggested)
    for suggested, pixels in _objects(predicted, background, valid):
        counts = np.bincount(mask[pixels], minlength=len(classes))
        if counts.sum() < smallest or counts[suggested] >= AGREEMENT * counts.sum():
            continue
        label = int(counts.argmax())
        inside = pixels & (mask == label)  # it may reach into other objects
        if int(inside.sum()) >= smallest and 2 * int((inside & explained).sum()) < int(inside.sum()):
            yield error("missing" if label == background else "class", inside, label, suggested)


def _objects(mask: Mask, background: int | None, valid: Pixels) -> Iterator[tuple[int, Pixels]]:
    """Yield class and valid pixels of each connected region of each class except background and void, in a fixed order."""
    for label in np.flatnonzero(np.bincount(mask.ravel(), minlength=256)[: voc.VOID]).tolist():
        if label == background:
            continue
        numbered = ndimage.label(mask == label)[0]
        for number, box in enumerate(ndimage.find_objects(numbered), 1):
            pixels = np.zeros_like(valid)
            pixels[box] = (numbered[box] == number) & valid[box]
            yield label, pixels
