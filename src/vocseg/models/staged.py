"""A network in stages: the padding that it needs, its layers, and the bilinear upsampling that ends it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn
from torch.nn.functional import pad

from vocseg.ops.low_res_logits import CoarseLogits


@dataclass(frozen=True)
class Padding:
    """Pads normalized images with the mean color at the right and at the bottom.

    A side becomes ``multiple`` n + ``extra`` pixels, ``smallest`` at least, which is such a number too.
    """

    multiple: int = 1
    extra: int = 0
    smallest: int = 1

    def __call__(self, images: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        return pad(images, (0, self.side(width) - width, 0, self.side(height) - height))

    def side(self, length: int) -> int:
        """What a side becomes."""
        whole = length + (self.extra - length) % self.multiple
        return max(whole, self.smallest) if self.smallest > 1 else whole


def _upsampled(values: Tensor, height: int, width: int) -> CoarseLogits:
    return CoarseLogits(values).upsampled((height, width))


@dataclass(frozen=True)
class Stages:
    """``finish(layers(pad(images))[name], height, width)`` is the network's output ``name`` for images of that size."""

    layers: Callable[[Tensor], dict[str, Tensor]]
    pad: Padding = Padding()
    finish: Callable[[Tensor, int, int], CoarseLogits] = _upsampled


def stages(network: nn.Module) -> Stages:
    """The stages of a network of the registry; one whose end is not known is all layers."""
    if hasattr(network, "stages"):
        return network.stages()  # type: ignore[operator]
    if type(network).__module__.startswith("torchvision."):
        return Stages(partial(_torchvision_layers, network))
    return Stages(network, finish=lambda values, height, width: CoarseLogits(values))


def _torchvision_layers(network: Any, images: Tensor) -> dict[str, Tensor]:
    """The layers of torchvision's segmentation networks: LRASPP's classifier takes two of the backbone's outputs, others one."""
    features = network.backbone(images)
    if type(network).__name__ == "LRASPP":
        return {"out": network.classifier(features)}
    outputs = {"out": network.classifier(features["out"])}
    if network.aux_classifier is not None:
        outputs["aux"] = network.aux_classifier(features["aux"])
    return outputs


def coarse_logits(network: nn.Module, images: Tensor) -> dict[str, CoarseLogits]:
    """What a network of the registry gives for normalized images, before its last upsampling."""
    parts = stages(network)
    height, width = images.shape[-2:]
    return {name: parts.finish(values, height, width) for name, values in parts.layers(parts.pad(images)).items()}
