"""An exponential moving average of a model's weights."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

Tensors = tuple[Tensor, ...] | list[Tensor]


def moving_average(model: nn.Module, decay: float) -> AveragedModel:
    """Return torch's average of a model, to be updated after each optimizer step.

    The first update copies the weights. After update t, average = d average + (1 - d) weights with
    d = min(decay, (1 + t) / (10 + t)): TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, so that the
    first weights do not linger. Batch norm statistics are averaged too; integers are copied.
    """

    @torch.no_grad()
    def update(averaged: Tensors, current: Tensors, _count: Tensor | int) -> None:
        if not averaged[0].is_floating_point():
            torch._foreach_copy_(averaged, current)
            return
        updates = int(average.n_averaged)  # a CPU tensor: reading it does not wait for a GPU
        torch._foreach_lerp_(averaged, current, 1 - min(decay, (1 + updates) / (10 + updates)))

    average = AveragedModel(model, multi_avg_fn=update, use_buffers=True)
    average.eval().requires_grad_(False)
    return average
