"""LabelMe's files, made here, must give the masks that they were made of."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from convert.scenes import HEIGHT, WIDTH, Scenes, masks_of, photo, put, same
from vocseg.convert import convert
from vocseg.errors import DataError


@pytest.mark.parametrize("embedded", [False, True])
def test_labelme(tmp_path: Path, embedded: bool) -> None:
    wanted: Scenes = {}
    for number in range(4):
        name = f"p{number}"
        image = photo(number)
        stamp = np.zeros((4, 5), dtype=np.uint8)
        stamp[1:] = 255
        shapes = [
            {"label": "road", "shape_type": "polygon", "points": [[0, 10], [32, 10], [32, 24], [0, 24]]},
            {"label": "car", "shape_type": "rectangle", "points": [[20, 18], [10, 12]]},
            {"label": "_background_", "points": [[11, 13], [13, 13], [13, 15], [11, 15]]},
            {"label": "sun", "shape_type": "circle", "points": [[5, 5], [5, 8]]},
            {"label": "car", "shape_type": "mask", "points": [[25, 2], [29, 5]], "mask": png64(stamp)},
            {"label": "car", "shape_type": "point", "points": [[1, 1]]},
        ]
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        mask[10:] = 2
        mask[12:19, 10:21] = 1  # corners are pixels
        mask[13:16, 11:14] = 0
        y, x = np.mgrid[:HEIGHT, :WIDTH]
        mask[(x - 5) ** 2 + (y - 5) ** 2 <= 3.2**2] = 3  # as Pillow draws a circle of radius 3
        mask[3:6, 25:30] = 1
        wanted[name] = mask
        if not embedded:
            put(tmp_path / "in" / f"{name}.jpg", image)
        data = base64.b64encode(buffer(image, "JPEG")).decode() if embedded else None
        content = {"version": "5.5.0", "shapes": shapes, "imagePath": f"..\\in\\{name}.jpg", "imageData": data}
        put(tmp_path / "in" / f"{name}.json", content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.kind == "labelme"
    assert report.classes == ("background", "car", "road", "sun")
    assert any("4 shapes that enclose no pixels" in note for note in report.notes)
    assert same(masks_of(tmp_path / "out"), wanted)


def png64(pixels: np.ndarray) -> str:
    return base64.b64encode(buffer(Image.fromarray(pixels), "PNG")).decode()


def buffer(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def test_broken_labelme(tmp_path: Path) -> None:
    shape = {"label": "car", "shape_type": "polygon", "points": [[0, 0], [9, 0], [9, 9]]}
    content = {"shapes": [shape], "imagePath": "a.jpg", "imageHeight": HEIGHT, "imageWidth": WIDTH}
    put(tmp_path / "in" / "b.json", content)
    with pytest.raises(DataError, match=r"no LabelMe file below .* has its image \(such as .*b\.json"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"imageData": "????"})
    with pytest.raises(DataError, match=r"cannot read the image inside .*b\.json"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "a.jpg", photo(0))
    put(tmp_path / "in" / "b.json", content | {"shapes": [{"label": "car", "points": [["x", 1]]}]})
    with pytest.raises(DataError, match=r"cannot read an object of a\.jpg in .*b\.json: ValueError"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"shapes": [{"points": []}]})
    with pytest.raises(DataError, match=r"b\.json has a shape without label or points"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"imageHeight": 3})
    with pytest.raises(DataError, match=r"a\.jpg is 24x32 but its mask .*b\.json is 3x32"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", '{"shapes": [')
    with pytest.raises(DataError, match=r"cannot read .*b\.json"):
        convert(tmp_path / "in", tmp_path / "out")
