from __future__ import annotations

import torch

from vocseg.models import create_model
from vocseg.training.ema import moving_average


def test_average_follows_by_its_formula() -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    average = moving_average(model, 0.5)
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
    average = moving_average(model, 0.9)
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
    one, two = moving_average(model, 0.9), moving_average(create_model("simple_conv_net", ["a", "b"]), 0.9)
    one.update_parameters(model)
    two.load_state_dict(one.state_dict())
    assert int(two.n_averaged) == 1
    for mine, theirs in zip(one.module.state_dict().values(), two.module.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
