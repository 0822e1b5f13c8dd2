"""Splits from lists, fractions and seeds; drawn ones keep groups whole and show every class."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from convert.scenes import in_folders, photo, put, scenes
from vocseg import voc
from vocseg.convert import convert
from vocseg.convert.splits import parse_fractions, stratified_split
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, SettingError


def test_lists(roads: Path, tmp_path: Path) -> None:
    put(tmp_path / "lists" / "train.txt", "scene_000\nframes/scene_001.jpg labels/scene_001_L.png\n")
    put(tmp_path / "lists" / "val.txt", "/some/where/scene_002.jpg\n")
    report = convert(roads, tmp_path / "out", splits=str(tmp_path / "lists"))
    assert report.splits == {"train": 2, "val": 1}
    assert report.images == 3
    assert any("7 images that are in no split" in note for note in report.notes)
    put(tmp_path / "lists" / "val.txt", "scene_02\n")
    with pytest.raises(DataError, match=r"val\.txt names 'scene_02', which is not an image with a mask; did you mean 'scene_00"):
        convert(roads, tmp_path / "out2", splits=str(tmp_path / "lists"))
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"no split list \(train.txt, val.txt, ...\) in"):
        convert(roads, tmp_path / "out2", splits=str(tmp_path / "none"))
    with pytest.raises(SettingError, match="splits 'nowhere' is neither"):
        convert(roads, tmp_path / "out2", splits="nowhere")


def test_shares_and_seeds(roads: Path, tmp_path: Path) -> None:
    one, two, three = (
        convert(roads, tmp_path / f"out{number}", splits="0.6/0.2/0.2", seed=seed, void=("11",))
        for number, seed in enumerate((1, 1, 2))
    )
    assert one.splits == two.splits == three.splits == {"train": 6, "val": 2, "test": 2}
    lists = [(tmp_path / f"out{number}" / voc.SPLITS / "train.txt").read_text() for number in range(3)]
    assert lists[0] == lists[1] != lists[2]


def test_near_duplicates_stay_together(tmp_path: Path) -> None:
    made = scenes(16)
    for number, (name, mask) in enumerate(made.items()):
        image = photo(number // 2).point(lambda value, more=number % 2: min(255, value + 6 * more))
        put(tmp_path / "in" / "images" / f"{name}.jpg", image)
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert "near-duplicates: 16 images in 8 groups" in report.notes
    val = VocFolder.find(tmp_path / "out").ids("val")
    assert len(val) == 4
    assert {int(name[-3:]) // 2 for name in val[::2]} == {int(name[-3:]) // 2 for name in val[1::2]}


def test_all_alike(tmp_path: Path) -> None:
    for name, mask in scenes(5).items():
        put(tmp_path / "in" / "images" / f"{name}.jpg", photo(0))
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.splits == {"train": 4, "val": 1}
    assert any("all images resemble each other" in note for note in report.notes)


def test_classes_too_rare_for_a_split_and_classes_of_nothing_are_named(tmp_path: Path) -> None:
    made = scenes(labels=3)
    next(iter(made.values()))[0, 0] = 3
    report = convert(in_folders(tmp_path / "in", made), tmp_path / "out", classes=("road", "sky", "Void", "sign"))
    lines = "\n".join(report.lines())
    assert re.search(r"classes missing from (train|val) because too few images show them: sign \(1\)", lines)
    assert "if it is not a class, use --void Void" in lines


@given(st.integers(2, 60), st.integers(1, 6), st.integers(0, 1000), st.sampled_from([(0.8, 0.2), (0.5, 0.5), (0.7, 0.2, 0.1)]))
@settings(deadline=None)
def test_partition_with_groups_whole(images: int, classes: int, seed: int, shares: tuple[float, ...]) -> None:
    rng = np.random.default_rng(seed)
    shown = rng.random((images, classes)) < rng.random(classes)
    order = rng.permutation(images).tolist()
    groups = [order[:3], order[3:5]] if images > 8 else []
    if images < len(shares):
        return
    splits = stratified_split(shown, shares, groups, seed)
    assert sorted(image for split in splits for image in split) == list(range(images))
    assert all(splits)
    for group in groups:
        assert sum(bool(set(group) & set(split)) for split in splits) == 1
    assert splits == stratified_split(shown, shares, groups, seed)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=8), st.integers(0, 1000))
@settings(deadline=None)
def test_each_class_in_both(sizes: list[int], seed: int) -> None:
    """Images of one class each, shuffled: the shares hold for every class, and none is missing anywhere."""
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    _, val = stratified_split(np.eye(len(sizes), dtype=bool)[labels], (0.8, 0.2), (), seed)
    for label, size in enumerate(sizes):
        in_val = int((labels[val] == label).sum())
        assert 1 <= in_val < size
        assert abs(in_val - 0.2 * size) <= 1


def test_rare_classes_among_common_ones() -> None:
    rng = np.random.default_rng(1)
    shown = np.zeros((400, 12), dtype=bool)
    shown[:, :4] = True  # road, sky and the like
    for label in range(4, 12):
        shown[rng.choice(400, 2 + 3 * (label - 4), replace=False), label] = True
    for seed in range(10):
        train, val = stratified_split(shown, (0.8, 0.2), (), seed)
        assert shown[train].any(0).all()
        assert shown[val].any(0).all()
        assert abs(len(val) - 80) <= 8
        random = rng.permutation(400)[:80]
        assert np.abs(shown[val].mean(0) - shown.mean(0)).max() <= np.abs(shown[random].mean(0) - shown.mean(0)).max() + 0.01


def test_moves_mend_what_dealing_left() -> None:
    # every class in two or three groups that overlap
    shown = np.array([[1, 1, 0], [1, 0, 1], [0, 1, 1], [0, 0, 1], [1, 0, 0], [0, 1, 0]], dtype=bool)
    for seed in range(20):
        train, val = stratified_split(shown, (0.5, 0.5), (), seed)
        assert shown[train].any(0).all()
        assert shown[val].any(0).all()


def test_seeds_differ() -> None:
    shown = np.ones((50, 1), dtype=bool)
    assert stratified_split(shown, (0.8, 0.2), (), 1) != stratified_split(shown, (0.8, 0.2), (), 2)


def test_too_few() -> None:
    with pytest.raises(SettingError, match="cannot divide 1 image into 2 splits; --splits 1 puts all in train"):
        stratified_split(np.ones((1, 1), dtype=bool), (0.8, 0.2))
    with pytest.raises(SettingError, match=r"cannot divide 1 image \(each group counted once\) into"):
        stratified_split(np.ones((3, 1), dtype=bool), (0.8, 0.2), [(0, 1, 2)])
    # no class at all is still a split
    assert [len(part) for part in stratified_split(np.zeros((10, 3), dtype=bool), (0.8, 0.2))] == [8, 2]


def test_fractions() -> None:
    assert parse_fractions("0.8/0.2") == (0.8, 0.2)
    assert stratified_split(np.ones((1, 1), dtype=bool), parse_fractions("1")) == [[0]]
    assert parse_fractions("80/10/10") == (0.8, 0.1, 0.1)
    for wrong in ("0.8", "0.8/0.1", "a/b", "1/0", "-1/2", "nan/1", "0.25/0.25/0.25/0.25", ""):
        with pytest.raises(SettingError, match="neither a folder of lists nor fractions"):
            parse_fractions(wrong)


def frames(root: Path, videos: int = 4, each: int = 6) -> Path:
    """Write a folder of frames of some videos, and their masks."""
    names = [f"v{video}_f{frame:03d}" for video in range(videos) for frame in range(each)]
    return in_folders(root, dict(zip(names, scenes(len(names)).values(), strict=True)))


@pytest.mark.parametrize("group", ["sequence", "v[0-9]", r"/(v\d)_"])
def test_groups_stay_together(tmp_path: Path, group: str) -> None:
    report = convert(frames(tmp_path / "in"), tmp_path / "out", group=group)
    assert "groups kept together: 24 images in 4 groups" in report.notes
    assert report.splits == {"train": 18, "val": 6}
    assert len({name[:2] for name in VocFolder.find(tmp_path / "out").ids("val")}) == 1


def test_groups_that_cannot_be_kept_together(tmp_path: Path) -> None:
    root = frames(tmp_path / "in")
    with pytest.raises(SettingError, match=r"group '\(' is neither 'sequence' nor a regular expression"):
        convert(root, tmp_path / "out", group="(")
    with pytest.raises(SettingError, match=r"cannot divide 1 image \(each group counted once\) into 2 splits"):
        convert(root, tmp_path / "out", group="v")
    put(root / "val.txt", "v0_f001\n")
    with pytest.raises(SettingError, match=r"there are splits from the lists in .*in; add --splits 0\.8/0\.2"):
        convert(root, tmp_path / "out", group="sequence")


@pytest.mark.parametrize("folder", ["ImageSets/Segmentation", "ImageSets", "splits", "."])
@pytest.mark.parametrize("kind", ["camvid", "folders"])
def test_lists_of_the_source_are_kept(tmp_path: Path, kind: str, folder: str) -> None:
    root = frames(tmp_path / "in", 2, 2)
    put(root / folder / "train.txt", "/SegNet/CamVid/train/v0_f000.png /SegNet/CamVid/trainannot/v0_f000.png\nv1_f000.jpg 1\n")
    put(root / folder / "valid.txt", "D:\\data\\v0_f001.jpg\ngone\n")
    put(root / folder / "notes.txt", "made by hand\n")
    report = convert(root, tmp_path / "out", kind=kind)
    assert report.splits == {"train": 2, "val": 1}
    assert report.skipped == {"image that are in no split": 1, "listed image without a mask": 1}
    assert convert(root, tmp_path / "drawn", kind=kind, splits="0.5/0.5").splits == {"train": 2, "val": 2}
    put(root / folder / "valid.txt", "v0_f001.jpg v1_f000.png\n")
    with pytest.raises(DataError, match=r"names an image and the mask of another one|names 'v0_f001' and 'v1_f000'"):
        convert(root, tmp_path / "other", kind=kind)
