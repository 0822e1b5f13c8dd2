"""Random changes of an image's colors."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from vocseg.data.dataset import Sample
from vocseg.data.transforms.geometry import uniform

GRAY = torch.tensor([0.299, 0.587, 0.114])
"""Weights of R, G, B in a gray value (ITU-R BT.601)."""

_YIQ = torch.tensor([[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])


@dataclass(frozen=True)
class ColorJitter:
    """Change brightness, contrast and saturation by factors in 1 +- strength, and the hue by up to +- strength / 4.

    The first three as in Howard, "Some improvements on deep convolutional neural network based image classification"
    (2013): blends with black, with the mean gray and with the pixel's own gray. The hue turns about the gray axis of
    YIQ. Together they are one linear map of RGB, cut to 0..255 once: several times faster than torchvision's four
    passes.

    >>> sample = Sample(torch.full((3, 2, 2), 100, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8), "gray")
    >>> ColorJitter(0.4)(sample, torch.Generator().manual_seed(0)).image.unique().numel()  # gray has no hue
    1
    """

    strength: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        brightness, contrast, saturation = (max(0.0, uniform(1 - self.strength, 1 + self.strength, generator)) for _ in range(3))
        turn = uniform(-self.strength / 4, self.strength / 4, generator)
        return sample._replace(image=adjust_colors(sample.image, brightness, contrast, saturation, turn))


def adjust_colors(image: Tensor, brightness: float, contrast: float, saturation: float, turn: float) -> Tensor:
    """Change the colors of an image (uint8, 3 x H x W) by three factors and a turn of the hue (1: full circle)."""
    angle = 2 * math.pi * turn
    rotation = torch.tensor([[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]])
    matrix = torch.linalg.inv(_YIQ) @ rotation @ _YIQ
    # Hue and saturation do not change gray values.
    matrix = saturation * matrix + (1 - saturation) * GRAY.expand(3, 3)
    pixels = image.flatten(1).float()
    mean_gray = float(GRAY @ pixels.mean(1))
    changed = torch.addmm(torch.full((3, 1), brightness * (1 - contrast) * mean_gray), matrix * (brightness * contrast), pixels)
    return changed.round_().clamp_(0, 255).to(torch.uint8).view_as(image)
