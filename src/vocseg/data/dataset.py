"""A split of a VOC-layout folder as a torch data set."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vocseg.data.image_io import read_image, read_mask
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


class Sample(NamedTuple):
    """One image (uint8 RGB, 3 x H x W), its mask (uint8 class ids, H x W, 255 = void) and its id.

    ``soft`` are a teacher's class probabilities where there is one: uint8 (255 = 1), classes x h x w on a coarser grid over
    the same image; cells that show nothing of it are 0 in all classes.
    """

    image: Tensor
    mask: Tensor
    name: str
    soft: Tensor | None = None


Transform = Callable[[Sample, torch.Generator], Sample]
"""Takes and returns a sample; all its randomness comes from the generator."""


class VocDataset(Dataset[Sample]):
    """The images and masks of one split.

    Indexed by an integer, or by a pair ``(index, seed)``: the seed alone decides what a random transform does, so a
    sample does not depend on which worker made it, or when.
    """

    def __init__(self, folder: VocFolder, split: str, transform: Transform | None = None) -> None:
        self.folder = folder
        self.split = split
        self.names = folder.ids(split)
        self.transform = transform

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of their ids."""
        return self.folder.classes

    @property
    def masked(self) -> list[str]:
        """The ids that have a mask."""
        return self.names

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Sample:
        """The untransformed sample; DataError where its files are unreadable, of different size, or wrongly labeled."""
        name = self.names[index]
        image = read_image(self.folder.image(name))
        mask = read_mask(self.folder.mask(name), len(self.classes))
        if image.shape[1:] != mask.shape:
            raise DataError(
                f"image {self.folder.image(name)} is {size_text(image)} but mask {self.folder.mask(name)} is {size_text(mask)}"
            )
        return Sample(image, mask, name)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        index, seed = index if isinstance(index, tuple) else (index, 0)
        sample = self.read(index)
        return sample if self.transform is None else self.transform(sample, torch.Generator().manual_seed(seed))


def size_text(tensor: Tensor) -> str:
    """``HxW`` of an image or mask."""
    return f"{tensor.shape[-2]}x{tensor.shape[-1]}"
