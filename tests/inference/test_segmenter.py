from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import vocseg
from vocseg.data.samples import FOLDER as SAMPLES
from vocseg.errors import DataError, SettingError


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    torch.manual_seed(0)
    return vocseg.Segmenter("two_layer_net", device="cpu")


def test_file_pillow_array_and_tensor_agree(segment: vocseg.Segmenter) -> None:
    path = SAMPLES / "JPEGImages" / "chelsea.jpg"
    result = segment(path)
    assert result.mask.shape == (300, 451)
    assert result.mask.dtype == torch.uint8
    assert torch.equal(result.mask, segment(str(path)).mask)
    assert torch.equal(result.mask, segment(result.image).mask)
    assert torch.equal(result.mask, segment(result.image.permute(1, 2, 0).numpy()).mask)
    assert torch.equal(result.mask, segment.logits(path)[0].argmax(0).to(torch.uint8))
    assert repr(result).startswith("Segmentation(451 x 300 pixels by two_layer_net: ")
    with Image.open(path) as image:
        assert (segment(image).mask == result.mask).float().mean() > 0.99


def test_areas_overlay_and_mask_file(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    result = segment(SAMPLES / "JPEGImages" / "astronaut.jpg")
    areas = result.areas()
    assert sum(areas.values()) == pytest.approx(1)
    assert list(areas.values()) == sorted(areas.values(), reverse=True)
    assert {segment.info.classes[label] for label in result.mask.unique().tolist()} == set(areas)
    assert result.overlay().width >= 512
    assert result.overlay().height > 512
    result.save_mask(tmp_path / "m.png")
    assert np.array_equal(np.array(Image.open(tmp_path / "m.png")), result.mask.numpy())


@pytest.mark.parametrize("size", [(1, 1), (1, 300), (2000, 3)])
def test_odd_sizes(segment: vocseg.Segmenter, size: tuple[int, int]) -> None:
    result = segment(torch.zeros(3, *size, dtype=torch.uint8))
    assert result.mask.shape == size
    assert result.overlay().height >= size[0]


@pytest.mark.parametrize("value", [3, torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8)])
def test_what_is_no_image(segment: vocseg.Segmenter, value: object) -> None:
    with pytest.raises(DataError, match="an image is a file, a Pillow image, or uint8 pixels"):
        segment(value)  # type: ignore[arg-type]


def test_missing_device() -> None:
    if not torch.cuda.is_available():
        with pytest.raises(SettingError, match=r"this machine has no device 'cuda'; it has .*cpu"):
            vocseg.Segmenter("two_layer_net", device="cuda")


def test_samples_are_in_voc_layout() -> None:
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.layout import VocFolder

    dataset = SplitDataset(VocFolder.find(SAMPLES), "samples")
    labels = {dataset[index].name: set(dataset[index].mask.unique().tolist()) for index in range(len(dataset))}
    assert labels == {"astronaut": {0, 15, 255}, "camera": {0, 15, 255}, "chelsea": {0, 8, 255}, "rocket": {0}}
    notes = (SAMPLES / "README.md").read_text()
    assert all(f"{name}.jpg" in notes for name in labels)
