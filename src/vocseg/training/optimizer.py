"""The optimizer and its learning rate."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from vocseg.models import SegmentationModel
from vocseg.training.config import TrainConfig


def build_optimizer(model: SegmentationModel, settings: TrainConfig, others: nn.Module | None = None) -> torch.optim.Optimizer:
    """SGD or AdamW with class layers and backbone in groups of their own, at their factors times the base rate.

    A faster head is that of Chen et al., "DeepLab" (2016), section 4.1. Each group keeps its own base rate in ``base_lr``.
    AdamW (Loshchilov and Hutter, 2019) decays no vectors: biases and normalization. ``others`` is what is trained beside the
    model, at the base rate.
    """
    groups = list(_groups(model, settings))
    if others is not None:
        groups.append({"params": [*others.parameters()], "lr": settings.lr, "base_lr": settings.lr, "weight_decay": 0.0})
    fused = all(parameter.is_floating_point() for group in groups for parameter in group["params"])
    if settings.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(settings.momentum, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=settings.lr, momentum=settings.momentum, fused=fused)


def _groups(model: SegmentationModel, settings: TrainConfig) -> Iterator[dict[str, Any]]:
    heads = {id(parameter) for parameter in model.head_parameters()}
    inner = {id(parameter) for parameter in model.backbone_parameters()} - heads
    factors = {
        id(p): settings.head_lr_factor if id(p) in heads else settings.backbone_lr_factor if id(p) in inner else 1.0
        for p in model.parameters()
    }
    for factor in sorted(set(factors.values())):
        rate = settings.lr * factor
        mine = [p for p in model.parameters() if p.requires_grad and factors[id(p)] == factor]
        decayed = [p for p in mine if settings.optimizer == "sgd" or p.dim() > 1]
        others = [p for p in mine if not (settings.optimizer == "sgd" or p.dim() > 1)]
        for parameters, decay in ((decayed, settings.weight_decay), (others, 0.0)):
            if parameters:
                yield {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}


def freeze(model: SegmentationModel, what: str) -> None:
    """Hold back from training what the setting ``freeze`` names; call it after ``model.train()`` as well."""
    if what == "none":
        return
    # SyncBatchNorm too, which several GPUs have in place of BatchNorm2d.
    norms = [module for module in model.network.modules() if isinstance(module, _BatchNorm)]
    for part in model.backbone() if what == "backbone" else norms:
        part.eval().requires_grad_(False)


def rate_factor(iteration: int, total: int, settings: TrainConfig) -> float:
    """Factor of the learning rate at an iteration of 0..total-1 of a run.

    ``poly``: (1 - iteration / total) ** power (DeepLab, section 4.1); ``cosine``: (1 + cos(pi iteration / total)) / 2 (Loshchilov
    and Hutter, "SGDR", 2017); each times a linear rise over the first ``warmup`` iterations.
    """
    done = iteration / total
    cosine = (1 + math.cos(math.pi * done)) / 2
    falling = {"poly": (1 - done) ** 0.9, "cosine": cosine, "constant": 1.0}[settings.schedule]
    return falling * min(1.0, (iteration + 1) / settings.warmup if settings.warmup else 1.0)


def set_rate(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
