"""Data sets of (image, mask) pairs, such as torchvision's, as samples."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from vocseg import voc
from vocseg.data.dataset import Sample, size_text
from vocseg.data.image_io import check_labels
from vocseg.errors import DataError
from vocseg.inference.images import to_pixels


class PairDataset(Dataset[Sample]):
    """The samples of a data set whose items are an image (as :class:`vocseg.Segmenter` takes them) and its mask.

    A mask is a Pillow palette or gray image, or integers: an array or tensor, H x W or 1 x H x W. ``classes`` are those
    of the data set, None if it has none. Items are named by their index.
    """

    def __init__(self, pairs: Any) -> None:
        self.pairs = pairs
        self.title = type(pairs).__name__
        self.classes: tuple[str, ...] | None = tuple(pairs.classes) if getattr(pairs, "classes", None) else None
        self.split = str(getattr(pairs, "split", None) or getattr(pairs, "image_set", None) or self.title)
        self.names = [str(index) for index in range(len(pairs))]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        image, mask = self.pairs[index][:2]
        where = f"{index} of {self.title}"
        pixels, labels = to_pixels(image), _labels(mask, where)
        if pixels.shape[1:] != labels.shape:
            raise DataError(f"image {where} is {size_text(pixels)} but its mask is {size_text(labels)}")
        check_labels(labels, len(self.classes) if self.classes else voc.VOID, where)
        return Sample(pixels, labels, self.names[index])


def _labels(mask: Any, where: str) -> Tensor:
    labels = mask if isinstance(mask, Tensor) else torch.from_numpy(np.array(mask))
    labels = labels[0] if labels.dim() == 3 and len(labels) == 1 else labels
    if labels.dim() != 2 or labels.is_floating_point():
        raise DataError(f"mask {where} is {tuple(labels.shape)} {labels.dtype}, not H x W integers")
    if labels.numel() and not 0 <= int(labels.min()) <= int(labels.max()) <= voc.VOID:
        raise DataError(f"mask {where} holds values from {int(labels.min())} to {int(labels.max())}, not only 0..{voc.VOID}")
    return labels.as_subclass(Tensor).to(torch.uint8)
