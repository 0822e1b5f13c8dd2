"""Every way of computing a convolution and its gradients against the plain one, in float64 where the way allows it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn

from vocseg.models import create_model
from vocseg.ops import conv_cpu as convolution
from vocseg.ops import winograd
from vocseg.ops.choices import Choices
from vocseg.ops.conv_cpu import FORWARD, INPUT_GRADIENT, WEIGHT_GRADIENT, Geometry, fast_convolutions, possible

KINDS = {"forward": FORWARD, "input gradient": INPUT_GRADIENT, "weight gradient": WEIGHT_GRADIENT}


@pytest.fixture(autouse=True)
def fresh_choices(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Choices:
    monkeypatch.setenv("VOCSEG_CACHE", str(tmp_path_factory.mktemp("cache")))
    made = Choices()
    monkeypatch.setattr(convolution, "choices", made)
    monkeypatch.setattr(winograd, "LEAST_CHANNELS", 2)
    monkeypatch.setattr(winograd, "LARGEST_OVERHANG", 1e9)
    return made


@st.composite
def layers(draw: st.DrawFn) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Geometry]:
    """Input, weight, bias, gradient of the output and geometry of a depthwise layer, or of a dense one that keeps the size."""
    depthwise = draw(st.booleans())
    batch, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(st.integers(1, 20))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 3), (1, 3)]))
    dilation = (draw(st.integers(1, 24)), draw(st.integers(1, 9)))
    channels = draw(st.integers(2, 5))
    if depthwise:
        stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        padding = (draw(st.integers(0, 30)), draw(st.integers(0, 12)))
        geometry = Geometry(stride, padding, dilation, channels)
        weight = torch.randn(channels, 1, *kernel, dtype=torch.float64)
    else:
        geometry = Geometry((1, 1), (dilation[0] * (kernel[0] // 2), dilation[1] * (kernel[1] // 2)), dilation, 1)
        weight = torch.randn(draw(st.integers(1, 4)), channels, *kernel, dtype=torch.float64)
    for side, size, pad, reach in zip((height, width), kernel, geometry.padding, dilation, strict=True):
        assume(side + 2 * pad >= reach * (size - 1) + 1)
    inputs = torch.randn(batch, channels, height, width, dtype=torch.float64).to(memory_format=torch.channels_last)
    bias = torch.randn(len(weight), dtype=torch.float64)
    return inputs, weight, bias, torch.randn_like(torch.conv2d(inputs, weight, bias, *geometry)), geometry


@given(layers())
@settings(max_examples=150, deadline=None)
def test_every_way_gives_the_same(layer: tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Geometry]) -> None:
    inputs, weight, bias, gradient, geometry = layer
    assert geometry.depthwise(weight) or geometry.plain(weight)
    leaf, weight_leaf = inputs.clone().requires_grad_(), weight.clone().requires_grad_()
    output = torch.conv2d(leaf, weight_leaf, bias, *geometry)
    output.backward(gradient)
    wanted = {"forward": output, "input gradient": leaf.grad, "weight gradient": weight_leaf.grad}
    for kind, ways in KINDS.items():
        for name in set(possible(kind, inputs, weight, geometry)) - {"float32"}:
            extra = bias if kind == "forward" else gradient
            torch.testing.assert_close(ways[name](inputs, weight, extra, geometry), wanted[kind], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("kind", ["input gradient", "weight gradient"])
def test_bfloat16_gradients_are_exact_to_a_hundredth(kind: str) -> None:
    generator = torch.Generator().manual_seed(0)
    inputs, weight = torch.randn(2, 16, 20, 20, generator=generator), torch.randn(16, 1, 5, 5, generator=generator)
    geometry = Geometry((1, 1), (4, 4), (2, 2), 16)
    gradient = torch.randn(2, 16, 20, 20, generator=generator)
    exact = KINDS[kind]["native"](inputs.double(), weight.double(), gradient.double(), geometry)
    half = [part.bfloat16() for part in (inputs, weight, gradient)]
    names = possible(kind, half[0], half[1], geometry)
    assert {"native", "forward", "float32"} == set(names)
    for name in names:
        error = (KINDS[kind][name](*half, geometry).double() - exact).abs().max() / exact.abs().max()
        assert float(error) < (0.02 if name == "native" else 0.01), name  # torch's own kernel: 0.013 without AVX-512


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "deeplabv3plus:tu-tf_efficientnet_lite0"])
def test_gradients_of_a_network(name: str) -> None:
    """A training step's gradients within float32's rounding of the plain network's."""
    torch.manual_seed(0)
    model = create_model(name, ["a", "b", "c"], "none").eval()  # eval: batch norm and dropout would blow rounding up
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)

    def gradients() -> list[torch.Tensor]:
        model.zero_grad()
        model(images)["out"].pow(2).mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    want = gradients()
    with fast_convolutions():
        got = gradients()
    assert len(got) == len(want) > 50
    for one, other in zip(got, want, strict=True):
        assert float((one - other).abs().max()) <= 1e-3 * float(other.abs().max()) + 1e-12


def test_autocast_casts() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    inputs = torch.randn(1, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16), fast_convolutions():
        output = layer(inputs)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 81.0))


def test_measured_once_for_a_kind_of_layer(fresh_choices: Choices) -> None:
    layer = nn.Conv2d(4, 5, 3, padding=7, dilation=7)
    with torch.inference_mode(), fast_convolutions():
        for size in (9, 9, 16, 17):
            layer(torch.randn(1, 4, size, size))
    assert len(fresh_choices.made) == 2  # 17 pixels are two patches of 16


def test_other_convolutions_are_left_alone(fresh_choices: Choices) -> None:
    strange = [
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2),
    ]
    inputs = torch.randn(1, 4, 9, 9)
    with torch.inference_mode():
        for layer in strange:
            want = layer(inputs)
            with fast_convolutions():
                assert torch.equal(layer(inputs), want)
    assert not fresh_choices.made
