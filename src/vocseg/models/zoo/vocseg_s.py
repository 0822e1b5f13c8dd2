"""``vocseg-s``, the network that comes with the package: TensorFlow's published DeepLabV3 with a light decoder on top."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from vocseg.models.base import Family, Padding, SegmentationModel
from vocseg.models.checkpoint import read_model_file
from vocseg.models.info import ModelInfo
from vocseg.models.weights import load_weights
from vocseg.models.zoo.deeplab_mobilenet import HALF, DeepLabMobileNetV2

FINE, MIDDLE = 4, 7
"""Blocks of MobileNetV2 before which features have strides 4 and 8."""


def _pointwise(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU6(inplace=True))


def _depthwise(channels: int, rate: int = 1) -> nn.Sequential:
    conv = nn.Conv2d(channels, channels, 3, padding=rate, dilation=rate, groups=channels, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(channels))


def _separable(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(_depthwise(inputs), *_pointwise(inputs, outputs))


def _twice(features: Tensor) -> Tensor:
    height, width = features.shape[2:]
    return interpolate(features, size=(2 * height - 1, 2 * width - 1), mode="bilinear", align_corners=True)


class Decoder(nn.Module):
    """Atrous depthwise convolutions beside DeepLabV3's context, then detail from strides 8 and 4.

    Chen et al., "DeepLabv3+" (2018), in few channels. Its class layer starts at zero: added to the logits of a trained
    DeepLabV3, it changes nothing at first.
    """

    def __init__(self, num_classes: int, context: int, deep: int = 320, middle: int = 32, fine: int = 24) -> None:
        super().__init__()
        self.wide = nn.ModuleList(_depthwise(deep, rate) for rate in (3, 6, 12))
        self.wide_project = _pointwise(3 * deep, 128)
        self.join = _pointwise(context + 128, 96)
        self.detail8 = _pointwise(middle, 32)
        self.decode8 = nn.Sequential(_separable(128, 96), _separable(96, 96))
        self.detail4 = _pointwise(fine, 32)
        self.decode4 = _separable(128, 64)
        self.classifier = nn.Conv2d(64, num_classes, 1)
        for parameter in self.classifier.parameters():
            nn.init.zeros_(parameter)

    def forward(self, fine: Tensor, middle: Tensor, deep: Tensor, context: Tensor) -> Tensor:
        wide = self.wide_project(torch.cat([branch(deep) for branch in self.wide], 1))
        features = self.join(torch.cat([context, wide], 1))
        features = self.decode8(torch.cat([_twice(features), self.detail8(middle)], 1))
        features = self.decode4(torch.cat([_twice(features), self.detail4(fine)], 1))
        return self.classifier(features)


class VocsegS(nn.Module):
    """The sum of DeepLabV3's logits on MobileNetV2, enlarged four times, and those of a decoder at stride 4.

    Takes sides of 16 n + 1 pixels.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.base = DeepLabMobileNetV2(num_classes)
        self.decoder = Decoder(num_classes, self.base.classifier.in_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits at a quarter of the (padded) images' size, with aligned corners."""
        base = self.base
        fine = base.features[:FINE](images)
        middle = base.features[FINE:MIDDLE](fine)
        deep = base.features[MIDDLE:](middle)
        context = base.context(deep)
        return self.decoder(fine, middle, deep, context) + _twice(_twice(base.classifier(context)))


class VocsegSModel(SegmentationModel):
    align_corners = True
    backbone_layers = ("base",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "base.features.17", "pyramid": "base.concat_projection"}

    def adopt(self, state: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Take ``deeplabv3_mobilenet_v2`` as the base, under a decoder that changes nothing yet."""
        base = {f"base.{name}": value for name, value in state.items()}
        own = self.network.state_dict()
        decoder = {name: value for name, value in own.items() if name.startswith("decoder.")}
        return base | decoder if base.keys() == own.keys() - decoder.keys() else state


NAME = "vocseg-s"
"""Name in the registry; the default model of prediction."""

MIOU = 0.7498, "val_dev"
"""``vocseg evaluate vocseg-s --data data --split val_dev``: an unbiased part of VOC 2012 val (docs/results.md)."""

LICENSE = "Apache-2.0; most weights are from TensorFlow (the file NOTICE beside the license)"
"""Of the weights ``voc``."""

TRAINED = Path(__file__).parents[2] / "assets" / f"{NAME}.safetensors"


class VocsegFamily(Family):
    """Weights: ``voc``, trained on VOC; a file of ``deeplabv3_mobilenet_v2`` gives a trained base and a random decoder."""

    title = "vocseg"
    weights = ("voc", "none")

    def names(self) -> list[str]:
        return [NAME]

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        layers = ("base.classifier", "decoder.classifier")
        model = VocsegSModel(VocsegS(len(classes)), ModelInfo(NAME, classes, mean=HALF, std=HALF), layers, Padding(16, extra=1))
        if weights == "voc":
            info, state = read_model_file(TRAINED)
            if classes == info.classes:
                model.set_info(replace(info, license=LICENSE))
            load_weights(model, state, info.classes, "the voc weights")
        return model

    def published(self, name: str) -> tuple[float, str] | None:
        return MIOU
