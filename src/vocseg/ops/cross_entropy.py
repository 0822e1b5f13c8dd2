"""Cross entropy over the valid pixels of a batch."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import cross_entropy, pad

from vocseg import voc
from vocseg.ops.low_res_logits import LowResLogits, classes_of

Logits = Tensor | LowResLogits
"""At full size, or before the last upsampling."""

LOG2_E = math.log2(math.e)
LANES, GRAIN = 32, 1 << 15
"""How many numbers torch's vector loops take at a time, and the fewest that it gives to a thread."""


def full(logits: Logits) -> Tensor:
    """Return logits at full size, float32."""
    return logits.full() if isinstance(logits, LowResLogits) else logits.float()


def valid_weight(target: Tensor, class_weights: Tensor | None = None) -> Tensor:
    """Count the valid pixels of a batch, or sum the weights of their classes: the divisor of its cross entropy."""
    if class_weights is None:
        return (target != voc.VOID).sum().float()
    weights = torch.zeros(256, device=target.device)
    weights[: len(class_weights)] = class_weights.to(target.device)
    return weights[target.long()].sum()


def pixel_cross_entropy(
    logits: Logits, target: Tensor, class_weights: Tensor | None = None, smoothing: float = 0.0, normalizer: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Compute the mean cross entropy over the valid pixels, and each pixel's class of the largest logit.

    ``logits``: float, N x classes x H x W, at full size or before their upsampling. ``target``: integer class ids, N x H x W,
    255 = void. Returns a float32 scalar and classes (uint8, N x H x W). When all pixels are void, the loss is 0 with a
    gradient of 0.

    ``class_weights`` weigh pixels by their true class, and divide by the sum of the weights. ``smoothing`` is label smoothing
    (Szegedy et al., "Rethinking the Inception architecture", 2016). ``normalizer`` replaces the divisor,
    :func:`valid_weight`, when the batch is part of a larger one.

    On a CPU, low-resolution logits are upsampled one strip at a time and their gradient is formed on the way, so nothing of
    full size is kept.
    """
    divisor = (valid_weight(target, class_weights) if normalizer is None else normalizer).clamp(min=1e-12)
    if isinstance(logits, LowResLogits) and logits.values.device.type == "cpu" and not smoothing:
        total, classes = _StripCrossEntropy.apply(logits.values, logits, target, class_weights)
        return total / divisor, classes
    planes = full(logits)
    total = cross_entropy(planes, target.long(), class_weights, ignore_index=voc.VOID, reduction="sum", label_smoothing=smoothing)
    # max, since argmax is several times slower along an inner axis
    return total / divisor, planes.detach().max(1).indices.to(torch.uint8)


class ScoredPixels(NamedTuple):
    """The summed cross entropy of each image (float64, N), and the class of each pixel (uint8) and its probability (float32)."""

    loss: Tensor
    classes: Tensor
    confidence: Tensor


@torch.no_grad()
def score_pixels(logits: LowResLogits, target: Tensor, temperature: float = 1.0) -> ScoredPixels:
    """Compute what scores need of a batch: ``target`` as for :func:`pixel_cross_entropy`; an image is the same in any batch.

    Loss and probabilities are those of the logits divided by the ``temperature``, which does not change the classes.
    """
    valid = target != voc.VOID
    labels = torch.where(valid, target, 0).long()
    if logits.values.device.type != "cpu":
        planes = logits.full()
        classes = planes.max(1).indices
        planes = (planes / temperature).log_softmax(1)
        own = planes.gather(1, labels[:, None])[:, 0].double()
        return ScoredPixels(-(own * valid).sum((1, 2)), classes.to(torch.uint8), planes.amax(1).exp())
    loss = torch.zeros(len(target), dtype=torch.float64)
    found, confidence = torch.empty(target.shape, dtype=torch.uint8), torch.empty(target.shape)
    for strip in logits.strips():
        place = strip.image, strip.rows
        softmax = _softmax(strip.logits, labels[place], 1 / temperature)
        found[place] = softmax.classes
        loss[strip.image] += _sum(softmax.loss * valid[place])
        confidence[place] = softmax.total.reciprocal_()
    return ScoredPixels(loss, found, confidence)


@torch.no_grad()
def label_probabilities(logits: LowResLogits, target: Tensor) -> tuple[Tensor, Tensor]:
    """Return each pixel's class (uint8), and the probability of its label (float32), both N x H x W.

    ``target``: labels, uint8, N x H x W; the probability of void is 0. An image is the same in any batch.
    """
    valid = target != voc.VOID
    labels = torch.where(valid, target, 0).long()
    if logits.values.device.type != "cpu":
        probabilities = logits.full().softmax(1)
        return probabilities.argmax(1).to(torch.uint8), probabilities.gather(1, labels[:, None])[:, 0] * valid
    classes, found = torch.empty(target.shape, dtype=torch.uint8), torch.empty(target.shape)
    for strip in logits.strips():
        place = strip.image, strip.rows
        softmax = _softmax(strip.logits, labels[place])
        classes[place] = softmax.classes
        found[place] = softmax.loss.neg().exp_().mul_(valid[place])
    return classes, found


class _Softmax(NamedTuple):
    """Of some rows: the classes (uint8), each pixel's cross entropy, and exp(logit - largest) with its sum over classes."""

    classes: Tensor
    loss: Tensor
    exponentials: Tensor
    total: Tensor


def _softmax(planes: Tensor, labels: Tensor, scale: float = 1.0) -> _Softmax:
    """Compute what losses need of logits, float32, rows x classes x width, which are overwritten, and labels, rows x width.

    The logits count ``scale`` times.
    """
    largest = planes.amax(1, keepdim=True)
    classes = classes_of(planes, largest)
    own = planes.gather(1, labels[:, None])[:, 0] - largest[:, 0]
    # Powers of two are up to three times faster than those of e.
    exponentials = exp2_(planes.sub_(largest).mul_(LOG2_E * scale))
    total = exponentials.sum(1)
    return _Softmax(classes, total.log() - own * scale, exponentials, total)


def exp2_(values: Tensor) -> Tensor:
    """Replace contiguous ``values`` (float32) by powers of two, the same for any number of threads.

    At the end of each thread's share, torch computes what does not fill a vector by another formula. Here shares are
    made of whole vectors, and the rest is computed in a vector of its own.
    """
    flat = values.view(-1)
    threads = max(1, min(torch.get_num_threads(), -(-len(flat) // GRAIN)))
    whole = len(flat) - len(flat) % (LANES * threads)
    if whole <= (threads - 1) * GRAIN:  # fewer threads would share it
        whole = (threads - 1) * GRAIN
    flat[:whole].exp2_()
    if len(rest := flat[whole:]):
        padded = pad(rest, (0, -len(rest) % LANES)).exp2_()
        rest.copy_(padded[: len(rest)])
    return values


def _sum(values: Tensor) -> Tensor:
    """Sum a matrix in float64, in an order that does not depend on the number of threads."""
    return values.sum(1, dtype=torch.float64).sum()


class _StripCrossEntropy(torch.autograd.Function):
    """Sum of the cross entropy over the valid pixels, and classes."""

    @staticmethod
    def forward(
        ctx: Any, values: Tensor, logits: LowResLogits, target: Tensor, class_weights: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        # ``values`` are those of ``logits``, passed on their own so that autograd sees them.
        number, channels, height, _ = values.shape
        needs_gradient = ctx.needs_input_grad[0]
        rows, columns = logits.matrices()
        classes = torch.empty(target.shape, dtype=torch.uint8)
        gradient = values.new_zeros(number if needs_gradient else 0, height, channels, logits.size[1], dtype=torch.float32)
        loss = torch.zeros((), dtype=torch.float64)
        valid = target != voc.VOID
        all_labels = torch.where(valid, target, 0).long()
        weights = valid.float() if class_weights is None else class_weights[all_labels] * valid
        for strip in logits.strips():
            place = strip.image, strip.rows
            labels, weight = all_labels[place], weights[place]
            softmax = _softmax(strip.logits, labels)
            classes[place] = softmax.classes
            loss += _sum(softmax.loss * weight)
            if needs_gradient:
                # The gradient of -log softmax: softmax minus 1 at the true class.
                part = softmax.exponentials.mul_((weight / softmax.total)[:, None])
                part.scatter_add_(1, labels[:, None], -weight[:, None])
                into = gradient[strip.image, strip.source_rows]
                if rows is None:
                    into.copy_(part)
                else:
                    into.flatten(1).addmm_(rows[strip.rows, strip.source_rows].T, part.flatten(1))
        if needs_gradient:
            narrow = gradient if columns is None else gradient @ columns
            ctx.save_for_backward(narrow.permute(0, 2, 1, 3))
            ctx.dtype = values.dtype
        ctx.mark_non_differentiable(classes)
        return loss.float(), classes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, scale: Tensor, _classes: Tensor) -> tuple[Tensor | None, ...]:
        (gradient,) = ctx.saved_tensors
        return (gradient * scale).to(ctx.dtype, memory_format=torch.channels_last), None, None, None
