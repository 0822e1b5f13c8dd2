"""What training minimises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from torch import Tensor
from torch.nn.functional import cross_entropy

from vocseg import voc


class Loss(NamedTuple):
    """The scalar to minimise, and the main output's part of it."""

    total: Tensor
    main: Tensor


def pixel_cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """Mean cross entropy over the valid pixels, as a scalar; 0, with a gradient of 0, where all are void.

    ``logits`` float, N x classes x H x W; ``target`` integer class ids, N x H x W, 255 = void. Computed in float32.
    """
    target = target.long()
    total = cross_entropy(logits.float(), target, ignore_index=voc.VOID, reduction="sum")
    return total / (target != voc.VOID).sum().clamp(min=1)


def segmentation_loss(outputs: Mapping[str, Tensor], target: Tensor, aux_weight: float = 0.4) -> Loss:
    """Cross entropy of the main output plus ``aux_weight`` times that of the auxiliary one, where there is one.

    The weight 0.4 is that of Zhao et al., "Pyramid scene parsing network" (2017), section 4.
    """
    main = pixel_cross_entropy(outputs["out"], target)
    if "aux" not in outputs or not aux_weight:
        return Loss(main, main)
    return Loss(main + aux_weight * pixel_cross_entropy(outputs["aux"], target), main)
