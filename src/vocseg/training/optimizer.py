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


def build_optimizer(model: SegmentationModel, config: TrainConfig, extra: nn.Module | None = None) -> torch.optim.Optimizer:
    """Build SGD or AdamW, with class layers and backbone at their multiples of the base learning rate.

    The faster head is that of Chen et al., "DeepLab" (2016), section 4.1. Each group keeps its own base rate in
    ``base_lr``. AdamW (Loshchilov and Hutter, 2019) decays no vectors: biases and normalization. ``extra`` is trained
    beside the model, at the base rate.
    """
    groups = list(_groups(model, config))
    if extra is not None:
        groups.append({"params": [*extra.parameters()], "lr": config.lr, "base_lr": config.lr, "weight_decay": 0.0})
    fused = all(parameter.is_floating_point() for group in groups for parameter in group["params"])
    if config.optimizer == "adamw":
        return torch.optim.AdamW(groups, betas=(config.momentum, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=config.lr, momentum=config.momentum, fused=fused)


def _groups(model: SegmentationModel, config: TrainConfig) -> Iterator[dict[str, Any]]:
    heads = {id(parameter) for parameter in model.head_parameters()}
    inner = {id(parameter) for parameter in model.backbone_parameters()} - heads
    factors = {
        id(p): config.head_lr_factor if id(p) in heads else config.backbone_lr_factor if id(p) in inner else 1.0
        for p in model.parameters()
    }
    for factor in sorted(set(factors.values())):
        rate = config.lr * factor
        mine = [p for p in model.parameters() if p.requires_grad and factors[id(p)] == factor]
        decayed = [p for p in mine if config.optimizer == "sgd" or p.dim() > 1]
        others = [p for p in mine if not (config.optimizer == "sgd" or p.dim() > 1)]
        for parameters, decay in ((decayed, config.weight_decay), (others, 0.0)):
            if parameters:
                yield {"params": parameters, "lr": rate, "base_lr": rate, "weight_decay": decay}


def set_train_mode(model: SegmentationModel, frozen: str) -> None:
    """Set training mode, except for what the setting ``freeze`` names: that stays fixed and in evaluation mode."""
    model.train()
    if frozen == "none":
        return
    # SyncBatchNorm too, which replaces BatchNorm2d on several GPUs.
    norms = [module for module in model.network.modules() if isinstance(module, _BatchNorm)]
    for part in model.backbone() if frozen == "backbone" else norms:
        part.eval().requires_grad_(False)


def lr_factor(iteration: int, total: int, config: TrainConfig) -> float:
    """Return the factor of the learning rate at an iteration of 0..total-1 of a run.

    ``poly``: (1 - iteration / total) ** 0.9 (DeepLab, section 4.1); ``cosine``: (1 + cos(pi iteration / total)) / 2
    (Loshchilov and Hutter, "SGDR", 2017); each times a linear rise over the first ``warmup`` iterations.

    >>> [lr_factor(iteration, 4, TrainConfig(schedule="cosine")) for iteration in (0, 2)]
    [1.0, 0.5]
    """
    done = iteration / total
    cosine = (1 + math.cos(math.pi * done)) / 2
    decay = {"poly": (1 - done) ** 0.9, "cosine": cosine, "constant": 1.0}[config.schedule]
    return decay * min(1.0, (iteration + 1) / config.warmup if config.warmup else 1.0)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor
