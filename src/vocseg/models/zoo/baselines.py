"""Two small baselines: the networks of Saito, "Deep Learning from Scratch" (2016), applied to every pixel."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vocseg.models.base import Family, SegmentationModel
from vocseg.models.info import ModelInfo

PATCH = 9
"""Side of the patch around a pixel from which ``two_layer_net`` predicts its class."""


class TwoLayerNet(nn.Module):
    """Affine - ReLU - affine on the 9x9 patch around each pixel: ``TwoLayerNet`` of chapter 4."""

    def __init__(self, num_classes: int, hidden: int = 100) -> None:
        super().__init__()
        self.affine1 = nn.Conv2d(3, hidden, PATCH, padding=PATCH // 2)
        self.relu = nn.ReLU(inplace=True)
        self.affine2 = nn.Conv2d(hidden, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.affine2(self.relu(self.affine1(images)))


class SimpleConvNet(nn.Module):
    """Conv 5x5 (30) - ReLU - pool - affine - ReLU - affine: ``SimpleConvNet`` of chapter 7, made fully convolutional.

    The first affine layer is a 12x12 convolution, since it sees 12x12 pooled positions of the book's 28x28 digits.
    Logits are at half the size of the image.
    """

    def __init__(self, num_classes: int, filters: int = 30, hidden: int = 100) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, filters, 5, padding=2)
        self.relu1 = nn.ReLU(inplace=True)
        self.pool1 = nn.MaxPool2d(2, ceil_mode=True)
        self.pad1 = nn.ZeroPad2d((5, 6, 5, 6))
        self.affine1 = nn.Conv2d(filters, hidden, 12)
        self.relu2 = nn.ReLU(inplace=True)
        self.affine2 = nn.Conv2d(hidden, num_classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        features = self.pool1(self.relu1(self.conv1(images)))
        return self.affine2(self.relu2(self.affine1(self.pad1(features))))


class Baselines(Family):
    """The two baselines, which have no pretrained weights."""

    title = "baselines"
    networks: ClassVar[dict[str, type[nn.Module]]] = {"two_layer_net": TwoLayerNet, "simple_conv_net": SimpleConvNet}

    def names(self) -> list[str]:
        return list(self.networks)

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        return SegmentationModel(self.networks[name](len(classes)), ModelInfo(name, classes), ("affine2",))
