"""Splits from lists, fractions and seeds."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from convert.scenes import in_folders, photo, put, scenes
from vocseg import voc
from vocseg.convert import convert
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
