"""Low-resolution logits against torch's own interpolation."""

from __future__ import annotations

import warnings

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn.functional import interpolate

from vocseg.models import create_model
from vocseg.ops import low_res_logits
from vocseg.ops.cross_entropy import pixel_cross_entropy
from vocseg.ops.low_res_logits import LowResLogits, Resize, classes_of

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
        patch.setattr(low_res_logits, "DISAGREEING", disagreeing)
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
        patch.setattr(low_res_logits, "STRIP", 200)
        best = coarse.classes().long()
    assert (full.gather(1, best[:, None])[:, 0] >= full.amax(1) - 1e-5).all()


resizes = st.builds(Resize, st.integers(1, 40), st.integers(1, 40), st.booleans(), st.booleans())


@given(sides, sides, st.lists(resizes, max_size=4), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_any_steps(height: int, width: int, steps: list[Resize], seed: int) -> None:
    """Upsamplings and crops in any order: full logits, strips, classes and means over cells."""
    values = torch.randn(2, 3, height, width, generator=torch.Generator().manual_seed(seed))
    want, taken = values, []
    for step in steps:
        if step.crop:  # to no more than is there
            step = step._replace(height=min(step.height, want.shape[2]), width=min(step.width, want.shape[3]))
            want = want[..., : step.height, : step.width]
        else:
            want = plain(want, (step.height, step.width), step.align_corners)
        taken.append(step)
    logits = LowResLogits(values, tuple(taken))
    assert logits.size == want.shape[2:]
    torch.testing.assert_close(logits.full(), want, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits.interpolated(), want, rtol=1e-4, atol=1e-5)
    for strip in logits.strips():
        torch.testing.assert_close(strip.logits.transpose(0, 1), want[strip.image][:, strip.rows], rtol=1e-4, atol=1e-5)
    best = logits.classes().long()
    assert (want.gather(1, best[:, None])[:, 0] >= want.amax(1) - 1e-5).all()
    torch.testing.assert_close(logits.averaged((1, 1))[..., 0, 0], want.mean((2, 3)), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(logits.averaged(logits.size), want, rtol=1e-4, atol=1e-5)


def test_matrices_are_looked_up_once_a_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """By each way of reading them, however many strips and images there are."""
    calls: list[object] = []
    found = low_res_logits._matrices

    def counting(*arguments: object) -> object:
        calls.append(arguments)
        return found(*arguments)

    monkeypatch.setattr(low_res_logits, "_matrices", counting)
    monkeypatch.setattr(low_res_logits, "STRIP", 100)
    logits = LowResLogits(torch.randn(2, 3, 4, 4)).upsampled((40, 40))
    for read in (logits.full, logits.classes, lambda: list(logits.strips())):
        calls.clear()
        read()
        assert 1 <= len(calls) <= 1 + len(logits.values)


def test_other_devices_interpolate(monkeypatch: pytest.MonkeyPatch) -> None:
    """No matrix is built or moved to a GPU for full logits, classes and the loss; the meta device stands in for one."""
    monkeypatch.setattr(low_res_logits, "_matrices", None)
    logits = LowResLogits(torch.randn(2, 3, 4, 5, device="meta")).upsampled((12, 9)).cropped(10, 9)
    assert logits.full().shape == (2, 3, 10, 9)
    assert logits.classes().shape == (2, 10, 9)
    assert logits.classes().device.type == "meta"
    mean, classes = pixel_cross_entropy(logits, torch.zeros(2, 10, 9, dtype=torch.uint8, device="meta"))
    assert (mean.device.type, classes.shape) == ("meta", (2, 10, 9))


def test_interpolation_when_traced_or_compiled() -> None:
    """Matrices would fix the size in a traced or compiled graph."""
    values = torch.randn(1, 2, 3, 4)

    def full(values: Tensor) -> Tensor:
        return LowResLogits(values).upsampled((9, 7)).full()

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch announces a successor of this tracer
        graph = str(torch.jit.trace(full, values).graph)
    assert "upsample_bilinear2d" in graph
    assert "matmul" not in graph
    compiled = torch.compile(full, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(values), full(values))


@given(sides, sides, st.integers(1, 30), st.integers(1, 30), st.integers(1, 40), st.integers(1, 40))
@settings(max_examples=40, deadline=None)
def test_two_upsamplings(height: int, width: int, tall: int, wide: int, last_tall: int, last_wide: int) -> None:
    values = torch.randn(1, 3, height, width)
    got = LowResLogits(values).upsampled((tall, wide), True).upsampled((last_tall, last_wide)).full()
    want = plain(plain(values, (tall, wide), True), (last_tall, last_wide), False)
    torch.testing.assert_close(got, want, rtol=1e-4, atol=1e-5)


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


def test_large_matrices_are_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """The cache has a bound in bytes: strips of many sizes do not fill the memory. Results are the same."""
    logits = LowResLogits(torch.randn(1, 3, 2, 50)).upsampled((8, 200))
    kept = logits.full()
    low_res_logits._kept_matrices.cache_clear()
    monkeypatch.setattr(low_res_logits, "KEPT_NUMBERS", 100)
    assert torch.equal(logits.full(), kept)
    assert low_res_logits._kept_matrices.cache_info().currsize == 0
