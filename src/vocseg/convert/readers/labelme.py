"""Read LabelMe's files, one JSON for each image (github.com/wkentaro/labelme)."""

from __future__ import annotations

import base64
import io
import math
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.convert import regions
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Mask,
    Source,
    files_below,
    object_classes,
    parsing,
    read_json,
    skipped,
    split_of_path,
)  # fmt: skip
from vocseg.data.image_io import open_image
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
        for shape in content["shapes"]:
            if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
                raise DataError(f"{file} has a shape without label or points")
        areas = [shape["label"] for shape in content["shapes"] if shape.get("shape_type") in AREAS]
        labels.update(areas)
        other += len(content["shapes"]) - len(areas)
        kept.append((file, image))
    if not kept:
        example = f" (such as {missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no LabelMe file below {root} has its image{example}")
    names, by_name = object_classes(sorted(labels), root)
    items = [
        Item(
            image or file,
            file,
            partial(_mask, file, by_name),
            split_of_path(file.relative_to(root).parent),
            embedded=None if image else partial(_embedded, file),
            named_by=file,
        )
        for file, image in kept
    ]
    notes = skipped(other, "shape", "that enclose no pixels (points or lines)") + skipped(missing, "file", "without an image")
    return Source("labelme", str(root), root, items, names, named=True, objects=True, notes=notes)


def _embedded(file: Path) -> bytes:
    with parsing(f"the image inside {file}"):
        return base64.b64decode(read_json(file)["imageData"])


def _mask(file: Path, labels: dict[str, int]) -> Mask:
    content = read_json(file)
    with parsing(f"{file} as a LabelMe file"):
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        areas = [shape for shape in content["shapes"] if shape.get("shape_type") in AREAS]
        return regions.paint(height, width, [(_region(one, height, width), labels[one["label"]]) for one in areas])


def _region(shape: dict[str, Any], height: int, width: int) -> regions.Region:
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape.get("shape_type")
    if kind == "circle" and len(points) == 2:
        radius = math.dist(points[0], points[1])
        return regions.ellipse((points[0][0], points[0][1]), (radius, radius), height, width)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return regions.fill(regions.rectangle(left, top, right - left, bottom - top), height, width)
    if kind == "mask":  # a PNG of the shape's box, whose upper left corner is the first point
        with open_image(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            stamp = np.asarray(image.convert("L")) > 0
        return regions.place(stamp, round(float(points[0][0])), round(float(points[0][1])), height, width)
    return regions.fill(points, height, width)
