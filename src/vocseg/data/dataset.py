"""A split of a VOC-layout folder as a torch data set of samples."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol, Self

import torch
from torch import Tensor
from torch.utils.data import Dataset

from vocseg.data.image_io import read_image, read_mask
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


class Placement(NamedTuple):
    """Along one axis: the interval ``start:stop`` of the source that is shown, and ``to:to + length`` of the result."""

    start: int
    stop: int
    to: int
    length: int

    @property
    def source(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def target(self) -> slice:
        return slice(self.to, self.to + self.length)

    def cells(self, side: int, size: int, count: int) -> Tensor:
        """Return where the centers of ``count`` cells over the result's ``size`` are on the source of length ``side``.

        In grid_sample's coordinates: -1 to 1 over the source, 2 for a center outside the interval.
        """
        centers = (torch.arange(count) + 0.5) * (size / count) - self.to
        places = (self.start + centers * ((self.stop - self.start) / self.length)) * (2 / side) - 1
        return torch.where((centers >= 0) & (centers < self.length), places, 2.0)


class SampleMap(Protocol):
    """An extra map over the image that transforms carry along, such as a teacher's probabilities.

    Transforms call these methods and never look inside, as torchvision's dispatch on the kind of a tv_tensor does.
    """

    @property
    def tensor(self) -> Tensor:
        """What is stacked into batches; of one shape for all samples of one size."""

    @property
    def cell(self) -> int:
        """Side, in pixels of a training image, of a cell of the map's grid; ``cut`` gets corners on that grid."""

    def place(self, shape: tuple[int, int], rows: Placement, columns: Placement, size: int) -> Self:
        """Return the map of a window of an image of ``shape`` (height, width), resized into a square of ``size``."""

    def flip(self) -> Self:
        """Return the map of the image mirrored left to right."""

    def paste(self, labels: Tensor, pasted: Tensor) -> Self:
        """Return the map with the pixels ``pasted`` (bool, H x W) replaced by ``labels`` (uint8, H x W)."""

    def cut(self, other: Self, rows: slice, columns: slice) -> Self:
        """Return the map with a rectangle of pixels taken from ``other``."""

    def blend(self, other: Self, share: float) -> Self:
        """Return ``share`` of this map plus ``1 - share`` of ``other``."""


class Sample(NamedTuple):
    """An image (uint8 RGB, 3 x H x W), its mask (uint8 class ids, H x W, 255 = void), its id, and extra maps."""

    image: Tensor
    mask: Tensor
    name: str
    maps: Mapping[str, SampleMap] = {}  # a tuple's default, which nobody changes


class Batch(NamedTuple):
    """Images (uint8, N x 3 x H x W), masks (uint8, N x H x W), ids, and extra maps by name (N x ...)."""

    images: Tensor
    masks: Tensor
    names: list[str]
    maps: dict[str, Tensor] = {}  # noqa: RUF012


Transform = Callable[[Sample, torch.Generator], Sample]
"""Takes and returns a sample; all its randomness comes from the generator."""


class SplitDataset(Dataset[Sample]):
    """The images and masks of one split.

    Index it by a pair ``(index, seed)``, and only the seed decides what a random transform does, so a sample does not
    depend on the worker that made it; or by an integer, and torch's random state decides, so each epoch differs.
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

    @property
    def places(self) -> Tensor | None:
        """Where each image of a packed data set is: number of the shard, and offset (int64, N x 2); None for a folder."""
        packed = self.folder.packed
        return None if packed is None else torch.tensor([packed.place(self.folder.image(name)) for name in self.names])

    def __len__(self) -> int:
        return len(self.names)

    def read(self, index: int) -> Sample:
        """Read a sample without transforming it.

        Raises DataError if its files are unreadable, differ in size, or the mask holds a label of no class.
        """
        name = self.names[index]
        image = read_image(self.folder.image(name))
        mask = read_mask(self.folder.mask(name), len(self.classes))
        check_sizes(self.folder, name, image.shape[1:], mask.shape)
        return Sample(image, mask, name)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample:
        index, seed = index if isinstance(index, tuple) else (index, None)
        sample = self.read(index)
        if self.transform is None:
            return sample
        seed = int(torch.randint(1 << 62, ())) if seed is None else seed
        return self.transform(sample, torch.Generator().manual_seed(seed))


def check_sizes(folder: VocFolder, name: str, image: Sequence[int], mask: Sequence[int]) -> None:
    """Raise DataError, naming both files, if the sizes (height, width) of an image and its mask differ."""
    if tuple(image) != tuple(mask):
        sizes = [f"{size[0]}x{size[1]}" for size in (image, mask)]
        hint = ": one is turned; `vocseg data doctor DATA --fix OUT` repairs it" if tuple(image) == tuple(mask)[::-1] else ""
        raise DataError(f"image {folder.image(name)} is {sizes[0]} but mask {folder.mask(name)} is {sizes[1]}{hint}")


def size_text(tensor: Tensor) -> str:
    """Return ``HxW`` of an image or mask."""
    return f"{tensor.shape[-2]}x{tensor.shape[-1]}"
