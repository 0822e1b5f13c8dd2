from __future__ import annotations

import itertools
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.data.dataset import Placement, Sample
from vocseg.data.image_io import image_size
from vocseg.data.layout import VocFolder
from vocseg.data.loader import training_batches
from vocseg.data.transforms.geometry import training_transform
from vocseg.errors import DataError
from vocseg.training.distillation.soft_labels import (
    SOFT_LABELS,
    DistillationDataset,
    SoftLabels,
    classes_shown,
    images_without_masks,
    read_soft_labels,
)


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
    dataset = DistillationDataset(folder, "train", soft, images_without_masks(unlabeled))
    count = len(folder.ids("train"))
    assert len(dataset) == count + 2
    assert dataset.masked == folder.ids("train")
    assert (dataset[0].mask != 255).any()
    last = dataset[count + 1]
    assert last.name.startswith("extra_")
    assert (last.mask == 255).all()
    assert last.mask.shape == last.image.shape[1:]
    assert isinstance(last.maps[SOFT_LABELS], SoftLabels)


def test_without_soft_labels_they_are_just_more_images(labeled: tuple[VocFolder, Path, Path]) -> None:
    folder, _, unlabeled = labeled
    dataset = DistillationDataset(folder, "train", None, images_without_masks(unlabeled))
    assert len(dataset) == len(folder.ids("train")) + 2
    assert all(not dataset[index].maps for index in (0, len(dataset) - 1))
    assert (dataset[len(dataset) - 1].mask == 255).all()


def test_classes_that_soft_labels_show() -> None:
    soft = torch.zeros(4, 10, 10, dtype=torch.uint8)
    soft[1] = 100
    soft[2, :1, :2] = 200  # two cells of a hundred: not more than 2 %
    soft[3, 1:, :1] = 200
    assert classes_shown(soft).tolist() == [False, True, False, True]


def test_batches_carry_them(labeled: tuple[VocFolder, Path, Path]) -> None:
    folder, soft, unlabeled = labeled
    dataset = DistillationDataset(folder, "train", soft, images_without_masks(unlabeled), training_transform("scale-crop", 32))
    batch = next(training_batches(dataset, 3, 0, seed=0))
    assert batch.maps[SOFT_LABELS].shape == (3, len(folder.classes), 4, 4)


def test_what_is_wrong_is_named(labeled: tuple[VocFolder, Path, Path], tmp_path: Path) -> None:
    folder, soft, _ = labeled
    name = folder.ids("train")[0]
    with pytest.raises(DataError, match="no folder of soft labels"):
        DistillationDataset(folder, "train", tmp_path / "none")
    with pytest.raises(DataError, match="no folder of unlabeled"):
        images_without_masks(tmp_path / "none")
    np.save(soft / f"{name}.npy", np.zeros((len(folder.classes), 90, 2), np.uint8))
    with pytest.raises(DataError, match=f"soft labels of {name} are 90x2"):
        DistillationDataset(folder, "train", soft)[0]
    (soft / f"{name}.npy").unlink()
    with pytest.raises(DataError, match=rf"have no soft labels in .*: {name}\.npy"):
        DistillationDataset(folder, "train", soft)


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


@given(st.integers(40, 90), st.integers(40, 90), st.integers(0, 2**31), st.sampled_from(["scale-crop", "center-square"]))
@settings(max_examples=60, deadline=None)
def test_soft_labels_go_where_the_image_goes(height: int, width: int, seed: int, name: str) -> None:
    """A teacher sure of class 1 left of a line and of class 0 right of it, against a mask that says the same."""
    grid = (-(-height // 4), -(-width // 4))
    mask = (torch.arange(width) < width // 2).to(torch.uint8).expand(height, width).contiguous()
    left = ((torch.arange(grid[1]) + 0.5) * width / grid[1] < width // 2).float().expand(grid)
    soft = (torch.stack([1 - left, left]) * 255).to(torch.uint8)
    sample = Sample(mask.expand(3, -1, -1) * 200, mask, "name", {SOFT_LABELS: SoftLabels(soft)})
    got = training_transform(name, 64)(sample, torch.Generator().manual_seed(seed))
    placed = got.maps[SOFT_LABELS].tensor
    assert placed.shape == (2, 8, 8)
    assert placed.dtype == torch.uint8
    cells = got.mask.view(8, 8, 8, 8).permute(0, 2, 1, 3).flatten(2)
    for row in range(8):
        for column in range(8):
            labels = cells[row, column].unique().tolist()
            shown = placed[:, row, column].int()
            if labels == [255]:
                assert shown.tolist() == [0, 0]
            # Interpolation reaches a cell to either side, so what lies beyond the crop may matter at its border.
            elif 0 < column < 7 and all((near == 1).all() for near in cells[row, column - 1 : column + 2]):
                assert shown.tolist() == [0, 255]


def soft_labels(seed: int, classes: int = 3, cells: int = 6) -> SoftLabels:
    return SoftLabels(
        torch.randint(0, 256, (classes, cells, cells), dtype=torch.uint8, generator=torch.Generator().manual_seed(seed))
    )


@given(st.integers(0, 2**31))
@settings(max_examples=20, deadline=None)
def test_pasting_is_by_share_of_each_cell(seed: int) -> None:
    before = soft_labels(seed)
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 3, (48, 48), generator=generator).to(torch.uint8)
    pasted = torch.rand(48, 48, generator=generator) < torch.rand((), generator=generator)
    got = before.paste(labels, pasted).tensor
    for row, column in itertools.product(range(6), range(6)):
        part = (slice(8 * row, 8 * row + 8), slice(8 * column, 8 * column + 8))
        for label in range(3):
            certain = int(((labels[part] == label) & pasted[part]).sum()) / 64
            wanted = 255 * certain + int(before.tensor[label, row, column]) * (1 - int(pasted[part].sum()) / 64)
            assert abs(int(got[label, row, column]) - wanted) <= 0.5 + 1e-4


@given(st.integers(0, 2**31), st.tuples(*[st.integers(0, 6)] * 4), st.floats(0, 1))
@settings(max_examples=30, deadline=None)
def test_cutting_flipping_and_blending_are_those_of_the_cells(seed: int, corners: tuple[int, ...], share: float) -> None:
    one, other = soft_labels(seed), soft_labels(seed + 1)
    (top, bottom), (left, right) = sorted(corners[:2]), sorted(corners[2:])
    cut = one.cut(other, slice(8 * top, 8 * bottom), slice(8 * left, 8 * right)).tensor
    blend, flipped = one.blend(other, share).tensor, one.flip().tensor
    for label, row, column in itertools.product(range(3), range(6), range(6)):
        ours, theirs = int(one.tensor[label, row, column]), int(other.tensor[label, row, column])
        assert int(cut[label, row, column]) == (theirs if top <= row < bottom and left <= column < right else ours)
        assert abs(int(blend[label, row, column]) - (share * ours + (1 - share) * theirs)) <= 0.5 + 1e-4
        assert int(flipped[label, row, 5 - column]) == ours


@given(st.integers(0, 2**31), st.integers(1, 40), st.integers(0, 30), st.integers(0, 40), st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_placing_is_bilinear_between_cell_centers(seed: int, window: int, start: int, to: int, length: int) -> None:
    """Against interpolation written out for one axis, on labels that vary along it only."""
    line = soft_labels(seed).tensor[:, 0]
    rows, columns = Placement(0, 48, 0, 64), Placement(start, min(48, start + window), to, length)
    got = SoftLabels(line[:, None].expand(-1, 6, -1)).place((48, 48), rows, columns, 64).tensor
    for cell in range(8):
        center = 8 * cell + 4
        if not columns.to <= center < columns.to + columns.length:
            assert not got[:, :, cell].any()
            continue
        source = columns.start + (center - columns.to) * (columns.stop - columns.start) / columns.length
        place = min(5.0, max(0.0, source / 8 - 0.5))  # in cells, whose centers are at 4, 12, ... pixels; held at the border
        below = min(4, int(place))
        wanted = line[:, below] * (1 - (place - below)) + line[:, below + 1] * (place - below)
        assert (got[:, :, cell].float() - wanted[:, None]).abs().max() <= 0.5 + 1e-2
