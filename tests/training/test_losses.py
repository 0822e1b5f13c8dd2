from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from vocseg.errors import SettingError
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.distillation.distillation import distillation_loss
from vocseg.training.losses import TERMS, Criterion, parse_loss, pixel_cross_entropy, valid_weight


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
    loss = Criterion()({"out": out, "aux": aux}, target)
    assert float(loss.main) == pytest.approx(by_hand(out, target), rel=1e-5)
    assert float(loss.total) == pytest.approx(by_hand(out, target) + 0.4 * by_hand(aux, target), rel=1e-5)
    assert float(Criterion(aux_weight=0.1)({"out": out, "aux": aux}, target).total) == pytest.approx(
        by_hand(out, target) + 0.1 * by_hand(aux, target), rel=1e-5
    )


def test_no_auxiliary_head_no_term() -> None:
    out, _, target = batch()
    loss = Criterion()({"out": out}, target)
    assert float(loss.total) == float(loss.main) == pytest.approx(by_hand(out, target), rel=1e-5)


def test_void_only_gives_zero_and_zero_gradient() -> None:
    out, aux, target = batch()
    out.requires_grad_()
    aux.requires_grad_()
    loss = Criterion()({"out": out, "aux": aux}, torch.full_like(target, 255))
    loss.total.backward()
    assert loss.total.item() == 0.0
    assert torch.equal(out.grad, torch.zeros_like(out))
    assert torch.equal(aux.grad, torch.zeros_like(aux))


def test_void_pixels_get_no_gradient() -> None:
    out, _, target = batch()
    out.requires_grad_()
    pixel_cross_entropy(out, target)[0].backward()
    assert torch.equal(out.grad[:, :, :2], torch.zeros_like(out[:, :, :2]))
    assert (out.grad[:, :, 2:] != 0).any()


def test_half_precision_logits_are_summed_in_float32() -> None:
    logits = torch.randn(1, 3, 200, 200).to(torch.bfloat16)
    target = torch.randint(0, 3, (1, 200, 200))
    assert float(pixel_cross_entropy(logits, target)[0]) == pytest.approx(by_hand(logits.float(), target), rel=1e-4)


# --- terms against plain float64 implementations of their papers' formulas


def pixels(logits: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Probabilities (pixels x classes, float64) and labels of the valid pixels."""
    valid = (target != 255).flatten()
    return logits.double().permute(0, 2, 3, 1).flatten(0, 2)[valid].softmax(1), target.flatten().long()[valid]


def slow_focal(p: torch.Tensor, t: torch.Tensor) -> float:
    own = [float(row[label]) for row, label in zip(p, t.tolist(), strict=True)]
    return sum(-((1 - x) ** 2) * math.log(x) for x in own) / len(own)


def slow_ohem(p: torch.Tensor, t: torch.Tensor) -> float:
    losses = sorted((-math.log(float(row[label])) for row, label in zip(p, t.tolist(), strict=True)), reverse=True)
    hard = [x for x in losses if x >= -math.log(0.7)]
    least = len(losses) // 16
    chosen = hard if len(hard) >= least else losses[:least]
    return sum(chosen) / len(chosen)


def slow_dice(p: torch.Tensor, t: torch.Tensor) -> float:
    terms = []
    for label in sorted(set(t.tolist())):
        truth = (t == label).double()
        terms.append(1 - float(2 * (p[:, label] * truth).sum() / (p[:, label].sum() + truth.sum())))
    return sum(terms) / len(terms)


def slow_lovasz(p: torch.Tensor, t: torch.Tensor) -> float:
    """The Lovasz extension by its definition: sum over sorted errors of the error times the growth of the Jaccard loss."""
    terms = []
    for label in sorted(set(t.tolist())):
        truth = t == label
        errors = torch.where(truth, 1 - p[:, label], p[:, label])
        value, before, wrong = 0.0, 0.0, torch.zeros_like(truth)
        for place in errors.argsort(descending=True).tolist():
            wrong[place] = True
            union = int((truth | wrong).sum())
            jaccard_loss = 1 - int((truth & ~wrong).sum()) / union
            value += float(errors[place]) * (jaccard_loss - before)
            before = jaccard_loss
        terms.append(value)
    return sum(terms) / len(terms)


SLOW = {"focal": slow_focal, "ohem": slow_ohem, "dice": slow_dice, "lovasz": slow_lovasz}


@pytest.mark.parametrize("name", SLOW)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_terms(name: str, seed: int) -> None:
    out, _, target = batch(seed)
    got = Criterion(parse_loss(name))({"out": out}, target)
    assert float(got.total) == pytest.approx(SLOW[name](*pixels(out, target)), rel=1e-5)
    assert torch.equal(got.classes, out.argmax(1).to(torch.uint8))


@pytest.mark.parametrize("name", SLOW)
def test_terms_have_the_gradient_of_their_reference(name: str) -> None:
    out, _, target = batch()
    logits, labels = out[:1, :, 1:4, :4].clone().requires_grad_(), target[:1, 1:4, :4]
    TERMS[name](logits, labels.long()).backward()
    exact, want = logits.detach().double(), torch.zeros_like(logits, dtype=torch.float64)
    for place in range(exact.numel()):
        moved = torch.zeros(exact.numel(), dtype=torch.float64)
        moved[place] = 1e-5
        up, down = (SLOW[name](*pixels(exact + sign * moved.view_as(exact), labels)) for sign in (1, -1))
        want.view(-1)[place] = (up - down) / 2e-5
    torch.testing.assert_close(logits.grad.double(), want, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("name", [*SLOW, "cross-entropy", "0.5*ohem+dice+lovasz"])
def test_void_only_is_harmless_in_every_term(name: str) -> None:
    out, aux, target = batch()
    out.requires_grad_()
    loss = Criterion(parse_loss(name))({"out": out, "aux": aux}, torch.full_like(target, 255))
    loss.total.backward()
    assert loss.total.item() == 0.0
    assert torch.equal(out.grad, torch.zeros_like(out))


def test_sum_of_terms() -> None:
    out, _, target = batch()
    want = 0.5 * slow_dice(*pixels(out, target)) + by_hand(out, target) + 2 * slow_focal(*pixels(out, target))
    assert float(Criterion(parse_loss("0.5*dice + cross-entropy+2*focal"))({"out": out}, target).total) == pytest.approx(
        want, rel=1e-5
    )


@pytest.mark.parametrize(
    ("text", "match"), [("dise", "did you mean 'dice'"), ("x*dice", "'x' is not a number"), ("", "unknown loss")]
)
def test_unknown_losses_are_named(text: str, match: str) -> None:
    with pytest.raises(SettingError, match=match):
        parse_loss(text)


@pytest.mark.parametrize("coarse", [True, False])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_class_weights_and_smoothing_are_torchs(coarse: bool, smoothing: float) -> None:
    out, _, target = batch()
    weights = torch.tensor([0.5, 1.0, 2.0, 0.1, 3.0])
    logits = LowResLogits(out).upsampled((12, 14)) if coarse else out
    truth = target.repeat_interleave(2, 1).repeat_interleave(2, 2) if coarse else target
    full = logits.full() if isinstance(logits, LowResLogits) else logits
    want = cross_entropy(full, truth.long(), weights, ignore_index=255, label_smoothing=smoothing)
    torch.testing.assert_close(pixel_cross_entropy(logits, truth, weights, smoothing)[0], want, rtol=1e-5, atol=1e-6)


@given(st.integers(0, 2**31), st.booleans())
@settings(max_examples=20, deadline=None)
def test_parts_add_up_to_the_batch(seed: int, weighted: bool) -> None:
    """Gradient accumulation: the parts' gradients with the whole batch's normalizer are the whole's, void included."""
    generator = torch.Generator().manual_seed(seed)
    out = torch.randn(4, 5, 6, 7, generator=generator, dtype=torch.float32)
    target = torch.randint(0, 5, (4, 6, 7), generator=generator).to(torch.uint8)
    target[torch.rand(4, 6, 7, generator=generator) < torch.rand(4, 1, 1, generator=generator)] = 255
    weights = torch.rand(5, generator=generator) + 0.1 if weighted else None
    criterion = Criterion(class_weights=weights)
    whole, parts = out.clone().requires_grad_(), out.clone().requires_grad_()
    total = criterion({"out": LowResLogits(whole)}, target).total
    total.backward()
    normalizer = valid_weight(target, weights)
    added = [criterion({"out": LowResLogits(parts[i : i + 2])}, target[i : i + 2], normalizer).total for i in (0, 2)]
    sum(added).backward()
    torch.testing.assert_close(sum(added), total)
    torch.testing.assert_close(parts.grad, whole.grad)


def test_distillation_is_the_divergence_on_cells() -> None:
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 8, 8, generator=generator, requires_grad=True)
    soft = torch.rand(2, 3, 4, 4, generator=generator) + 0.1
    soft = (soft / soft.sum(1, keepdim=True) * 255).round().to(torch.uint8)
    soft[0, :, 0] = 0
    got = distillation_loss(LowResLogits(values), soft)
    cells = values.detach().double().view(2, 3, 4, 2, 4, 2).mean((3, 5)).log_softmax(1)
    terms = []
    for n, row, column in torch.nonzero(soft.sum(1) > 0).tolist():
        teacher = soft[n, :, row, column].double() / soft[n, :, row, column].sum()
        terms.append(float((teacher * (teacher.log() - cells[n, :, row, column])).sum()))
    assert len(terms) == 28
    assert float(got) == pytest.approx(sum(terms) / 28, rel=1e-5)
    got.backward()
    assert torch.equal(values.grad[0, :, :2], torch.zeros(3, 2, 8))


def test_distillation_without_shown_cells() -> None:
    values = torch.randn(1, 3, 8, 8, requires_grad=True)
    distillation_loss(LowResLogits(values), torch.zeros(1, 3, 2, 2, dtype=torch.uint8)).backward()
    assert torch.equal(values.grad, torch.zeros_like(values))
