"""Networks that users build with other libraries take images of any size, unchanged."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torchvision.models import get_model

from vocseg.models import ModelInfo, SegmentationModel
from vocseg.models.adapt import adapt
from vocseg.models.zoo.smp import SmpFamily

INFO = ModelInfo("mine", ("a", "b", "c"))


def image(height: int, width: int) -> Tensor:
    return torch.randint(0, 256, (1, 3, height, width), generator=torch.Generator().manual_seed(0)).to(torch.uint8)


def assert_adapted(network: nn.Module, side: int) -> SegmentationModel:
    """Compare with the network itself at a size that it takes, and run it at others."""
    before = copy.deepcopy(network)
    model = adapt(network, INFO).eval()
    batch = image(side, side)
    with torch.inference_mode():
        expected = before.eval()(model.normalize(batch))
        expected = expected["out"] if isinstance(expected, dict) else expected
        torch.testing.assert_close(model(batch)["out"], expected, rtol=1e-4, atol=1e-4)
        for size in ((1, 1), (101, 77)):
            assert model(image(*size))["out"].shape == (1, 3, *size)
        torch.testing.assert_close(network.eval()(model.normalize(batch)), before(model.normalize(batch)))  # unchanged
    return model


@pytest.mark.parametrize("architecture", SmpFamily().architectures())
def test_smp(architecture: str) -> None:
    import segmentation_models_pytorch as smp

    options = {"dynamic_img_size": True} if architecture == "dpt" else {}
    encoder = "tu-vit_tiny_patch16_224" if architecture == "dpt" else "resnet18"
    model = assert_adapted(smp.create_model(architecture, encoder, encoder_weights=None, classes=3, **options), 128)
    assert model.backbone_parameters()
    assert all(parameter.shape[0] == 3 for parameter in model.head_parameters())


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("lraspp_mobilenet_v3_large", {}),
        ("deeplabv3_mobilenet_v3_large", {"aux_loss": True}),
        ("deeplabv3_mobilenet_v3_large", {"aux_loss": False}),
    ],
)
def test_torchvision(name: str, options: dict[str, bool]) -> None:
    network = get_model(name, weights=None, weights_backbone=None, num_classes=3, **options)
    model = assert_adapted(network, 64)
    assert model.backbone_parameters()
    assert all(parameter.shape[0] == 3 for parameter in model.head_parameters())
    assert set(model(image(32, 32))) == ({"out", "aux"} if options.get("aux_loss") else {"out"})


def test_a_plain_network() -> None:
    model = assert_adapted(nn.Conv2d(3, 3, 3, padding=1), 64)
    assert model.backbone_parameters() == model.head_parameters() == []
    assert adapt(model, INFO) is model
