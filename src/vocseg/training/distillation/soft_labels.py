"""A split with images that have no masks, and a teacher's soft labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import Sample, Transform, VocDataset, size_text
from vocseg.data.image_io import read_image
from vocseg.data.layout import IMAGE_SUFFIXES, VocFolder, files_by_stem
from vocseg.errors import DataError, reason


def read_soft_labels(path: Path, classes: int) -> Tensor:
    """Class probabilities of an image on a grid over it: uint8 (255 = 1), classes x h x w, from a ``.npy`` file.

    Raises DataError for a file that is missing, damaged, or of other classes.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read soft labels {path}: {reason(error)}") from error
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[0] != classes:
        raise DataError(f"soft labels {path} are {values.dtype} of shape {values.shape}, not uint8 of {classes} classes x h x w")
    return torch.from_numpy(values)


def images_without_masks(folder: Path) -> dict[str, Path]:
    """The images of a folder by name; DataError where there are none."""
    if not folder.is_dir():
        raise DataError(f"no folder of unlabeled images {folder}")
    images = dict(sorted(files_by_stem(folder, IMAGE_SUFFIXES).items()))
    if not images:
        raise DataError(f"no images in {folder}")
    return images


SHOWN = 0.02
"""Share of an image that a class must have, by its soft labels, to count as shown."""


def classes_shown(soft: Tensor) -> Tensor:
    """Which classes are the likeliest in more than 2 % of the cells: bool."""
    return torch.bincount(soft.argmax(0).flatten(), minlength=len(soft)) > SHOWN * soft[0].numel()


class TaughtDataset(VocDataset):
    """A split followed by ``extra`` images without masks, by name; with soft labels ``NAME.npy`` of one folder, if any.

    The mask of an image without one is void throughout. Raises DataError where soft labels are missing.
    """

    def __init__(
        self,
        folder: VocFolder,
        split: str,
        soft_labels: Path | None = None,
        extra: Mapping[str, Path] | None = None,
        transform: Transform | None = None,
    ) -> None:
        super().__init__(folder, split, transform)
        self.soft_labels = soft_labels
        self.labeled = len(self.names)
        self.extra = extra or {}
        self.names = [*self.names, *self.extra]
        if soft_labels is None:
            return
        if not soft_labels.is_dir():
            raise DataError(f"no folder of soft labels {soft_labels}")
        there = files_by_stem(soft_labels, (".npy",))
        missing = [name for name in self.names if name not in there]
        if missing:
            raise DataError(f"{len(missing)} of {len(self.names)} images have no soft labels in {soft_labels}: {missing[0]}.npy")

    @property
    def masked(self) -> list[str]:
        """The ids that have a mask."""
        return self.names[: self.labeled]

    def read(self, index: int) -> Sample:
        name = self.names[index]
        if index < self.labeled:
            sample = super().read(index)
        else:
            image = read_image(self.extra[name])
            sample = Sample(image, torch.full(image.shape[1:], voc.VOID, dtype=torch.uint8), name)
        if self.soft_labels is None:
            return sample
        soft = read_soft_labels(self.soft_labels / f"{name}.npy", len(self.classes))
        if abs(soft.shape[1] / soft.shape[2] * sample.mask.shape[1] / sample.mask.shape[0] - 1) > 0.2:
            raise DataError(f"soft labels of {name} are {size_text(soft)} for an image of {size_text(sample.mask)}")
        return sample._replace(soft=soft)
