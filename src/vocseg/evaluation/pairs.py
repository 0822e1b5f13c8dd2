"""Data sets of (image, mask) pairs, such as torchvision's, as samples to score."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vocseg import voc
from vocseg.data.dataset import Sample, SplitDataset, size_text
from vocseg.data.image_io import check_labels
from vocseg.data.layout import VocFolder
from vocseg.data.voc_dataset import VOCDataset
from vocseg.errors import DataError, shown
from vocseg.inference.images import to_pixels


def find_dataset(data: Any, split: str, mask_dir: str) -> SplitDataset | PairDataset:
    """Return the samples of what :func:`vocseg.evaluate` takes as data."""
    if isinstance(data, str | Path):
        return SplitDataset(VocFolder.find(data, mask_dir), split)
    if isinstance(data, VOCDataset) and data.transform is data.target_transform is data.transforms is None:
        return data.samples
    return data if isinstance(data, SplitDataset) else PairDataset(data)


def root_of(dataset: SplitDataset | PairDataset) -> str:
    """Return the folder of a data set, or what it is called."""
    return shown(dataset.folder.root) if isinstance(dataset, SplitDataset) else dataset.title


class PairDataset(Dataset[Sample]):
    """The samples of a data set, such as torchvision's, of (image, mask) pairs.

    An image is what :class:`vocseg.Segmenter` takes. A mask is a Pillow palette or gray image, or integers: an array or
    tensor, H x W or 1 x H x W. ``classes`` are those of the data set, None if it has none. Items are named by their index.
    """

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs
        self.title = type(pairs).__name__
        self.classes: tuple[str, ...] | None = tuple(getattr(pairs, "classes", None) or ()) or None
        self.split = str(getattr(pairs, "split", None) or getattr(pairs, "image_set", None) or self.title)
        self.names = [str(index) for index in range(len(pairs))]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pairs[index][:2]
        where = f"{index} of {self.title}"
        pixels, labels = to_pixels(image), mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
        labels = labels[0] if labels.dim() == 3 and len(labels) == 1 else labels
        if labels.dim() != 2 or labels.is_floating_point():
            raise DataError(f"mask {where} is {tuple(labels.shape)} {labels.dtype}, not H x W integers")
        if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) <= voc.VOID:
            raise DataError(f"mask {where} holds values from {int(labels.min())} to {int(labels.max())}, not only 0..{voc.VOID}")
        if pixels.shape[1:] != labels.shape:
            raise DataError(f"image {where} is {size_text(pixels)} but its mask is {size_text(labels)}")
        labels = labels.as_subclass(Tensor).to(torch.uint8)
        check_labels(labels, len(self.classes) if self.classes else voc.VOID, where)
        return Sample(pixels, labels, self.names[index])
