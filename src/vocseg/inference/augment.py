"""Test-time augmentation: the mean of the probabilities over scales and mirror images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

from vocseg.data.transforms.geometry import resize_image
from vocseg.ops.low_res_logits import LowResLogits

Augmentation = Literal["none", "flip", "multiscale"]

SCALES: dict[Augmentation, tuple[float, ...]] = {"none": (1.0,), "flip": (1.0,), "multiscale": (0.75, 1.0, 1.25)}
"""Scales of the image that the network sees."""


def cost_line(tta: Augmentation) -> str:
    """Say what an augmentation costs, by the pixels that enter the network.

    >>> cost_line("multiscale")
    'test-time augmentation multiscale: 6 passes an image, 6.25 times the work of one'
    """
    passes, work = 2 * len(SCALES[tta]), 2 * sum(scale**2 for scale in SCALES[tta])
    return f"test-time augmentation {tta}: {passes} passes an image, {work:g} times the work of one"


def averaged_logits(network: Callable[[Tensor], LowResLogits], images: Tensor, tta: Augmentation) -> LowResLogits:
    """Return the logarithm of the mean probabilities over the views of images, each as it is and mirrored.

    ``images``: uint8 RGB, N x 3 x H x W; the result has their size, so its softmax is the mean. Chen et al., "Rethinking
    Atrous Convolution for Semantic Image Segmentation" (2017), section 4.1, at fewer scales.
    """
    if tta == "none":
        return network(images)
    height, width = images.shape[2:]
    views = [(scale, mirrored) for scale in SCALES[tta] for mirrored in (False, True)]
    total = torch.zeros(())
    for scale, mirrored in views:
        view = resize_image(images, (max(1, round(height * scale)), max(1, round(width * scale))))
        probabilities = network(view.flip(-1) if mirrored else view).upsampled((height, width)).full().softmax(1)
        total = total.to(probabilities.device) + (probabilities.flip(-1) if mirrored else probabilities)
    return LowResLogits((total / len(views)).clamp_(min=torch.finfo(torch.float32).tiny).log_())
