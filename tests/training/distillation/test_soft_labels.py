from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from vocseg.data.image_io import image_size
from vocseg.data.layout import VocFolder
from vocseg.data.loader import training_batches
from vocseg.data.transforms.geometry import training_transform
from vocseg.errors import DataError
from vocseg.training.distillation.soft_labels import TaughtDataset, classes_shown, images_without_masks, read_soft_labels


@pytest.fixture
def labeled(synth: Path, tmp_path: Path) -> tuple[VocFolder, Path, Path]:
    """A data set, soft labels of its train split and of two images without masks, and the folder of those."""
    folder = VocFolder.find(synth)
    unlabeled, soft = tmp_path / "unlabeled", tmp_path / "soft"
    unlabeled.mkdir()
    soft.mkdir()
    names = folder.ids("train")
    for name in folder.ids("val")[:2]:
        shutil.copy(folder.image(name), unlabeled / f"extra_{folder.image(name).name}")
        names.append(f"extra_{name}")
    for name in names:
        image = folder.image(name.removeprefix("extra_"))
        height, width = image_size(image)
        np.save(soft / f"{name}.npy", np.full((len(folder.classes), -(-height // 8), -(-width // 8)), 40, np.uint8))
    return folder, soft, unlabeled


def test_split_then_unlabeled(labeled: tuple[VocFolder, Path, Path]) -> None:
    folder, soft, unlabeled = labeled
    dataset = TaughtDataset(folder, "train", soft, images_without_masks(unlabeled))
    count = len(folder.ids("train"))
    assert len(dataset) == count + 2
    assert dataset.masked == folder.ids("train")
    assert (dataset[0].mask != 255).any()
    last = dataset[count + 1]
    assert last.name.startswith("extra_")
    assert (last.mask == 255).all()
    assert last.mask.shape == last.image.shape[1:]
    assert last.soft is not None


def test_without_soft_labels_they_are_just_more_images(labeled: tuple[VocFolder, Path, Path]) -> None:
    folder, _, unlabeled = labeled
    dataset = TaughtDataset(folder, "train", None, images_without_masks(unlabeled))
    assert len(dataset) == len(folder.ids("train")) + 2
    assert all(dataset[index].soft is None for index in (0, len(dataset) - 1))
    assert (dataset[len(dataset) - 1].mask == 255).all()


def test_classes_that_soft_labels_show() -> None:
    soft = torch.zeros(4, 10, 10, dtype=torch.uint8)
    soft[1] = 100
    soft[2, :1, :2] = 200  # two cells of a hundred: not more than 2 %
    soft[3, 1:, :1] = 200
    assert classes_shown(soft).tolist() == [False, True, False, True]


def test_batches_carry_them(labeled: tuple[VocFolder, Path, Path]) -> None:
    folder, soft, unlabeled = labeled
    dataset = TaughtDataset(folder, "train", soft, images_without_masks(unlabeled), training_transform("scale-crop", 32))
    batch = next(training_batches(dataset, 3, 0, seed=0))
    assert batch.soft is not None
    assert batch.soft.shape == (3, len(folder.classes), 4, 4)


def test_what_is_wrong_is_named(labeled: tuple[VocFolder, Path, Path], tmp_path: Path) -> None:
    folder, soft, _ = labeled
    name = folder.ids("train")[0]
    with pytest.raises(DataError, match="no folder of soft labels"):
        TaughtDataset(folder, "train", tmp_path / "none")
    with pytest.raises(DataError, match="no folder of unlabeled"):
        images_without_masks(tmp_path / "none")
    np.save(soft / f"{name}.npy", np.zeros((len(folder.classes), 90, 2), np.uint8))
    with pytest.raises(DataError, match=f"soft labels of {name} are 90x2"):
        TaughtDataset(folder, "train", soft)[0]
    (soft / f"{name}.npy").unlink()
    with pytest.raises(DataError, match=rf"have no soft labels in .*: {name}\.npy"):
        TaughtDataset(folder, "train", soft)


@pytest.mark.parametrize("values", [np.zeros((3, 4, 4), np.float32), np.zeros((2, 4, 4), np.uint8), np.zeros((3, 4), np.uint8)])
def test_other_arrays_are_refused(tmp_path: Path, values: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", values)
    with pytest.raises(DataError, match="not uint8 of 3 classes"):
        read_soft_labels(tmp_path / "a.npy", 3)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array"])
def test_damaged_files_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(DataError, match=r"cannot read soft labels .*a\.npy"):
        read_soft_labels(tmp_path / "a.npy", 3)


def test_pickles_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{}], dtype=object), allow_pickle=True)
    with pytest.raises(DataError, match="cannot read soft labels"):
        read_soft_labels(tmp_path / "a.npy", 3)
