"""Images are copied as they are, errors name the file, and no failure leaves half a data set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import vocseg
from convert.scenes import in_folders, photo, put, scenes
from vocseg import voc
from vocseg.convert import convert
from vocseg.errors import DataError, OutputError, SettingError


def test_images_are_copied_byte_for_byte(tmp_path: Path) -> None:
    made = scenes(3)
    for number, (name, mask) in enumerate(made.items()):
        put(tmp_path / "in" / "images" / f"{name}.{('JPG', 'png', 'bmp')[number]}", photo(number))
        put(tmp_path / "in" / "masks" / f"{name}.png", mask)
    convert(tmp_path / "in", tmp_path / "out")
    for name, suffix in (("scene_000", "JPG"), ("scene_001", "png")):
        source = tmp_path / "in" / "images" / f"{name}.{suffix}"
        assert (tmp_path / "out" / voc.IMAGES / f"{name}.{suffix.lower()}").read_bytes() == source.read_bytes()
    with Image.open(tmp_path / "out" / voc.IMAGES / "scene_002.png") as image:
        assert np.array_equal(np.array(image), np.array(photo(2)))


def test_sizes_and_unreadable_files(roads: Path, tmp_path: Path) -> None:
    mask = roads / "labels" / "scene_003_L.png"
    content = mask.read_bytes()
    put(mask, np.zeros((5, 5), dtype=np.uint8))
    with pytest.raises(DataError, match=r"scene_003\.jpg is 24x32 but its mask .*scene_003_L\.png is 5x5"):
        convert(roads, tmp_path / "out")
    mask.write_bytes(content[:60])
    with pytest.raises(DataError, match=r"cannot decode mask .*scene_003_L\.png"):
        convert(roads, tmp_path / "out")
    mask.write_bytes(content)
    shot = roads / "frames" / "scene_004.jpg"
    shot.write_bytes(shot.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"scene_004\.jpg"):
        convert(roads, tmp_path / "out")
    shot.unlink()
    report = convert(roads, tmp_path / "out")
    assert report.images == 9
    assert any("1 mask of" in note and "without an image (scene_004_L.png)" in note for note in report.notes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "roads"]


def test_an_interrupted_conversion_leaves_nothing(roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vocseg.convert import writers

    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(writers, "_write_lines", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(roads, tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["roads"]


def test_out_must_be_new_or_empty(roads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "out" / "mine.txt", "precious")
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match=r"^out is not an empty folder"):
        convert(roads, "out")
    assert (tmp_path / "out" / "mine.txt").read_text() == "precious"
    with pytest.raises(OutputError, match="is not an empty folder"):
        convert(roads, tmp_path / "out" / "mine.txt")
    (tmp_path / "empty").mkdir()
    convert(roads, tmp_path / "empty")
    with pytest.raises(OutputError):
        convert(roads, roads)


def test_out_inside_the_source_is_refused(tmp_path: Path) -> None:
    root = in_folders(tmp_path / "in", scenes())
    with pytest.raises(OutputError, match="is inside"):
        convert(root, root / "out")


def test_public_call_takes_what_users_have(roads: Path, tmp_path: Path) -> None:
    """Strings for paths, sequences for lists, numbers for labels and fractions."""
    names = [f"class {number}" for number in range(11)]
    report = vocseg.convert(str(roads), str(tmp_path / "out"), classes=names, void=[11], splits=(0.5, 0.5))
    assert report.classes == tuple(names)
    assert report.splits == {"train": 5, "val": 5}
    assert report.to_dict()["void"] == report.void == pytest.approx(48 / (24 * 32))
    assert report.lines()[-1] == "splits: train 5, val 5"
    with pytest.raises(SettingError, match="to must be 'voc' or 'coco' or 'yolo' or 'labelme', not 'tfds'"):
        vocseg.convert(roads, tmp_path / "other", to="tfds")
    with pytest.raises(SettingError, match="segments must be 'rle' or 'polygons', not 'polygon'; did you mean 'polygons'"):
        vocseg.convert(roads, tmp_path / "other", to="coco", segments="polygon")
    with pytest.raises(SettingError, match="unknown source format 'tfds'; choose auto or one of folders, camvid"):
        vocseg.convert(roads, tmp_path / "other", kind="tfds")
    with pytest.raises(SettingError, match="classes names 'a' twice"):
        vocseg.convert(roads, tmp_path / "other", classes=["a", "a"])
