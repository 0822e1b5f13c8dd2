"""Against torchvision's own class: the same samples on the same arguments."""

from __future__ import annotations

import pickle
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import tv_tensors
from torchvision.datasets import VOCSegmentation
from torchvision.transforms import v2

from vocseg import voc
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.transforms.geometry import RandomScaleCrop
from vocseg.data.voc_dataset import VOCDataset
from vocseg.download import voc as download_voc
from vocseg.errors import DataError, SettingError


@pytest.fixture(scope="module")
def devkit(synth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with VOCdevkit/VOC2012, and VOC2007 with a split that 2012 lacks."""
    root = tmp_path_factory.mktemp("voc")
    for year in ("2007", "2012"):
        target = root / "VOCdevkit" / f"VOC{year}"
        shutil.copytree(synth, target)
        (target / voc.CLASSES_FILE).unlink()
    (root / "VOCdevkit" / "VOC2007" / voc.SPLITS / "test.txt").write_text("synth_000008\n")
    return root


ARGUMENTS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    ((), {}),
    (("2012", "val"), {}),
    (("2007", "test", False), {}),
    (("2012",), {"image_set": "trainval"}),
    ((), {"year": "2007", "image_set": "test", "download": False}),
    ((), {"image_set": "val"}),
]


@pytest.mark.parametrize(("args", "kwargs"), ARGUMENTS)
def test_same_samples_on_the_same_arguments(devkit: Path, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    ours, theirs = VOCDataset(devkit, *args, **kwargs), VOCSegmentation(devkit, *args, **kwargs)
    assert_same(ours, theirs)
    assert (ours.images, ours.masks, ours.targets) == (theirs.images, theirs.masks, theirs.targets)


def assert_same(ours: VOCDataset, theirs: VOCSegmentation) -> None:
    assert len(ours) == len(theirs)
    for (image, mask), (their_image, their_mask) in zip((ours[n] for n in range(len(ours))), theirs, strict=False):
        assert type(image) is tv_tensors.Image
        assert type(mask) is tv_tensors.Mask
        assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(their_image))
        assert np.array_equal(mask.numpy(), np.array(their_mask))


def pad(image: Any, mask: Any) -> tuple[Any, Any]:
    """A joint transform as torchvision's class takes it: of PIL images."""
    return np.array(image.resize((20, 10))), np.array(mask.convert("P"))


@pytest.mark.parametrize(
    "transforms",
    [
        {"transform": v2.PILToTensor()},
        {"transform": v2.Grayscale(), "target_transform": v2.Pad(3)},
        {"target_transform": np.array},
        {"transforms": pad},
    ],
)
def test_other_transforms_get_what_torchvision_gives(devkit: Path, transforms: dict[str, Any]) -> None:
    ours, theirs = VOCDataset(devkit, **transforms), VOCSegmentation(devkit, **transforms)
    for index in range(len(theirs)):
        for one, other in zip(ours[index], theirs[index], strict=True):
            assert isinstance(one, Image.Image) == isinstance(other, Image.Image)
            assert np.array_equal(np.array(one), np.array(other))
            if isinstance(one, Image.Image):
                assert (one.mode, one.getpalette()) == (other.mode, other.getpalette())


@pytest.mark.real_voc
def test_same_samples_of_real_images(real_voc: Path, tmp_path: Path) -> None:
    lists = tmp_path / "VOCdevkit" / "VOC2012" / voc.SPLITS
    lists.mkdir(parents=True)
    for name in (voc.IMAGES, voc.MASKS):
        (lists.parents[1] / name).symlink_to((real_voc / "VOCdevkit" / "VOC2012" / name).resolve())
    names = (real_voc / "VOCdevkit" / "VOC2012" / voc.SPLITS / "val_2007.txt").read_text().split()
    (lists / "val.txt").write_text("\n".join(names[:20]))
    assert_same(VOCDataset(tmp_path, image_set="val"), VOCSegmentation(tmp_path, image_set="val"))


AUGMENT = v2.Compose(
    [
        v2.RandomResizedCrop(32, antialias=True),
        v2.RandomHorizontalFlip(),
        v2.ColorJitter(0.4, 0.4, 0.4, 0.1),
        v2.ToDtype({tv_tensors.Image: torch.float32, tv_tensors.Mask: torch.int64, "others": None}, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def test_v2_transforms_and_a_loader_with_workers(devkit: Path) -> None:
    dataset = VOCDataset(devkit, "train", transforms=AUGMENT)
    images, masks = next(iter(DataLoader(dataset, batch_size=6, num_workers=1)))
    assert (images.shape, images.dtype) == ((6, 3, 32, 32), torch.float32)
    assert (masks.shape, masks.dtype) == ((6, 32, 32), torch.int64)
    assert set(masks.unique().tolist()) <= {*range(6), 255}
    torch.manual_seed(1)
    ours = dataset[0]
    torch.manual_seed(1)
    image, mask = VOCSegmentation(devkit)[0]
    theirs = AUGMENT(v2.functional.to_image(image), tv_tensors.Mask(np.array(mask)))
    assert all(torch.equal(one, other) for one, other in zip(ours, theirs, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_random_crops_differ_from_epoch_to_epoch_in_a_stock_loader(devkit: Path, workers: int) -> None:
    crop = v2.RandomCrop(32, pad_if_needed=True, fill={tv_tensors.Image: 0, tv_tensors.Mask: 255})
    ours = SplitDataset(VocFolder.find(devkit), "train", RandomScaleCrop(32))
    for dataset in (VOCDataset(devkit, "train", transforms=crop), ours):
        loader = DataLoader(dataset, batch_size=6, num_workers=workers)
        epochs = [next(iter(loader)) for _ in range(2)]
        assert {batch[0].shape for batch in epochs} == {(6, 3, 32, 32)}
        assert {batch[1].shape for batch in epochs} == {(6, 32, 32)}
        assert not torch.equal(epochs[0][0], epochs[1][0])


def test_it_can_be_pickled(devkit: Path) -> None:
    dataset = pickle.loads(pickle.dumps(VOCDataset(devkit, "val", transforms=v2.CenterCrop(16))))
    assert dataset[0][0].shape == (3, 16, 16)
    assert "'val': 4 images, 21 classes" in repr(dataset)


def test_our_layouts_and_errors(devkit: Path, synth: Path, tmp_path: Path) -> None:
    assert VOCDataset(synth, "val").classes[1] == "disc"
    assert VOCDataset(devkit / "VOCdevkit" / "VOC2007", year="2007").samples.folder.root.name == "VOC2007"
    with pytest.raises(DataError, match=r"no VOC2009 or VOCdevkit/VOC2009 below it has a JPEGImages"):
        VOCDataset(devkit, "2009")
    with pytest.raises(DataError, match=r"no split list .*did you mean 'train'"):
        VOCDataset(devkit, "trian")
    with pytest.raises(SettingError, match="cannot be combined"):
        VOCDataset(devkit, "val", transform=v2.PILToTensor(), transforms=AUGMENT)
    shutil.copytree(synth, tmp_path / "bad")
    Image.new("L", (9, 9), 77).save(tmp_path / "bad" / voc.MASKS / "synth_000006.png")
    with pytest.raises(DataError, match=r"synth_000006\.png holds label 77"):
        VOCDataset(tmp_path / "bad", "val")[0]


def test_download_is_skipped_if_the_year_is_there(devkit: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[object, str]] = []

    def download(root: Path, year: str) -> None:
        called.append((root, year))
        shutil.copytree(devkit, root, dirs_exist_ok=True)

    monkeypatch.setattr(download_voc, "download", download)
    assert len(VOCDataset(devkit, "2007", "val", True)) == 4
    assert not called
    assert len(VOCDataset(tmp_path / "new", image_set="val", download=True)) == 4
    assert called == [(tmp_path / "new", "2012")]


def test_importing_does_not_import_torchvision() -> None:
    code = "import sys, vocseg.data.voc_dataset, vocseg.data.transforms; print('torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "False\n"
