"""Cross entropy before upsampling against torch's own after it, in float64."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import cross_entropy, interpolate

from vocseg.ops import low_res_logits
from vocseg.ops.cross_entropy import label_probabilities, pixel_cross_entropy
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
