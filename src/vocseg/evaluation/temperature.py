"""Temperature scaling: one number that makes a model's probabilities as sure as they are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.errors import DataError, ModelError, OutputError
from vocseg.evaluation.calibration import TemperatureFit
from vocseg.inference.segmenter import Segmenter
from vocseg.models import save_model
from vocseg.models.any_model import as_model
from vocseg.models.checkpoint import copy_model
from vocseg.models.zoo.vocseg_s import NAME, TRAINED
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.utils.files import is_file_name
from vocseg.utils.stand_ins import fetched

PIXELS = 200_000
"""Pixels of a split that a temperature is fitted on."""
LIMITS = 0.05, 20.0
"""Smallest and largest temperature."""


class PixelSample:
    """Logits of some valid pixels of each image, drawn by its name: the same in any order and batch."""

    def __init__(self, images: int) -> None:
        self.each = math.ceil(PIXELS / max(1, images))
        self.logits: list[Tensor] = []
        self.labels: list[Tensor] = []
        self.weights: list[Tensor] = []

    def add(self, names: Sequence[str], logits: LowResLogits, masks: Tensor) -> None:
        """Draw pixels of a batch; ``masks``: uint8, N x H x W."""
        for name, planes, mask in zip(names, logits.full().flatten(2), masks.flatten(1), strict=True):
            valid = (mask.cpu() != voc.VOID).nonzero()[:, 0]
            number = min(self.each, len(valid))
            order = np.random.default_rng(crc32(name.encode())).permutation(len(valid))
            places = valid[torch.from_numpy(order[:number])].to(planes.device)
            self.logits.append(planes[:, places].T.cpu())
            self.labels.append(mask[places].long().cpu())
            self.weights.append(torch.full((number,), len(valid) / max(1, number), dtype=torch.float64))  # all pixels count alike

    def fit(self, before: float = 1.0) -> TemperatureFit:
        """Find the temperature of the smallest mean cross entropy; DataError if all pixels are void.

        Guo et al., "On calibration of modern neural networks" (2017). The cross entropy is convex in 1 / temperature, so its
        derivative has one zero.
        """
        from scipy.optimize import brentq

        logits, labels = torch.cat(self.logits).double(), torch.cat(self.labels)[:, None]
        if not len(labels):
            raise DataError("all pixels are void: there is nothing to fit a temperature on")
        weights = torch.cat(self.weights)
        weights /= weights.sum()
        own = logits.gather(1, labels)[:, 0]

        def slope(inverse: float) -> float:
            expected = ((logits * inverse).softmax(1) * logits).sum(1)
            return float(weights @ (expected - own))

        def loss(temperature: float) -> float:
            return float(weights @ -(logits / temperature).log_softmax(1).gather(1, labels)[:, 0])

        low, high = 1 / LIMITS[1], 1 / LIMITS[0]
        inverse = low if slope(low) >= 0 else high if slope(high) <= 0 else brentq(slope, low, high, xtol=1e-9)
        return TemperatureFit(1 / inverse, loss(before), loss(1 / inverse), len(labels))


def check_fit(model: object, target: Path) -> None:
    """Raise ModelError for a model that cannot be written again, OutputError for a file that exists."""
    if isinstance(model, Segmenter):
        raise ModelError("fit_temperature writes a model file, and a Segmenter keeps no model: pass its name, file or network")
    if target.suffix != ".safetensors":
        raise OutputError(f"cannot write {target}: a model file ends in .safetensors")
    if target.exists():
        raise OutputError(f"cannot write {target}: it exists, and a model file is not replaced; choose another name")


def save_calibrated(
    model: str | Path | nn.Module, classes: Sequence[str] | None, weights: str | None, temperature: float, target: Path
) -> None:
    """Write a model, as :func:`vocseg.evaluate` takes it, with a temperature; weights of a model file stay as they are."""
    if isinstance(model, str | Path) and weights is None and (is_file_name(str(model)) or str(model) == NAME):
        copy_model(TRAINED if str(model) == NAME else fetched(model), target, temperature=temperature)
        return
    built = as_model(model, None if isinstance(model, str | Path) else classes, weights)
    save_model(target, built, replace(built.info, temperature=temperature))
