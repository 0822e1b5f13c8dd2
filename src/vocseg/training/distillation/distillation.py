"""Knowledge distillation as a plug-in of the training loop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from vocseg.models import SegmentationModel
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.features import Hints
from vocseg.training.distillation.soft_labels import SOFT_CELL, SOFT_LABELS
from vocseg.training.distillation.teacher import Teacher, load_teacher

HINT_WEIGHT = 0.5
"""Weight of the distance from the teacher's features; that of the divergence from its probabilities is 1."""


@dataclass
class Distillation:
    """What a run learns from a teacher, in addition to its masks.

    The training loop calls it in three places: ``hints`` run inside the network that gradients are averaged for,
    :meth:`cells` counts what the loss is divided by, and :meth:`extra_loss` is added to the loss. ``teacher`` is None
    if precomputed soft labels come with each batch; ``hints`` also if the models have no features in common.
    """

    teacher: Teacher | None = None
    hints: Hints | None = None

    @classmethod
    def prepare(cls, config: TrainConfig, student: SegmentationModel, precision: torch.dtype) -> Distillation | None:
        """Load the teacher if batches need it; None without distillation. Raises ModelError."""
        if not config.distills:
            return None
        if config.teacher is None or config.soft_labels is not None:
            return cls()
        teacher = Teacher(load_teacher(config.teacher, student.info.classes), precision)
        in_common = student.features.keys() & teacher.model.features.keys()
        return cls(teacher, Hints(student, teacher.model) if in_common else None)

    def to(self, device: torch.device) -> Distillation:
        """Move the networks to a device."""
        for network in (self.hints, None if self.teacher is None else self.teacher.model):
            if network is not None:
                network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self

    def cells(self, masks: Tensor, maps: Mapping[str, Tensor]) -> Tensor:
        """Count the cells of a batch that the teacher has probabilities for: those that show something of an image."""
        if SOFT_LABELS in maps:
            return shown_cells(maps[SOFT_LABELS]).sum()
        return torch.full((), masks.numel() // SOFT_CELL**2, device=masks.device)

    def extra_loss(
        self,
        images: Tensor,
        maps: Mapping[str, Tensor],
        logits: LowResLogits,
        projected: Mapping[str, Tensor],
        cells: Tensor,
        share: float,
    ) -> Tensor:
        """Compute the loss to add for a part of a batch.

        ``cells`` are those of the whole batch, ``share`` is the part's share of it; ``projected`` are the student's
        features in the teacher's channels, as :class:`Hints` gives them.
        """
        if self.teacher is None:
            return distillation_loss(logits, maps[SOFT_LABELS], cells)
        soft, features = self.teacher(images)
        loss = distillation_loss(logits, soft, cells)
        return loss if self.hints is None else loss + HINT_WEIGHT * share * self.hints.distance(projected, features)


def shown_cells(soft: Tensor) -> Tensor:
    """Tell which cells of soft labels show something of the image: bool, N x h x w."""
    return soft.float().sum(1) > 127


def distillation_loss(logits: LowResLogits, soft: Tensor, normalizer: Tensor | None = None) -> Tensor:
    """Compute the Kullback-Leibler divergence from a teacher's probabilities, mean over the cells that show the image.

    ``soft``: uint8 (255 = 1), N x classes x h x w, 0 in all classes where nothing is shown. The logits are averaged
    over each cell, without upsampling them first. ``normalizer`` replaces the number of shown cells if the batch is
    part of a larger one. Hinton et al., "Distilling the knowledge in a neural network" (2015), at temperature 1.
    """
    averaged = logits.averaged((soft.shape[2], soft.shape[3]))
    shown = shown_cells(soft)
    teacher = soft.float() / soft.float().sum(1, keepdim=True).clamp(min=1)
    divergence = (torch.special.xlogy(teacher, teacher) - teacher * averaged.log_softmax(1)).sum(1)
    return (divergence * shown).sum() / (shown.sum() if normalizer is None else normalizer).clamp(min=1)
