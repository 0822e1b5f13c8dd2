"""Networks rewritten for inference: the same masks, faster.

What is done, in order: the auxiliary head goes; batch normalisation is folded into the convolutions before it; weights take
the channels-last layout and, where that is faster, bfloat16; convolutions with large dilation become a sum of 1x1 ones where
that is faster for the layer and size at hand, which is measured; and the final upsampling is left to the caller, who needs
its arg-max only.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.utils.fusion import fuse_conv_bn_weights
from torchvision.models.segmentation._utils import _SimpleSegmentationModel

from vocseg.models import SegmentationModel

PROBE = 128
"""Side of the picture that finds which layers follow each other: no network of the registry needs a larger one."""


class FastModel(nn.Module):
    """A model in eval mode rewritten for one device and precision; it keeps no gradient and shares no weights with its source."""

    mean: Tensor
    std: Tensor

    def __init__(self, model: SegmentationModel, precision: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.info = model.info
        self.precision = precision
        network = copy.deepcopy(model.network).eval().requires_grad_(False)
        if getattr(network, "aux_classifier", None) is not None:
            network.aux_classifier = None  # type: ignore[assignment]
        fold_batch_norm(network)
        expand_dilated(network)
        self.network = network.to(dtype=precision, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.register_buffer("mean", model.mean)
        self.register_buffer("std", model.std)

    @torch.inference_mode()
    def forward(self, pictures: Tensor) -> Tensor:
        """Logits of uint8 RGB pictures (N x 3 x H x W) in float32, at the network's own resolution where that is coarser."""
        inputs = ((pictures.float() - self.mean) / self.std).to(self.precision, memory_format=torch.channels_last)
        if isinstance(self.network, _SimpleSegmentationModel):
            return self.network.classifier(self.network.backbone(inputs)["out"]).float()
        return self.network(inputs)["out"].float()


def fold_batch_norm(network: nn.Module) -> int:
    """Fold each batch normalisation in eval mode into the convolution whose output it takes; returns how many were.

    Pairs are found by running a copy on the meta device and watching which tensor goes where, so it does not matter how the
    layers are written down. w' = w g / sqrt(v + e), b' = (b - m) g / sqrt(v + e) + beta (Ioffe and Szegedy, 2015).
    """
    pairs = _conv_norm_pairs(network)
    for conv_name, norm_name in pairs:
        conv, norm = network.get_submodule(conv_name), network.get_submodule(norm_name)
        assert isinstance(conv, nn.Conv2d)
        assert isinstance(norm, nn.BatchNorm2d)
        assert norm.running_mean is not None
        assert norm.running_var is not None
        weight, bias = fuse_conv_bn_weights(
            conv.weight, conv.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
        )
        conv.weight, conv.bias = nn.Parameter(weight, False), nn.Parameter(bias, False)
        # timm's BatchNormAct2d holds the activation as well
        rest = [part for part in (getattr(norm, "drop", None), getattr(norm, "act", None)) if isinstance(part, nn.Module)]
        network.set_submodule(norm_name, nn.Sequential(*rest) if rest else nn.Identity())
    return len(pairs)


def _conv_norm_pairs(network: nn.Module) -> list[tuple[str, str]]:
    meta = copy.deepcopy(network).to("meta")
    made: dict[int, tuple[str, Tensor]] = {}  # the tensor is kept, or its id would be given again
    calls: dict[str, int] = {}
    pairs: list[tuple[str, str]] = []

    def made_by(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
            calls[name] = calls.get(name, 0) + 1
            made[id(output)] = (name, output)

        return hook

    def taken_by(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, inputs: tuple[Any, ...]) -> None:
            calls[name] = calls.get(name, 0) + 1
            if id(inputs[0]) in made:
                pairs.append((made[id(inputs[0])][0], name))

        return hook

    for name, module in meta.named_modules():
        if isinstance(module, nn.Conv2d):
            module.register_forward_hook(made_by(name))
        elif isinstance(module, nn.BatchNorm2d) and module.track_running_stats:
            module.register_forward_pre_hook(taken_by(name))
    with torch.no_grad():
        meta(torch.zeros(1, 3, PROBE, PROBE, device="meta"))
    return [(conv, norm) for conv, norm in pairs if calls[conv] == calls[norm] == 1]


class DilatedConv2d(nn.Module):
    """A dilated convolution of stride 1 that computes itself whichever way is fastest for its input.

    Written as one 1x1 convolution a tap, each on the part of the input that the tap can see, it does no work on padding
    (at dilation 36 on a 47x63 map less than a third is left), and needs no kernel that is good at large dilations. The
    first input of about a size is timed both ways.
    """

    choices: dict[tuple[Any, ...], bool] = {}  # noqa: RUF012  (shared on purpose: equal layers need one measurement)

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.conv = conv

    def forward(self, inputs: Tensor) -> Tensor:
        # Sizes are measured by the 16x16 patch, or pictures of many sizes would be timed over and over.
        patches = (-(-inputs.shape[-2] // 16), -(-inputs.shape[-1] // 16))
        layer = (*self.conv.weight.shape, *self.conv.dilation)
        key = (len(inputs), *patches, inputs.dtype, inputs.device, layer, torch.get_num_threads())
        if key not in self.choices:
            self.choices[key] = _seconds(self.by_taps, inputs) < _seconds(self.conv, inputs)
        return self.by_taps(inputs) if self.choices[key] else self.conv(inputs)

    def by_taps(self, inputs: Tensor) -> Tensor:
        """The sum over taps; equal to the convolution but for rounding."""
        weight = self.conv.weight
        height, width = inputs.shape[-2:]
        rows, columns = weight.shape[-2:]
        middle = (rows // 2, columns // 2)
        out = conv2d(inputs, weight[:, :, middle[0] : middle[0] + 1, middle[1] : middle[1] + 1], self.conv.bias)
        for row in range(rows):
            for column in range(columns):
                down = (row - middle[0]) * self.conv.dilation[0]
                right = (column - middle[1]) * self.conv.dilation[1]
                if (row, column) == middle or abs(down) >= height or abs(right) >= width:
                    continue
                seen = inputs[..., max(0, down) : height + min(0, down), max(0, right) : width + min(0, right)]
                part = conv2d(seen, weight[:, :, row : row + 1, column : column + 1])
                out[..., max(0, -down) : height - max(0, down), max(0, -right) : width - max(0, right)] += part
        return out


def _seconds(function: Callable[[Tensor], Tensor], inputs: Tensor) -> float:
    function(inputs)
    start = time.perf_counter()
    function(inputs)
    return time.perf_counter() - start


def expand_dilated(network: nn.Module) -> int:
    """Replace the convolutions that :class:`DilatedConv2d` may speed up; returns how many."""
    names = [
        name
        for name, module in network.named_modules()
        if type(module) is nn.Conv2d
        and max(module.dilation) > 1
        and module.groups == 1
        and module.stride == (1, 1)
        and module.padding_mode == "zeros"
        and all(k % 2 and p == d * (k // 2) for k, p, d in zip(module.kernel_size, module.padding, module.dilation, strict=True))
    ]
    for name in names:
        conv = network.get_submodule(name)
        assert isinstance(conv, nn.Conv2d)
        network.set_submodule(name, DilatedConv2d(conv))
    return len(names)


def upsampled_argmax(logits: Tensor, size: tuple[int, int]) -> Tensor:
    """Class of the largest logit after bilinear upsampling to ``size``: uint8, H x W, from logits 1 x classes x h x w.

    The same as ``interpolate(..., align_corners=False).argmax(1)`` but for rounding, a strip of rows at a time: the planes of
    all classes at full size, the largest thing in a prediction, never exist.
    """
    planes = logits[0].float()
    if planes.shape[1:] == size:
        return planes.argmax(0).to(torch.uint8)
    above, below, down = _neighbours(planes.shape[1], size[0], planes.device)
    left, right, across = _neighbours(planes.shape[2], size[1], planes.device)
    wide = torch.lerp(planes[:, :, left], planes[:, :, right], across)
    out = torch.empty(size, dtype=torch.uint8, device=planes.device)
    rows = max(1, STRIP // (size[1] * planes.shape[0]))
    for start in range(0, size[0], rows):
        strip = slice(start, start + rows)
        values = torch.lerp(wide[:, above[strip]], wide[:, below[strip]], down[strip, None])
        out[strip] = values.argmax(0)
    return out


STRIP = 1 << 18
"""Numbers in a strip: a megabyte of float32, which stays in the processor's cache."""


def _neighbours(source: int, target: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """For each target position the two source positions that it lies between, and how far along, on the half-pixel grid."""
    place = ((torch.arange(target, device=device) + 0.5) * (source / target) - 0.5).clamp_(0, source - 1)
    first = place.floor()
    return first.long(), (first + 1).clamp_(max=source - 1).long(), place - first
