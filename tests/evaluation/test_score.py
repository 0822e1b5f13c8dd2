from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

import vocseg
from vocseg import draw
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, OutputError
from vocseg.metrics import ConfusionMatrix


@pytest.fixture
def masks(val_set: SplitDataset, tmp_path: Path) -> Path:
    """Predictions of random classes for the val split."""
    for index, name in enumerate(val_set.names):
        labels = torch.randint(0, 6, val_set[index].mask.shape, dtype=torch.uint8)
        draw.save_mask(labels, tmp_path / "masks" / f"{name}.png")
    return tmp_path / "masks"


def test_a_folder_or_a_data_set(val_set: SplitDataset, masks: Path, tmp_path: Path) -> None:
    result = vocseg.score(masks, val_set.folder.root, "val", json=tmp_path / "scores.json")
    assert vocseg.score(str(masks), val_set).scores == result.scores
    matrix = ConfusionMatrix(val_set.classes)
    for index, name in enumerate(val_set.names):
        matrix.update(_read(masks / f"{name}.png"), val_set[index].mask)
    assert result.scores == matrix.compute()
    assert (result.loss, result.images, result.split) == (None, 4, "val")
    written = json.loads((tmp_path / "scores.json").read_text())
    assert written == result.to_dict()
    assert (written["masks"], written["data"]) == (masks.name, val_set.folder.root.name)


def test_scores_replace_no_others(val_set: SplitDataset, masks: Path, tmp_path: Path) -> None:
    for _ in range(2):  # the second time over the first
        vocseg.score(masks, val_set, out=tmp_path / "a", json=tmp_path / "scores.json")
    before = (tmp_path / "a" / "scores.json").read_bytes()
    with pytest.raises(
        vocseg.OutputError, match=r"a/scores\.json: it belongs to the result in that folder, as per_image\.npz does"
    ):
        vocseg.score(masks, val_set, out=tmp_path / "b", json=tmp_path / "a" / "scores.json")
    assert (tmp_path / "a" / "scores.json").read_bytes() == before
    assert not (tmp_path / "b").exists()
    vocseg.Evaluation.load(tmp_path / "a")


def _read(path: Path) -> torch.Tensor:
    import numpy as np
    from PIL import Image

    with Image.open(path) as image:
        return torch.from_numpy(np.array(image))


def test_errors(val_set: SplitDataset, masks: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no folder of masks .*none"):
        vocseg.score(tmp_path / "none", val_set)
    victim = masks / f"{val_set.names[2]}.png"
    draw.save_mask(torch.zeros(3, 4, dtype=torch.uint8), victim)
    with pytest.raises(DataError, match=rf"mask {victim} is 3x4, its ground truth .* \d+x\d+"):
        vocseg.score(masks, val_set)
    draw.save_mask(torch.full_like(val_set[2].mask, 6), victim)
    with pytest.raises(DataError, match=rf"mask {victim}: predicted value 6 is outside the classes 0\.\.5"):
        vocseg.score(masks, val_set)
    with pytest.raises(OutputError, match="would replace"):
        vocseg.score(masks, val_set, json=victim)
    victim.unlink()
    with pytest.raises(DataError, match=rf"has no mask for 1 of the 4 images of val; the first: {victim.name}"):
        vocseg.score(masks, val_set)


@pytest.mark.real_voc
def test_truth_scored_against_itself_is_perfect(real_voc: Path) -> None:
    folder = VocFolder.find(real_voc)
    # Ground truth has void pixels, which no prediction may have.
    with pytest.raises(DataError, match="predicted value 255 is outside the classes"):
        vocseg.score(folder.root / "SegmentationClass", real_voc, "val_2007")
    matrix = ConfusionMatrix(folder.classes)
    dataset = SplitDataset(folder, "val_2007")
    for index in range(len(dataset)):
        mask = dataset[index].mask
        matrix.update(mask.masked_fill(mask == 255, 0), mask)
    scores = matrix.compute()
    assert (scores.miou, scores.pixel_accuracy, scores.classes_scored) == (1.0, 1.0, 21)
