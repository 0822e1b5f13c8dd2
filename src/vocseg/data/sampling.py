"""Help rare classes: class weights for the loss, and repeat factors for images."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def median_frequency_weights(pixels: Tensor, shown_in: Tensor) -> Tensor:
    """Return the median-frequency weights (float32) of the classes; 1 for classes that no image shows.

    ``pixels`` counts the pixels of each class, ``shown_in`` all pixels except void of the images that show the class. A
    class's frequency is the quotient, its weight the median frequency divided by its frequency (Eigen and Fergus 2015,
    "Predicting depth, surface normals and semantic labels with a common multi-scale convolutional architecture",
    section 6.3.2; the median is over the classes shown, of an even number the lower of the middle two).

    >>> median_frequency_weights(torch.tensor([80, 10, 10, 0]), torch.tensor([100, 50, 100, 0])).tolist()
    [0.25, 1.0, 2.0, 1.0]
    """
    weights = torch.ones(len(pixels), dtype=torch.float32)
    shown = pixels > 0
    if shown.any():
        frequency = pixels[shown].double() / shown_in[shown].double()
        weights[shown] = (frequency.median() / frequency).float()
    return weights


def repeat_factors(labels: Sequence[Tensor], classes: int, threshold: float) -> Tensor:
    """Return how often each image is repeated, relative to one that shows only common classes (float64, one an image).

    ``labels`` says which labels each image shows (bool). A factor is the largest max(1, sqrt(threshold / f)) of the
    image's classes, f the share of images that show the class (Gupta et al., "LVIS", 2019, section 3.2).

    >>> common, rare = torch.tensor([True, False]), torch.tensor([True, True])
    >>> repeat_factors([common, common, common, rare], classes=2, threshold=1.0).tolist()
    [1.0, 1.0, 1.0, 2.0]
    """
    shown = torch.stack(list(labels))[:, :classes].double()
    factors = (threshold / shown.mean(0).clamp(min=1e-12)).sqrt().clamp(min=1)
    return (shown * factors).amax(1).clamp(min=1)
