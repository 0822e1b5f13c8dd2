"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy

from vocseg import voc
from vocseg.models.upsampling import CoarseLogits

Logits = Tensor | CoarseLogits
"""At full size, or before the last upsampling."""


class Loss(NamedTuple):
    """The scalar to minimise, the main output's part of it, and the main output's classes (uint8, N x H x W)."""

    total: Tensor
    main: Tensor
    classes: Tensor


def pixel_cross_entropy(logits: Logits, target: Tensor) -> Tensor:
    """Mean cross entropy over the valid pixels, as a scalar; 0, with a gradient of 0, where all are void.

    ``logits`` float, N x classes x H x W, or before their upsampling to that; ``target`` integer class ids, N x H x W,
    255 = void. Computed in float32.
    """
    return cross_entropy_and_classes(logits, target)[0]


def cross_entropy_and_classes(logits: Logits, target: Tensor) -> tuple[Tensor, Tensor]:
    """:func:`pixel_cross_entropy`, and the class of the largest logit of each pixel (uint8, N x H x W).

    On a CPU coarse logits are upsampled a strip at a time, and their gradient is formed on the way: nothing of full size is
    kept.
    """
    if isinstance(logits, CoarseLogits):
        if logits.values.device.type == "cpu":
            found: tuple[Tensor, Tensor] = _StripCrossEntropy.apply(logits.values, logits, target)
            return found
        logits = logits.full()
    labels = target.long()
    total = cross_entropy(logits.float(), labels, ignore_index=voc.VOID, reduction="sum")
    # max, not argmax: the latter is several times slower along an inner axis
    return total / (labels != voc.VOID).sum().clamp(min=1), logits.detach().max(1).indices.to(torch.uint8)


class _StripCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: Tensor, coarse: CoarseLogits, target: Tensor) -> tuple[Tensor, Tensor]:
        # ``values`` are those of ``coarse``, named so that autograd sees them.
        share = 1 / (target != voc.VOID).sum().clamp(min=1)
        classes = torch.empty(target.shape, dtype=torch.uint8)
        number, channels, height, _ = values.shape
        wanted = ctx.needs_input_grad[0]
        gradient = values.new_zeros(number if wanted else 0, height, channels, coarse.size[1], dtype=torch.float32)
        loss = torch.zeros((), dtype=torch.float64)
        for strip in coarse.strips():
            labels = target[strip.picture, strip.rows].long()
            weight = (labels != voc.VOID) * share
            labels = labels.masked_fill(labels == voc.VOID, 0)[:, None]
            planes = strip.logits
            largest, best = planes.max(1, keepdim=True)
            classes[strip.picture, strip.rows] = best[:, 0]
            own = planes.gather(1, labels)[:, 0] - largest[:, 0]
            exponentials = planes.sub_(largest).exp_()
            total = exponentials.sum(1)
            loss += ((total.log() - own) * weight).sum(dtype=torch.float64)
            if wanted:
                # The gradient of -log softmax: softmax less 1 at the true class.
                part = exponentials.mul_((weight / total)[:, None]).scatter_add_(1, labels, -weight[:, None])
                into = gradient[strip.picture, strip.source_rows]
                if coarse.rows is None:
                    into.copy_(part)
                else:
                    into.flatten(1).addmm_(coarse.rows[strip.rows, strip.source_rows].T, part.flatten(1))
        if wanted:
            narrow = gradient if coarse.columns is None else gradient @ coarse.columns
            ctx.save_for_backward(narrow.permute(0, 2, 1, 3))
            ctx.dtype = values.dtype
        ctx.mark_non_differentiable(classes)
        return loss.float(), classes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _classes: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * scale).to(ctx.dtype, memory_format=torch.channels_last), None, None


def segmentation_loss(outputs: Mapping[str, Logits], target: Tensor, aux_weight: float = 0.4) -> Loss:
    """Cross entropy of the main output plus ``aux_weight`` times that of the auxiliary one, where there is one.

    The weight 0.4 is that of Zhao et al., "Pyramid scene parsing network" (2017), section 4.
    """
    main, classes = cross_entropy_and_classes(outputs["out"], target)
    if "aux" not in outputs or not aux_weight:
        return Loss(main, main, classes)
    return Loss(main + aux_weight * pixel_cross_entropy(outputs["aux"], target), main, classes)


def distillation_loss(logits: Logits, soft: Tensor) -> Tensor:
    """Kullback-Leibler divergence of the prediction from a teacher's probabilities, mean over the cells that show the picture.

    ``soft``: uint8 (255 = 1), N x classes x n x m, 0 in all classes where nothing is shown. The logits are averaged over each
    cell, without upsampling them first. Hinton et al., "Distilling the knowledge in a neural network" (2015), at temperature 1.
    """
    coarse = logits if isinstance(logits, CoarseLogits) else CoarseLogits(logits)
    averaged = coarse.averaged((soft.shape[2], soft.shape[3]))
    teacher = soft.float()
    total = teacher.sum(1, keepdim=True)
    shown = total[:, 0] > 127
    teacher = teacher / total.clamp(min=1)
    divergence = (torch.special.xlogy(teacher, teacher) - teacher * averaged.log_softmax(1)).sum(1)
    return (divergence * shown).sum() / shown.sum().clamp(min=1)
