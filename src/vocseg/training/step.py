"""One optimizer step: forward and backward of a batch, whole or in parts, alone or shared with other processes."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from vocseg.data.dataset import Batch
from vocseg.errors import TrainingError
from vocseg.models import SegmentationModel
from vocseg.ops.conv_cpu import fast_convolutions
from vocseg.ops.cross_entropy import valid_weight
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.distillation.features import Hints, Teacher, recorded
from vocseg.training.distillation.soft_labels import SOFT_CELL, SOFT_LABELS
from vocseg.training.distributed import Processes
from vocseg.training.losses import Criterion, distillation_loss, shown_cells
from vocseg.training.setup import Job
from vocseg.utils.system import autocast


class Outputs(NamedTuple):
    """Coarse logits by output, and features in the teacher's channels where hints are wanted."""

    logits: dict[str, LowResLogits]
    features: dict[str, Tensor]


class LowResOutputs(nn.Module):
    """A model whose ``forward`` gives all that a loss needs: what data-parallel training wraps."""

    def __init__(self, model: SegmentationModel, hints: Hints | None) -> None:
        super().__init__()
        self.model = model
        self.hints = hints

    def forward(self, images: Tensor) -> Outputs:
        if self.hints is None:
            return Outputs(self.model.low_res_logits(images), {})
        with recorded(self.model.features) as features:
            logits = self.model.low_res_logits(images)
        return Outputs(logits, self.hints(features))


class StepResult(NamedTuple):
    """This process's part of the main output's loss, the classes it predicted, its masks, and whether a checkpoint is due."""

    loss: Tensor
    classes: Tensor
    masks: Tensor
    due: bool


class Step:
    """What every step of a run shares."""

    def __init__(
        self,
        model: SegmentationModel,
        optimizer: torch.optim.Optimizer,
        criterion: Criterion,
        precision: torch.dtype,
        processes: Processes,
        *,
        parts: int = 1,
        mask_weight: float = 1.0,
        distill_weight: float = 1.0,
        hint_weight: float = 0.0,
        clip_norm: float = 0.0,
        teacher: Teacher | None = None,
        hints: Hints | None = None,
    ) -> None:
        self.model = model
        self.network = processes.wrap(LowResOutputs(model, hints))
        self.optimizer = optimizer
        self.criterion = criterion
        self.precision = precision
        self.processes = processes
        self.parts = parts
        self.mask_weight, self.distill_weight, self.hint_weight = mask_weight, distill_weight, hint_weight
        self.clip_norm = clip_norm
        self.teacher, self.hints = teacher, hints

    @classmethod
    def of(cls, job: Job, optimizer: torch.optim.Optimizer, processes: Processes) -> Step:
        """The steps of a run."""
        settings = job.settings
        return cls(
            job.model, optimizer, job.criterion, job.precision, processes,
            parts=settings.accumulate, distill_weight=settings.distill_weight,
            hint_weight=settings.hint_weight, clip_norm=settings.clip_norm, teacher=job.teacher, hints=job.hints,
        )  # fmt: skip

    def __call__(self, batch: Batch, due: bool = False) -> StepResult:
        """Take the step; a checkpoint that is ``due`` in one process is so in all.

        Losses are divided by the pixels of the whole batch, over parts and processes, so that how it is cut up does not
        matter. Raises TrainingError for a loss that is not finite, before the weights change.
        """
        masks = batch.masks.to(self.processes.device, non_blocking=True)
        images = batch.images.to(self.processes.device, non_blocking=True)
        soft = batch.maps.get(SOFT_LABELS)
        soft = None if soft is None else soft.to(self.processes.device, non_blocking=True)
        weight = valid_weight(masks, self.criterion.class_weights)
        if soft is not None:
            cells = shown_cells(soft).sum()
        else:  # a teacher that is asked answers for every cell
            cells = weight.new_tensor(0.0 if self.teacher is None else float(masks.numel() // SOFT_CELL**2))
        ours = torch.stack([weight.double(), cells.double(), weight.new_tensor(float(due), dtype=torch.float64)])
        weight, cells, dues = self.processes.sum(ours).float()
        self.optimizer.zero_grad(set_to_none=True)
        losses, classes = [], []
        pieces = list(zip(*(_cut(values, self.parts) for values in (images, masks, soft)), strict=True))
        for number, (image, mask, soft_labels) in enumerate(pieces):
            last = number == len(pieces) - 1
            with self.processes.watched():
                if last:
                    loss, found = self._backward(image, mask, soft_labels, weight, cells, len(pieces), batch.names)
                else:
                    with self.processes.without_sync(self.network):
                        loss, found = self._backward(image, mask, soft_labels, weight, cells, len(pieces), batch.names)
            losses.append(loss)
            classes.append(found)
        if self.clip_norm:
            torch.nn.utils.clip_grad_norm_(self.model.parameters(), self.clip_norm)
        self.optimizer.step()
        return StepResult(torch.stack(losses).sum(), torch.cat(classes), masks, bool(dues))

    def _backward(
        self, images: Tensor, masks: Tensor, soft: Tensor | None, weight: Tensor, cells: Tensor, parts: int, names: list[str]
    ) -> tuple[Tensor, Tensor]:
        with autocast(self.processes.device, self.precision), fast_convolutions(self.processes.device):
            outputs = self.network(images)
        share = 1 / (parts * self.processes.count)
        loss = self.criterion(outputs.logits, masks, weight, share)
        total = self.mask_weight * loss.total
        hints: dict[str, LowResLogits] = {}
        if self.teacher is not None:
            answer, hints = self.teacher(images)
            if soft is None:
                soft = answer
        if soft is not None:
            total = total + self.distill_weight * distillation_loss(outputs.logits["out"], soft, cells)
        if self.hints is not None:
            total = total + self.hint_weight * share * self.hints.distance(outputs.features, hints)
        if not torch.isfinite(total):
            raise TrainingError(f"loss is {total.item()} with images {', '.join(names)}")
        # Gradients are averaged over processes; the loss is a share of a sum.
        (total * self.processes.count).backward()  # type: ignore[no-untyped-call]
        return loss.main.detach(), loss.classes


def _cut(values: Any, parts: int) -> list[Any]:
    return [None] * parts if values is None else list(values.chunk(parts))
