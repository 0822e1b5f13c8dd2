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


@dataclass
class Distillation:
    """What a run learns from a teacher, in addition to its masks.

    The training loop calls it in three places: ``hints`` run inside the network that gradients are averaged for,
    :meth:`cells` counts what the loss is divided by, and :meth:`extra_loss` is added to the loss. ``teacher`` is None
    if precomputed soft labels come with each batch and no features are compared.
    """

    weight: float
    hint_weight: float = 0.0
    teacher: Teacher | None = None
    hints: Hints | None = None

    @classmethod
    def prepare(cls, config: TrainConfig, student: SegmentationModel, precision: torch.dtype) -> Distillation | None:
        """Load the teacher if batches need it; None without distillation. Raises ModelError and SettingError."""
        if config.teacher is None and config.soft_labels is None:
            return None
        teacher = None
        if config.teacher is not None and (config.soft_labels is None or config.hint_weight):
            teacher = Teacher(load_teacher(config.teacher, student.info.classes), precision)
        hints = Hints(student, teacher.model) if teacher is not None and config.hint_weight else None
        return cls(config.distill_weight, config.hint_weight, teacher, hints)

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
        soft = maps.get(SOFT_LABELS)
        features: dict[str, LowResLogits] = {}
        if self.teacher is not None:
            probabilities, features = self.teacher(images)
            soft = probabilities if soft is None else soft
        assert soft is not None  # a dataset without soft labels has a teacher
        loss = self.weight * distillation_loss(logits, soft, cells)
        if self.hints is not None:
            loss = loss + self.hint_weight * share * self.hints.distance(projected, features)
        return loss


def shown_cells(soft: Tensor) -> Tensor:
    """Tell which cells of soft labels show something of the image: bool, N x h x w."""
    return soft.float().sum(1) > 127


def distillation_loss(logits: Tensor | LowResLogits, soft: Tensor, normalizer: Tensor | None = None) -> Tensor:
    """Compute the Kullback-Leibler divergence from a teacher's probabilities, mean over the cells that show the image.

    ``soft``: uint8 (255 = 1), N x classes x h x w, 0 in all classes where nothing is shown. The logits are averaged
    over each cell, without upsampling them first. ``normalizer`` replaces the number of shown cells if the batch is
    part of a larger one. Hinton et al., "Distilling the knowledge in a neural network" (2015), at temperature 1.
    """
    low_res = logits if isinstance(logits, LowResLogits) else LowResLogits(logits)
    averaged = low_res.averaged((soft.shape[2], soft.shape[3]))
    shown = shown_cells(soft)
    teacher = soft.float() / soft.float().sum(1, keepdim=True).clamp(min=1)
    divergence = (torch.special.xlogy(teacher, teacher) - teacher * averaged.log_softmax(1)).sum(1)
    return (divergence * shown).sum() / (shown.sum() if normalizer is None else normalizer).clamp(min=1)
