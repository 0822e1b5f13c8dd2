"""Resize, crop and flip an image together with its mask and extra maps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vocseg import voc
from vocseg.data.dataset import Placement, Sample, Transform

MEAN_COLOR = (124, 116, 104)
"""ImageNet's mean RGB, 0..255: what padding is filled with, so that it is near 0 after normalization."""


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images (uint8, ... x 3 x H x W) to ``(height, width)``, bilinear and antialiased."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    if tuple(size) == (1, 1):  # torch's uint8 kernel fails on a single pixel
        return image.float().mean((-2, -1), keepdim=True).round_().to(image.dtype)
    if size[1] == 1 and not UINT8_KERNEL:  # torch's float kernel does not change the height then
        return resize_image(image.mT, (1, size[0])).mT
    planes = image.reshape(-1, *image.shape[-3:]).to(torch.uint8 if UINT8_KERNEL else torch.float32)
    resized = interpolate(planes, list(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.round_().to(image.dtype).reshape(*image.shape[:-2], *size)


UINT8_KERNEL = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Whether torch's kernel for uint8 is vectorized: several times faster than that for float32, otherwise slower."""


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks (uint8, ... x H x W) to ``(height, width)``: nearest, on the same half-pixel grid as images."""
    planes = mask.reshape(-1, 1, *mask.shape[-2:])
    return interpolate(planes, list(size), mode="nearest-exact").reshape(*mask.shape[:-2], *size)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """Draw a number uniform in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


@dataclass(frozen=True)
class Compose:
    """Apply one transform after another.

    >>> sample = Sample(torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8), "black")
    >>> augment = Compose([RandomScaleCrop(32), RandomFlip()])
    >>> augment(sample, torch.Generator().manual_seed(0)).image.shape
    torch.Size([3, 32, 32])
    """

    transforms: Sequence[Transform]

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        for transform in self.transforms:
            sample = transform(sample, generator)
        return sample


@dataclass(frozen=True)
class CenterSquare:
    """Cut out the largest centered square and resize it to ``size`` x ``size``.

    >>> sample = Sample(torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8), "black")
    >>> CenterSquare(32)(sample, torch.Generator()).mask.shape
    torch.Size([32, 32])
    """

    size: int

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        side = min(sample.mask.shape)
        top, left = ((length - side) // 2 for length in sample.mask.shape)
        return _place(sample, Placement(top, top + side, 0, self.size), Placement(left, left + side, 0, self.size), self.size)


@dataclass(frozen=True)
class RandomScaleCrop:
    """Scale by a factor drawn from ``scale``, then take a random ``size`` x ``size`` crop.

    An image that is smaller than the crop is padded with the mean color, its mask with void. Only the window that the
    crop shows is resized: this equals scaling the whole image first, except for the interpolation at the window's edge,
    at a fraction of the work.

    >>> sample = Sample(torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8), "black")
    >>> RandomScaleCrop(96, scale=(1.0, 1.0))(sample, torch.Generator().manual_seed(0)).mask.unique().tolist()
    [0, 255]
    """

    size: int
    scale: tuple[float, float] = (0.5, 2.0)

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        factor = uniform(*self.scale, generator)
        rows = self._axis(sample.mask.shape[0], factor, generator)
        columns = self._axis(sample.mask.shape[1], factor, generator)
        return _place(sample, rows, columns, self.size)

    def _axis(self, length: int, factor: float, generator: torch.Generator) -> Placement:
        place = float(torch.rand((), generator=generator))
        window = round(self.size / factor)
        if window < length:
            start = int(place * (length - window + 1))
            return Placement(start, start + window, 0, self.size)
        # An axis shorter than the crop is shown whole, at its scaled length, and padded at both ends.
        scaled = min(self.size, max(1, round(length * factor)))
        return Placement(0, length, int(place * (self.size - scaled + 1)), scaled)


def _place(sample: Sample, rows: Placement, columns: Placement, size: int) -> Sample:
    """Resize the window of a sample and put it in its place in a ``size`` x ``size`` square."""
    image = resize_image(sample.image[:, rows.source, columns.source], (rows.length, columns.length))
    mask = resize_mask(sample.mask[rows.source, columns.source], (rows.length, columns.length))
    shape = (sample.mask.shape[0], sample.mask.shape[1])
    maps = {key: values.place(shape, rows, columns, size) for key, values in sample.maps.items()}
    if (rows.length, columns.length) != (size, size):
        square = torch.tensor(MEAN_COLOR, dtype=torch.uint8)[:, None, None].repeat(1, size, size)
        square[:, rows.target, columns.target] = image
        labels = torch.full((size, size), voc.VOID, dtype=mask.dtype)
        labels[rows.target, columns.target] = mask
        image, mask = square, labels
    return sample._replace(image=image, mask=mask, maps=maps)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left to right with probability 1/2.

    >>> row = torch.arange(3, dtype=torch.uint8)[None]
    >>> RandomFlip()(Sample(row.expand(3, 1, 3), row, "ramp"), torch.Generator().manual_seed(0)).mask.tolist()
    [[2, 1, 0]]
    """

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if float(torch.rand((), generator=generator)) >= 0.5:
            return sample
        maps = {key: values.flip() for key, values in sample.maps.items()}
        return sample._replace(image=sample.image.flip(-1), mask=sample.mask.flip(-1), maps=maps)


def training_transform(name: str, crop: int, scale: tuple[float, float] = (0.5, 2.0)) -> Transform:
    """Return the transform of a recipe's ``augment`` setting: ``scale-crop`` or ``center-square``."""
    return CenterSquare(crop) if name == "center-square" else Compose((RandomScaleCrop(crop, scale), RandomFlip()))
