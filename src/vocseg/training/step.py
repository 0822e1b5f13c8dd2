"""One optimiser step: what training does with a batch, and what ``vocseg bench --train`` times."""

from __future__ import annotations

import torch
from torch import Tensor

from vocseg.devices import autocast
from vocseg.errors import TrainingError
from vocseg.losses import Loss, segmentation_loss
from vocseg.models import SegmentationModel
from vocseg.models.convolution import fast_convolutions


def training_step(
    model: SegmentationModel,
    pictures: Tensor,
    masks: Tensor,
    optimiser: torch.optim.Optimizer,
    precision: torch.dtype,
    aux_weight: float,
) -> Loss:
    """Change a model in training mode by one step down the gradient of its loss on a batch; returns the loss before it.

    ``pictures`` (uint8, N x 3 x H x W) and ``masks`` (uint8, N x H x W) are on the model's device. Raises TrainingError, and
    changes nothing, where the loss is not finite.
    """
    with autocast(pictures.device, precision), fast_convolutions():
        outputs = model.coarse(pictures)
    loss = segmentation_loss(outputs, masks, aux_weight)
    if not torch.isfinite(loss.total):
        raise TrainingError(f"loss is {loss.total.item()}")
    optimiser.zero_grad(set_to_none=True)
    loss.total.backward()  # type: ignore[no-untyped-call]
    optimiser.step()
    return loss
