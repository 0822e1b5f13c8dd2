from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from vocseg.data.image_io import read_image
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, ModelError
from vocseg.inference.segmenter import Segmenter
from vocseg.models import create_model, save_model
from vocseg.training.config import TrainConfig
from vocseg.training.distillation.soft_labels import SOFT_LABELS
from vocseg.training.distillation.teacher import load_teacher, soft_labels, write_soft_labels
from vocseg.training.setup import prepare


@pytest.fixture
def teacher(synth: Path, tmp_path: Path) -> str:
    model = create_model("simple_conv_net", VocFolder.find(synth).classes)
    save_model(tmp_path / "teacher.safetensors", model)
    return str(tmp_path / "teacher.safetensors")


def test_probabilities_are_the_mean_over_passes(synth: Path, teacher: str) -> None:
    folder = VocFolder.find(synth)
    image = read_image(folder.image(folder.ids("val")[0]))
    segmenter = Segmenter(teacher, exact=True, device="cpu")
    got = soft_labels(segmenter, image, scales=(1.0,))
    height, width = image.shape[1:]
    cells = (-(-height // 8), -(-width // 8))
    assert (got.dtype, got.shape) == (torch.uint8, (len(folder.classes), *cells))
    passes = []
    for mirrored in (False, True):
        logits = segmenter.logits(image.flip(-1) if mirrored else image)
        # Cells need not be whole pixels: the mean over each is that of the planes 8 times as fine.
        fine = logits[0].repeat_interleave(cells[0], 1).repeat_interleave(cells[1], 2)
        mean = fine.view(-1, cells[0], height, cells[1], width).mean((2, 4)).softmax(0)
        passes.append(mean.flip(-1) if mirrored else mean)
    torch.testing.assert_close(got.float(), 255 * sum(passes) / 2, rtol=0, atol=0.51)
    many = soft_labels(segmenter, image)
    assert (many.float().sum(0) - 255).abs().max() <= len(folder.classes) / 2


def test_only_missing_labels_are_written(synth: Path, teacher: str, tmp_path: Path) -> None:
    folder = VocFolder.find(synth)
    images = {name: folder.image(name) for name in folder.ids("train")}
    soft = tmp_path / "soft"
    write_soft_labels(teacher, images, folder.classes, soft)
    assert sorted(path.stem for path in soft.glob("*.npy")) == sorted(images)
    first = soft / f"{next(iter(images))}.npy"
    np.save(first, np.zeros((1, 1, 1), np.uint8))
    (soft / f"{list(images)[1]}.npy").unlink()
    write_soft_labels(teacher, images, folder.classes, soft)
    assert np.load(first).shape == (1, 1, 1)
    assert len(list(soft.glob("*.npy"))) == len(images)
    first.unlink()
    (soft / "teacher.json").unlink()
    with pytest.raises(ModelError, match=r"teacher .* has 6 classes, the data has 2"):
        write_soft_labels(teacher, images, ("a", "b"), soft)
    assert not (soft / "teacher.json").exists()


def test_labels_of_another_teacher_are_not_taken_for_ones_own(synth: Path, teacher: str, tmp_path: Path) -> None:
    folder = VocFolder.find(synth)
    images = {name: folder.image(name) for name in folder.ids("train")}
    soft = tmp_path / "soft"
    write_soft_labels(teacher, images, folder.classes, soft)
    moved = Path(shutil.copy(teacher, tmp_path / "moved.safetensors"))
    write_soft_labels(str(moved), images, folder.classes, soft)
    save_model(moved, create_model("simple_conv_net", folder.classes))
    with pytest.raises(
        ModelError, match=r"soft holds soft labels of another teacher, .*teacher\.safetensors; choose another folder"
    ):
        write_soft_labels(str(moved), images, folder.classes, soft)


def test_a_teacher_must_be_trained_on_the_same_classes(synth: Path, teacher: str) -> None:
    classes = VocFolder.find(synth).classes
    with pytest.raises(ModelError, match="teacher vocseg-s has 21 classes, the data has 6"):
        load_teacher("vocseg-s", classes)
    with pytest.raises(ModelError, match="has 6 classes, the data has 5"):
        load_teacher(teacher, classes[:5])
    with pytest.raises(ModelError, match=r"teacher unet:resnet18 has no trained weights; give a model file"):
        load_teacher("unet:resnet18", classes)
    assert load_teacher(teacher, classes).info.classes == classes


def test_a_run_makes_the_labels_that_it_needs(synth: Path, teacher: str, tmp_path: Path) -> None:
    settings = TrainConfig(
        data=str(synth), model="two_layer_net", crop=24, batch_size=2, teacher=teacher, soft_labels=str(tmp_path / "soft")
    )
    job = prepare(settings)
    sample = job.train_set[0, 1]
    assert sample.maps[SOFT_LABELS].tensor.shape == (6, 3, 3)
    with pytest.raises(DataError, match="no folder of unlabeled"):
        prepare(replace(settings, unlabeled=str(tmp_path / "none")))
