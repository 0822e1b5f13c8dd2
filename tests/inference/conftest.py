"""Photographs and a network for tests of predictions."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
import torch
from PIL import Image

import vocseg
from vocseg.data.layout import VocFolder

MakePhotos = Callable[[Path, Iterable[str]], None]


@pytest.fixture(scope="module")
def network() -> vocseg.SegmentationModel:
    """Return an untrained network of three classes."""
    torch.manual_seed(0)
    return vocseg.create_model("two_layer_net", ("background", "a", "b"))


@pytest.fixture(scope="module")
def make_photos(synth: Path) -> MakePhotos:
    """Return what writes images of these names to a folder, and pages.tif, which has three."""
    images = sorted((VocFolder.find(synth).root / "JPEGImages").iterdir())

    def make(folder: Path, names: Iterable[str]) -> None:
        for name, image in zip(names, images, strict=False):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(image, folder / name)
        pages = [Image.open(image).resize((30, 20)) for image in images[:3]]
        pages[0].save(folder / "pages.tif", save_all=True, append_images=pages[1:])

    return make
