"""The encoder against timm's, whose weights it takes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from vocseg.models.zoo.efficientnet_lite import EfficientNetLite2


@pytest.fixture(scope="module")
def pair() -> tuple[EfficientNetLite2, nn.Module]:
    import timm

    torch.manual_seed(0)
    theirs = timm.create_model("tf_efficientnet_lite2", features_only=True, output_stride=16, out_indices=(1, 2, 4)).double().eval()
    for module in theirs.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.8, 1.2)
    ours = EfficientNetLite2().double().eval()
    ours.load_state_dict(theirs.state_dict())
    return ours, theirs


def test_names_and_their_order_are_timms(pair: tuple[EfficientNetLite2, nn.Module]) -> None:
    assert list(pair[0].state_dict()) == list(pair[1].state_dict())


@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 2))
@settings(max_examples=15, deadline=None)
def test_same_features(pair: tuple[EfficientNetLite2, nn.Module], rows: int, columns: int, images: int) -> None:
    inputs = torch.randn(images, 3, 16 * rows, 16 * columns, dtype=torch.float64)
    with torch.no_grad():
        got, want = pair[0](inputs), pair[1](inputs)
    assert tuple(features.shape[1] for features in got) == EfficientNetLite2.channels
    for mine, theirs in zip(got, want, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-10, atol=1e-10)


def test_same_gradients_in_training(pair: tuple[EfficientNetLite2, nn.Module]) -> None:
    inputs = torch.randn(2, 3, 64, 96, dtype=torch.float64)
    gradients = []
    for network in pair:
        network.train().zero_grad()
        sum(features.square().mean() for features in network(inputs)).backward()
        gradients.append([parameter.grad for parameter in network.parameters()])
        network.eval()
    for mine, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-10)
