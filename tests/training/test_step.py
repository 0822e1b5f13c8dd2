"""A step is gradient descent on the batch's loss, however the batch is cut up."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from vocseg.data.dataset import Batch
from vocseg.errors import TrainingError
from vocseg.models import SegmentationModel, create_model
from vocseg.ops.cross_entropy import Logits, full, pixel_cross_entropy
from vocseg.training.config import TrainConfig
from vocseg.training.loop import TrainState, train_step
from vocseg.training.losses import Criterion, dice, parse_loss
from vocseg.utils.distributed import Processes


def batch(void: bool = True) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (8, 3, 24, 24), dtype=torch.uint8, generator=generator)
    masks = torch.randint(0, 21, (8, 24, 24), generator=generator).to(torch.uint8)
    if void:  # much in some images, all of one
        masks[:3, 5:] = 255
        masks[5] = 255
    return Batch(images, masks, [str(number) for number in range(8)])


def state_of(model: SegmentationModel, precision: torch.dtype = torch.float32, **settings: Any) -> TrainState:
    settings = {"batch_size": 8, "lr": 1.0, "head_lr_factor": 1.0, "weight_decay": 0.0} | settings
    return TrainState(model, TrainConfig(**settings), Processes(torch.device("cpu")), precision=precision)


def take(
    model: SegmentationModel, given: Batch, parts: int, loss: str = "cross-entropy", precision: torch.dtype = torch.float32
) -> tuple[list[torch.Tensor], float]:
    """The gradients and the loss of one step on a copy of the model."""
    own = copy.deepcopy(model)
    result = train_step(state_of(own, precision, accumulate=parts), given, Criterion(parse_loss(loss)))
    assert result.classes.shape == given.masks.shape
    return [parameter.grad for parameter in own.parameters() if parameter.grad is not None], float(result.loss)


@pytest.mark.parametrize("parts", [2, 4, 8])
def test_parts_give_the_gradient_of_the_batch(parts: int) -> None:
    model = create_model("simple_conv_net")
    whole, loss = take(model, batch(), 1)
    cut, same = take(model, batch(), parts)
    assert same == pytest.approx(loss, rel=1e-5)
    for one, other in zip(cut, whole, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-7)


def test_gradient_is_autograds() -> None:
    model, given = create_model("simple_conv_net"), batch()
    got, loss = take(model, given, 1)
    want = torch.nn.functional.cross_entropy(model(given.images)["out"], given.masks.long(), ignore_index=255)
    want.backward()
    assert loss == pytest.approx(float(want), rel=1e-5)
    for one, parameter in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("parts", [1, 4])
def test_mixed_precision_rounds_the_gradient_and_keeps_float32_weights(parts: int) -> None:
    model = create_model("simple_conv_net")
    exact, loss = take(model, batch(), parts)
    mixed, near = take(model, batch(), parts, precision=torch.bfloat16)
    assert near == pytest.approx(loss, rel=0.01)
    for one, other in zip(mixed, exact, strict=True):
        assert one.dtype == torch.float32  # and so are weights and the optimizer's state
        assert float((one - other).norm()) < 0.05 * float(other.norm())
    assert any(not torch.equal(one, other) for one, other in zip(mixed, exact, strict=True))


@pytest.mark.parametrize("parts", [1, 4])
def test_terms_that_are_means_are_averaged_over_parts(parts: int) -> None:
    """Dice is a mean over a micro-batch; the step's loss and gradient are the mean over its micro-batches."""
    model, given = create_model("simple_conv_net"), batch(void=False)
    got, loss = take(model, given, parts, "dice")
    logits = model(given.images)["out"]
    want = torch.stack([dice(*part) for part in zip(logits.chunk(parts), given.masks.long().chunk(parts), strict=True)]).mean()
    want.backward()
    assert loss == pytest.approx(want.item(), rel=1e-5)
    for one, parameter in zip(got, model.parameters(), strict=True):
        torch.testing.assert_close(one, parameter.grad, rtol=1e-4, atol=1e-7)


def test_a_loss_that_is_not_finite_changes_nothing() -> None:
    model = create_model("simple_conv_net")
    with torch.no_grad():
        model.network.affine2.bias[0] = float("nan")
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(TrainingError, match="loss is nan with images 0, 1, 2"):
        train_step(state_of(model), batch(), Criterion())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], equal_nan=True)


@pytest.mark.parametrize(("optimizer", "clipped"), [("adamw", True), ("sgd", False)])
def test_clipping_bounds_the_gradient_of_adamw(monkeypatch: pytest.MonkeyPatch, optimizer: str, clipped: bool) -> None:
    monkeypatch.setattr("vocseg.training.loop.CLIP_NORM", 1e-3)
    model = create_model("simple_conv_net")
    train_step(state_of(model, optimizer=optimizer), batch(), Criterion())
    norm = float(torch.cat([parameter.grad.flatten() for parameter in model.parameters()]).norm())
    assert norm == pytest.approx(1e-3, rel=1e-3) if clipped else norm > 1e-2


class NoHostReads(TorchDispatchMode):
    """Fails where a tensor's value goes to Python, which on a GPU would wait for the device."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.nonzero.default, torch.ops.aten.equal.default):
            raise AssertionError(f"{func} reads a value")
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    "loss",
    ["cross-entropy", "ohem+0.5*focal"],  # (dice: one_hot checks its input on a CPU only)
)
@pytest.mark.parametrize("weights", [None, torch.rand(21)])
def test_a_step_reads_no_value(loss: str, weights: torch.Tensor | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocseg.training.loop.steps_between_reads", lambda _device: 20)
    # The loss of strips, which is for CPUs, has other ways.
    monkeypatch.setattr("vocseg.training.losses.pixel_cross_entropy", on_planes)
    state = state_of(create_model("simple_conv_net"), accumulate=2, optimizer="adamw")
    with NoHostReads():
        train_step(state, batch(), Criterion(parse_loss(loss), weights))


def on_planes(logits: Logits, *arguments: Any, **options: Any) -> tuple[torch.Tensor, torch.Tensor]:
    return pixel_cross_entropy(full(logits), *arguments, **options)
