"""The backbone is torchvision's MobileNetV2 at output stride 16."""

from __future__ import annotations

import torch
from torch import nn
from torchvision.models import mobilenet_v2

from vocseg.models import create_model


def test_the_backbone_is_torchvisions_with_the_last_stride_dilated() -> None:
    torch.manual_seed(0)
    ours = create_model("deeplabv3_mobilenet_v2").network.features.eval()  # type: ignore[union-attr,operator]
    theirs = mobilenet_v2(weights=None).features[:-1].eval()
    theirs.load_state_dict(ours.state_dict())
    for number in range(14, 18):
        for conv in theirs[number].modules():
            if isinstance(conv, nn.Conv2d) and conv.groups > 1:
                conv.stride = (1, 1)
                if number > 14:
                    conv.dilation = conv.padding = (2, 2)
    image = torch.randn(1, 3, 65, 97)
    with torch.no_grad():
        assert torch.equal(ours(image), theirs(image))
