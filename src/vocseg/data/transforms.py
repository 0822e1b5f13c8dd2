"""Joint transforms of a picture and its mask, on uint8 tensors, random only through a given generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as F
from torchvision.transforms.v2.functional import InterpolationMode

from vocseg import voc
from vocseg.data.dataset import Transform

MEAN_COLOUR = (124, 116, 104)
"""ImageNet's mean RGB, 0..255: what padding is filled with, so that it is near 0 after normalisation."""


def resize_picture(picture: Tensor, size: Sequence[int]) -> Tensor:
    """Resize pictures (uint8, ... x 3 x H x W) to ``(height, width)``: bilinear, antialiased."""
    if tuple(size) == (1, 1):  # torch's uint8 kernel fails on a single pixel
        return picture.float().mean((-2, -1), keepdim=True).round_().to(picture.dtype)
    return F.resize_image(picture, list(size), interpolation=InterpolationMode.BILINEAR, antialias=True)


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks (integers, ... x H x W) to ``(height, width)``: nearest, on the same half-pixel grid as pictures."""
    return F.resize_image(mask.unsqueeze(-3), list(size), interpolation=InterpolationMode.NEAREST_EXACT).squeeze(-3)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number uniform in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


@dataclass(frozen=True)
class Compose:
    """One transform after another."""

    transforms: tuple[Transform, ...]

    def __call__(self, picture: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        for transform in self.transforms:
            picture, mask = transform(picture, mask, generator)
        return picture, mask


@dataclass(frozen=True)
class CentreSquare:
    """The largest centred square, resized to ``size`` x ``size``."""

    size: int

    def __call__(self, picture: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        height, width = mask.shape
        side = min(height, width)
        top, left = (height - side) // 2, (width - side) // 2
        window = (..., slice(top, top + side), slice(left, left + side))
        return resize_picture(picture[window], (self.size, self.size)), resize_mask(mask[window], (self.size, self.size))


@dataclass(frozen=True)
class RandomScaleCrop:
    """Scale by a factor drawn from ``scale``, then a random ``size`` x ``size`` crop, padded where the picture is smaller.

    Only the window that the crop will show is resized: the same as scaling the whole picture first but for the
    interpolation at the window's edge, at a fraction of the work. Padding is the mean colour and void.
    """

    size: int
    scale: tuple[float, float] = (0.5, 2.0)

    def __call__(self, picture: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        factor = uniform(*self.scale, generator)
        rows, top = self._axis(mask.shape[0], factor, generator)
        columns, left = self._axis(mask.shape[1], factor, generator)
        window = (..., rows, columns)
        # An axis shorter than the crop is shown whole, at its scaled length, and padded at the end or the start.
        height = min(self.size, max(1, round((rows.stop - rows.start) * factor)))
        width = min(self.size, max(1, round((columns.stop - columns.start) * factor)))
        small_picture, small_mask = resize_picture(picture[window], (height, width)), resize_mask(mask[window], (height, width))
        if (height, width) == (self.size, self.size):
            return small_picture, small_mask
        out_picture = torch.tensor(MEAN_COLOUR, dtype=torch.uint8)[:, None, None].repeat(1, self.size, self.size)
        out_mask = torch.full((self.size, self.size), voc.VOID, dtype=mask.dtype)
        top, left = int(top * (self.size - height + 1)), int(left * (self.size - width + 1))
        out_picture[:, top : top + height, left : left + width] = small_picture
        out_mask[top : top + height, left : left + width] = small_mask
        return out_picture, out_mask

    def _axis(self, length: int, factor: float, generator: torch.Generator) -> tuple[slice, float]:
        """The source interval that a crop shows along one axis, and where in 0..1 it is put when it is too short."""
        place = float(torch.rand((), generator=generator))
        window = round(self.size / factor)
        if window >= length:
            return slice(0, length), place
        start = int(place * (length - window + 1))
        return slice(start, start + window), place


@dataclass(frozen=True)
class RandomFlip:
    """Mirror left to right with probability 1/2."""

    def __call__(self, picture: Tensor, mask: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        if float(torch.rand((), generator=generator)) < 0.5:
            return picture.flip(-1), mask.flip(-1)
        return picture, mask


def training_transform(name: str, crop: int) -> Transform:
    """The transform of a recipe's ``augment`` setting: ``scale-crop`` or ``centre-square``."""
    if name == "centre-square":
        return CentreSquare(crop)
    return Compose((RandomScaleCrop(crop), RandomFlip()))
