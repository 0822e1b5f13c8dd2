"""Every object of a source is drawn or counted by kind: objects in = drawn + skipped, for every reader of objects.

Each object has a cell of the image for itself, so that those that are drawn can be counted in the masks.
"""

from __future__ import annotations

import base64
import io
import json
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from convert.scenes import HEIGHT, WIDTH, masks_of, photo, put
from convert.test_rle import label_studio_rle
from vocseg.convert import ConvertReport, convert, rle
from vocseg.errors import DataError

CELL, ACROSS = 4, WIDTH // 4
IMAGES = ("p0", "p1")
Corners = list[list[float]]
Shape = Callable[[Corners, np.ndarray], Any]
"""Makes an object of the corners of a square, or of its pixels."""


def square(cell: int) -> tuple[Corners, np.ndarray]:
    left, top = cell % ACROSS * CELL, cell // ACROSS * CELL
    pixels = np.zeros((HEIGHT, WIDTH), dtype=bool)
    pixels[top : top + 3, left : left + 3] = True
    return [[left, top], [left + 3, top], [left + 3, top + 3], [left, top + 3]], pixels


def flat(corners: Corners) -> list[float]:
    return [part for corner in corners for part in corner]


def png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8) * 255).save(file, "PNG")
    return file.getvalue()


def base64_of(data: bytes) -> str:
    return base64.b64encode(data).decode()


COCO: dict[str, Shape] = {
    "flat": lambda c, p: {"segmentation": [flat(c)]},
    "pairs": lambda c, p: {"segmentation": [c]},
    "bare pairs": lambda c, p: {"segmentation": c},
    "bare flat": lambda c, p: {"segmentation": flat(c)},
    "text": lambda c, p: {"segmentation": [[str(part) for part in flat(c)]]},
    "two rings": lambda c, p: {"segmentation": [flat(c[:3]), flat([c[0], *c[2:]])]},
    "packed": lambda c, p: {"segmentation": rle.encode(p)},
    "plain": lambda c, p: {"segmentation": {"size": [HEIGHT, WIDTH], "counts": rle.runs(p)}},
    "run lengths in a list": lambda c, p: {"segmentation": [rle.encode(p)]},
    "-box": lambda c, p: {"bbox": [*c[0], 3, 3]},
    "-box, empty": lambda c, p: {"bbox": [*c[0], 3, 3], "segmentation": []},
    "-box, one empty": lambda c, p: {"bbox": [*c[0], 3, 3], "segmentation": [[]]},
    "-nothing": lambda c, p: {"segmentation": None},
    "-key points": lambda c, p: {"segmentation": [], "keypoints": [*c[0], 2], "num_keypoints": 1},
    "-two corners": lambda c, p: {"segmentation": [flat(c[:2])]},
    "-two pairs": lambda c, p: {"segmentation": [c[:2]]},
    "-line": lambda c, p: {"segmentation": [flat([c[0], c[1], c[0]])]},
    "-NaN": lambda c, p: {"segmentation": [[float("nan"), *flat(c)[1:]]]},
    "-infinite": lambda c, p: {"segmentation": [[float("inf"), *flat(c)[1:]]]},
    "-outside": lambda c, p: {"segmentation": [[part + 99 for part in flat(c)]]},
    "-shares": lambda c, p: {"segmentation": [[part / 40 for part in flat(c)]]},
    "-no pixels": lambda c, p: {"segmentation": rle.encode(p & False)},
    "-of no image": lambda c, p: {"segmentation": [flat(c)], "image_id": 77},
    "-of a missing image": lambda c, p: {"segmentation": [flat(c)], "image_id": 3},
}
LABELME: dict[str, Shape] = {
    "polygon": lambda c, p: {"shape_type": "polygon", "points": c},
    "no type": lambda c, p: {"points": c},
    "rectangle": lambda c, p: {"shape_type": "rectangle", "points": [c[2], c[0]]},
    "oriented": lambda c, p: {"shape_type": "oriented_rectangle", "points": c},
    "circle": lambda c, p: {"shape_type": "circle", "points": [[c[0][0] + 1, c[0][1] + 1], [c[0][0] + 1, c[0][1]]]},
    "thin": lambda c, p: {"shape_type": "polygon", "points": [c[0], c[1], c[0]]},
    "mask": lambda c, p: {"shape_type": "mask", "points": [c[0], c[2]], "mask": base64_of(png(np.ones((4, 4))))},
    "-point": lambda c, p: {"shape_type": "point", "points": c[:1]},
    "-line": lambda c, p: {"shape_type": "line", "points": c[:2]},
    "-linestrip": lambda c, p: {"shape_type": "linestrip", "points": c},
    "-points": lambda c, p: {"shape_type": "points", "points": c},
    "-cuboid": lambda c, p: {"shape_type": "cuboid", "points": c},
    "-two corners": lambda c, p: {"shape_type": "polygon", "points": c[:2]},
    "-NaN": lambda c, p: {"shape_type": "polygon", "points": [[float("nan"), 1], *c]},
    "-outside": lambda c, p: {"shape_type": "rectangle", "points": [[90, 90], [95, 95]]},
    "-shares": lambda c, p: {"shape_type": "polygon", "points": (np.array(c) / 40).tolist()},
}
SUPERVISELY: dict[str, Shape] = {
    "polygon": lambda c, p: {"geometryType": "polygon", "points": {"exterior": c, "interior": []}},
    "old polygon": lambda c, p: {"bitmap": None, "points": {"exterior": c}},
    "rectangle": lambda c, p: {"geometryType": "rectangle", "points": {"exterior": [c[0], c[2]], "interior": []}},
    "bitmap": lambda c, p: {"geometryType": "bitmap", "bitmap": bitmap(c)},
    "old bitmap": lambda c, p: {"bitmap": bitmap(c)},
    "alpha mask": lambda c, p: {"geometryType": "alpha_mask", "bitmap": bitmap(c)},
    "-line": lambda c, p: {"geometryType": "line", "points": {"exterior": c, "interior": []}},
    "-point": lambda c, p: {"geometryType": "point", "points": {"exterior": c[:1], "interior": []}},
    "-graph": lambda c, p: {"geometryType": "graph", "nodes": {}},
    "-cuboid": lambda c, p: {"geometryType": "cuboid", "points": c},
    "-two corners": lambda c, p: {"geometryType": "polygon", "points": {"exterior": c[:2], "interior": []}},
    "-NaN": lambda c, p: {"geometryType": "polygon", "points": {"exterior": [[float("nan"), 1], *c]}},
    "-outside": lambda c, p: {"geometryType": "rectangle", "points": {"exterior": [[90, 90], [95, 95]]}},
}
LABEL_STUDIO: dict[str, Shape] = {
    "polygon": lambda c, p: {"type": "polygonlabels", "value": {"points": percent(c), "polygonlabels": ["car"]}},
    "rectangle": lambda c, p: {"type": "rectanglelabels", "value": box(c) | {"rectanglelabels": ["car"]}},
    "ellipse": lambda c, p: {"type": "ellipselabels", "value": oval(c) | {"ellipselabels": ["car"]}},
    "brush": lambda c, p: {"type": "brushlabels", "value": {"rle": label_studio_rle(p), "brushlabels": ["car"]}},
    "plain labels": lambda c, p: {"type": "labels", "value": {"points": percent(c), "labels": ["car"]}},
    "-key point": lambda c, p: {"type": "keypointlabels", "value": {"x": 9, "y": 9, "width": 1, "keypointlabels": ["car"]}},
    "-vector": lambda c, p: {"type": "vectorlabels", "value": {"vertices": [{"x": 1, "y": 2}], "vectorlabels": ["car"]}},
    "-bitmask": lambda c, p: {"type": "bitmasklabels", "value": {"imageDataURL": "data:,", "bitmasklabels": ["car"]}},
    "-no label": lambda c, p: {"type": "polygon", "value": {"points": percent(c)}},
    "-two corners": lambda c, p: {"type": "polygonlabels", "value": {"points": percent(c)[:2], "polygonlabels": ["car"]}},
    "-NaN": lambda c, p: {"type": "polygonlabels", "value": {"points": [[float("nan"), 1], *c], "polygonlabels": ["car"]}},
    "-choice": lambda c, p: {"type": "choices", "value": {"choices": ["day"]}},
    "-relation": lambda c, p: {"type": "relation", "from_id": "a", "to_id": "b"},
    "-rotated": lambda c, p: {"image_rotation": 90, "value": {"points": percent(c), "polygonlabels": ["car"]}},
    "-of another page": lambda c, p: {"item_index": 1, "value": {"points": percent(c), "polygonlabels": ["car"]}},
}


def bitmap(corners: Corners) -> dict[str, Any]:
    return {"origin": corners[0], "data": base64_of(zlib.compress(png(np.ones((3, 3)))))}


def percent(corners: Corners) -> Corners:
    return (np.array(corners) * 100 / (WIDTH, HEIGHT)).tolist()


def box(corners: Corners) -> dict[str, float]:
    (x, y), size = percent(corners)[0], percent([[3, 3]])[0]
    return {"x": x, "y": y, "width": size[0], "height": size[1], "rotation": 0}


def oval(corners: Corners) -> dict[str, float]:
    (x, y), radii = percent([[corners[0][0] + 1.5, corners[0][1] + 1.5]])[0], percent([[1.5, 1.5]])[0]
    return {"x": x, "y": y, "radiusX": radii[0], "radiusY": radii[1]}


def write_coco(root: Path, objects: list[tuple[int, Any]]) -> None:
    images = [{"id": n, "file_name": f"p{n}.jpg", "height": HEIGHT, "width": WIDTH} for n in (0, 1, 3)]
    annotations = [{"id": n, "image_id": image, "category_id": 1} | one for n, (image, one) in enumerate(objects)]
    put(root / "a.json", {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "car"}]})


def write_labelme(root: Path, objects: list[tuple[int, Any]]) -> None:
    for number, name in enumerate(IMAGES):
        shapes = [{"label": "car"} | one for image, one in objects if image == number]
        size = {"imageHeight": HEIGHT, "imageWidth": WIDTH, "imagePath": f"{name}.jpg"}
        put(root / f"{name}.json", {"version": "5.4.1", "shapes": shapes} | size)


def write_supervisely(root: Path, objects: list[tuple[int, Any]]) -> None:
    put(root / "meta.json", {"classes": [{"title": "car", "shape": "polygon"}]})
    for number, name in enumerate(IMAGES):
        put(root / "data" / "img" / f"{name}.jpg", photo(number))
        figures = [{"classTitle": "car"} | one for image, one in objects if image == number]
        put(root / "data" / "ann" / f"{name}.json", {"size": {"height": HEIGHT, "width": WIDTH}, "objects": figures})


def write_label_studio(root: Path, objects: list[tuple[int, Any]]) -> None:
    tasks = []
    for number, name in enumerate(IMAGES):
        size = {"original_height": HEIGHT, "original_width": WIDTH}
        results = [{"id": f"r{n}"} | size | one for n, (image, one) in enumerate(objects) if image == number]
        tasks.append({"id": number, "data": {"image": f"/data/upload/{name}.jpg"}, "annotations": [{"result": results}]})
    put(root / "export.json", tasks)


FORMATS: dict[str, tuple[dict[str, Shape], Callable[[Path, list[tuple[int, Any]]], None]]] = {
    "coco": (COCO, write_coco),
    "labelme": (LABELME, write_labelme),
    "supervisely": (SUPERVISELY, write_supervisely),
    "label-studio": (LABEL_STUDIO, write_label_studio),
}


def converted(kind: str, root: Path, chosen: list[tuple[int, str]], **options: Any) -> tuple[ConvertReport, int]:
    """Convert objects of the ``chosen`` images and shapes, and return the report and how many are drawn."""
    shapes, write = FORMATS[kind]
    for number, name in enumerate(IMAGES if kind != "supervisely" else ()):
        put(root / "in" / f"{name}.jpg", photo(number))
    write(root / "in", [(image, shapes[name](*square(cell))) for cell, (image, name) in enumerate(chosen)])
    report = convert(root / "in", root / "out", kind=kind, **options)
    car = report.classes.index("car") if "car" in report.classes else -1
    masks = [mask == car for mask in masks_of(root / "out").values()]
    cells = [mask.reshape(HEIGHT // CELL, CELL, ACROSS, CELL).any((1, 3)) for mask in masks]
    return report, int(sum(cell.sum() for cell in cells))


def skipped_objects(report: ConvertReport) -> int:
    return sum(count for kind, count in report.skipped.items() if not kind.startswith("annotated image"))


@pytest.mark.parametrize("kind", FORMATS)
@given(data=st.data())
@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_objects_are_drawn_or_counted(tmp_path_factory: pytest.TempPathFactory, kind: str, data: st.DataObject) -> None:
    names = sorted(FORMATS[kind][0])
    chosen = data.draw(st.lists(st.tuples(st.sampled_from([0, 1]), st.sampled_from(names)), min_size=1, max_size=20))
    drawn = [name for _, name in chosen if not name.startswith("-")]
    report, cells = converted(kind, tmp_path_factory.mktemp("t"), chosen, allow_skipped=True)
    assert cells == len(drawn)
    assert skipped_objects(report) == len(chosen) - len(drawn)
    assert sum(line.startswith("skipped: ") for line in report.lines()) == len(report.skipped)


@pytest.mark.parametrize(("kind", "shape"), [(kind, shape) for kind, (shapes, _) in FORMATS.items() for shape in shapes])
def test_each_shape_is_drawn_or_counted(tmp_path: Path, kind: str, shape: str) -> None:
    good = next(iter(FORMATS[kind][0]))
    report, cells = converted(kind, tmp_path, [(0, good), (0, shape), (1, good)])
    assert (cells, skipped_objects(report)) == ((2, 1) if shape.startswith("-") else (3, 0))


@pytest.mark.parametrize("kind", FORMATS)
def test_all_of_an_image_or_of_the_source_skipped(tmp_path: Path, kind: str) -> None:
    names = list(FORMATS[kind][0])
    bad = next(name for name in names if name.startswith("-") and name not in ("-line", "-choice"))
    bad = bad if kind != "labelme" else "-line"
    with pytest.raises(DataError, match=r"all objects of image '.*p1\.jpg' in .* are skipped: 1 .*; --allow-skipped converts"):
        converted(kind, tmp_path, [(0, names[0]), (1, bad)])
    with pytest.raises(DataError, match=r"all objects of .* are skipped: 2 "):
        converted(kind, tmp_path, [(0, bad), (1, bad)])
    assert not (tmp_path / "out").exists()
    assert converted(kind, tmp_path, [(0, names[0]), (1, bad)], allow_skipped=True)[1] == 1


def test_all_of_a_class_skipped(tmp_path: Path) -> None:
    objects = [(0, COCO["flat"](*square(0))), (0, COCO["-box"](*square(1)) | {"category_id": 2}), (1, COCO["flat"](*square(0)))]
    for name in IMAGES:
        put(tmp_path / "in" / f"{name}.jpg", photo(0))
    write_coco(tmp_path / "in", objects)
    content = json.loads((tmp_path / "in" / "a.json").read_text())
    put(tmp_path / "in" / "a.json", content | {"categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]})
    with pytest.raises(
        DataError, match=r"all objects of class 'dog' in .*a\.json are skipped: 1 box without an outline \(such as p0"
    ):
        convert(tmp_path / "in", tmp_path / "out")
    report = convert(tmp_path / "in", tmp_path / "out", allow_skipped=True)
    assert report.skipped["box without an outline"] == 1
    assert report.to_dict()["skipped"] == report.skipped
    assert int((masks_of(tmp_path / "out")["p0"] == 255).sum()) == 9  # what is in the box is not background


def test_a_ring_of_two_corners_beside_a_whole_one(tmp_path: Path) -> None:
    """OpenCV's contours of specks: the object is drawn, the ring counted."""
    corners, _ = square(5)
    for name in IMAGES:
        put(tmp_path / "in" / f"{name}.jpg", photo(0))
    write_coco(tmp_path / "in", [(0, {"segmentation": [flat(corners), flat(corners[:2])]})])
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.skipped["ring with fewer than three corners, in an object that is drawn"] == 1
    assert int((masks_of(tmp_path / "out")["p0"] == 1).sum()) == 9


@pytest.mark.parametrize("kind", ["coco", "labelme", "supervisely", "label-studio"])
def test_a_class_that_only_missing_images_show(tmp_path: Path, kind: str) -> None:
    """It would vanish without a word."""
    shapes, write = FORMATS[kind]
    good = next(iter(shapes))
    write(tmp_path / "in", [(0, shapes[good](*square(0))), (1, shapes[good](*square(0)))])
    for path in tmp_path.rglob("*.json"):
        text = path.read_text()
        if path.name == "p1.json":
            path.write_text(text.replace('"car"', '"dog"'))
        elif path.name in ("a.json", "export.json"):
            cut = text.rindex('"category_id": 1' if kind == "coco" else '"car"')
            path.write_text(text[:cut] + text[cut:].replace('"category_id": 1', '"category_id": 2', 1).replace('"car"', '"dog"', 1))
        elif path.name == "meta.json":
            put(path, {"classes": [{"title": "car"}, {"title": "dog"}]})
    if kind == "coco":
        content = json.loads((tmp_path / "in" / "a.json").read_text())
        put(tmp_path / "in" / "a.json", content | {"categories": [{"id": 1, "name": "car"}, {"id": 2, "name": "dog"}]})
    put(tmp_path / "in" / ("data/img/p0.jpg" if kind == "supervisely" else "p0.jpg"), photo(0))
    (tmp_path / "in" / "data" / "img" / "p1.jpg").unlink(missing_ok=True)
    with pytest.raises(DataError, match=r"all objects of class 'dog' in .* are skipped: 1 \w+ of images that cannot be found"):
        convert(tmp_path / "in", tmp_path / "out", kind=kind, splits=put(tmp_path / "lists" / "train.txt", "p0").parent)
