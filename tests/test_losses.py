from __future__ import annotations

import pytest
import torch

from vocseg.losses import pixel_cross_entropy, segmentation_loss


def by_hand(logits: torch.Tensor, target: torch.Tensor) -> float:
    """Mean of -log softmax at the true class over valid pixels, one pixel at a time in float64."""
    terms = []
    for n, row, column in torch.nonzero(target != 255).tolist():
        values = logits[n, :, row, column].double()
        terms.append(float(torch.logsumexp(values, 0) - values[int(target[n, row, column])]))
    return sum(terms) / len(terms) if terms else 0.0


def batch(seed: int = 0) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    out, aux = (torch.randn(2, 5, 6, 7, generator=generator) * 4 for _ in range(2))
    target = torch.randint(0, 5, (2, 6, 7), generator=generator).to(torch.uint8)
    target[:, :2] = 255
    return out, aux, target


def test_main_plus_weighted_auxiliary() -> None:
    out, aux, target = batch()
    loss = segmentation_loss({"out": out, "aux": aux}, target)
    assert float(loss.main) == pytest.approx(by_hand(out, target), rel=1e-5)
    assert float(loss.total) == pytest.approx(by_hand(out, target) + 0.4 * by_hand(aux, target), rel=1e-5)
    assert float(segmentation_loss({"out": out, "aux": aux}, target, 0.1).total) == pytest.approx(
        by_hand(out, target) + 0.1 * by_hand(aux, target), rel=1e-5
    )


def test_no_auxiliary_head_no_term() -> None:
    out, _, target = batch()
    loss = segmentation_loss({"out": out}, target)
    assert float(loss.total) == float(loss.main) == pytest.approx(by_hand(out, target), rel=1e-5)


def test_void_only_gives_zero_and_zero_gradient() -> None:
    out, aux, target = batch()
    out.requires_grad_()
    aux.requires_grad_()
    loss = segmentation_loss({"out": out, "aux": aux}, torch.full_like(target, 255))
    loss.total.backward()
    assert loss.total.item() == 0.0
    assert torch.equal(out.grad, torch.zeros_like(out))
    assert torch.equal(aux.grad, torch.zeros_like(aux))


def test_void_pixels_get_no_gradient() -> None:
    out, _, target = batch()
    out.requires_grad_()
    pixel_cross_entropy(out, target).backward()
    assert torch.equal(out.grad[:, :, :2], torch.zeros_like(out[:, :, :2]))
    assert (out.grad[:, :, 2:] != 0).any()


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.randn(1, 3, 200, 200).to(torch.bfloat16)
    target = torch.randint(0, 3, (1, 200, 200))
    assert float(pixel_cross_entropy(logits, target)) == pytest.approx(by_hand(logits.float(), target), rel=1e-4)
