"""``deeplabv3_mobilenet_v2``: the DeepLabV3 that TensorFlow publishes for phones, on torchvision's MobileNetV2."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vocseg.models.base import Family, Padding, SegmentationModel
from vocseg.models.info import ModelInfo

NAME = "deeplabv3_mobilenet_v2"
HALF = (0.5, 0.5, 0.5)
LAST_STRIDE = 14
"""Number of the block of MobileNetV2 that halves the size for the fifth time."""


class DeepLabMobileNetV2(nn.Module):
    """MobileNetV2 at output stride 16, a 1x1 convolution and image pooling.

    Sandler et al., "MobileNetV2" (2018), section 6.3. Takes images padded to 16 n + 1 pixels: for these sides
    TensorFlow's padding is the same as torch's, so the published weights give the published masks.
    """

    def __init__(self, num_classes: int, width: int = 256) -> None:
        super().__init__()
        from torchvision.models import mobilenet_v2
        from torchvision.ops import Conv2dNormActivation

        # Without the last layer, which widens to 1280 channels for ImageNet's classes.
        self.features = mobilenet_v2(weights=None).features[:-1]
        for number, block in enumerate(self.features):
            depthwise = [part for part in block.modules() if isinstance(part, nn.Conv2d) and part.groups > 1]
            for conv in depthwise if number >= LAST_STRIDE else ():
                conv.stride = (1, 1)
                if number > LAST_STRIDE:
                    conv.dilation = conv.padding = (2, 2)
        channels = self.features[-1].out_channels
        self.image_pooling = Conv2dNormActivation(channels, width, 1)
        self.aspp0 = Conv2dNormActivation(channels, width, 1)
        self.concat_projection = Conv2dNormActivation(2 * width, width, 1)
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
