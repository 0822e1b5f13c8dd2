"""The optimizer, its learning rate, and the moving average of the weights."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel

from vocseg.models import SegmentationModel
from vocseg.training.config import TrainConfig

MOMENTUM = 0.9
"""Momentum of SGD, and beta1 of AdamW."""
CLIP_NORM = 5.0
"""Largest norm of the gradient with AdamW."""


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
        return torch.optim.AdamW(groups, betas=(MOMENTUM, 0.999), fused=fused)
    return torch.optim.SGD(groups, lr=config.lr, momentum=MOMENTUM, fused=fused)


def _groups(model: SegmentationModel, config: TrainConfig) -> Iterator[dict[str, Any]]:
    factors = {id(parameter): config.backbone_lr_factor for parameter in model.backbone_parameters()}
    factors |= {id(parameter): config.head_lr_factor for parameter in model.head_parameters()}
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    for parameter in model.parameters():
        if parameter.requires_grad:
            decays = config.optimizer == "sgd" or parameter.dim() > 1
            groups.setdefault((factors.get(id(parameter), 1.0), not decays), []).append(parameter)
    for (factor, plain), parameters in sorted(groups.items(), key=lambda group: group[0]):
        rate, decay = config.lr * factor, 0.0 if plain else config.weight_decay
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
    decay = {"poly": (1 - done) ** 0.9, "cosine": (1 + math.cos(math.pi * done)) / 2, "constant": 1.0}[config.schedule]
    return decay * min(1.0, (iteration + 1) / config.warmup if config.warmup else 1.0)


def set_lr(optimizer: torch.optim.Optimizer, factor: float) -> None:
    """Set each group's rate to ``factor`` times its base rate."""
    for group in optimizer.param_groups:
        group["lr"] = group["base_lr"] * factor


class MovingAverage(AveragedModel):
    """torch's average of a model, to be updated after each optimizer step.

    The first update copies the weights. After update t, average = d average + (1 - d) weights with
    d = min(decay, (1 + t) / (10 + t)): TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, so that the
    first weights do not linger. Batch norm statistics are averaged too; integers are copied.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        super().__init__(model, use_buffers=True)
        self.decay = decay
        self.pairs: list[tuple[Tensor, Tensor]] = []
        self.eval().requires_grad_(False)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Follow the model: always the same one, whose tensors are collected once (torch does so in each step)."""
        if not self.pairs:
            tensors = ((*module.parameters(), *module.buffers()) for module in (self.module, model))
            self.pairs = list(zip(*tensors, strict=True))
        updates = int(self.n_averaged)  # a CPU tensor: reading it does not wait for a GPU
        decay = min(self.decay, (1 + updates) / (10 + updates)) if updates else 0.0
        floats = [pair for pair in self.pairs if pair[0].is_floating_point()]
        torch._foreach_lerp_([mine for mine, _ in floats], [current for _, current in floats], 1 - decay)
        for mine, current in self.pairs:
            if not mine.is_floating_point():
                mine.copy_(current)
        self.n_averaged += 1
