"""An exponential moving average of a network's weights."""

from __future__ import annotations

import copy

import torch
from torch import Tensor

from vocseg.models import SegmentationModel


class Ema:
    """A copy of a model that follows it: after step t, average = d average + (1 - d) weights, d = min(decay, (1 + t) / (10 + t)).

    The ramp, TensorFlow's ``ExponentialMovingAverage`` with ``num_updates``, keeps the first weights from lingering. Statistics
    of batch normalization are averaged too; whole numbers are copied.
    """

    def __init__(self, model: SegmentationModel, decay: float) -> None:
        self.model = copy.deepcopy(model).eval().requires_grad_(False)
        self.decay = decay
        self.steps = 0

    @torch.no_grad()
    def update(self, model: SegmentationModel) -> None:
        """Follow ``model`` after an optimizer step."""
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        self.steps += 1
        averaged: list[Tensor] = []
        current: list[Tensor] = []
        for mine, theirs in zip(self.model.network.state_dict().values(), model.network.state_dict().values(), strict=True):
            if mine.is_floating_point():
                averaged.append(mine)
                current.append(theirs)
            else:
                mine.copy_(theirs)
        torch._foreach_lerp_(averaged, current, 1 - decay)

    def state(self) -> dict[str, object]:
        return {"network": self.model.network.state_dict(), "steps": self.steps}

    def load_state(self, state: dict[str, object]) -> None:
        self.model.network.load_state_dict(state["network"])  # type: ignore[arg-type]
        self.steps = int(state["steps"])  # type: ignore[call-overload]
