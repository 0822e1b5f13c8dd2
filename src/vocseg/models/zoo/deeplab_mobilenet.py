"""``deeplabv3_mobilenet_v2``: the DeepLabV3 that TensorFlow publishes for phones, on MobileNetV2."""

from __future__ import annotations

from typing import ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from vocseg.models.base import Family, Padding, SegmentationModel
from vocseg.models.info import ModelInfo

NAME = "deeplabv3_mobilenet_v2"
HALF = (0.5, 0.5, 0.5)


class Stage(NamedTuple):
    """``blocks`` inverted residual blocks that widen ``expansion`` times; the first has the stride, the others the dilation."""

    expansion: int
    channels: int
    blocks: int
    stride: int
    dilation: int = 1


STEM = 32
STAGES = (
    Stage(1, 16, 1, 1), Stage(6, 24, 2, 2), Stage(6, 32, 3, 2), Stage(6, 64, 4, 2), Stage(6, 96, 3, 1),
    Stage(6, 160, 3, 1, 2),  # stride 2 in the classifier; here dilated from its second block on
    Stage(6, 320, 1, 1, 2),
)  # fmt: skip
"""MobileNetV2 (Sandler et al., 2018), table 2, at output stride 16."""


def _layer(
    inputs: int,
    outputs: int,
    kernel: int,
    stride: int = 1,
    dilation: int = 1,
    groups: int = 1,
    activation: type[nn.Module] = nn.ReLU6,
) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(inputs, outputs, kernel, stride, padding, dilation, groups, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs), activation(inplace=True))


class _InvertedResidual(nn.Module):
    """Expansion, depthwise convolution, projection; names of weights are torchvision's."""

    def __init__(self, inputs: int, stage: Stage, stride: int, dilation: int) -> None:
        super().__init__()
        wide = stage.expansion * inputs
        expand = [_layer(inputs, wide, 1)] if stage.expansion > 1 else []
        depthwise = _layer(wide, wide, 3, stride, dilation, groups=wide)
        self.conv = nn.Sequential(
            *expand, depthwise, nn.Conv2d(wide, stage.channels, 1, bias=False), nn.BatchNorm2d(stage.channels)
        )
        self.residual = stride == 1 and inputs == stage.channels

    def forward(self, features: Tensor) -> Tensor:
        return features + self.conv(features) if self.residual else self.conv(features)


def _mobilenet_v2() -> nn.Sequential:
    """Build the backbone without the layer that widens to 1280 channels. torchvision's takes a second to import."""
    layers: list[nn.Module] = [_layer(3, STEM, 3, 2)]
    inputs, dilation = STEM, 1
    for stage in STAGES:
        for number in range(stage.blocks):
            layers.append(_InvertedResidual(inputs, stage, 1 if number else stage.stride, dilation))
            inputs, dilation = stage.channels, stage.dilation
    return nn.Sequential(*layers)


class DeepLabMobileNetV2(nn.Module):
    """MobileNetV2 at output stride 16, a 1x1 convolution and image pooling.

    Sandler et al., "MobileNetV2" (2018), section 6.3. Takes images padded to 16 n + 1 pixels: for these sides
    TensorFlow's padding is the same as torch's, so the published weights give the published masks.
    """

    def __init__(self, num_classes: int, width: int = 256) -> None:
        super().__init__()
        self.features = _mobilenet_v2()
        channels = STAGES[-1].channels
        self.image_pooling = _layer(channels, width, 1, activation=nn.ReLU)
        self.aspp0 = _layer(channels, width, 1, activation=nn.ReLU)
        self.concat_projection = _layer(2 * width, width, 1, activation=nn.ReLU)
        self.classifier = nn.Conv2d(width, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits at a sixteenth of the size of the (padded) images, with aligned corners."""
        return self.classifier(self.context(self.features(images)))

    def context(self, features: Tensor) -> Tensor:
        """Join the backbone's features with their mean over the image: N x 256 x h x w."""
        own = self.aspp0(features)
        pooled = self.image_pooling(features.mean((2, 3), keepdim=True)).expand_as(own)
        return self.concat_projection(torch.cat([pooled, own], 1))


class DeepLabMobileNetModel(SegmentationModel):
    align_corners = True
    backbone_layers = ("features",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "features", "pyramid": "concat_projection"}


class DeepLabMobileNetFamily(Family):
    """Without included weights: TensorFlow's are converted by benchmarks/weights_from_tflite.py."""

    title = "tensorflow"

    def names(self) -> list[str]:
        return [NAME]

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        info = ModelInfo(name, classes, mean=HALF, std=HALF)
        return DeepLabMobileNetModel(DeepLabMobileNetV2(len(classes)), info, ("classifier",), Padding(16, extra=1))
