"""VOC layout with masks in two folders, and CVAT's with colored masks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from convert.scenes import COLORS, colored, masks_of, put, put_images, same, scenes
from vocseg import voc
from vocseg.convert import convert
from vocseg.errors import DataError


def test_trainaug_takes_masks_from_both_folders(synth: Path, tmp_path: Path) -> None:
    root = tmp_path / "in"
    shutil.copytree(synth, root)
    masks = masks_of(root)
    (root / "SegmentationClassAug").mkdir()
    for moved in [*sorted(masks)[:2], sorted(masks)[-1]]:
        (root / voc.MASKS / f"{moved}.png").rename(root / "SegmentationClassAug" / f"{moved}.png")
    report = convert(root, tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), masks)
    assert "masks of 3 images from SegmentationClassAug, missing in SegmentationClass" in report.notes
    only = convert(root, tmp_path / "only", masks=Path("SegmentationClassAug"))
    assert only.images == 3


def test_cvat(tmp_path: Path) -> None:
    """VOC layout with colored masks, a labelmap.txt and one list called default."""
    made = scenes()
    put_images(tmp_path / "in" / voc.IMAGES, made)
    for name, mask in made.items():
        put(tmp_path / "in" / voc.MASKS / f"{name}.png", colored(mask))
    put(tmp_path / "in" / voc.SPLITS / "default.txt", "\n".join(made))
    put(
        tmp_path / "in" / "labelmap.txt",
        "# label:color_rgb:parts:actions\n" + "\n".join(f"{n}:{r},{g},{b}::" for n, (r, g, b) in COLORS.items()),
    )
    report = convert(tmp_path / "in", tmp_path / "out")
    assert (report.kind, report.classes, report.splits) == ("voc", tuple(COLORS), {"train": 5, "val": 1})
    assert same(masks_of(tmp_path / "out"), made)


def test_a_list_that_names_no_image_is_no_empty_split(tmp_path: Path) -> None:
    made = scenes(4)
    put_images(tmp_path / "in" / voc.IMAGES, made, "a {}.jpg")
    for name, mask in made.items():
        put(tmp_path / "in" / voc.MASKS / f"a {name}.png", mask)
    names = [f"a {name}" for name in made]
    put(tmp_path / "in" / voc.SPLITS / "train.txt", f"D:\\data\\{names[0]}.jpg\n{names[1]} 1\n")
    put(tmp_path / "in" / voc.SPLITS / "val.txt", f"/JPEGImages/{names[2]}.jpg /SegmentationClass/{names[2]}.png\n")
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.splits == {"train": 2, "val": 1}
    assert report.skipped == {"mask that no split list names": 1}
    put(tmp_path / "in" / voc.SPLITS / "test.txt", " \n")
    report = convert(tmp_path / "in", tmp_path / "empty")
    assert report.splits == {"train": 2, "val": 1}
    assert report.skipped == {"mask that no split list names": 1, "split list without images": 1}
    put(tmp_path / "in" / voc.SPLITS / "train.txt", "x\n")
    with pytest.raises(DataError, match=r"split list train\.txt of .* names no image that exists \(such as 'x'\)"):
        convert(tmp_path / "in", tmp_path / "out2")


def test_lists_that_are_all_empty(tmp_path: Path) -> None:
    put_images(tmp_path / "in" / voc.IMAGES, scenes(1))
    (tmp_path / "in" / voc.MASKS).mkdir()
    put(tmp_path / "in" / voc.SPLITS / "val.txt", "")
    with pytest.raises(DataError, match=r"split list .*val\.txt is empty"):
        convert(tmp_path / "in", tmp_path / "out")
