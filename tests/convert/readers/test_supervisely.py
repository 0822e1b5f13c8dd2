"""Supervisely's projects, made here, must give the masks that they were made of."""

from __future__ import annotations

import base64
import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.scenes import HEIGHT, WIDTH, Scenes, masks_of, photo, put, same, whole
from vocseg.convert import convert
from vocseg.errors import DataError


def test_supervisely(tmp_path: Path) -> None:
    put(tmp_path / "in" / "meta.json", {"classes": [{"title": "road"}, {"title": "car"}, {"title": "bird"}], "tags": []})
    wanted: Scenes = {}
    for number in range(4):
        split, name = ("train", "val")[number % 2], f"p{number}"
        put(tmp_path / "in" / split / "img" / f"{name}.jpg", photo(number))
        stamp = np.zeros((5, 6), dtype=bool)
        stamp[1:4, 2:5] = True
        objects = [
            {
                "classTitle": "road",
                "geometryType": "polygon",
                "points": {"exterior": [[2, 10], [29, 10], [29, 21], [2, 21]], "interior": [[[5, 12], [8, 12], [8, 15], [5, 15]]]},
            },
            {"classTitle": "car", "geometryType": "rectangle", "points": {"exterior": [[10, 12], [14, 17]], "interior": []}},
            {"classTitle": "bird", "geometryType": "bitmap", "bitmap": {"origin": [20, 1], "data": supervisely_bitmap(stamp)}},
            {"classTitle": "car", "geometryType": "line", "points": {"exterior": [[0, 0], [9, 9]], "interior": []}},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[10:22, 2:30] = 1  # corners are pixels
        mask[12:16, 5:9] = 0
        mask[12:18, 10:15] = 2
        mask[1:6, 20:26][stamp] = 3
        wanted[name] = mask
        put(
            tmp_path / "in" / split / "ann" / f"{name}.jpg.json",
            {"size": {"height": HEIGHT, "width": WIDTH}, "objects": objects},
        )
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "supervisely"
    assert report.classes == ("background", "road", "car", "bird")
    assert report.splits == {"train": 2, "val": 2}
    assert any("4 objects of other types than bitmap, polygon and rectangle (such as line)" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), wanted)
    put(tmp_path / "in" / "meta.json", {"classes": [{"title": "road"}]})
    with pytest.raises(DataError, match=r"p0\.jpg\.json has an object of class 'car', which is not in meta.json"):
        convert(tmp_path / "in", tmp_path / "out2")


def supervisely_bitmap(stamp: np.ndarray) -> str:
    """As the format's documentation does it: a palette PNG with transparent 0, compressed."""
    image = Image.fromarray(stamp.astype(np.uint8))
    image.putpalette([0, 0, 0, 255, 255, 255])
    file = io.BytesIO()
    image.save(file, format="PNG", transparency=0, optimize=0)
    return base64.b64encode(zlib.compress(file.getvalue())).decode()


def test_supervisely_documented_bitmap() -> None:
    from vocseg.convert.readers.tools import _supervisely_region

    data = "eJzrDPBz5+WS4mJgYOD19HAJAtLMIMwIInOeqf8BUmwBPiGuQPr///9Lb86/C2QxlgT5BTM4PLuRBuTwebo4hlTMSa44cOHAB6DqY0yORgq8YkAZBk9XP5d1TglNANAFGzA="  # noqa: E501
    figure = {"geometryType": "bitmap", "bitmap": {"data": data, "origin": [1, 2]}}
    wanted = np.zeros((6, 5), dtype=bool)
    wanted[2:5, 1:4] = [[1, 1, 1], [1, 0, 0], [1, 1, 1]]
    assert np.array_equal(whole(_supervisely_region(figure, 6, 5), 6, 5), wanted)


def test_classes_of_other_writers(tmp_path: Path) -> None:
    """Numbers and blanks around titles, ids in their place, the type of neither the figure nor the class; a hole of a pixel."""
    put(tmp_path / "in" / "meta.json", {"classes": [{"title": "car ", "id": 7, "shape": "any"}, {"title": 1}]})
    points = {"exterior": [[0, 0], [9, 0], [9, 9], [0, 9]], "interior": [[[4, 4]]]}
    for number, figure in enumerate(({"classTitle": "car"}, {"classId": 7}, {"classTitle": "1"})):
        put(tmp_path / "in" / "ds" / "img" / f"p{number}.jpg", photo(number))
        content = {"size": {"height": HEIGHT, "width": WIDTH}, "objects": [figure | {"points": points}]}
        put(tmp_path / "in" / "ds" / "ann" / f"p{number}.json", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.classes == ("background", "car", "1")
    assert [[int((mask == label).sum()) for label in (1, 2)] for mask in masks_of(tmp_path / "out").values()] == [
        [99, 0], [99, 0], [0, 99],
    ]  # fmt: skip
