"""Coarse logits against torch's own interpolation."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from vocseg.models import create_model
from vocseg.ops import low_res_logits as upsampling
from vocseg.ops.low_res_logits import LowResLogits, classes_of
from vocseg.training.losses import pixel_cross_entropy

sides = st.integers(1, 9)


def plain(values: Tensor, size: tuple[int, int], align: bool) -> Tensor:
    return interpolate(values, size=size, mode="bilinear", align_corners=align)


@given(
    sides, sides, st.integers(1, 60), st.integers(1, 400), st.integers(1, 21), st.booleans(), st.booleans(),
    st.sampled_from([0.0, 0.25, 1.0]),
)  # fmt: skip
@settings(max_examples=120, deadline=None)
def test_full_and_classes(
    height: int, width: int, tall: int, wide: int, classes: int, align: bool, crop: bool, disagreeing: float
) -> None:
    values = torch.randn(2, classes, height, width).to(memory_format=torch.channels_last)
    coarse, want = LowResLogits(values).upsampled((tall, wide), align), plain(values, (tall, wide), align)
    if crop:
        tall, wide = max(1, tall - 3), max(1, wide - 5)
        coarse, want = coarse.cropped(tall, wide), want[..., :tall, :wide]
    assert coarse.size == (tall, wide)
    torch.testing.assert_close(coarse.full(), want, rtol=1e-4, atol=1e-5)
    with pytest.MonkeyPatch.context() as patch:  # by strips throughout, as it comes, and only between different classes
        patch.setattr(upsampling, "DISAGREEING", disagreeing)
        best = coarse.classes().long()
    # Where classes are as good as equal, rounding may choose either.
    close = want.gather(1, best[:, None])[:, 0] >= want.amax(1) - 1e-5
    assert close.all()


@given(sides, sides, st.integers(1, 30), st.integers(1, 40), st.integers(1, 40), st.booleans())
@settings(max_examples=60, deadline=None)
def test_classes_of_regions(height: int, width: int, middle: int, tall: int, wide: int, align: bool) -> None:
    """A few regions of a class each, as masks have them: hardly a pixel needs its logits."""
    values = torch.randn(1, 5, height, width).repeat_interleave(4, 2).repeat_interleave(4, 3)
    coarse = LowResLogits(values).upsampled((middle, middle), align).upsampled((tall, wide))
    full = coarse.full()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(upsampling, "STRIP", 200)
        best = coarse.classes().long()
    assert (full.gather(1, best[:, None])[:, 0] >= full.amax(1) - 1e-5).all()


@given(sides, sides, st.integers(1, 30), st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_two_upsamplings(height: int, width: int, tall: int, wide: int, last_tall: int, last_wide: int) -> None:
    values = torch.randn(1, 3, height, width)
    got = LowResLogits(values).upsampled((tall, wide), True).upsampled((last_tall, last_wide)).full()
    want = plain(plain(values, (tall, wide), True), (last_tall, last_wide), False)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("void", ["none", "some", "all"])
@pytest.mark.parametrize("size", [(5, 7), (33, 50), (2, 3)])
@pytest.mark.parametrize("strip", [1 << 18, 100])
def test_cross_entropy_and_its_gradient(void: str, size: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upsampling, "STRIP", strip)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 5, 7, generator=generator).mul_(8).requires_grad_()
    target = torch.randint(0, 4, (3, *size), generator=generator).to(torch.uint8)
    if void != "none":
        target[:, :: 2 if void == "some" else 1] = 255
    loss, classes = pixel_cross_entropy(LowResLogits(values).upsampled(size), target)
    (3 * loss).backward()
    got = values.grad
    exact = values.detach().double().requires_grad_()
    full = plain(exact, size, False)
    want = cross_entropy(full, target.long(), ignore_index=255, reduction="sum") / max(1, int((target != 255).sum()))
    (3 * want).backward()
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(got.double(), exact.grad, rtol=1e-4, atol=1e-6)
    assert float((classes == full.argmax(1)).float().mean()) > 0.99


def test_no_gradient_wanted() -> None:
    loss, _ = pixel_cross_entropy(LowResLogits(torch.randn(1, 3, 4, 4)).upsampled((8, 8)), torch.zeros(1, 8, 8))
    assert not loss.requires_grad


@pytest.mark.parametrize(
    "name",
    [
        "two_layer_net",
        "lraspp_mobilenet_v3_large",
        "deeplabv3_resnet50",
        "deeplabv3plus:resnet18",
        "unet:resnet18",
        "dpt:tu-vit_tiny_patch16_224",
    ],
)
@pytest.mark.parametrize("shape", [(64, 64), (65, 97)])
def test_networks_before_their_upsampling(name: str, shape: tuple[int, int]) -> None:
    model = create_model(name, ["a", "b", "c"], "none").eval()
    images = torch.randint(0, 256, (2, 3, *shape), dtype=torch.uint8)
    with torch.inference_mode():
        want, got = model(images), model.low_res_logits(images)
    assert want.keys() == got.keys()
    for key, logits in want.items():
        torch.testing.assert_close(got[key].full(), logits, rtol=1e-4, atol=1e-4)


@given(st.integers(1, 30), st.integers(1, 40), st.integers(0, 2**31))
@settings(max_examples=40, deadline=None)
def test_classes_of_is_the_first_largest(classes: int, width: int, seed: int) -> None:
    logits = torch.randint(-3, 4, (3, classes, width), generator=torch.Generator().manual_seed(seed)).float()
    want = [[column.tolist().index(max(column.tolist())) for column in plane.T] for plane in logits]
    got = classes_of(logits, logits.amax(1, keepdim=True))
    assert got.dtype == torch.uint8
    assert got.tolist() == want
