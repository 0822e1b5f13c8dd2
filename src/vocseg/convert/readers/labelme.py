"""Read LabelMe's files, one JSON for each image (github.com/wkentaro/labelme)."""

from __future__ import annotations

import base64
import binascii
import io
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.convert import polygons
from vocseg.convert.files import ImageFinder, files_below, ids_by_split, read_json, split_of_path, unique_ids
from vocseg.convert.source import Item, Mask, Source, object_classes, skipped
from vocseg.data.image_io import UNREADABLE, open_image
from vocseg.errors import DataError

AREAS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask", None)
"""Types of shapes that enclose pixels; points and lines do not."""


def find_labelme(root: Path, images: Path | None = None) -> Source:
    """Read the LabelMe files below ``root``, with images beside them, in ``images``, or inside the files.

    Classes are background and the labels in alphabetical order; where shapes overlap, the later in the file is on top.
    Raises DataError, naming the file.
    """
    finder = ImageFinder(images or root)
    labels: set[str] = set()
    other, missing, kept = 0, [], []
    for file in files_below(root, (".json",)):
        content = read_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            continue
        image = finder.find(str(content.get("imagePath") or ""), file) or finder.find(file.stem + ".jpg", file)
        if image is None and not content.get("imageData"):
            missing.append(file)
            continue
        found = [_label(shape, file) for shape in content["shapes"]]
        areas = [label for label, shape in zip(found, content["shapes"], strict=True) if shape.get("shape_type") in AREAS]
        labels.update(areas)
        other += len(found) - len(areas)
        kept.append((file, image))
    if not kept:
        example = f" (such as {missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no LabelMe file below {root} has its image{example}")
    names, by_name = object_classes(sorted(labels), root)
    ids = unique_ids([file for file, _ in kept], root)
    items = [
        Item(id_, image or file, file, partial(_mask, file, by_name), None if image else partial(_embedded, file))
        for id_, (file, image) in zip(ids, kept, strict=True)
    ]
    splits = ids_by_split(ids, (split_of_path(file.relative_to(root).parent) for file, _ in kept))
    notes = skipped(other, "shape", "that enclose no pixels (points or lines)") + skipped(missing, "file", "without an image")
    return Source("labelme", str(root), items, names, named=True, objects=True, splits=splits, notes=notes)


def _label(shape: Any, file: Path) -> str:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
        raise DataError(f"{file} has a shape without label or points")
    return shape["label"]


def _embedded(file: Path) -> bytes:
    try:
        return base64.b64decode(read_json(file)["imageData"], validate=False)
    except (binascii.Error, TypeError, KeyError) as error:
        raise DataError(f"{file}: cannot read its image (imageData): {error}") from error


def _mask(file: Path, labels: dict[str, int]) -> Mask:
    content = read_json(file)
    try:
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        areas = [shape for shape in content["shapes"] if shape.get("shape_type") in AREAS]
        return polygons.paint(height, width, [(_region(one, height, width), labels[one["label"]]) for one in areas])
    except (KeyError, TypeError, *UNREADABLE) as error:
        raise DataError(f"cannot read {file} as a LabelMe file: {type(error).__name__}: {error}") from error


def _region(shape: dict[str, Any], height: int, width: int) -> polygons.Region:
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape.get("shape_type")
    if kind == "circle" and len(points) == 2:
        radius = math.dist(points[0], points[1])
        return polygons.ellipse((points[0][0], points[0][1]), (radius, radius), height, width)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return polygons.fill([polygons.rectangle(left, top, right - left, bottom - top)], height, width)
    if kind == "mask":
        return _stamp(shape["mask"], points, height, width)
    return polygons.fill([points], height, width)


def _stamp(data: str, points: Any, height: int, width: int) -> polygons.Region:
    """Return the region of a PNG of the shape's box, whose upper left corner is the first point."""
    with open_image(io.BytesIO(base64.b64decode(data))) as image:
        stamp = np.asarray(image.convert("L")) > 0
    return polygons.place(stamp, round(float(points[0][0])), round(float(points[0][1])), height, width)
