"""Check a whole split quickly before training, summarize what it shows, and weigh its classes and images by that."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import SplitDataset, check_sizes
from vocseg.data.image_io import check_palettes, image_size, read_mask
from vocseg.data.label_checks import check_labels_of_split
from vocseg.utils.progress import progress
from vocseg.utils.text import counted


@dataclass
class SplitSummary:
    """What the masks of a split show, by label 0..255 (int64 each).

    ``pixels`` counts the pixels of each label, ``images_per_class`` the images that show it, and ``shown_in`` all
    pixels except void of those images.
    """

    split: str
    classes: tuple[str, ...]
    images: int = 0
    pixels: Tensor = field(default_factory=partial(torch.zeros, 256, dtype=torch.int64))
    images_per_class: Tensor = field(default_factory=partial(torch.zeros, 256, dtype=torch.int64))
    shown_in: Tensor = field(default_factory=partial(torch.zeros, 256, dtype=torch.int64))
    labels: list[Tensor] = field(default_factory=list)
    """Which labels each image shows, in the split's order: bool, 256."""

    def add(self, counts: Tensor) -> None:
        """Add a mask, given its number of pixels of each label (int64, 256)."""
        self.images += 1
        self.pixels += counts
        self.images_per_class += counts > 0
        self.labels.append(counts > 0)
        self.shown_in += torch.where(counts > 0, counts.sum() - counts[voc.VOID], 0)

    @property
    def absent(self) -> list[str]:
        """Classes that no mask shows."""
        return [name for label, name in enumerate(self.classes) if not self.images_per_class[label]]

    def class_weights(self) -> Tensor:
        """Return the median-frequency weights of the classes (float32)."""
        return median_frequency_weights(self.pixels[: len(self.classes)], self.shown_in[: len(self.classes)])

    def images_of(self) -> list[list[int]]:
        """Return the positions of the images that show a class, for each class that is shown, except the background."""
        shown = torch.stack(self.labels)[:, 1 : len(self.classes)]
        return [column.nonzero()[:, 0].tolist() for column in shown.T if column.any()]

    def describe(self) -> str:
        """Return one line: number of images, classes present and absent, share of void."""
        absent = self.absent
        void = float(self.pixels[voc.VOID]) / max(1, int(self.pixels.sum()))
        present = f"{len(self.classes) - len(absent)} of {len(self.classes)} classes"
        without = f" (none of {', '.join(absent[:5])}{', ...' if len(absent) > 5 else ''})" if absent else ""
        return f"{self.split}: {counted(self.images, 'image')}, {present}{without}, {void:.1%} void"


def check_split(dataset: SplitDataset) -> SplitSummary:
    """Read every mask and every image's header of a split, and count the labels.

    Raises DataError for the first mask or image that training could not use, naming the file and the value: unreadable
    files, color, 16-bit and lossy masks, palettes that contradict each other, labels that are not classes, an image and
    a mask of different size, truncated JPEGs; and for a split of one class. The doctor (:mod:`vocseg.doctor`) finds more.
    """

    def count(name: str) -> Tensor:
        mask = read_mask(dataset.folder.mask(name), len(dataset.classes))
        check_sizes(dataset.folder, name, image_size(dataset.folder.image(name)), mask.shape)
        return torch.bincount(mask.flatten(), minlength=256)

    summary = SplitSummary(dataset.split, dataset.classes)
    with ThreadPoolExecutor() as pool:
        for counts in progress(pool.map(count, dataset.masked), len(dataset.masked), f"check {dataset.split}"):
            summary.add(counts)
    check_palettes(map(dataset.folder.mask, dataset.masked))
    check_labels_of_split(summary.pixels, dataset.classes, dataset.split)
    return summary


def median_frequency_weights(pixels: Tensor, shown_in: Tensor) -> Tensor:
    """Return the median-frequency weights (float32) of the classes; 1 for classes that no image shows.

    ``pixels`` counts the pixels of each class, ``shown_in`` all pixels except void of the images that show the class. A
    class's frequency is the quotient, its weight the median frequency divided by its frequency (Eigen and Fergus 2015,
    "Predicting depth, surface normals and semantic labels with a common multi-scale convolutional architecture",
    section 6.3.2; the median is over the classes shown, of an even number the lower of the middle two).

    >>> median_frequency_weights(torch.tensor([80, 10, 10, 0]), torch.tensor([100, 50, 100, 0])).tolist()
    [0.25, 1.0, 2.0, 1.0]
    """
    weights = torch.ones(len(pixels), dtype=torch.float32)
    shown = pixels > 0
    if shown.any():
        frequency = pixels[shown].double() / shown_in[shown].double()
        weights[shown] = (frequency.median() / frequency).float()
    return weights


def repeat_factors(labels: Sequence[Tensor], classes: int, threshold: float) -> Tensor:
    """Return how often each image is repeated, relative to one that shows only common classes (float64, one an image).

    ``labels`` says which labels each image shows (bool). A factor is the largest max(1, sqrt(threshold / f)) of the
    image's classes, f the share of images that show the class (Gupta et al., "LVIS", 2019, section 3.2).

    >>> common, rare = torch.tensor([True, False]), torch.tensor([True, True])
    >>> repeat_factors([common, common, common, rare], classes=2, threshold=1.0).tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    shown = torch.stack(list(labels))[:, :classes].double()
    factors = (threshold / shown.mean(0).clamp(min=1e-12)).sqrt().clamp(min=1)
    return (shown * factors).amax(1).clamp(min=1)
