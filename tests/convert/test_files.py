"""Formats of JSON files, splits of paths, and images found by the names that annotation files use."""

from __future__ import annotations

from pathlib import Path

import pytest

from convert.scenes import photo, put
from vocseg.convert.files import ImageFinder, json_kind, split_of_path


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"shapes": [], "imagePath": "a.jpg"}', "labelme"),
        (' {"images": [], "annotations": [], "categories": []}', "coco"),
        ('[{"id": 1, "annotations": []}]', "label-studio"),
        ('[{"id": 1, "completions": []}]', "label-studio"),
        ('{"what": 1}', None),
        ('["annotations"', "label-studio"),
        ("", None),
    ],
)
def test_json_kind(tmp_path: Path, text: str, kind: str | None) -> None:
    assert json_kind(put(tmp_path / "a.json", text)) == kind


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("train/_annotations_valid.json", "val"),
        ("val/images", "val"),
        ("training", "train"),
        ("trainaug", None),
        ("images", None),
    ],
)
def test_split_of_path(path: str, split: str | None) -> None:
    assert split_of_path(Path(path)) == split


def test_image_finder_prefers_the_same_folders(tmp_path: Path) -> None:
    one, other = put(tmp_path / "a" / "x" / "1.jpg", photo(0)), put(tmp_path / "b" / "x" / "1.jpg", photo(1))
    finder = ImageFinder(tmp_path)
    assert finder.find("b\\x\\1.jpg") == other
    assert finder.find("1.jpg", near=tmp_path / "a" / "1.json") == one
    assert finder.find("1.jpg", near=tmp_path / "b" / "1.json") == other
    assert finder.find("2.jpg") is None
    assert finder.find("") is None
