from __future__ import annotations

import pytest
import torch

from vocseg.errors import ModelError, SettingError, TrainingError
from vocseg.losses import segmentation_loss
from vocseg.models import create_model
from vocseg.training import step_bench as bench
from vocseg.training.step import training_step
from vocseg.training.step_bench import Task

SMALL = Task("two_layer_net", None, 2, 24, "cpu")


def test_contestants_start_from_the_same_loss_and_descend() -> None:
    field = bench.contestants(SMALL, ["torchvision", "autocast"], "float32")
    assert [contestant.name for contestant in field] == ["vocseg float32", "torchvision float32", "autocast bfloat16"]
    losses = []
    for contestant in field:
        step = contestant.make()
        losses.append([step() for _ in range(5)])
    for row in losses:
        assert row[0] == pytest.approx(losses[0][0], rel=0.02)
        assert row[-1] < row[0]


def test_batch_has_void_and_every_size() -> None:
    pictures, masks = SMALL.batch(21)
    assert pictures.shape == (2, 3, 24, 24)
    assert masks.shape == (2, 24, 24)
    assert (masks == 255).any()
    assert int(masks[masks != 255].max()) < 21


def test_wrong_use() -> None:
    with pytest.raises(ModelError, match="unknown peer 'openvino' of a training step: there are torchvision, autocast"):
        bench.contestants(SMALL, ["openvino"])
    with pytest.raises(SettingError, match="batch size 0"):
        bench.contestants(SMALL._replace(batch_size=0), [])


def test_step_is_gradient_descent_and_a_wrong_loss_changes_nothing() -> None:
    pictures, masks = SMALL.batch(21)
    model, same = create_model("two_layer_net"), create_model("two_layer_net")
    same.load_state_dict(model.state_dict())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = training_step(model, pictures, masks, optimiser, torch.float32, 0.4)
    want = segmentation_loss(same(pictures), masks, 0.4).total
    want.backward()  # type: ignore[no-untyped-call]
    torch.testing.assert_close(loss.total, want)
    for got, old in zip(model.parameters(), same.parameters(), strict=True):
        torch.testing.assert_close(got, old - 0.1 * old.grad, rtol=1e-4, atol=1e-6)  # type: ignore[operator]
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(TrainingError, match="loss is nan"):
        training_step(model, pictures, masks, optimiser, torch.float32, 0.4)
    torch.testing.assert_close(dict(model.state_dict()), before, equal_nan=True)
