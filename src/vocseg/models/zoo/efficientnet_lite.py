"""EfficientNet-Lite2 as a backbone at output stride 16.

Tan and Le, "EfficientNet" (2019), in the Lite form of TensorFlow's tpu/efficientnet/lite: no squeeze-and-excitation,
ReLU6, stem and last layers not scaled. Weights have the names of timm's ``tf_efficientnet_lite2``. timm is not used
because importing it takes longer than segmenting an image.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn.functional import pad


class Stage(NamedTuple):
    """``blocks`` inverted residual blocks, of which the first has the stride; depthwise filters are ``kernel`` wide."""

    blocks: int
    kernel: int
    stride: int
    dilation: int
    channels: int


STEM = 32
FIRST = 16
EXPANSION = 6
STAGES = (
    Stage(3, 3, 2, 1, 24),
    Stage(3, 5, 2, 1, 48),
    Stage(4, 3, 2, 1, 88),
    Stage(4, 5, 1, 1, 120),
    Stage(5, 5, 1, 2, 208),  # stride 2 in the classifier; here dilated from its second block on
    Stage(1, 3, 1, 2, 352),
)
"""1.1 times the width and 1.2 times the depth of Lite0, with channels rounded to multiples of 8."""


class _SameConv2d(nn.Conv2d):
    """A convolution of stride 2 with TensorFlow's "same" padding: one more pixel on the right and at the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride=2, groups=groups, bias=False)
        self.sides = (kernel // 2 - 1, kernel // 2) * 2

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002
        return super().forward(pad(input, self.sides))


def _depthwise(channels: int, kernel: int, stride: int, dilation: int) -> nn.Conv2d:
    if stride == 2:
        return _SameConv2d(channels, channels, kernel, channels)
    reach = dilation * (kernel // 2)
    return nn.Conv2d(channels, channels, kernel, padding=reach, dilation=dilation, groups=channels, bias=False)


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=1e-3)


class _InvertedResidual(nn.Sequential):
    """Expansion, depthwise convolution, projection (Sandler et al., "MobileNetV2", 2018)."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, dilation: int) -> None:
        wide = EXPANSION * inputs
        layers = {
            "conv_pw": nn.Conv2d(inputs, wide, 1, bias=False), "bn1": _norm(wide), "act1": nn.ReLU6(inplace=True),
            "conv_dw": _depthwise(wide, kernel, stride, dilation), "bn2": _norm(wide), "act2": nn.ReLU6(inplace=True),
            "conv_pwl": nn.Conv2d(wide, outputs, 1, bias=False), "bn3": _norm(outputs),
        }  # fmt: skip
        super().__init__(OrderedDict(layers))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, features: Tensor) -> Tensor:
        found = features
        for layer in self:
            found = layer(found)
        return found + features if self.residual else found


class EfficientNetLite2(nn.Module):
    """Computes features at strides 4, 8 and 16 (24, 48, 352 channels) of images with sides that are multiples of 16."""

    channels = (STAGES[0].channels, STAGES[1].channels, STAGES[-1].channels)

    def __init__(self) -> None:
        super().__init__()
        self.conv_stem = _SameConv2d(3, STEM, 3)
        self.bn1 = _norm(STEM)
        self.act1 = nn.ReLU6(inplace=True)
        separable = {
            "conv_dw": _depthwise(STEM, 3, 1, 1), "bn1": _norm(STEM), "act1": nn.ReLU6(inplace=True),
            "conv_pw": nn.Conv2d(STEM, FIRST, 1, bias=False), "bn2": _norm(FIRST),
        }  # fmt: skip
        stages: list[nn.Module] = [nn.Sequential(nn.Sequential(OrderedDict(separable)))]
        inputs = FIRST
        dilation = 1
        for stage in STAGES:
            blocks = []
            for number in range(stage.blocks):
                blocks.append(_InvertedResidual(inputs, stage.channels, stage.kernel, 1 if number else stage.stride, dilation))
                inputs, dilation = stage.channels, stage.dilation
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        features = self.act1(self.bn1(self.conv_stem(images)))
        found = []
        for stage in self.blocks:
            features = stage(features)
            found.append(features)
        return found[1], found[2], found[-1]
