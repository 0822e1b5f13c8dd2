"""YOLO's polygons, made here, must give the masks that they were made of."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.scenes import masks_of, photo, put, same, scenes
from vocseg.convert import convert
from vocseg.errors import DataError


def test_yolo_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    """Folders train and valid, paths that lead one folder too far up, names as a list, gaps and overlaps."""
    made = scenes(5, 1)
    for number, name in enumerate(made):
        folder = tmp_path / "in" / ("train" if number < 3 else "valid")
        put(folder / "images" / f"{name}.jpg", photo(number))
        if number:  # the first has no text file: background only
            lines = "1 0 0 1 0 1 1 0 1\n0 0.25 0.25 0.5 0.25 0.5 0.5 0.25 0.5\n1 0.5 0.5 0.1 0.1\n\n"
            put(folder / "labels" / f"{name}.txt", lines)
            made[name][:] = 2
            made[name][6:12, 8:16] = 1  # the smaller is on top
    content = "train: ../train/images\nval: ../valid/images\ntest: ../test/images\nnc: 2\nnames: ['cat', 'dog']\n"
    put(tmp_path / "in" / "data.yaml", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert same(masks_of(tmp_path / "out"), made)
    assert report.classes == ("background", "cat", "dog")
    assert report.splits == {"train": 3, "val": 2}
    notes = "\n".join(report.notes)
    assert "skipped: 4 boxes" in notes
    assert "1 image without a text file" in notes
    assert "in/test/images" in notes


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("7 0 0 1 0 1 1", r"a.txt, line 1: class 7 is not one of the classes 0 to 1"),
        ("cat 0 0 1 0 1 1", r"a.txt, line 1: 'cat 0 0"),
        ("0 0 0 1 0 1", r"a.txt, line 1: 5 numbers are not a polygon"),
        ("0 0 0 1 0 nan 1", r"a.txt, line 1: 6 numbers are not a polygon"),
        ("0 0.5 0.5 0.1 0.1", r"only boxes for detection \(1\)"),
    ],
)
def test_broken_yolo(tmp_path: Path, line: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "labels" / "a.txt", line)
    put(tmp_path / "in" / "data.yaml", "names: [cat, dog]\n")
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("names: [cat\n", "not valid YAML"),
        ("names: {0: cat, 2: dog}\n", "neither a list of classes"),
        ("names:\n", "neither a list of classes"),
        ("names: [cat]\ntrain: far.txt\n", "far.txt"),
    ],
)
def test_broken_yolo_yaml(tmp_path: Path, content: str, message: str) -> None:
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    put(tmp_path / "in" / "data.yaml", content)
    with pytest.raises(DataError, match=message):
        convert(tmp_path / "in" / "data.yaml", tmp_path / "out")


def test_same_names_in_folders_outside_of_the_yaml_files(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        put(tmp_path / "data" / split / "images" / "a.jpg", photo(number))
        put(tmp_path / "data" / split / "labels" / "a.txt", "0 0 0 1 0 1 1 0 1")
    put(tmp_path / "in" / "data.yaml", "path: ../data\ntrain: train/images\nval: val/images\nnames: [cat]\n")
    with pytest.raises(DataError, match=r"a\.jpg, which is .*, is outside of .*in; --allow-outside reads it"):
        convert(tmp_path / "in", tmp_path / "out")
    convert(tmp_path / "in", tmp_path / "out", allow_outside=True)
    assert list(masks_of(tmp_path / "out")) == ["data_train_images_a", "data_val_images_a"]
