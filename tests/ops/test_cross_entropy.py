"""Cross entropy before upsampling against torch's own after it, in float64."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from vocseg.ops import low_res_logits
from vocseg.ops.cross_entropy import exp2_, label_probabilities, pixel_cross_entropy, score_pixels
from vocseg.ops.low_res_logits import LowResLogits, Resize


@pytest.mark.parametrize("void", ["none", "some", "all"])
@pytest.mark.parametrize("size", [(5, 7), (33, 50), (2, 3)])
@pytest.mark.parametrize("strip", [1 << 18, 100])
def test_cross_entropy_and_its_gradient(void: str, size: tuple[int, int], strip: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(low_res_logits, "STRIP", strip)
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 4, 5, 7, generator=generator).mul_(8).requires_grad_()
    target = torch.randint(0, 4, (3, *size), generator=generator).to(torch.uint8)
    if void != "none":
        target[:, :: 2 if void == "some" else 1] = 255
    loss, classes = pixel_cross_entropy(LowResLogits(values).upsampled(size), target)
    (3 * loss).backward()
    got = values.grad
    exact = values.detach().double().requires_grad_()
    full = interpolate(exact, size=size, mode="bilinear")
    want = cross_entropy(full, target.long(), ignore_index=255, reduction="sum") / max(1, int((target != 255).sum()))
    (3 * want).backward()
    torch.testing.assert_close(loss.double(), want, rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(got.double(), exact.grad, rtol=1e-4, atol=1e-6)
    assert float((classes == full.argmax(1)).float().mean()) > 0.99


def test_no_gradient_wanted() -> None:
    loss, _ = pixel_cross_entropy(LowResLogits(torch.randn(1, 3, 4, 4)).upsampled((8, 8)), torch.zeros(1, 8, 8))
    assert not loss.requires_grad


@pytest.mark.parametrize("steps", [(), (Resize(37, 53),)])
def test_probabilities_of_labels_are_those_of_a_plain_softmax(steps: tuple[Resize, ...]) -> None:
    values = torch.randn(2, 5, 11, 13) * 4
    logits = LowResLogits(values, steps)
    height, width = logits.size
    labels = torch.randint(0, 5, (2, height, width), dtype=torch.uint8)
    labels[:, :3] = 255
    classes, found = label_probabilities(logits, labels)
    expected = logits.interpolated().double().softmax(1)
    own = expected.gather(1, labels.where(labels < 255, torch.tensor(0, dtype=torch.uint8)).long()[:, None])[:, 0]
    assert torch.equal(classes.long(), logits.full().argmax(1))
    torch.testing.assert_close(found[:, 3:].double(), own[:, 3:], atol=1e-5, rtol=0)
    assert not found[:, :3].any()
    alone = label_probabilities(LowResLogits(values[1:], steps), labels[1:])
    assert torch.equal(alone[1][0], found[1])


@pytest.fixture
def threads() -> Iterator[list[int]]:
    before = torch.get_num_threads()
    yield [1, 2, 3, 4, 7]
    torch.set_num_threads(before)


@pytest.mark.parametrize("number", [0, 1, 31, 33, 32_769, 65_535, 98_305, 196_640, 524_287, 525_000])
def test_powers_of_two_do_not_depend_on_the_number_of_threads(number: int, threads: list[int]) -> None:
    given = torch.randn(number, generator=torch.Generator().manual_seed(number)) * 20
    found = []
    for count in threads:
        torch.set_num_threads(count)
        found.append(exp2_(given.clone()))
    torch.testing.assert_close(found[0].double(), given.double().exp2(), rtol=1e-6, atol=0)
    assert all(torch.equal(values, found[0]) for values in found)


@pytest.mark.parametrize("steps", [(Resize(499, 501),), (Resize(513, 513, align_corners=True), Resize(500, 500, crop=True))])
@pytest.mark.parametrize("classes", [2, 21])
def test_scores_do_not_depend_on_the_number_of_threads(steps: tuple[Resize, ...], classes: int, threads: list[int]) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = LowResLogits(torch.randn(1, classes, 129, 129, generator=generator) * 4, steps)
    target = torch.randint(0, classes, (1, *logits.size), generator=generator).to(torch.uint8)
    found = []
    for count in threads:
        torch.set_num_threads(count)
        found.append(score_pixels(logits, target, 1.3))
    assert all(torch.equal(a, b) for scored in found for a, b in zip(scored, found[0], strict=True))
