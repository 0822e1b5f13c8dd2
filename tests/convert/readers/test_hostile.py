"""Annotation files in which any value is replaced by any other give a data set or one line, never a Python exception."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from convert.readers.test_every_object import COCO, FORMATS, base64_of, square
from convert.scenes import HEIGHT, WIDTH, photo, put
from vocseg.convert import convert
from vocseg.convert.detect import find_source
from vocseg.errors import DataError, VocsegError

Edit = Callable[[Any], Any]


def huge_png() -> str:
    """A PNG of 30,000 x 30,000 pixels in 110 kB."""
    file = io.BytesIO()
    Image.new("1", (30_000, 30_000)).save(file, "PNG")
    return base64_of(file.getvalue())


HOSTILE = [
    None, True, 0, -1, 1, 77, 0.5, 10**30, 10**400, 1e308, float("nan"), float("inf"), -float("inf"), "", "x", "1", "\ud800",
    "http://[::bad/x", "a\x00b", "../../../etc/passwd", "A" * 10_000, [], [[]], [[[]]], [None], [1], [1, 2, 3], ["x"], [{}],
    [[1, 2, 3]], [10**30], [[10**400] * 6], list(range(1000)), {}, {"x": 1}, {"size": [HEIGHT, WIDTH], "counts": [10**30]},
    {"size": [10**9, 10**9], "counts": [10**18]},
]  # fmt: skip


def places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    for key in node if isinstance(node, dict) else range(min(len(node), 30)) if isinstance(node, list) else ():
        yield from places(node[key], (*path, key))


def replaced(node: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = node.copy()
    copy[path[0]] = replaced(node[path[0]], path[1:], value) if path[1:] else value
    return copy


def write(kind: str, root: Path) -> Path:
    """Write every shape of a format, and return a file with many of them."""
    shapes, put_objects = FORMATS[kind]
    for number, name in enumerate(("p0", "p1") if kind != "supervisely" else ()):
        put(root / f"{name}.jpg", photo(number))
    put_objects(root, [(cell % 2, shape(*square(cell))) for cell, shape in enumerate(shapes.values())])
    names = {"coco": "a.json", "labelme": "p0.json", "supervisely": "data/ann/p0.json", "label-studio": "export.json"}
    return root / names[kind]


@pytest.mark.parametrize("kind", FORMATS)
def test_any_value_in_any_place(tmp_path: Path, kind: str) -> None:
    file = write(kind, tmp_path)
    content = json.loads(file.read_text())
    where = sorted(places(content), key=str)

    @given(st.lists(st.tuples(st.sampled_from(where), st.sampled_from(HOSTILE)), min_size=1, max_size=2))
    @settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.nested_given])
    def check(edits: list[tuple[tuple[Any, ...], Any]]) -> None:
        changed = content
        for path, value in edits:
            try:
                changed = replaced(changed, path, value)
            except (AttributeError, LookupError, TypeError):  # the first edit removed the place of the second
                continue
        put(file, json.dumps(changed))
        try:
            source = find_source(tmp_path, kind)
            for item in source.items:
                if item.size in (None, (HEIGHT, WIDTH)):
                    lost: list = []
                    assert source.mask(item, lost).shape == (HEIGHT, WIDTH)
                    assert len(lost) <= len(item.objects)
        except VocsegError:
            pass

    check()


def edit(file: Path, *path: Any, to: Any) -> None:
    put(file, json.dumps(replaced(json.loads(file.read_text()), path, to)))


ONE = {"coco": "flat", "labelme": "polygon", "supervisely": "polygon", "label-studio": "polygon"}
HUGE = huge_png()
MASK = {"label": "car", "shape_type": "mask"}
BITMAP = {"origin": [0, 0], "data": base64_of(zlib.compress(b"\0" * 10_000_000))}


@pytest.mark.parametrize(
    ("kind", "path", "value", "message"),
    [
        ("coco", ("images", 0, "height"), float("inf"), "image 0 lacks a valid id, file_name, height or width"),
        ("coco", ("images", 0, "height"), 10**9, "is 24x32 but its mask .* is 1000000000x32"),
        ("coco", ("images", 0, "width"), 0, "is 24x32 but its mask .* is 24x0"),
        ("coco", ("categories", 0, "id"), float("inf"), "category without id or name"),
        ("coco", ("categories", 0, "name"), "c\ud800", "class name in .* is not valid Unicode"),
        ("coco", ("categories", 0, "name"), ["car"], "category without id or name"),
        ("coco", ("annotations", 0), 5, "annotation '5' is not an object"),
        ("coco", ("annotations", 0, "segments_info"), [], "panoptic format, which is not supported"),
        ("coco", ("annotations", 0, "segmentation"), {"size": [24, 32], "counts": [10**30]}, r"lengths add up to 10{30} pixels"),
        ("coco", ("annotations", 0, "segmentation"), {"size": [24, 32], "counts": [1.5, 766.5]}, "not whole numbers"),
        ("coco", ("annotations", 0, "segmentation"), {"size": [24, 32], "counts": "o" * 10**6}, "more than 64 bits"),
        ("coco", ("annotations", 0, "segmentation"), [[10**400] * 6], r"OverflowError: .* \(object id 0\)"),
        ("coco", ("annotations", 0, "segmentation"), [[1e308] * 6], "all objects .* are skipped: .* no numbers or too large"),
        ("coco", ("annotations", 0, "segmentation"), [[[1, 2, 2], [9, 2, 2], [9, 9, 2], [1, 9, 2]]], "corners of 3 numbers"),
        ("coco", ("annotations", 0, "segmentation"), [[1, 2, 3, 4, 5, 6, 7]], r"cannot read an object of p0\.jpg in .*a\.json"),
        ("coco", ("annotations",), [], "has no annotations"),
        ("labelme", ("imageHeight",), float("inf"), r"cannot read .*p0\.json as a LabelMe file: OverflowError"),
        ("labelme", ("shapes", 0), MASK | {"points": []}, r"cannot read an object of p0\.jpg"),
        ("labelme", ("shapes", 0), MASK | {"points": [[0, 0]], "mask": HUGE}, "larger than the image|bomb|megapixels"),
        ("supervisely", ("objects", 0, "classTitle"), ["car"], r"the class name \"\['car'\]\" is not text"),
        ("supervisely", ("objects", 0), {"classTitle": "car", "bitmap": BITMAP | {"origin": [float("inf"), 0]}}, "OverflowError"),
        ("supervisely", ("objects", 0), {"classTitle": "car", "bitmap": BITMAP}, "inflates to more than"),
        ("label-studio", (0, "annotations", 0, "result", 0, "original_height"), float("inf"), "task 0: OverflowError"),
        ("label-studio", (0, "annotations", 0, "result", 0, "value"), 5, "export.json, task 0"),
        ("label-studio", (0, "annotations", 0, "result"), 5, "export.json, task 0"),
        ("label-studio", (0, "annotations", 0), 5, "export.json, task 0"),
        ("label-studio", (0, "data"), 5, "export.json, task 0"),
        ("label-studio", (0, "data", "image"), "http://[::bad/x", "export.json, task 0: ValueError"),
        ("label-studio", (0, "annotations", 0, "result", 0, "value", "polygonlabels"), 5, "export.json, task 0: TypeError"),
        ("label-studio", (0, "annotations", 0, "result", 0, "value", "points", 0, 0), 533, "coordinate 533 is no percentage"),
    ],
)  # fmt: skip
def test_malformed_files_are_named(tmp_path: Path, kind: str, path: tuple[Any, ...], value: Any, message: str) -> None:
    root = tmp_path / "in"
    file = write(kind, root)
    shape = FORMATS[kind][0][ONE[kind]]
    FORMATS[kind][1](root, [(0, shape(*square(0))), (1, shape(*square(0)))])
    edit(file, *path, to=value)
    with pytest.raises(DataError, match=message):
        convert(root, tmp_path / "out", kind=kind)
    assert [path.name for path in tmp_path.iterdir()] == ["in"]


@pytest.mark.parametrize("kind", ["coco", "labelme", "label-studio"])
def test_endless_nesting(tmp_path: Path, kind: str) -> None:
    file = write(kind, tmp_path / "in")
    opening = {"coco": '{"images": ', "labelme": '{"shapes": ', "label-studio": '[{"annotations": '}[kind]
    file.write_text(opening + "[" * 200_000)
    with pytest.raises(DataError, match=file.name):
        convert(tmp_path / "in", tmp_path / "out")


def test_image_names_that_are_not_unicode(tmp_path: Path) -> None:
    put(tmp_path / "in" / "masks" / "a.png", np.zeros((HEIGHT, WIDTH), dtype=np.uint8))
    put(tmp_path / "in" / "images" / "a.jpg", photo(0))
    for folder, suffix in (("images", "jpg"), ("masks", "png")):
        path = tmp_path / "in" / folder / f"a.{suffix}"
        os.rename(path, os.fsencode(path.parent) + b"/caf\xe9." + suffix.encode())
    with pytest.raises(DataError, match=r"image name 'caf\\udce9' is not valid Unicode"):
        convert(tmp_path / "in", tmp_path / "out")


def test_fifos_and_loops_of_links(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write("coco", root)
    os.mkfifo(root / "x.json")
    os.mkfifo(root / "p9.jpg")
    os.symlink("/dev/zero", root / "y.json")
    os.symlink(root, root / "loop")
    os.symlink("..", root / "up")
    report = convert(root, tmp_path / "out", allow_skipped=True)
    assert (report.kind, report.images) == ("coco", 2)


def test_links_that_lead_outside(tmp_path: Path) -> None:
    root = tmp_path / "in"
    write("labelme", root)
    secret = (root / "p0.jpg").rename(tmp_path / "secret.jpg")
    os.symlink(secret, root / "p0.jpg")
    with pytest.raises(DataError, match=r"p0\.jpg, which is .*secret\.jpg, is outside of .*in; --allow-outside reads it"):
        convert(root, tmp_path / "out", allow_skipped=True)
    assert convert(root, tmp_path / "out", allow_skipped=True, allow_outside=True).images == 2


def test_two_names_of_one_image_and_one_name_of_two(tmp_path: Path) -> None:
    shape = COCO["flat"](*square(0))
    file = write("coco", tmp_path / "in")
    FORMATS["coco"][1](tmp_path / "in", [(0, shape), (1, shape)])
    content = json.loads(file.read_text())
    edit(file, "images", 1, "id", to="0")
    with pytest.raises(DataError, match=r"a\.json gives the id 0 to two images, 'p0\.jpg' and 'p1\.jpg'"):
        convert(tmp_path / "in", tmp_path / "out")
    put(file, content | {"categories": [{"id": 1, "name": "car"}, {"id": "1", "name": "dog"}]})
    with pytest.raises(DataError, match=r"a\.json gives the id 1 to two categories, 'car' and 'dog'"):
        convert(tmp_path / "in", tmp_path / "out")
    put(file, content)
    edit(file, "images", 1, "file_name", to="other/p0.jpg")
    with pytest.raises(DataError, match=r"lists 'p0\.jpg' and 'other/p0\.jpg', but only .*p0\.jpg exists"):
        convert(tmp_path / "in", tmp_path / "out")
    put(file, content)
    put(tmp_path / "in" / "x" / "p0.jpg", photo(3))
    (tmp_path / "in" / "p0.jpg").rename(put(tmp_path / "in" / "y" / "p0.jpg", photo(3)))
    with pytest.raises(DataError, match=r"image 'p0\.jpg' of .*a\.json may be .*[xy]/p0\.jpg or .*[xy]/p0\.jpg; set --images"):
        convert(tmp_path / "in", tmp_path / "out")
