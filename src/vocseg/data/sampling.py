"""Weights of classes in the loss, from how much of them the training images show."""

from __future__ import annotations

import torch
from torch import Tensor


def median_frequency_weights(pixels: Tensor, shown_in: Tensor) -> Tensor:
    """Median-frequency weights (float32) of the classes; 1 for classes that are never shown, whose weight is never used.

    ``pixels`` are those of each class; ``shown_in`` all pixels, void left out, of the images that show the class. A class's
    frequency is the quotient, its weight the median frequency over its own (Eigen and Fergus 2015, "Predicting depth, surface
    normals and semantic labels with a common multi-scale convolutional architecture", section 6.3.2; the median is over
    the classes shown, of an even number the lower of the middle two).

    >>> median_frequency_weights(torch.tensor([80, 10, 10, 0]), torch.tensor([100, 50, 100, 0])).tolist()
    [0.25, 1.0, 2.0, 1.0]
    """
    weights = torch.ones(len(pixels), dtype=torch.float32)
    shown = pixels > 0
    if shown.any():
        frequency = pixels[shown].double() / shown_in[shown].double()
        weights[shown] = (frequency.median() / frequency).float()
    return weights
