"""Every algorithm for a convolution's gradients against torch's own, in float64, and the rule that picks one."""

from __future__ import annotations

import builtins
import inspect
import time

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from vocseg.models import create_model
from vocseg.ops.conv_cpu import INPUT_GRADIENTS, NATIVE, WEIGHT_GRADIENTS, Choice, Geometry, choose, fast_convolutions

CPU = torch.device("cpu")


@st.composite
def layers(draw: st.DrawFn) -> tuple[Tensor, Tensor, Geometry]:
    """Input, weight and geometry, in float64, of a depthwise layer, or of a dense one that keeps the size."""
    depthwise = draw(st.booleans())
    batch, height, width = draw(st.integers(1, 3)), draw(st.integers(1, 20)), draw(st.integers(1, 20))
    kernel = draw(st.sampled_from([(1, 1), (3, 3), (5, 3), (1, 3), (2, 4)] if depthwise else [(1, 1), (3, 3), (5, 3), (1, 3)]))
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
    for side, size, pad, apart in zip((height, width), kernel, geometry.padding, dilation, strict=True):
        assume(side + 2 * pad >= apart * (size - 1) + 1)
    inputs = torch.randn(batch, channels, height, width, dtype=torch.float64).to(memory_format=torch.channels_last)
    return inputs, weight, geometry


@given(layers())
@settings(max_examples=200, deadline=None)
def test_every_algorithm_gives_torchs_gradient(layer: tuple[Tensor, Tensor, Geometry]) -> None:
    inputs, weight, geometry = layer
    leaf, weight_leaf = inputs.clone().requires_grad_(), weight.clone().requires_grad_()
    output = torch.conv2d(leaf, weight_leaf, None, *geometry)
    gradient = torch.randn_like(output)
    output.backward(gradient)
    depthwise = geometry.groups > 1
    turns = all(d * (k - 1) >= p for k, p, d in zip(weight.shape[2:], geometry.padding, geometry.dilation, strict=True))
    for name in ("native", "forward") if depthwise and turns else ("native",):
        got = INPUT_GRADIENTS[name](inputs, weight, gradient, geometry)
        torch.testing.assert_close(got, leaf.grad, rtol=1e-9, atol=1e-9, msg=f"input, {name}")
    for name in ("native", "forward") if depthwise else ("native", "offsets"):
        got = WEIGHT_GRADIENTS[name](inputs, weight, gradient, geometry)
        torch.testing.assert_close(got, weight_leaf.grad, rtol=1e-9, atol=1e-9, msg=f"weight, {name}")
    # The rule takes "forward" only when it holds.
    choice = choose(inputs.shape, weight.shape, geometry, torch.bfloat16)
    assert choice.input == "native" or (depthwise and turns)
    assert choice.weight == "native" or choice.weight == ("forward" if depthwise else "offsets")


@pytest.mark.parametrize(("kernel", "dilation", "stride", "groups"), [(5, 2, 1, 16), (5, 1, 2, 16), (3, 2, 1, 16), (3, 12, 1, 1)])
def test_bfloat16_gradients_are_exact_to_a_hundredth(kernel: int, dilation: int, stride: int, groups: int) -> None:
    generator = torch.Generator().manual_seed(0)
    padding = dilation * (kernel // 2)
    layer = nn.Conv2d(16, 16, kernel, stride, padding, dilation, groups, bias=False)
    inputs = torch.randn(2, 16, 20, 20, generator=generator)
    exact_layer = nn.Conv2d(16, 16, kernel, stride, padding, dilation, groups, bias=False).double()
    exact_layer.load_state_dict(layer.state_dict())
    exact_inputs = inputs.double().requires_grad_()
    exact = exact_layer(exact_inputs)
    gradient = torch.randn(exact.shape, generator=generator)
    exact.backward(gradient.double())
    inputs.requires_grad_()
    assert choose(inputs.shape, layer.weight.shape, _geometry(layer), torch.bfloat16) != NATIVE
    with torch.autocast("cpu", torch.bfloat16), fast_convolutions(CPU):
        layer(inputs).backward(gradient.bfloat16())
    for got, want in ((inputs.grad, exact_inputs.grad), (layer.weight.grad, exact_layer.weight.grad)):
        assert float((got.double() - want).abs().max() / want.abs().max()) < 0.01


def _geometry(layer: nn.Conv2d) -> Geometry:
    pairs = [(int(pair[0]), int(pair[1])) for pair in (layer.stride, layer.padding, layer.dilation)]
    return Geometry(*pairs, layer.groups)


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "deeplabv3plus:tu-tf_efficientnet_lite0"])
def test_gradients_of_a_network(name: str) -> None:
    """A training step's gradients within float32's rounding of the plain network's."""
    torch.manual_seed(0)
    model = create_model(name, ["a", "b", "c"], "none").eval()  # eval: batch norm and dropout would blow rounding up
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    images = torch.randint(0, 256, (2, 3, 64, 96), dtype=torch.uint8)

    def gradients() -> list[Tensor]:
        model.zero_grad()
        model(images)["out"].pow(2).mean().backward()
        return [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]

    want = gradients()
    with fast_convolutions(CPU):
        got = gradients()
    assert len(got) == len(want) > 50
    assert any(not torch.equal(one, other) for one, other in zip(got, want, strict=True))  # it did take other algorithms
    for one, other in zip(got, want, strict=True):
        assert float((one - other).abs().max()) <= 1e-3 * float(other.abs().max()) + 1e-12


def test_autocast_casts() -> None:
    layer = nn.Conv2d(8, 8, 3, padding=1, groups=8)
    inputs = torch.randn(1, 8, 9, 9)
    with torch.autocast("cpu", torch.bfloat16), fast_convolutions(CPU):
        output = layer(inputs)
    assert type(output.grad_fn).__name__ == "_ConvolutionBackward"
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert layer.weight.grad is not None
    assert layer.weight.grad.dtype == torch.float32
    torch.testing.assert_close(layer.bias.grad, torch.full((8,), 81.0))


F32, BF16 = torch.float32, torch.bfloat16


@pytest.mark.parametrize(
    ("layer", "side", "dtype", "expected"),
    [
        (nn.Conv2d(8, 8, 3, 1, 1, 1, 8), 20, BF16, Choice("forward", "native")),
        (nn.Conv2d(8, 8, 3, 2, 1, 1, 8), 20, BF16, Choice("forward", "native")),
        (nn.Conv2d(8, 8, 3, 2, 1, 1, 8), 20, F32, NATIVE),
        (nn.Conv2d(8, 8, 5, 2, 2, 1, 8), 20, F32, Choice("native", "forward")),
        (nn.Conv2d(8, 8, 3, 2, 2, 2, 8), 20, F32, Choice("forward", "forward")),
        (nn.Conv2d(8, 8, 5, 1, 2, 1, 8), 20, F32, Choice("forward", "forward")),
        (nn.Conv2d(8, 8, 3, 1, 9, 1, 8), 20, F32, NATIVE),  # the forward form would have to crop
        (nn.Conv2d(8, 8, 5, 1, 2, 1, 8), 20, torch.float64, NATIVE),
        (nn.Conv2d(8, 16, 5, 1, 2, 1, 8), 20, F32, NATIVE),
        (nn.Conv2d(8, 8, 3, 1, 9, 9), 20, F32, NATIVE),
        (nn.Conv2d(8, 8, 3, 1, 10, 10), 20, F32, Choice("native", "offsets")),
        (nn.Conv2d(8, 8, 3, 1, 10, 10), 20, BF16, Choice("native", "offsets")),
        (nn.Conv2d(8, 8, 3, 2, 10, 10), 20, BF16, NATIVE),
        (nn.Conv2d(8, 8, 3, 1, 9, 10), 20, BF16, NATIVE),
        (nn.Conv2d(8, 8, 2, 1, 10, 20), 20, BF16, NATIVE),
        (nn.Conv2d(8, 8, 3, 1, 10, 10, 2), 20, BF16, NATIVE),
    ],
)
def test_the_rule(layer: nn.Conv2d, side: int, dtype: torch.dtype, expected: Choice) -> None:
    shape = torch.Size((2, layer.in_channels, side, side))
    assert choose(shape, layer.weight.shape, _geometry(layer), dtype) == expected


def test_the_choice_depends_on_shapes_and_dtype_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """No tensor's values reach the rule, and no gradient looks at a clock or a file."""
    assert list(inspect.signature(choose).parameters) == ["inputs", "weight", "geometry", "dtype"]
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    inputs = torch.rand(2, 4, 9, 9)

    def gradient() -> Tensor:
        layer.zero_grad()
        with fast_convolutions(CPU):
            layer(inputs).sum().backward()
        assert layer.weight.grad is not None
        return layer.weight.grad.clone()

    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError

    first = gradient()
    with monkeypatch.context() as patch:
        for name in ("perf_counter", "time", "monotonic", "process_time"):
            patch.setattr(time, name, refuse)
        patch.setattr(builtins, "open", refuse)
        again = gradient()
    assert torch.equal(first, again)


def test_other_convolutions_are_left_alone() -> None:
    plain = [
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, stride=2),
        nn.Conv2d(4, 4, 3, padding=1, dilation=2),
        nn.Conv2d(4, 4, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 4, 3, padding="same", dilation=2),
        nn.Conv2d(4, 4, 3, padding=1),
    ]
    inputs = torch.randn(1, 4, 9, 9, requires_grad=True)
    for layer in plain:
        want = layer(inputs)
        with fast_convolutions(CPU):
            got = layer(inputs)
        assert torch.equal(got, want)
        assert type(got.grad_fn).__name__ == "ConvolutionBackward0"


def test_nothing_happens_without_gradients_or_off_the_cpu() -> None:
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    inputs = torch.randn(1, 4, 9, 9)
    with torch.inference_mode(), fast_convolutions(CPU):
        assert torch.equal(layer(inputs), layer(inputs))
    with fast_convolutions(torch.device("cuda")):  # the context itself needs no GPU
        assert not torch.overrides._get_current_function_mode_stack()
        assert type(layer(inputs).grad_fn).__name__ == "ConvolutionBackward0"


def test_compiled_code_is_left_alone() -> None:
    """``torch.compile`` takes a training step inside the context in one graph."""
    layer = nn.Conv2d(4, 4, 5, padding=2, groups=4)
    inputs = torch.randn(1, 4, 9, 9)
    want = torch.autograd.grad(layer(inputs).pow(2).sum(), layer.weight)[0]
    compiled = torch.compile(layer, backend="aot_eager", fullgraph=True)
    with fast_convolutions(CPU):
        got = torch.autograd.grad(compiled(inputs).pow(2).sum(), layer.weight)[0]
    torch.testing.assert_close(got, want)


def test_a_library_may_have_wrapped_conv2d(monkeypatch: pytest.MonkeyPatch) -> None:
    """As NNCF has when it is imported."""
    own, images, weight = torch.conv2d, torch.randn(1, 4, 9, 9), torch.randn(4, 1, 5, 5, requires_grad=True)
    monkeypatch.setattr(torch, "conv2d", lambda *given, **options: own(*given, **options))
    with fast_convolutions(CPU):
        found = torch.conv2d(images, weight, None, 1, 2, 1, 4)
    assert type(found.grad_fn).__name__ == "_ConvolutionBackward"
