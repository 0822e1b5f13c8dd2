"""vocseg.train from a user's side: own networks, losses, transforms, callbacks."""

from __future__ import annotations

import json
import logging
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torchvision.transforms import v2

import vocseg
from vocseg.data.dataset import Sample
from vocseg.data.layout import VocFolder
from vocseg.errors import ModelError, SettingError, TrainingStopped
from vocseg.models.registry import REGISTERED
from vocseg.training.config import TrainConfig, load_config
from vocseg.training.loop import TrainState
from vocseg.training.setup import prepare


class TenLines(nn.Module):
    """A user's network: logits at a quarter of the images' size."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, 4, 1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.2))
        self.head = nn.Conv2d(8, classes, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.body(images))


def network(classes: int = 6) -> TenLines:
    torch.manual_seed(1)
    return TenLines(classes)


class TwoHeads(TenLines):
    """The same network with an auxiliary head."""

    def __init__(self, classes: int) -> None:
        super().__init__(classes)
        self.auxiliary = nn.Conv2d(8, classes, 1)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = self.body(images)
        return {"out": self.head(features), "aux": self.auxiliary(features)}


def losses(result: vocseg.TrainResult) -> list[float]:
    return [loss for _, loss, _ in result.run.read_steps()]


def test_a_network_trains_and_ends_with_the_best_weights(quick: TrainConfig, synth: Path) -> None:
    module = network()
    result = vocseg.train(synth, module, config=quick)
    assert len(result.history) == 3
    assert result.best == result.run.best
    assert result.model.network is module
    assert not module.training
    score = vocseg.evaluate(result.model, synth, device="cpu", precision="float32").miou
    assert score == max(row["val"]["miou"] for row in result.history)
    assert load_config(result.run.config).model == "python:TenLines"


def test_the_weight_of_the_auxiliary_head(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    one = vocseg.train(synth, network(), config=quick)
    torch.manual_seed(1)
    module = TwoHeads(6)
    untrained = module.auxiliary.weight.detach().clone()
    off = vocseg.train(synth, module, config=quick, aux_weight=0.0, out=tmp_path / "off")
    assert losses(off) == losses(one)
    assert torch.equal(module.auxiliary.weight, untrained)
    torch.manual_seed(1)
    both = vocseg.train(synth, TwoHeads(6), config=quick, aux_weight=1.0, out=tmp_path / "both")
    assert losses(both)[0] == losses(one)[0]  # steps note the loss of the main output
    assert losses(both)[1:] != losses(one)[1:]


def test_weight_zero_removes_an_auxiliary_head_of_torchvision(synth: Path) -> None:
    config = TrainConfig(data=str(synth), model="fcn_resnet50", weights="none", crop=32, batch_size=4, aux_weight=0.0)
    assert not any(name.startswith("aux") for name, _ in prepare(config).model.network.named_parameters())


def test_a_run_with_a_network_needs_it_again_to_resume(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    whole = vocseg.train(synth, network(), config=quick, iterations=4, out=tmp_path / "whole", schedule="constant")
    first = vocseg.train(synth, network(), config=quick, iterations=2, schedule="constant")
    with pytest.raises(SettingError, match=r"uses a model passed from Python: pass TenLines again, vocseg\.train\(\.\.\., model="):
        vocseg.train(resume=first.run.root, iterations=4)
    with pytest.raises(ModelError, match="TenLines predicts 7 classes, but has 6 class names"):
        vocseg.train(model=network(classes=7), resume=first.run.root, iterations=4)
    resumed = vocseg.train(model=network(), resume=first.run.root, iterations=4)
    assert losses(resumed) == losses(whole)
    assert resumed.run.last.read_bytes() == whole.run.last.read_bytes()


def test_a_registered_network_trains_and_resumes_by_name(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    vocseg.register_model(network, name="ten_lines")
    try:
        whole = vocseg.train(synth, "ten_lines", config=quick, iterations=4, out=tmp_path / "whole", schedule="constant")
        first = vocseg.train(synth, "ten_lines", config=quick, iterations=2, schedule="constant")
        resumed = vocseg.train(resume=first.run.root, iterations=4)
        assert losses(resumed) == losses(whole)
        assert resumed.run.last.read_bytes() == whole.run.last.read_bytes()
        assert vocseg.evaluate(resumed.best, synth, device="cpu").miou == pytest.approx(resumed.history[-1]["val"]["miou"], abs=0.1)
    finally:
        del REGISTERED.entries["ten_lines"]


def test_a_model_must_have_the_classes_of_the_data(quick: TrainConfig, synth: Path) -> None:
    with pytest.raises(ModelError, match="2 classes"):
        vocseg.train(synth, vocseg.create_model("two_layer_net", ["a", "b"]), config=quick)


def test_a_loss_function_is_what_is_minimized(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    named = vocseg.train(synth, config=quick, accumulate=2)
    seen = []

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        seen.append((logits.shape, logits.dtype, target.shape, target.dtype))
        return nn.functional.cross_entropy(logits, target, ignore_index=255)

    own = vocseg.train(synth, config=quick, loss=loss, out=tmp_path / "own")
    assert set(seen[1:]) == {((4, 6, 24, 24), torch.float32, (4, 24, 24), torch.int64)}
    assert losses(own) == pytest.approx(losses(named), rel=1e-4)
    with pytest.raises(SettingError, match=r"uses a loss passed from Python: pass it again, vocseg\.train\(\.\.\., loss="):
        vocseg.train(resume=own.run.root, iterations=9)
    assert len(losses(vocseg.train(resume=own.run.root, loss=nn.CrossEntropyLoss(ignore_index=255), iterations=6))) == 6


def crop_of_samples(sample: Sample, generator: torch.Generator) -> Sample:
    return sample._replace(image=sample.image[:, :32, :32], mask=sample.mask[:32, :32])


@pytest.mark.parametrize(
    "transform", [v2.CenterCrop(32), crop_of_samples, lambda image, mask: (image[:, :32, :32], mask[:32, :32])]
)
def test_a_transform_replaces_the_augmentation(quick: TrainConfig, synth: Path, transform: Any) -> None:
    shapes = []

    class Watch:
        def on_step(self, state: TrainState) -> None:
            shapes.append(int(state.totals.counts.sum()) > 0)

    result = vocseg.train(synth, config=quick, transform=transform, callbacks=[Watch()], iterations=2)
    assert shapes == [True, True]
    assert load_config(result.run.config).augment == "python"
    with pytest.raises(SettingError, match="uses a transform passed from Python"):
        vocseg.train(resume=result.run.root, iterations=3)


def test_a_transform_of_many_sizes_is_named(quick: TrainConfig, synth: Path) -> None:
    with pytest.raises(vocseg.VocsegError, match="differ in size"):
        vocseg.train(synth, config=quick, transform=v2.RandomChoice([v2.CenterCrop(16), v2.CenterCrop(24)]), epochs=4)


def test_callbacks_follow_the_run_and_add_to_its_record(quick: TrainConfig, synth: Path) -> None:
    events: list[Any] = []

    class Callback:
        def on_step(self, state: TrainState) -> None:
            events.append(state.iteration)

        def on_epoch_end(self, state: TrainState, record: dict[str, Any]) -> None:
            record["seen"] = state.iteration
            events.append(f"epoch {record['epoch']}")

    class OnlyTheEnd:
        def on_end(self, state: TrainState) -> None:
            events.append("end")

    result = vocseg.train(synth, config=quick, callbacks=[Callback(), OnlyTheEnd()])
    assert events == [1, 2, "epoch 1", 3, "epoch 2", 4, 5, "epoch 3", "end"]
    assert [row["seen"] for row in result.history] == [2, 3, 5]


def test_the_best_file_of_an_unregistered_network_comes_back(quick: TrainConfig, synth: Path) -> None:
    result = vocseg.train(synth, network(), config=quick, iterations=2)
    segment = vocseg.Segmenter(TenLines(6), weights=result.best, device="cpu", precision="float32")
    assert segment.info.classes == VocFolder.find(synth).classes
    image, reference = (
        VocFolder.find(synth).image("synth_000000"),
        vocseg.Segmenter(result.model, device="cpu", precision="float32"),
    )
    assert (segment(image).mask == reference(image).mask).all()
    with pytest.raises(ModelError, match=r"best\.safetensors does not fit .*"):
        vocseg.Segmenter(TenLines(7), weights=result.best)


class Misspelt:
    def on_epoch(self, state: TrainState) -> None: ...


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"callbacks": [Misspelt()]}, r"callback Misspelt has the unknown method on_epoch; did you mean 'on_epoch_end'"),
        ({"callbacks": [print]}, "callback builtin_function_or_method has no method of a callback"),
        ({"callbacks": Misspelt()}, "callbacks must be a list, not Misspelt"),
        ({"loss": lambda outputs, _: outputs["out"].mean()}, "loss is called with logits .* and masks .* failed"),
        ({"loss": lambda logits, _: logits.mean((0, 1))}, r"must return a scalar tensor .* not a tensor of shape \[8, 8\]"),
        ({"loss": lambda *_: 1.0}, "must return a scalar tensor with a gradient, not float"),
        ({"loss": lambda logits, _: logits.detach().mean()}, "without a gradient"),
        ({"transform": 3}, "transform must be a function, not 3"),
        ({"transform": lambda image: image}, r"transform\(image, mask\) failed"),
        ({"should_stop": True}, "should_stop must be a function, not True"),
        ({"resume": 3}, "train: resume must be a string or a path, not 3"),
        ({"model": TenLines(9)}, "TenLines predicts 9 classes, but has 6 class names"),
        ({"seed": 2**64}, "seed must be at most"),
        ({"crop": "32"}, "crop must be an integer, not '32'"),
    ],
)
def test_what_cannot_work_is_refused_before_anything_is_written(
    quick: TrainConfig, synth: Path, arguments: dict[str, Any], message: str
) -> None:
    with pytest.raises(vocseg.VocsegError, match=message):
        vocseg.train(synth, config=quick, **arguments)
    assert not Path(quick.out or "").exists()


def test_settings_by_keyword(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"vocseg\.train: unknown setting 'epoch'; did you mean 'epochs'"):
        vocseg.train(synth, config=quick, epoch=3)
    with pytest.raises(SettingError, match=r"vocseg\.train: lr must be a number, not 'fast'"):
        vocseg.train(synth, config=quick, lr="fast")
    config = tmp_path / "c.toml"
    config.write_text(quick.to_toml() + "\niterations = 5\n")
    assert len(vocseg.train(config=config, epochs=1, out=tmp_path / "a").history) == 1  # not the file's iterations
    recipe = vocseg.train(synth, "two_layer_net", config="synthetic", iterations=1, crop=24, batch_size=2, out=tmp_path / "b")
    assert load_config(recipe.run.config).lr == 0.02


def test_the_library_prints_nothing_and_leaves_the_process_as_it_was(
    quick: TrainConfig, synth: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    logger = logging.getLogger("vocseg")
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    handlers, level = list(logger.handlers), logger.level
    logger.handlers.clear()
    logger.setLevel(logging.NOTSET)
    try:
        result = vocseg.train(synth, config=quick, iterations=1)
        assert (logger.handlers, logger.level) == ([], logging.NOTSET)
    finally:
        logger.handlers[:] = handlers
        logger.setLevel(level)
    assert "best val mIoU" in (result.run.root / "log.txt").read_text()
    assert capfd.readouterr() == ("", "")
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_should_stop_saves_and_stops(quick: TrainConfig, synth: Path) -> None:
    asked = iter([None, None, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM, signal.SIGTERM])
    with pytest.raises(TrainingStopped, match="stopped by SIGTERM at iteration 2; continue with") as stopped:
        vocseg.train(synth, config=quick, should_stop=lambda: next(asked))
    assert stopped.value.exit_code == 128 + signal.SIGTERM
    assert [step for step, _, _ in vocseg.train(resume=quick.out).run.read_steps()] == [1, 2, 3, 4, 5]


def test_data_and_environment_are_recorded(quick: TrainConfig, synth: Path) -> None:
    result = vocseg.train(synth, config=quick, iterations=1)
    recorded = json.loads(result.run.environment.read_text())
    assert recorded["data"].keys() == {"train", "val"}
    assert recorded["processes"] == 1
    assert result.model.class_names == VocFolder.find(synth).classes


def test_float16_needs_a_gpu(quick: TrainConfig, synth: Path) -> None:
    with pytest.raises(SettingError, match="precision float16 needs a GPU"):
        vocseg.train(synth, config=quick, precision="float16")


@pytest.mark.slow
def test_a_compiled_step_is_the_same_step(quick: TrainConfig, synth: Path, tmp_path: Path) -> None:
    def without_dropout() -> TenLines:  # which draws other numbers when compiled
        module = network()
        module.body[3] = nn.Identity()
        return module

    plain = vocseg.train(synth, without_dropout(), config=quick)
    compiled = vocseg.train(synth, without_dropout(), config=quick, compile=True, out=tmp_path / "compiled")
    assert losses(compiled) == pytest.approx(losses(plain), rel=1e-3)
