"""COCO's annotations, made here with pycocotools, must give the masks that they were made of."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pycocotools import mask as reference

from convert.scenes import HEIGHT, WIDTH, Scenes, masks_of, photo, put, same
from vocseg.convert import convert
from vocseg.errors import DataError, SettingError

CATEGORIES = [{"id": 90, "name": "toothbrush"}, {"id": 3, "name": "car"}, {"id": 17, "name": "cat"}]


def coco(folder: Path, kind: str) -> Scenes:
    """Rectangles as polygons, packed or plain run lengths; ids with gaps; a small object under a large one in the file."""
    made: Scenes = {}
    images, annotations = [], []
    for number in range(5):
        name = f"{number:012d}"
        put(folder / "val2017" / f"{name}.jpg", photo(number))
        images.append({"id": 1000 + number, "file_name": f"{name}.jpg", "height": HEIGHT, "width": WIDTH})
        mask = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
        small, large, crowd = (slice(5, 9), slice(6, 11)), (slice(3, 15), slice(4, 20)), (slice(12, 20), slice(10, 30))
        for label, category, (rows, columns), is_crowd in ((255, 3, crowd, 1), (1, 3, large, 0), (3, 90, small, 0)):
            mask[rows, columns] = label
            region = np.zeros((HEIGHT, WIDTH), dtype=np.uint8)
            region[rows, columns] = 1
            left, top, right, bottom = columns.start, rows.start, columns.stop, rows.stop
            packed = reference.encode(np.asfortranarray(region))
            plain = {"size": [HEIGHT, WIDTH], "counts": plain_counts(region)}
            segmentation = {
                "polygons": [[left, top, right, top, right, bottom, left, bottom]],
                "packed": {"size": packed["size"], "counts": packed["counts"].decode()},
                "plain": plain,
            }[kind if not is_crowd else "plain"]
            annotations.append(
                {"image_id": 1000 + number, "category_id": category, "iscrowd": is_crowd, "segmentation": segmentation}
            )
        made[name] = mask
    # the file's order is not the painting order
    annotations = [{"id": number} | one for number, one in enumerate(reversed(annotations))]
    put(
        folder / "annotations" / "instances_val2017.json",
        {"info": {}, "images": images, "annotations": annotations, "categories": CATEGORIES},
    )
    return made


def plain_counts(region: np.ndarray) -> list[int]:
    counts, last, run = [], 0, 0
    for value in region.T.reshape(-1):
        if value != last:
            counts.append(run)
            last, run = value, 0
        run += 1
    return [*counts, run]


@pytest.mark.parametrize("kind", ["polygons", "packed", "plain"])
@pytest.mark.parametrize("where", ["", "annotations", "annotations/instances_val2017.json"])
def test_coco(tmp_path: Path, kind: str, where: str) -> None:
    made = coco(tmp_path / "in", kind)
    images = tmp_path / "in" / "val2017" if where.endswith("json") else None
    report = convert(tmp_path / "in" / where, tmp_path / "out", images=images)
    assert report.classes == ("background", "car", "cat", "toothbrush")
    assert report.splits == {"val": 5}
    assert same(masks_of(tmp_path / "out"), made)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda c: c.pop("categories"), "no list 'categories'"),
        (lambda c: c["annotations"][0].update(category_id=5), "annotation 0 of image 1004 has a missing or unknown 5"),
        (lambda c: c["annotations"][0].pop("image_id"), "annotation 0 has a missing or unknown 'image_id'"),
        (lambda c: c["images"][0].pop("height"), "image 1000 lacks a valid id, file_name, height or width"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [2, 2], "counts": [4]}), "run lengths of 2x2 in an image"),
        (lambda c: c["annotations"][0].update(segmentation={"size": [24, 32], "counts": "zzz"}), "cannot read an object of "),
        (lambda c: c["annotations"][0].update(segmentation=[[1, 2, 3, 4, 5, "x"]]), "cannot read an object of "),
        (lambda c: c["images"][0].update(height=10, width=10), "run lengths of 24x32|is 24x32 but its mask"),
        (lambda c: c["images"][0].update(height=10**7, width=10**7), "is 24x32 but its mask .* is 10000000x10000000"),
        (lambda c: c.update(images=[]), "none of the 0 images"),
        (lambda c: [image.update(file_name="gone.jpg") for image in c["images"]], "none of the 5 images .*'gone.jpg'"),
    ],
)
def test_broken_coco(tmp_path: Path, spoil: Callable[[dict], None], message: str) -> None:
    coco(tmp_path / "in", "packed")
    path = tmp_path / "in" / "annotations" / "instances_val2017.json"
    content = json.loads(path.read_text())
    spoil(content)
    path.write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        convert(path, tmp_path / "out", kind="coco", images=tmp_path / "in" / "val2017")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_coco_as_roboflow_lays_it_out(tmp_path: Path) -> None:
    """An annotation file beside the images of each split, the same file names in both, a category without a name."""
    corners = [2, 3, 9, 3, 9, 8, 2, 8]
    for number, split in enumerate(("train", "valid")):
        put(tmp_path / "in" / split / "1.jpg", photo(number))
        image = {"file_name": "1.jpg", "height": HEIGHT, "width": WIDTH}
        annotations = [{"id": one, "image_id": one, "category_id": number + 1, "segmentation": [corners]} for one in (5, 6)]
        annotations[1]["segmentation"] = [[part + 10 for part in corners]]
        content = {
            "images": [{"id": 5} | image, {"id": 6} | image],  # listed twice
            "categories": [{"id": 1, "name": "car"}, {"id": 2, "name": " "}],
            "annotations": annotations,
        }
        put(tmp_path / "in" / split / "_annotations.coco.json", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert report.classes == ("background", "car", "class_2")
    assert report.splits == {"train": 1, "val": 1}
    masks = masks_of(tmp_path / "out")
    assert {name: sorted(np.unique(mask).tolist()) for name, mask in masks.items()} == {"train_1": [0, 1], "valid_1": [0, 2]}
    assert [int((mask > 0).sum()) for mask in masks.values()] == [70, 70]


def test_coco_classes_go_by_name(tmp_path: Path) -> None:
    made = coco(tmp_path / "in", "packed")
    with pytest.raises(SettingError, match=r"void '90': coco classes are names, not numbers \(background, car, cat, toothbrush\)"):
        convert(tmp_path / "in", tmp_path / "out", void=("90",))
    with pytest.raises(DataError, match="class 'background', which is not in --classes"):
        convert(tmp_path / "in", tmp_path / "out", classes=("toothbrush", "car"))
    convert(tmp_path / "in", tmp_path / "out", classes=("toothbrush", "car"), void=("background",))
    table = np.full(256, 255, dtype=np.uint8)
    table[[3, 1]] = [0, 1]
    assert same(masks_of(tmp_path / "out"), {name: table[mask] for name, mask in made.items()})


def test_padded_ids_and_names_and_no_sizes(tmp_path: Path) -> None:
    images = [{"id": number, "file_name": f"p{number}.jpg"} for number in range(2)]
    square = [[0, 0, 9, 0, 9, 9, 0, 9]]
    annotations = [{"image_id": f"00{number}", "category_id": "01", "segmentation": square} for number in range(2)]
    content = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": " car "}, {"id": 2, "name": "car"}]}
    for number in range(2):
        put(tmp_path / "in" / f"p{number}.jpg", photo(number))
    put(tmp_path / "in" / "a.json", content)
    report = convert(tmp_path / "in", tmp_path / "out")
    assert (report.classes, report.images_per_class) == (("background", "car"), (2, 2))
