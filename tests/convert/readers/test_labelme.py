"""LabelMe's files, made here, must give the masks that they were made of."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from convert.scenes import HEIGHT, WIDTH, Scenes, masks_of, photo, put, same, whole
from vocseg.convert import convert
from vocseg.convert.readers.tools import _labelme_region
from vocseg.convert.regions import NotDrawn
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
    with pytest.raises(DataError, match=r"cannot read .*b\.json as a LabelMe file: .* \(a shape without label or points\)"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", content | {"imageHeight": 3})
    with pytest.raises(DataError, match=r"a\.jpg is 24x32 but its mask .*b\.json is 3x32"):
        convert(tmp_path / "in", tmp_path / "out")
    put(tmp_path / "in" / "b.json", '{"shapes": [')
    with pytest.raises(DataError, match=r"b\.json is not JSON: "):
        convert(tmp_path / "in", tmp_path / "out")


@given(
    st.lists(st.tuples(st.floats(-40, 60), st.floats(-40, 60)), min_size=2, max_size=9),
    st.sampled_from(["polygon", "rectangle", "circle"]),
)
def test_shapes_are_drawn_as_pillow_does_on_the_whole_image(points: list[tuple[float, float]], kind: str) -> None:
    """LabelMe makes its masks so (``shape_to_mask``); ours are drawn in the shape's box only."""
    canvas = Image.new("1", (WIDTH, HEIGHT))
    pen = ImageDraw.Draw(canvas)
    if kind == "polygon":
        points = [*points, points[0]]
        pen.polygon(points, fill=1, outline=1)
    elif kind == "rectangle":
        points = points[:2]
        pen.rectangle([*np.min(points, axis=0), *np.max(points, axis=0)], fill=1, outline=1)
    else:
        (x, y), edge = points[:2]
        points, radius = points[:2], float(np.hypot(x - edge[0], y - edge[1]))
        pen.ellipse([x - radius, y - radius, x + radius, y + radius], fill=1, outline=1)
    try:
        region = _labelme_region({"shape_type": kind, "points": points}, HEIGHT, WIDTH)
    except NotDrawn as skip:  # all coordinates from 0 to 1
        assert "shares" in str(skip)  # noqa: PT017
    else:
        assert np.array_equal(whole(region, HEIGHT, WIDTH), np.asarray(canvas))


@pytest.mark.parametrize("kind", ["polygon", "rectangle"])
def test_a_shape_from_corner_to_corner_covers_the_image(tmp_path: Path, kind: str) -> None:
    """LabelMe 4 and 5 let no corner go beyond x = width - 1, y = height - 1: a corner is a pixel."""
    right, bottom = WIDTH - 1, HEIGHT - 1
    points = [[0, 0], [right, 0], [right, bottom], [0, bottom]] if kind == "polygon" else [[0, 0], [right, bottom]]
    for name in ("a", "b"):
        put(tmp_path / "in" / f"{name}.jpg", photo(0))
        content = {"shapes": [{"label": "road", "shape_type": kind, "points": points}], "imagePath": f"{name}.jpg"}
        put(tmp_path / "in" / f"{name}.json", content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
    assert convert(tmp_path / "in", tmp_path / "out").classes == ("road",)


def test_ignored_shapes_are_void(tmp_path: Path) -> None:
    for name in ("a", "b"):
        put(tmp_path / "in" / f"{name}.jpg", photo(0))
        shapes = [{"label": label, "points": [[x, 3], [x + 5, 3], [x + 5, 9]]} for label, x in (("cat", 2), ("__ignore__", 20))]
        content = {"flags": {}, "imageData": "x" * 70_000, "imagePath": f"{name}.jpg", "shapes": shapes}  # shapes after 64 KiB
        put(tmp_path / "in" / f"{name}.json", content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
    report = convert(tmp_path / "in", tmp_path / "out")
    assert (report.kind, report.classes) == ("labelme", ("background", "cat"))
    assert all((mask[3:10, 20:26] == 255).any() for mask in masks_of(tmp_path / "out").values())


def test_two_files_of_one_image(tmp_path: Path) -> None:
    put(tmp_path / "in" / "a.jpg", photo(0))
    content = {"shapes": [{"label": "cat", "points": [[0, 0], [9, 0], [9, 9]]}], "imagePath": "a.jpg"}
    for name in ("a", "a copy"):
        put(tmp_path / "in" / f"{name}.json", content | {"imageHeight": HEIGHT, "imageWidth": WIDTH})
    with pytest.raises(DataError, match=r"a copy\.json and .*a\.json annotate the same image .*a\.jpg; remove one of them"):
        convert(tmp_path / "in", tmp_path / "out")


@pytest.mark.parametrize("size", [{}, {"imageHeight": None, "imageWidth": None}])
def test_labels_and_sizes_of_other_writers(tmp_path: Path, size: dict[str, None]) -> None:
    """Numbers and blanks around labels, no size as in old versions; files of other tools are named."""
    for number, label in enumerate(("car", " car ", 1)):
        put(tmp_path / "in" / f"p{number}.jpg", photo(number))
        shape = {"label": label, "points": [[0, 0], [9, 0], [9, 9], [0, 9]]}
        put(tmp_path / "in" / f"p{number}.json", {"shapes": [shape], "imagePath": f"p{number}.jpg"} | size)
    put(tmp_path / "in" / "p3.json", "{}")
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.classes == ("background", "1", "car")
    assert report.skipped == {"JSON file that is not LabelMe's": 1}
    assert [int(mask.max()) for mask in masks_of(tmp_path / "out").values()] == [2, 2, 1]


def test_no_shapes_at_all(tmp_path: Path) -> None:
    for number in range(2):
        put(tmp_path / "in" / f"p{number}.jpg", photo(number))
        put(tmp_path / "in" / f"p{number}.json", {"shapes": [], "imageHeight": HEIGHT, "imageWidth": WIDTH})
    with pytest.raises(DataError, match="has no annotations; all images would be background"):
        convert(tmp_path / "in", tmp_path / "out")
