from __future__ import annotations

import pytest

from vocseg.models.complexity import costs


def test_costs_against_counting_by_hand() -> None:
    parameters, multiply_adds = costs("two_layer_net", 10, 20)
    patch = 3 * 9 * 9
    assert parameters == (patch + 1) * 100 + (100 + 1) * 21
    assert multiply_adds == 10 * 20 * (patch * 100 + 100 * 21)


def test_costs_against_published_figures() -> None:
    from torchvision.models import get_model_weights

    ops = get_model_weights("lraspp_mobilenet_v3_large").DEFAULT.meta["_ops"]  # 10^9 multiply-adds at 520x520
    assert costs("lraspp_mobilenet_v3_large", 520, 520)[1] / 1e9 == pytest.approx(ops, rel=0.01)
