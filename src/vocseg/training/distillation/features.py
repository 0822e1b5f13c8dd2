"""What a teacher says of a batch as it is: class probabilities, and features for the student's own to be like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import smooth_l1_loss

from vocseg.errors import SettingError
from vocseg.models import SegmentationModel
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.distillation.soft_labels import SOFT_CELL
from vocseg.utils.system import autocast


@contextmanager
def recorded(parts: Mapping[str, nn.Module]) -> Iterator[dict[str, Tensor]]:
    """Within the block, the outputs of the named parts are kept; of several outputs the last."""
    kept: dict[str, Tensor] = {}
    handles = [part.register_forward_hook(partial(_keep, kept, name)) for name, part in parts.items()]
    try:
        yield kept
    finally:
        for handle in handles:
            handle.remove()


def _keep(kept: dict[str, Tensor], name: str, _part: nn.Module, _inputs: Any, output: Any) -> None:
    values = list(output.values()) if isinstance(output, Mapping) else output
    kept[name] = values[-1] if isinstance(values, (list, tuple)) else values


class Teacher:
    """A trained model that is asked about each batch: Beyer et al., "A good teacher is patient and consistent" (2022)."""

    def __init__(self, model: SegmentationModel, precision: torch.dtype) -> None:
        self.model = model.eval().requires_grad_(False)
        self.precision = precision

    @torch.no_grad()
    def __call__(self, images: Tensor) -> tuple[Tensor, dict[str, LowResLogits]]:
        """Soft labels of images (uint8, N x 3 x H x W) and, by name, features before they are brought to the images' size."""
        height, width = images.shape[2:]
        with autocast(images.device, self.precision), recorded(self.model.features) as features:
            logits = self.model.low_res_logits(images)["out"]
        probabilities = logits.averaged((height // SOFT_CELL, width // SOFT_CELL)).softmax(1)
        soft = probabilities.mul_(255).round_().to(torch.uint8)
        return soft, {name: self.model.upsample(values.float(), height, width) for name, values in features.items()}


class Hints(nn.Module):
    """The distance of a student's features, each through a 1x1 convolution of its own, from a teacher's.

    Romero et al., "FitNets: hints for thin deep nets" (2015). The teacher's channels are brought to mean 0 and variance 1 over
    the batch; the distance is the mean smooth L1. Raises SettingError where the two have no features of one name.
    """

    def __init__(self, student: SegmentationModel, teacher: SegmentationModel) -> None:
        super().__init__()
        self.names = [name for name in student.features if name in teacher.features]
        if not self.names:
            raise SettingError(
                f"hint_weight needs models that name their features; {student.info.architecture} and "
                f"{teacher.info.architecture} have none in common"
            )
        ours, theirs = _channels(student), _channels(teacher)
        self.adapters = nn.ModuleDict({name: nn.Conv2d(ours[name], theirs[name], 1) for name in self.names})
        self.scales = nn.ModuleDict({name: nn.BatchNorm2d(theirs[name], affine=False) for name in self.names})

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The student's features in the teacher's channels."""
        return {name: self.adapters[name](features[name]) for name in self.names}

    def distance(self, projected: Mapping[str, Tensor], hints: Mapping[str, LowResLogits]) -> Tensor:
        """The sum over features of the mean distance."""
        distances = []
        for name, values in projected.items():
            wanted = self.scales[name](hints[name].averaged((values.shape[2], values.shape[3])))
            distances.append(smooth_l1_loss(values.float(), wanted))
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
