"""Joint transforms of an image and its mask, on uint8 tensors, random only through a given generator."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from vocseg import voc
from vocseg.data.dataset import Sample, Transform
from vocseg.data.placement import Placement

MEAN_COLOR = (124, 116, 104)
"""ImageNet's mean RGB, 0..255: what padding is filled with, so that it is near 0 after normalization."""


def resize_image(image: Tensor, size: Sequence[int]) -> Tensor:
    """Resize images (uint8, ... x 3 x H x W) to ``(height, width)``: bilinear, antialiased; as they are where they have it."""
    if tuple(image.shape[-2:]) == tuple(size):
        return image
    if tuple(size) == (1, 1):  # torch's uint8 kernel fails on a single pixel
        return image.float().mean((-2, -1), keepdim=True).round_().to(image.dtype)
    if size[1] == 1 and not UINT8_KERNEL:  # torch's float kernel leaves the height as it is then
        return resize_image(image.mT, (1, size[0])).mT
    planes = image.reshape(-1, *image.shape[-3:]).to(torch.uint8 if UINT8_KERNEL else torch.float32)
    resized = interpolate(planes, list(size), mode="bilinear", align_corners=False, antialias=True)
    return resized.round_().to(image.dtype).reshape(*image.shape[:-2], *size)


UINT8_KERNEL = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")
"""Whether torch's kernel for uint8 is the vectorised one, several times quicker than that for float32; else it is slower."""


def resize_mask(mask: Tensor, size: Sequence[int]) -> Tensor:
    """Resize masks (uint8, ... x H x W) to ``(height, width)``: nearest, on the same half-pixel grid as images."""
    planes = mask.reshape(-1, 1, *mask.shape[-2:])
    return interpolate(planes, list(size), mode="nearest-exact").reshape(*mask.shape[:-2], *size)


def uniform(low: float, high: float, generator: torch.Generator) -> float:
    """A number uniform in [low, high)."""
    return low + (high - low) * float(torch.rand((), generator=generator))


@dataclass(frozen=True)
class Compose:
    """One transform after another."""

    transforms: tuple[Transform, ...]

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        for transform in self.transforms:
            sample = transform(sample, generator)
        return sample


@dataclass(frozen=True)
class CenterSquare:
    """The largest centered square, resized to ``size`` x ``size``."""

    size: int

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        side = min(sample.mask.shape)
        top, left = ((length - side) // 2 for length in sample.mask.shape)
        return _place(sample, Placement(top, top + side, 0, self.size), Placement(left, left + side, 0, self.size), self.size)


@dataclass(frozen=True)
class RandomScaleCrop:
    """Scale by a factor drawn from ``scale``, then a random ``size`` x ``size`` crop, padded where the image is smaller.

    Only the window that the crop will show is resized: the same as scaling the whole image first but for the
    interpolation at the window's edge, at a fraction of the work. Padding is the mean color and void.
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
        # An axis shorter than the crop is shown whole, at its scaled length, and padded at the end or the start.
        scaled = min(self.size, max(1, round(length * factor)))
        return Placement(0, length, int(place * (self.size - scaled + 1)), scaled)


def _place(sample: Sample, rows: Placement, columns: Placement, size: int) -> Sample:
    """The shown window of a sample, resized and put where it belongs in a ``size`` x ``size`` square."""
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
    """Mirror left to right with probability 1/2."""

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if float(torch.rand((), generator=generator)) >= 0.5:
            return sample
        maps = {key: values.flip() for key, values in sample.maps.items()}
        return sample._replace(image=sample.image.flip(-1), mask=sample.mask.flip(-1), maps=maps)


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast and saturation by factors within 1 +- ``strength``, the hue by up to ``strength`` / 4 turns.

    The first three as in Howard, "Some improvements on deep convolutional neural network based image classification" (2013):
    blends with black, the mean gray and the pixel's own gray. The hue turns about the gray axis of YIQ, so that all four are
    one linear map of RGB, cut to 0..255 once.
    """

    strength: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        brightness, contrast, saturation = (max(0.0, uniform(1 - self.strength, 1 + self.strength, generator)) for _ in range(3))
        turn = uniform(-self.strength / 4, self.strength / 4, generator)
        return sample._replace(image=adjust_colors(sample.image, brightness, contrast, saturation, turn))


GRAY = torch.tensor([0.299, 0.587, 0.114])
"""Weights of R, G, B in a gray value (ITU-R BT.601)."""

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


def adjust_colors(image: Tensor, brightness: float, contrast: float, saturation: float, turn: float) -> Tensor:
    """An image (uint8, 3 x H x W) with its colors changed by three factors (1: as is) and a turn of the hue (1: full circle)."""
    angle = 2 * math.pi * turn
    rotation = torch.tensor([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    matrix = torch.linalg.inv(_YIQ) @ rotation @ _YIQ
    # Hue and saturation leave gray values as they are.
    matrix = saturation * matrix + (1 - saturation) * GRAY.expand(3, 3)
    pixels = image.flatten(1).float()
    mean_gray = float(GRAY @ pixels.mean(1))
    changed = torch.addmm(torch.full((3, 1), brightness * (1 - contrast) * mean_gray), matrix * (brightness * contrast), pixels)
    return changed.round_().clamp_(0, 255).to(torch.uint8).view_as(image)


def training_transform(name: str, crop: int, scale: tuple[float, float] = (0.5, 2.0)) -> Transform:
    """The transform of a recipe's ``augment`` setting: ``scale-crop`` or ``center-square``."""
    return CenterSquare(crop) if name == "center-square" else Compose((RandomScaleCrop(crop, scale), RandomFlip()))
