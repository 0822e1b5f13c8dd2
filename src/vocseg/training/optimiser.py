"""The optimiser and its learning rate."""

from __future__ import annotations

import torch

from vocseg.models import SegmentationModel
from vocseg.training.settings import Settings


def build_optimiser(model: SegmentationModel, settings: Settings) -> torch.optim.SGD:
    """SGD with the class layers in a group of their own at ``head_lr_factor`` times the base rate.

    The factor is that of Chen et al., "DeepLab" (2016), section 4.1. Each group keeps its own base rate in ``base_lr``.
    """
    heads = model.class_parameters()
    head_ids = {id(parameter) for parameter in heads}
    body = [parameter for parameter in model.parameters() if id(parameter) not in head_ids]
    head_lr = settings.lr * settings.head_lr_factor
    groups = [
        {"params": body, "lr": settings.lr, "base_lr": settings.lr},
        {"params": heads, "lr": head_lr, "base_lr": head_lr},
    ]
    return torch.optim.SGD(groups, momentum=settings.momentum, weight_decay=settings.weight_decay)


def poly(iteration: int, total: int, power: float) -> float:
    """Factor of the learning rate at an iteration of 0..total-1: ``(1 - iteration / total) ** power`` (DeepLab, section 4.1)."""
    return float((1 - iteration / total) ** power)


def set_rate(optimiser: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its base rate."""
    for group in optimiser.param_groups:
        group["lr"] = group["base_lr"] * factor
