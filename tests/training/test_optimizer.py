from __future__ import annotations

import copy
import math
from typing import Any

import pytest
import torch

from vocseg.models import create_model
from vocseg.training.config import TrainConfig
from vocseg.training.optimizer import MovingAverage, build_optimizer, lr_factor, set_lr, set_train_mode


def test_class_layers_learn_ten_times_faster() -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", ["a", "b"], "none")
    optimizer = build_optimizer(model, TrainConfig(lr=0.003, weight_decay=0.01))
    body, heads = optimizer.param_groups
    assert (body["lr"], heads["lr"]) == (0.003, pytest.approx(0.03))
    assert all((group["momentum"], group["weight_decay"]) == (0.9, 0.01) for group in optimizer.param_groups)
    assert {id(p) for p in heads["params"]} == {id(p) for p in model.head_parameters()}
    assert len(heads["params"]) == 4  # weight and bias of the main and the auxiliary head
    assert len(body["params"]) + 4 == len(list(model.parameters()))


def test_the_backbone_may_learn_slower() -> None:
    model = create_model("vocseg-s", ["a", "b"], "none")
    settings = TrainConfig(optimizer="adamw", lr=1e-3, head_lr_factor=2.0, backbone_lr_factor=0.1)
    rates = {id(p): group["lr"] for group in build_optimizer(model, settings).param_groups for p in group["params"]}
    for name, parameter in model.network.named_parameters():
        head = name.startswith(("base.classifier.", "decoder.classifier."))
        factor = 2.0 if head else 0.1 if name.startswith("base.") else 1.0
        assert rates[id(parameter)] == pytest.approx(1e-3 * factor), name


def test_schedules() -> None:
    def rates(**changes: Any) -> list[float]:
        return [lr_factor(iteration, 100, TrainConfig(**changes)) for iteration in range(100)]

    poly = rates()
    assert poly == sorted(poly, reverse=True)
    assert (poly[0], poly[50], poly[-1]) == (1, pytest.approx(0.5**0.9), pytest.approx(0.01**0.9))
    cosine = rates(schedule="cosine")
    assert (cosine[0], cosine[25], cosine[50]) == (1, pytest.approx((1 + math.sqrt(0.5)) / 2), pytest.approx(0.5))
    assert set(rates(schedule="constant")) == {1.0}
    warm = rates(schedule="constant", warmup=10)
    assert warm[:10] == pytest.approx([0.1 * step for step in range(1, 11)])
    assert set(warm[10:]) == {1.0}


def test_rates_keep_the_groups_apart() -> None:
    optimizer = build_optimizer(create_model("two_layer_net"), TrainConfig(lr=1.0))
    set_lr(optimizer, 0.5)
    set_lr(optimizer, 0.25)
    assert [group["lr"] for group in optimizer.param_groups] == [0.25, 2.5]


def test_adamw_decays_no_vectors_and_is_torchs() -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", ["a", "b"], "none")
    optimizer = build_optimizer(model, TrainConfig(optimizer="adamw", lr=1e-3, weight_decay=0.1))
    for group in optimizer.param_groups:
        assert {parameter.dim() > 1 for parameter in group["params"]} == {group["weight_decay"] == 0.1}
    assert sum(len(group["params"]) for group in optimizer.param_groups) == len(list(model.parameters()))
    assert isinstance(optimizer, torch.optim.AdamW)


@pytest.mark.parametrize("name", ["deeplabv3_mobilenet_v3_large", "unet:resnet18", "vocseg-s"])
@pytest.mark.parametrize("what", ["none", "batch-norm", "backbone"])
def test_frozen_parts_stay(name: str, what: str) -> None:
    torch.manual_seed(0)
    model = create_model(name, ["a", "b"], "none")
    set_train_mode(model, what)
    before = copy.deepcopy(model.network.state_dict())
    optimizer = build_optimizer(model, TrainConfig(lr=0.1))
    outputs = model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    sum(output.pow(2).mean() for output in outputs.values()).backward()
    optimizer.step()
    after = model.network.state_dict()
    changed = {key for key, value in after.items() if not torch.equal(value, before[key]) and "tracked" not in key}
    norms = {name for name, module in model.network.named_modules() if isinstance(module, torch.nn.BatchNorm2d)}
    in_norm = {key for key in changed if key.rpartition(".")[0] in norms}
    in_backbone = {key for key in changed if key.startswith(("backbone.", "encoder.", "base."))}
    assert changed
    assert bool(in_norm) == (what != "batch-norm")
    assert bool(in_backbone) == (what != "backbone")


def test_synchronized_batch_normalization_is_frozen_too() -> None:
    model = create_model("deeplabv3_mobilenet_v3_large", ["a", "b"], "none").train()
    torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    set_train_mode(model, "batch-norm")
    norms = [module for module in model.modules() if isinstance(module, torch.nn.SyncBatchNorm)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)


def test_step_is_sgd_with_momentum_and_weight_decay_by_hand() -> None:
    model = create_model("two_layer_net", ["a", "b"])
    optimizer = build_optimizer(model, TrainConfig(lr=0.1, head_lr_factor=1, weight_decay=0.5))
    weight = model.network.affine1.bias
    expected, velocity = weight.detach().clone().double(), torch.zeros_like(weight).double()
    for _ in range(3):
        weight.grad = torch.ones_like(weight)
        velocity = 0.9 * velocity + 1 + 0.5 * expected
        expected = expected - 0.1 * velocity
        optimizer.step()
    torch.testing.assert_close(weight.detach().double(), expected, rtol=1e-5, atol=1e-6)


def test_average_follows_by_its_formula() -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    average = MovingAverage(model, 0.5)
    want = torch.empty(0)
    for step in range(6):
        with torch.no_grad():
            model.network.affine2.bias.add_(1.0)
        average.update_parameters(model)
        weights = model.network.affine2.bias.detach().double()
        decay = 0.0 if step == 0 else min(0.5, (1 + step) / (10 + step))
        want = weights if step == 0 else decay * want + (1 - decay) * weights
    torch.testing.assert_close(average.module.network.affine2.bias.double(), want, rtol=1e-6, atol=1e-6)
    assert not average.module.training
    assert all(not parameter.requires_grad for parameter in average.parameters())


def test_statistics_are_averaged_and_counters_copied() -> None:
    model = create_model("unet:resnet18", ["a", "b"], "none").train()
    average = MovingAverage(model, 0.9)
    name = next(name for name in model.network.state_dict() if name.endswith("running_mean"))
    seen = []
    for _ in range(2):
        model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
        average.update_parameters(model)
        seen.append(model.network.state_dict()[name].clone())
    state = average.module.network.state_dict()
    torch.testing.assert_close(state[name], 2 / 11 * seen[0] + 9 / 11 * seen[1])
    assert int(state[name.replace("running_mean", "num_batches_tracked")]) == 2


def test_state_round_trip() -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    one, two = MovingAverage(model, 0.9), MovingAverage(create_model("simple_conv_net", ["a", "b"]), 0.9)
    one.update_parameters(model)
    two.load_state_dict(one.state_dict())
    assert int(two.n_averaged) == 1
    for mine, theirs in zip(one.module.state_dict().values(), two.module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
