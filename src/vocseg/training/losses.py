"""What training minimizes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, one_hot

from vocseg import voc
from vocseg.errors import SettingError, nearest
from vocseg.ops.cross_entropy import Logits, full, pixel_cross_entropy, valid_weight
from vocseg.ops.low_res_logits import LowResLogits


class Loss(NamedTuple):
    """The scalar to minimize, the main output's part of it, and the main output's classes (uint8, N x H x W)."""

    total: Tensor
    main: Tensor
    classes: Tensor


# Further terms: (logits at full size, target, class weights) -> scalar; 0, with a gradient of 0, where all is void.


def ohem(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Mean cross entropy over the hard pixels: those whose true class has a probability below 0.7, at least 1/16 of the valid.

    Shrivastava et al., "Training region-based object detectors with online hard example mining" (2016), with the threshold of
    Yu et al., "BiSeNet" (2018).
    """
    labels = target.long()
    losses = cross_entropy(logits, labels, class_weights, ignore_index=voc.VOID, reduction="none").flatten()
    valid = (labels != voc.VOID).flatten()
    plain = losses if class_weights is None else cross_entropy(logits, labels, ignore_index=voc.VOID, reduction="none").flatten()
    least = int(valid.sum()) // 16
    easy = -torch.log(torch.tensor(0.7, device=logits.device))
    if least:
        easy = torch.minimum(easy, plain.detach()[valid].topk(least).values[-1])
    hard = valid & (plain.detach() >= easy)
    return (losses * hard).sum() / hard.sum().clamp(min=1)


def focal(logits: Tensor, target: Tensor, class_weights: Tensor | None = None, gamma: float = 2.0) -> Tensor:
    """Mean of (1 - p)^gamma times the cross entropy (Lin et al., "Focal loss for dense object detection", 2017)."""
    labels = target.long()
    plain = cross_entropy(logits, labels, ignore_index=voc.VOID, reduction="none")
    weighted = cross_entropy(logits, labels, class_weights, ignore_index=voc.VOID, reduction="none")
    return ((-torch.expm1(-plain)) ** gamma * weighted).sum() / valid_weight(target, class_weights).clamp(min=1e-12)


def dice(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """1 less the soft Dice coefficient, mean over the classes in the batch's truth, (weighted) by class.

    2 sum(p t) / (sum(p^2) + sum(t^2)) (Milletari et al., "V-Net", 2016).
    """
    probabilities, truth, present = _probabilities_and_truth(logits, target)
    overlap = (probabilities * truth).sum(0)
    coefficient = 2 * overlap / ((probabilities**2).sum(0) + truth.sum(0)).clamp(min=1e-12)
    return _class_mean(1 - coefficient, present, class_weights)


def lovasz(logits: Tensor, target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """The Lovasz-Softmax loss over the classes in the batch's truth: a convex extension of 1 - IoU.

    Berman et al., "The Lovasz-Softmax loss" (2018), algorithm 1.
    """
    probabilities, truth, present = _probabilities_and_truth(logits, target)
    losses = 0 * probabilities.sum(0)  # joined to the graph, for a batch without a valid pixel too
    for label in present.nonzero().flatten().tolist():
        own = truth[:, label]
        errors, order = (own - probabilities[:, label]).abs().sort(descending=True)
        sorted_truth = own[order]
        intersection = own.sum() - sorted_truth.cumsum(0)
        jaccard = 1 - intersection / (own.sum() + (1 - sorted_truth).cumsum(0))
        slope = torch.cat([jaccard[:1], jaccard.diff()])
        losses = losses.index_put((torch.tensor(label),), errors @ slope)
    return _class_mean(losses, present, class_weights)


def _probabilities_and_truth(logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities and one-hot truth of the valid pixels, pixels x classes, and which classes the truth has."""
    labels = target.flatten().long()
    valid = labels != voc.VOID
    probabilities = logits.movedim(1, -1).flatten(0, -2)[valid].softmax(1)
    truth = one_hot(labels[valid], logits.shape[1]).to(probabilities.dtype)
    return probabilities, truth, truth.any(0)


def _class_mean(losses: Tensor, present: Tensor, class_weights: Tensor | None) -> Tensor:
    weights = present.to(losses.dtype) * (1 if class_weights is None else class_weights)
    return (losses * weights).sum() / weights.sum().clamp(min=1e-12)


CROSS_ENTROPY = "cross-entropy"
TERMS: dict[str, Callable[..., Tensor]] = {"ohem": ohem, "focal": focal, "dice": dice, "lovasz": lovasz}


def parse_loss(text: str) -> tuple[tuple[float, str], ...]:
    """Factors and names of a loss such as ``cross-entropy``, ``ohem+0.5*dice``; SettingError for an unknown name or factor."""
    terms = []
    for part in text.split("+"):
        factor, star, name = part.strip().rpartition("*")
        name = name.strip()
        if name != CROSS_ENTROPY and name not in TERMS:
            known = [CROSS_ENTROPY, *TERMS]
            raise SettingError(
                f"unknown loss '{name}'{nearest(name, known)} (there are {', '.join(known)}, and sums like ohem+0.5*dice)"
            )
        try:
            terms.append((float(factor) if star else 1.0, name))
        except ValueError:
            raise SettingError(f"loss '{text}': '{factor}' is no factor") from None
    return tuple(terms)


@dataclass(frozen=True)
class Criterion:
    """A weighted sum of terms on the main output, and ``aux_weight`` times that on the auxiliary one, where there is one.

    The weight 0.4 is that of Zhao et al., "Pyramid scene parsing network" (2017), section 4. A ``normalizer`` given to a call
    divides the cross entropy in place of the batch's own :func:`valid_weight`, so that the parts of a batch add up to it;
    the other terms are means over their part, which do not add up exactly.
    """

    terms: tuple[tuple[float, str], ...] = ((1.0, CROSS_ENTROPY),)
    class_weights: Tensor | None = None
    smoothing: float = 0.0
    aux_weight: float = 0.4

    def __call__(self, outputs: Mapping[str, Logits], target: Tensor, normalizer: Tensor | None = None, share: float = 1.0) -> Loss:
        """The loss of a batch, or of the ``share`` of one that ``target`` is."""
        main, classes = self._sum(outputs["out"], target, normalizer, share)
        if "aux" not in outputs or not self.aux_weight:
            return Loss(main, main, classes)
        return Loss(main + self.aux_weight * self._sum(outputs["aux"], target, normalizer, share)[0], main, classes)

    def _sum(self, logits: Logits, target: Tensor, normalizer: Tensor | None, share: float) -> tuple[Tensor, Tensor]:
        parts: list[Tensor] = []
        classes: Tensor | None = None
        others = [(factor, TERMS[name]) for factor, name in self.terms if name != CROSS_ENTROPY]
        planes = full(logits) if others else None
        for factor, name in self.terms:
            if name == CROSS_ENTROPY:
                value, classes = pixel_cross_entropy(
                    logits if planes is None else planes, target, self.class_weights, self.smoothing, normalizer
                )
                parts.append(factor * value)
        parts += [share * factor * term(planes, target, self.class_weights) for factor, term in others]
        if classes is None:
            assert planes is not None
            classes = planes.detach().max(1).indices.to(torch.uint8)
        return torch.stack(parts).sum(), classes


def shown_cells(soft: Tensor) -> Tensor:
    """The cells of soft labels that show something of the image: bool, N x n x m."""
    return soft.float().sum(1) > 127


def distillation_loss(logits: Logits, soft: Tensor, normalizer: Tensor | None = None) -> Tensor:
    """Kullback-Leibler divergence of the prediction from a teacher's probabilities, mean over the cells that show the image.

    ``soft``: uint8 (255 = 1), N x classes x n x m, 0 in all classes where nothing is shown. The logits are averaged over each
    cell, without upsampling them first. ``normalizer`` replaces the number of shown cells where the batch is part of a
    larger one. Hinton et al., "Distilling the knowledge in a neural network" (2015), at temperature 1.
    """
    coarse = logits if isinstance(logits, LowResLogits) else LowResLogits(logits)
    averaged = coarse.averaged((soft.shape[2], soft.shape[3]))
    shown = shown_cells(soft)
    teacher = soft.float() / soft.float().sum(1, keepdim=True).clamp(min=1)
    divergence = (torch.special.xlogy(teacher, teacher) - teacher * averaged.log_softmax(1)).sum(1)
    return (divergence * shown).sum() / (shown.sum() if normalizer is None else normalizer).clamp(min=1)
