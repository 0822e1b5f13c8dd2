"""Feature hints: a student's features learn to be like its teacher's."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from vocseg.models import SegmentationModel
from vocseg.ops.low_res_logits import LowResLogits


@contextmanager
def recorded(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Within the block, keep the outputs of the named modules; of several outputs the last."""
    kept: dict[str, Tensor] = {}
    with ExitStack() as hooks:
        for name, part in parts.items():
            hooks.callback(part.register_forward_hook(partial(_keep, kept, name)).remove)
        yield kept


def _keep(kept: dict[str, Tensor], name: str, _part: nn.Module, _inputs: Any, output: Any) -> None:
    values = list(output.values()) if isinstance(output, Mapping) else output
    kept[name] = values[-1] if isinstance(values, (list, tuple)) else values


class Hints(nn.Module):
    """Distance between a student's features, each through a 1x1 convolution, and its teacher's features of that name.

    Romero et al., "FitNets: hints for thin deep nets" (2015). The teacher's channels are normalized to mean 0 and
    variance 1 over the batch; the distance is the mean smooth L1.
    """

    def __init__(self, student: SegmentationModel, teacher: SegmentationModel) -> None:
        super().__init__()
        self.names = [name for name in student.features if name in teacher.features]
        ours, theirs = _channels(student), _channels(teacher)
        self.adapters = nn.ModuleDict({name: nn.Conv2d(ours[name], theirs[name], 1) for name in self.names})
        self.scales = nn.ModuleDict({name: nn.BatchNorm2d(theirs[name], affine=False) for name in self.names})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Map the student's features to the teacher's channels."""
        return {name: self.adapters[name](features[name]) for name in self.names}

    def distance(self, projected: Mapping[str, Tensor], hints: Mapping[str, LowResLogits]) -> Tensor:
        """Compute the sum over features of the mean distance."""
        distances = [
            smooth_l1_loss(values.float(), self.scales[name](hints[name].averaged((values.shape[2], values.shape[3]))))
            for name, values in projected.items()
        ]
        return torch.stack(distances).sum()


@torch.no_grad()
def _channels(model: SegmentationModel, side: int = 64) -> dict[str, int]:
    training = model.training
    model.eval()
    device = next(model.parameters()).device
    with recorded(model.features) as features:
        model.low_res_logits(torch.zeros(1, 3, side, side, dtype=torch.uint8, device=device))
    model.train(training)
    return {name: values.shape[1] for name, values in features.items()}
