from __future__ import annotations

import torch

from vocseg.models import create_model
from vocseg.training.ema import Ema


def test_average_follows_by_its_formula() -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    ema = Ema(model, 0.5)
    want = model.network.affine2.bias.detach().clone().double()
    for step in range(6):
        with torch.no_grad():
            model.network.affine2.bias.add_(1.0)
        decay = min(0.5, (1 + step) / (10 + step))
        want = decay * want + (1 - decay) * model.network.affine2.bias.detach().double()
        ema.update(model)
    torch.testing.assert_close(ema.model.network.affine2.bias.double(), want, rtol=1e-6, atol=1e-6)
    assert not ema.model.training
    assert all(not parameter.requires_grad for parameter in ema.model.parameters())


def test_statistics_are_averaged_and_counters_copied() -> None:
    model = create_model("unet:resnet18", ["a", "b"], "none").train()
    ema = Ema(model, 0.9)
    model(torch.randint(0, 256, (2, 3, 64, 64), dtype=torch.uint8))
    ema.update(model)
    mine, theirs = ema.model.network.state_dict(), model.network.state_dict()
    key = next(key for key in mine if key.endswith("running_mean"))
    torch.testing.assert_close(mine[key], 0.9 * theirs[key])
    assert int(mine[key.replace("running_mean", "num_batches_tracked")]) == 1


def test_state_round_trip() -> None:
    model = create_model("simple_conv_net", ["a", "b"])
    one, two = Ema(model, 0.9), Ema(create_model("simple_conv_net", ["a", "b"]), 0.9)
    one.update(model)
    two.load_state(one.state())
    assert two.steps == 1
    for mine, theirs in zip(one.model.network.state_dict().values(), two.model.network.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
