"""Which labels become which classes, and which are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from convert.scenes import COLORS, colored, in_folders, masks_of, put, put_images, same, scenes
from vocseg.convert import convert
from vocseg.errors import DataError, SettingError


def test_void_in_the_middle_closes_up(tmp_path: Path) -> None:
    made = scenes(4, 5)
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    put(tmp_path / "in" / "classes.txt", "ground\nignore\ncar\nbus\ncat\n")
    report = convert(tmp_path / "in", tmp_path / "out", void=("ignore", "3"))
    assert report.classes == ("ground", "car", "cat")
    wanted = {name: np.array([0, 255, 1, 255, 2], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


def test_classes_choose_and_order_what_has_names(tmp_path: Path) -> None:
    made = scenes()
    put_images(tmp_path / "in" / "images", made)
    for name, mask in made.items():
        put(tmp_path / "in" / "masks" / f"{name}.png", colored(mask))
    put(tmp_path / "in" / "class_dict.csv", "name,r,g,b\n" + "\n".join(f"{n},{r},{g},{b}" for n, (r, g, b) in COLORS.items()))
    with pytest.raises(DataError, match=r"holds label 3 .* class 'mark', which is not in --classes; --void 'mark'"):
        convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "road"))
    with pytest.raises(SettingError, match=r"class 'rode' is not in the source; did you mean 'road'"):
        convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "rode"))
    with pytest.raises(SettingError, match=r"void 'marc' is neither a label nor a class; did you mean 'mark'"):
        convert(tmp_path / "in", tmp_path / "out", void=("marc",))
    assert not (tmp_path / "out").exists()
    convert(tmp_path / "in", tmp_path / "out", classes=("car", "sky", "road"), void=("mark",))
    wanted = {name: np.array([1, 2, 0, 255], dtype=np.uint8)[mask] for name, mask in made.items()}
    assert same(masks_of(tmp_path / "out"), wanted)


def test_labels_out_of_range(roads: Path, tmp_path: Path) -> None:
    names = tuple("abcdefghijk")
    message = r"scene_000_L\.png holds label 11 \(48 pixels, the first at x=4, y=21\), which is not a class \(classes are 0 to 10\)"
    with pytest.raises(DataError, match=message):
        convert(roads, tmp_path / "out", classes=names)
    assert convert(roads, tmp_path / "out", classes=names, void=("11",)).classes == names


def test_gray_levels_and_binary_masks_are_not_guessed_at(tmp_path: Path) -> None:
    for folder, levels in (("gray", [0, 38, 75, 113]), ("binary", [0, 255, 255, 255]), ("void", [255] * 4)):
        made = scenes(3)
        put_images(tmp_path / folder / "images", made)
        for name, mask in made.items():
            put(tmp_path / folder / "masks" / f"{name}.png", np.array(levels, dtype=np.uint8)[mask])
    with pytest.raises(DataError, match=r"have 4 labels up to 113 \(0, 38, 75, 113\), which are not consecutive class ids"):
        convert(tmp_path / "gray", tmp_path / "out")
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(tmp_path / "binary", tmp_path / "out")
    with pytest.raises(DataError, match=r"every mask of .* is void"):
        convert(tmp_path / "void", tmp_path / "out")
    table = put(tmp_path / "table.csv", "background,0,0,0\nthing,255,255,255\n")
    assert convert(tmp_path / "binary", tmp_path / "out", colors=table).classes == ("background", "thing")


def test_binary_masks_are_not_guessed_at_when_classes_are_named(tmp_path: Path) -> None:
    made = {name: np.where(mask > 0, 255, 0).astype(np.uint8) for name, mask in scenes().items()}
    with pytest.raises(DataError, match="hold 0 and 255 only"):
        convert(in_folders(tmp_path / "in", made), tmp_path / "out", classes=("background", "car"))
    assert not (tmp_path / "out").exists()
