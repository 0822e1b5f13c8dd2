from __future__ import annotations

import pytest

from vocseg.bench import training_step as bench
from vocseg.bench.training_step import Task
from vocseg.errors import ModelError, SettingError

SMALL = Task("two_layer_net", None, 2, 24, "cpu")


def test_cases_start_from_the_same_loss_and_descend() -> None:
    field = bench.cases(SMALL, ["torchvision", "autocast"], "float32")
    assert [case.name for case in field] == ["vocseg float32", "torchvision float32", "autocast bfloat16"]
    losses = []
    for case in field:
        step = case.make()
        losses.append([step() for _ in range(5)])
    for row in losses:
        assert row[0] == pytest.approx(losses[0][0], rel=0.02)
        assert row[-1] < row[0]


def test_batch_has_void_and_every_size() -> None:
    images, masks = SMALL.batch(21)
    assert images.shape == (2, 3, 24, 24)
    assert masks.shape == (2, 24, 24)
    assert (masks == 255).any()
    assert int(masks[masks != 255].max()) < 21


def test_wrong_use() -> None:
    with pytest.raises(ModelError, match="unknown peer 'openvino' of a training step: there are torchvision, autocast"):
        bench.cases(SMALL, ["openvino"])
    with pytest.raises(SettingError, match="batch size 0"):
        bench.cases(SMALL._replace(batch_size=0), [])
