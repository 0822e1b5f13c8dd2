"""A teacher's class probabilities of training images (soft labels), and a split with these and images without masks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import adaptive_avg_pool2d, grid_sample, one_hot

from vocseg import voc
from vocseg.data.dataset import Placement, Sample, SplitDataset, Transform
from vocseg.data.image_io import read_image
from vocseg.data.layout import IMAGE_SUFFIXES, VocFolder, files_by_stem
from vocseg.data.transforms.mixing import blend_uint8
from vocseg.errors import DataError, reason

SOFT_LABELS = "soft_labels"
"""The key of soft labels in ``Sample.maps`` and ``Batch.maps``."""
SOFT_CELL = 8
"""Pixels of a training image's side to a cell of its soft labels."""


@dataclass(frozen=True)
class SoftLabels:
    """Class probabilities on a grid over an image, as a :class:`vocseg.data.dataset.SampleMap`.

    ``tensor`` is uint8 (255 = probability 1), classes x h x w; a cell that shows nothing of the image is 0 in all
    classes.
    """

    tensor: Tensor

    @property
    def cell(self) -> int:
        return SOFT_CELL

    def place(self, shape: tuple[int, int], rows: Placement, columns: Placement, size: int) -> SoftLabels:
        count = max(1, size // SOFT_CELL)
        places = torch.meshgrid(rows.cells(shape[0], size, count), columns.cells(shape[1], size, count), indexing="ij")
        grid = torch.stack(places[::-1], -1)[None]
        shown = (grid.abs().amax(-1) <= 1).float()
        sampled = grid_sample(self.tensor[None].float(), grid, padding_mode="border", align_corners=False) * shown[:, None]
        return SoftLabels(sampled[0].round_().to(torch.uint8))

    def flip(self) -> SoftLabels:
        return SoftLabels(self.tensor.flip(-1))

    def paste(self, labels: Tensor, pasted: Tensor) -> SoftLabels:
        """Return soft labels in which each cell's pasted share of pixels is certain of its class."""
        classes, rows, columns = self.tensor.shape
        certain = one_hot(torch.where(pasted, labels, classes).long(), classes + 1)[..., :classes].permute(2, 0, 1)
        share = adaptive_avg_pool2d(certain.float(), (rows, columns))
        return SoftLabels((self.tensor * (1 - share.sum(0)) + 255 * share).round_().to(torch.uint8))

    def cut(self, other: SoftLabels, rows: slice, columns: slice) -> SoftLabels:
        tensor = self.tensor.clone()
        rows, columns = (slice(part.start // SOFT_CELL, part.stop // SOFT_CELL) for part in (rows, columns))
        tensor[:, rows, columns] = other.tensor[:, rows, columns]
        return SoftLabels(tensor)

    def blend(self, other: SoftLabels, share: float) -> SoftLabels:
        return SoftLabels(blend_uint8(self.tensor, other.tensor, share))


def read_soft_labels(path: Path, classes: int) -> Tensor:
    """Read the class probabilities of an image from a ``.npy`` file: uint8 (255 = probability 1), classes x h x w.

    Raises DataError for a file that is missing, damaged, or has another number of classes.
    """
    try:
        values = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"cannot read soft labels {path}: {reason(error)}") from error
    if values.dtype != np.uint8 or values.ndim != 3 or values.shape[0] != classes:
        raise DataError(f"soft labels {path} are {values.dtype} of shape {values.shape}, not uint8 of {classes} classes x h x w")
    return torch.from_numpy(values)


def images_without_masks(folder: Path) -> dict[str, Path]:
    """Return the images of a folder by stem; raise DataError if there are none."""
    if not folder.is_dir():
        raise DataError(f"no folder of unlabeled images {folder}")
    if images := files_by_stem(folder, IMAGE_SUFFIXES):
        return dict(sorted(images.items()))
    raise DataError(f"no images in {folder}")


SHOWN = 0.02
"""Share of the cells in which a class must be the likeliest for the image to count as showing it."""


def classes_shown(soft: Tensor) -> Tensor:
    """Return the classes (bool) that soft labels show: those that are the likeliest in more than 2 % of the cells."""
    return torch.bincount(soft.argmax(0).flatten(), minlength=len(soft)) > SHOWN * soft[0].numel()


class DistillationDataset(SplitDataset):
    """A split, followed by ``extra`` images without masks (by name), with the soft labels ``NAME.npy`` of a folder, if
    given.

    An image without a mask gets one that is void everywhere. Raises DataError if soft labels are missing.
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
        height, width = sample.mask.shape
        if abs(soft.shape[1] / soft.shape[2] * width / height - 1) > 0.2:
            raise DataError(f"soft labels of {name} are {soft.shape[1]}x{soft.shape[2]} for an image of {height}x{width}")
        return sample._replace(maps={SOFT_LABELS: SoftLabels(soft)})
