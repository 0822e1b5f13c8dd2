"""What training minimizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from vocseg import voc
from vocseg.errors import SettingError, nearest
from vocseg.ops.cross_entropy import Logits, full, pixel_cross_entropy, valid_weight


class Loss(NamedTuple):
    """The scalar to minimize, the main output's part of it, and the main output's classes (uint8, N x H x W)."""

    total: Tensor
    main: Tensor
    classes: Tensor


# Terms besides the cross entropy, of logits (float32, N x classes x H x W), target (int64, N x H x W) and class weights.
# A batch that is all void gives 0, with a gradient of 0.


def ohem(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Compute the mean cross entropy over the hard pixels.

    Those whose true class has a probability below 0.7, but at least 1/16 of the valid pixels. Shrivastava et al.,
    "Training region-based object detectors with online hard example mining" (2016), with the threshold of Yu et al.,
    "BiSeNet" (2018).
    """
    losses = cross_entropy(logits, target, class_weights, ignore_index=voc.VOID, reduction="none").flatten()
    plain = losses if class_weights is None else cross_entropy(logits, target, ignore_index=voc.VOID, reduction="none").flatten()
    valid = (target != voc.VOID).flatten()
    # The k-th largest by an index on the device: k in Python would wait for a GPU.
    largest = plain.detach().where(valid, -1.0).topk(-(-plain.numel() // 16)).values
    least = valid.sum() // 16
    threshold = torch.minimum(largest.gather(0, (least - 1).clamp(min=0)[None])[0], largest.new_tensor(-math.log(0.7)))
    threshold = torch.where(least > 0, threshold, -math.log(0.7))
    hard = valid & (plain.detach() >= threshold)
    return (losses * hard).sum() / hard.sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Compute the mean of (1 - p)^gamma times the cross entropy, p the softmax probability of the true class.

    Lin et al., "Focal loss for dense object detection" (2017). (The FocalLoss of segmentation_models_pytorch is another
    one: the sum over classes of binary focal losses of sigmoids.)
    """
    plain = cross_entropy(logits, target, ignore_index=voc.VOID, reduction="none")
    weighted = cross_entropy(logits, target, class_weights, ignore_index=voc.VOID, reduction="none")
    return ((-torch.expm1(-plain)) ** gamma * weighted).sum() / valid_weight(target, class_weights).clamp(min=1e-12)


def dice(logits: Tensor, target: Tensor, _class_weights: Tensor | None = None) -> Tensor:
    """Compute 1 - 2 sum(p t) / sum(p + t), mean over the classes in the batch's ground truth.

    The DiceLoss of segmentation_models_pytorch, whose mean is over all classes, with 0 for those that are absent.
    """
    from segmentation_models_pytorch.losses import DiceLoss

    classes = logits.shape[1]
    present = torch.zeros(256, device=target.device).index_fill_(0, target.flatten(), 1.0)[:classes].sum()
    return DiceLoss("multiclass", ignore_index=voc.VOID)(logits, target) * (classes / present.clamp(min=1))


def lovasz(logits: Tensor, target: Tensor, _class_weights: Tensor | None = None) -> Tensor:
    """Compute the Lovasz-Softmax loss over the classes in the batch's ground truth: a convex extension of 1 - IoU.

    Berman et al., "The Lovasz-Softmax loss" (2018), by segmentation_models_pytorch.
    """
    from segmentation_models_pytorch.losses import LovaszLoss

    return LovaszLoss("multiclass", ignore_index=voc.VOID)(logits, target).sum()  # of no elements if all is void


CROSS_ENTROPY = "cross-entropy"
TERMS: dict[str, Callable[..., Tensor]] = {"ohem": ohem, "focal": focal, "dice": dice, "lovasz": lovasz}

LossFunction = Callable[[Tensor, Tensor], Tensor]
"""A user's loss: logits (float32, N x classes x H x W) and target (int64, N x H x W, 255 = void) -> scalar."""


Terms = tuple[tuple[float, str], ...]


def parse_loss(text: str) -> Terms:
    """Parse a loss such as ``cross-entropy`` or ``ohem+0.5*dice``; SettingError for an unknown name or factor.

    >>> parse_loss("ohem + 0.5*dice")
    ((1.0, 'ohem'), (0.5, 'dice'))
    """
    terms: dict[str, float] = {}
    for part in text.split("+"):
        factor, star, name = (piece.strip() for piece in part.rpartition("*"))
        if name != CROSS_ENTROPY and name not in TERMS:
            known = [CROSS_ENTROPY, *TERMS]
            raise SettingError(f"unknown loss '{name:.40}'{nearest(name, known)} (there are {', '.join(known)}, and sums of them)")
        try:
            weight = float(factor) if star else 1.0
        except ValueError:
            raise SettingError(f"loss '{part.strip():.40}': '{factor:.40}' is not a number") from None
        if not 0 < weight < math.inf:
            raise SettingError(f"loss '{part.strip():.40}': the factor must be a finite number above 0, not {weight:g}")
        if name in terms:
            raise SettingError(f"loss '{text:.40}' names {name} twice")
        terms[name] = weight
    return tuple((weight, name) for name, weight in terms.items())


@dataclass(frozen=True)
class Criterion:
    """A sum of loss terms, or a user's ``function``, on the main output, and with ``aux_weight`` on the auxiliary one.

    The weight 0.4 is that of Zhao et al., "Pyramid scene parsing network" (2017), section 4. ``class_weights`` apply to
    cross-entropy, ohem and focal.
    """

    terms: Terms = ((1.0, CROSS_ENTROPY),)
    class_weights: Tensor | None = None
    aux_weight: float = 0.4
    function: LossFunction | None = None

    def to(self, device: torch.device) -> Criterion:
        """Return the criterion with its class weights, and a function that is a module, on a device."""
        weights = None if self.class_weights is None else self.class_weights.to(device)
        if isinstance(self.function, nn.Module):
            self.function.to(device)
        return replace(self, class_weights=weights)

    def __call__(self, outputs: Mapping[str, Logits], target: Tensor, normalizer: Tensor | None = None, share: float = 1.0) -> Loss:
        """Compute the loss of a batch, or of a part of it.

        For a part, ``normalizer`` is the :func:`valid_weight` of the whole batch: cross entropies of the parts then add
        up to that of the batch. The other terms are means over a part and count by its ``share`` of the batch.
        """
        main, classes = self._sum(outputs["out"], target, normalizer, share)
        if "aux" not in outputs or not self.aux_weight:
            return Loss(main, main, classes)
        return Loss(main + self.aux_weight * self._sum(outputs["aux"], target, normalizer, share)[0], main, classes)

    def _sum(self, logits: Logits, target: Tensor, normalizer: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
        if self.function is None and [name for _, name in self.terms] == [CROSS_ENTROPY]:
            value, classes = pixel_cross_entropy(logits, target, self.class_weights, normalizer=normalizer)
            return self.terms[0][0] * value, classes
        planes, labels = full(logits), target.long()
        classes = planes.detach().max(1).indices.to(torch.uint8)
        if self.function is not None:
            return share * self.function(planes, labels), classes
        parts = []
        for factor, name in self.terms:
            if name == CROSS_ENTROPY:
                parts.append(factor * pixel_cross_entropy(planes, target, self.class_weights, normalizer=normalizer)[0])
            else:
                parts.append(share * factor * TERMS[name](planes, labels, self.class_weights))
        return torch.stack(parts).sum(), classes
