"""A teacher that is asked about each batch, and its features."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import avg_pool2d, smooth_l1_loss

from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, ModelError, SettingError
from vocseg.models import SegmentationModel, create_model, save_model
from vocseg.ops.low_res_logits import LowResLogits
from vocseg.training.api import train
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.distillation import distillation_loss
from vocseg.training.distillation.features import Hints, recorded
from vocseg.training.distillation.soft_labels import SOFT_LABELS
from vocseg.training.distillation.teacher import Teacher
from vocseg.training.loop import TrainState, train_step
from vocseg.training.losses import Criterion
from vocseg.training.run_folder import RunFolder
from vocseg.training.setup import prepare

MODEL = "deeplabv3_mobilenet_v2"


def images(number: int = 2, size: int = 48) -> torch.Tensor:
    return torch.randint(0, 256, (number, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@pytest.fixture(scope="module")
def model() -> SegmentationModel:
    torch.manual_seed(0)
    return create_model(MODEL)


def test_soft_labels_are_the_softmax_of_mean_logits(model: SegmentationModel) -> None:
    soft, features = Teacher(model, torch.float32)(images())
    wanted = avg_pool2d(model.eval()(images())["out"], 8).softmax(1)
    torch.testing.assert_close(soft.float(), 255 * wanted, rtol=0, atol=0.51)
    assert features.keys() == {"encoder", "pyramid"}
    assert all(isinstance(one, LowResLogits) and one.size == (48, 48) for one in features.values())
    assert not any(parameter.requires_grad for parameter in model.parameters())


def test_nothing_stays_on_the_parts(model: SegmentationModel) -> None:
    with recorded(model.features) as kept:
        model.low_res_logits(images())
    assert kept["pyramid"].shape[1] == 256
    assert not any(part._forward_hooks for part in model.modules())


def test_distance_is_that_of_standardised_features(model: SegmentationModel) -> None:
    student = create_model("deeplabv3_mobilenet_v3_large", weights="none")
    hints = Hints(student, model)
    with recorded(student.features) as features:
        student.low_res_logits(images(size=64))
    _, wanted = Teacher(model, torch.float32)(images(size=64))
    projected = hints(features)
    got = hints.distance(projected, wanted)
    plain = torch.zeros(())
    for name, values in projected.items():
        assert values.shape[2:] == (4, 4)
        target = avg_pool2d(wanted[name].full(), 16)
        mean, variance = target.mean((0, 2, 3), keepdim=True), target.var((0, 2, 3), unbiased=False, keepdim=True)
        plain = plain + smooth_l1_loss(values, (target - mean) / (variance + 1e-5).sqrt())
    torch.testing.assert_close(got, plain, rtol=1e-3, atol=1e-4)
    got.backward()
    assert all(parameter.grad is not None for parameter in hints.parameters())
    assert student.backbone_parameters()[0].grad is not None


@pytest.mark.parametrize(
    ("name", "part", "last"),
    [
        ("lraspp_mobilenet_v3_large", "backbone", "high"),
        ("deeplabv3_resnet50", "backbone", "out"),
        ("unet:resnet18", "encoder", -1),
    ],
)
def test_the_features_of_other_networks_are_their_backbones_last(name: str, part: str, last: str | int) -> None:
    student = create_model(name, weights="none").eval()
    with torch.no_grad(), recorded(student.features) as features:
        student.low_res_logits(images(size=64))
    with torch.no_grad():
        wanted = student.network.get_submodule(part)(student.normalize(images(size=64)))
    assert features.keys() == {"encoder"}
    torch.testing.assert_close(features["encoder"], wanted[last])
    hints = Hints(student, create_model(MODEL, weights="none"))
    assert hints.names == ["encoder"]
    assert hints(features)["encoder"].shape[1] == 320


@pytest.mark.parametrize(("student", "hinted"), [("simple_conv_net", False), ("unet:resnet18", True)])
def test_features_in_common_are_learned_too(settings: TrainConfig, student: str, hinted: bool) -> None:
    distillation = prepare(replace(settings, model=student)).distillation
    assert distillation is not None
    assert (distillation.hints is not None) == hinted


@pytest.fixture
def settings(synth: Path, tmp_path: Path) -> TrainConfig:
    torch.manual_seed(5)
    save_model(tmp_path / "teacher.safetensors", create_model(MODEL, VocFolder.find(synth).classes))
    return TrainConfig(
        data=str(synth), model=MODEL, weights="none", crop=32, batch_size=4, iterations=5, workers=0, precision="float32",
        device="cpu",
        teacher=str(tmp_path / "teacher.safetensors"), cutmix=0.3,
        ema=0.9, optimizer="adamw", lr=1e-3, out=str(tmp_path / "run"),
    )  # fmt: skip


@pytest.mark.parametrize("precomputed", [False, True])
def test_a_step_is_the_weighted_sum(settings: TrainConfig, tmp_path: Path, precomputed: bool) -> None:
    soft_labels = str(tmp_path / "soft") if precomputed else None
    settings = replace(settings, cutmix=0.0, crop=64, lr=0.0, optimizer="sgd", soft_labels=soft_labels)
    setup = prepare(settings)
    assert setup.distillation is not None
    teacher, hints = setup.distillation.teacher, setup.distillation.hints
    assert (teacher is None) == (hints is None) == precomputed
    batch = next(setup.batches())
    model = setup.model
    train_step(TrainState(model, setup.config, setup.processes, setup.distillation), batch, setup.criterion)
    got = [parameter.grad.clone() for parameter in model.parameters() if parameter.grad is not None]
    model.zero_grad()
    for part in model.modules():  # the step before moved the statistics, which training does not use
        part.train()
    with recorded(model.features) as features:
        outputs = model.low_res_logits(batch.images)
    if teacher is not None:
        soft, wanted = teacher(batch.images)
    else:
        soft = batch.maps[SOFT_LABELS]
        shown = soft.float().sum(1) > 127
        assert shown.any()
        assert not shown.all()  # scaled by less than 1.3, images are smaller than a crop
    loss = Criterion()(outputs, batch.masks).total + distillation_loss(outputs["out"], soft)
    if hints is not None:
        loss = loss + 0.5 * hints.distance(hints(features), wanted)
    loss.backward()
    want = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    for one, other in zip(got, want, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-2, atol=1e-4)


def test_the_run_is_described_with_its_teacher(settings: TrainConfig, tmp_path: Path) -> None:
    lines = prepare(settings).describe()
    assert "probability of CutMix 0.3, mixup 0.3" in lines
    assert lines[-1] == f"distillation from teacher {settings.teacher} on each batch, and from its features"
    assert f"{MODEL}, weights none on cpu in float32" in lines[2]
    lines = prepare(replace(settings, soft_labels=str(tmp_path / "soft"))).describe()
    assert lines[-1] == f"distillation from soft labels {tmp_path / 'soft'}"


def test_soft_labels_of_all_images_are_kept(settings: TrainConfig, synth: Path, tmp_path: Path) -> None:
    prepare(replace(settings, soft_labels=str(tmp_path / "soft")))
    assert {path.stem for path in (tmp_path / "soft").glob("*.npy")} == set(VocFolder.find(synth).ids("train"))


def test_a_resumed_run_equals_an_uninterrupted_one(
    settings: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, often: None
) -> None:
    whole = train(config=settings, out=tmp_path / "whole").run
    save = RunFolder.save_checkpoint

    def cut_off(run: RunFolder, state: dict[str, Any]) -> None:
        save(run, state)
        if state["iteration"] == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "save_checkpoint", cut_off)
        with pytest.raises(KeyboardInterrupt):
            train(config=settings)
    resumed = train(resume=settings.out).run
    for name in ("last", "last_average"):
        one, two = (create_model(str(getattr(run, name))).network.state_dict() for run in (whole, resumed))
        assert all(torch.equal(one[key], two[key]) for key in one)


def test_images_without_masks_are_learned_from_the_teacher(settings: TrainConfig, synth: Path, tmp_path: Path) -> None:
    folder = VocFolder.find(synth)
    for number, name in enumerate(folder.ids("train")[:2]):
        shutil.copy(folder.image(name), tmp_path / f"more_{number}.jpg")
    setup = prepare(replace(settings, unlabeled=str(tmp_path), soft_labels=None))
    assert len(setup.train_set) == len(folder.ids("train")) + 2
    assert not next(setup.batches()).maps


@pytest.mark.parametrize(
    ("split", "message"), [("val", "is an image of the split val"), ("train", "has the name of an image of the split")]
)
def test_images_of_the_splits_are_not_taken_for_others(
    settings: TrainConfig, synth: Path, tmp_path: Path, split: str, message: str
) -> None:
    folder = VocFolder.find(synth)
    image = folder.image(folder.ids(split)[0])
    shutil.copy(image, tmp_path / image.name)
    with pytest.raises(SettingError, match=message):
        prepare(replace(settings, unlabeled=str(tmp_path), soft_labels=None))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"teacher": None, "unlabeled": "x"}, "unlabeled requires a teacher or soft_labels"),
        ({"cutmix": 0.8}, r"cutmix with a teacher is also the probability of mixup: at most 0\.5, not 0\.8"),
    ],
)
def test_what_does_not_go_together(settings: TrainConfig, change: dict[str, object], message: str) -> None:
    with pytest.raises(SettingError, match=message):
        replace(settings, **change)  # type: ignore[arg-type]


def test_what_the_data_rules_out(settings: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(SettingError, match="crop 30 must be a multiple of 8"):
        prepare(replace(settings, crop=30))
    save_model(tmp_path / "other.safetensors", create_model(MODEL, ("a", "b")))
    with pytest.raises((ModelError, DataError), match=r"teacher .* has 2 classes, the data has 6"):
        prepare(replace(settings, teacher=str(tmp_path / "other.safetensors")))
