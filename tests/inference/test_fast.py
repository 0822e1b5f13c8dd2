"""The rewritten networks against the plain ones."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn.functional import interpolate

from vocseg.inference.fast import DilatedConv2d, FastModel, expand_dilated, fold_batch_norm, upsampled_argmax
from vocseg.models import SegmentationModel, create_model

NETWORKS = ["two_layer_net", "simple_conv_net", "lraspp_mobilenet_v3_large", "deeplabv3_mobilenet_v3_large", "deeplabv3_resnet50"]
SMP = ["unet:resnet18", "deeplabv3plus:tu-tf_efficientnet_lite0", "upernet:resnet18", "segformer:mit_b0", "pan:resnet18"]


def trained(name: str) -> SegmentationModel:
    """A model whose batch normalisation has statistics that matter."""
    model = create_model(name, ["a", "b", "c"], "none").eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.2, 0.2)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.7, 1.3)
            nn.init.uniform_(module.bias, -0.2, 0.2)
    return model


@pytest.mark.parametrize("name", NETWORKS + SMP)
@pytest.mark.parametrize("shape", [(1, 3, 65, 97), (3, 3, 64, 64)])
def test_same_logits(name: str, shape: tuple[int, ...]) -> None:
    model = trained(name)
    pictures = torch.randint(0, 256, shape, dtype=torch.uint8)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = FastModel(model)
    with torch.inference_mode():
        want = model(pictures)["out"]
        got = interpolate(fast(pictures), size=shape[-2:], mode="bilinear", align_corners=False)
    assert float((got - want).abs().max()) <= 1e-4 * float(want.abs().max())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


@pytest.mark.parametrize("name", ["deeplabv3_resnet50", "unet:resnet18", "deeplabv3plus:tu-tf_efficientnet_lite0"])
def test_every_batch_norm_is_folded(name: str) -> None:
    network = trained(name).network
    count = sum(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    if getattr(network, "aux_classifier", None) is not None:
        network.aux_classifier, count = None, count - 1
    assert fold_batch_norm(network) == count
    assert sum(isinstance(module, nn.BatchNorm2d) for module in network.modules()) == 0


def test_a_convolution_used_twice_is_left_alone() -> None:
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv, self.norm = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.norm(self.conv(x)) + self.conv(x)

    assert fold_batch_norm(Twice().eval()) == 0


@given(
    st.integers(1, 3),
    st.integers(1, 40),
    st.integers(1, 40),
    st.integers(2, 45),
    st.sampled_from([(3, 3), (5, 3), (1, 3)]),
    st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_taps_are_the_convolution(batch: int, height: int, width: int, dilation: int, kernel: tuple[int, int], bias: bool) -> None:
    padding = tuple(dilation * (side // 2) for side in kernel)
    conv = nn.Conv2d(4, 5, kernel, padding=padding, dilation=dilation, bias=bias).double()
    inputs = torch.randn(batch, 4, height, width, dtype=torch.float64)
    with torch.inference_mode():
        torch.testing.assert_close(DilatedConv2d(conv).by_taps(inputs), conv(inputs), rtol=1e-10, atol=1e-10)


def test_only_convolutions_that_taps_can_stand_for_are_replaced() -> None:
    keep = [
        nn.Conv2d(4, 4, 3, padding=1),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=4),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, padding_mode="reflect"),
    ]
    network = nn.Sequential(*keep, nn.Conv2d(4, 4, 3, padding=2, dilation=2))
    assert expand_dilated(network) == 1
    assert isinstance(network[-1], DilatedConv2d)


def test_choice_is_measured_once_for_a_size() -> None:
    layer = DilatedConv2d(nn.Conv2d(4, 5, 3, padding=7, dilation=7))
    DilatedConv2d.choices.clear()
    with torch.inference_mode():
        for size in (9, 9, 16, 17):
            inputs = torch.randn(1, 4, size, size)
            torch.testing.assert_close(layer(inputs), layer.conv(inputs))
    assert len(DilatedConv2d.choices) == 2


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 60), st.integers(1, 700), st.integers(1, 21))
@settings(max_examples=80, deadline=None)
def test_upsampled_argmax(height: int, width: int, tall: int, wide: int, classes: int) -> None:
    logits = torch.randn(1, classes, height, width)
    want = interpolate(logits, size=(tall, wide), mode="bilinear", align_corners=False)[0]
    got = upsampled_argmax(logits, (tall, wide)).long()
    # Equal, or a tie but for rounding.
    margin = want.max(0).values - want.gather(0, got[None])[0]
    assert float(margin.max()) < 1e-5
