from __future__ import annotations

import pytest
import torch

from vocseg.models import create_model
from vocseg.training.optimiser import build_optimiser, poly, set_rate
from vocseg.training.settings import Settings


def test_class_layers_learn_ten_times_faster() -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", ["a", "b"], "none")
    optimiser = build_optimiser(model, Settings(lr=0.003, momentum=0.8, weight_decay=0.01))
    body, heads = optimiser.param_groups
    assert (body["lr"], heads["lr"]) == (0.003, pytest.approx(0.03))
    assert all((group["momentum"], group["weight_decay"]) == (0.8, 0.01) for group in optimiser.param_groups)
    assert {id(p) for p in heads["params"]} == {id(p) for p in model.class_parameters()}
    assert len(heads["params"]) == 4  # weight and bias of the main and the auxiliary head
    assert len(body["params"]) + 4 == len(list(model.parameters()))


def test_polynomial_decay() -> None:
    assert poly(0, 100, 0.9) == 1
    assert poly(50, 100, 0.9) == pytest.approx(0.5**0.9)
    rates = [poly(iteration, 100, 0.9) for iteration in range(100)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(0.01**0.9)
    optimiser = build_optimiser(create_model("two_layer_net"), Settings(lr=1.0))
    set_rate(optimiser, 0.5)
    set_rate(optimiser, 0.25)
    assert [group["lr"] for group in optimiser.param_groups] == [0.25, 2.5]


def test_step_is_sgd_with_momentum_and_weight_decay_by_hand() -> None:
    model = create_model("two_layer_net", ["a", "b"])
    optimiser = build_optimiser(model, Settings(lr=0.1, head_lr_factor=1, momentum=0.9, weight_decay=0.5))
    weight = model.network.affine1.bias
    expected, velocity = weight.detach().clone().double(), torch.zeros_like(weight).double()
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        velocity = 0.9 * velocity + 1 + 0.5 * expected
        expected = expected - 0.1 * velocity
        optimiser.step()
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)
