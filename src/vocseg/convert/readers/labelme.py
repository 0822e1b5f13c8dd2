"""LabelMe's files, one JSON for an image (github.com/wkentaro/labelme)."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.convert import shapes
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Mask,
    Source,
    files_below,
    labels_by_name,
    left_out,
    named_classes,
    read_json,
    split_of_path,
    unique_ids,
)
from vocseg.data.image_io import UNREADABLE, open_image
from vocseg.errors import DataError

AREAS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask", None)
"""Kinds of shapes that enclose pixels; points and lines do not."""


def find_labelme(root: Path, images: Path | None = None) -> Source:
    """The data set of the LabelMe files below ``root``, with images beside them, in ``images``, or inside the files.

    Classes are background and the labels in the order of the alphabet; where shapes overlap, the later in the file is on
    top. Raises DataError, naming the file.
    """
    files = files_below(root, (".json",))
    finder = ImageFinder([images or root])
    labels: Counter[str] = Counter()
    thin, missing, kept = 0, [], []
    for file in files:
        content = read_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            continue
        image = finder.find(str(content.get("imagePath") or ""), file) or finder.find(file.stem + ".jpg", file)
        if image is None and not content.get("imageData"):
            missing.append(file)
            continue
        for shape in content["shapes"]:
            label = _label(shape, file)
            if shape.get("shape_type") in AREAS:
                labels[label] += 1
            else:
                thin += 1
        kept.append((file, image))
    if not kept:
        raise DataError(
            f"no LabelMe file below {root} has its image{f' (such as {missing[0]}); --images says where' if missing else ''}"
        )
    names = named_classes(sorted(labels), root)
    by_name = labels_by_name(names)
    ids = unique_ids([file for file, _ in kept], root)
    items: list[Item] = []
    splits: dict[str, list[str]] = {}
    for id_, (file, image) in zip(ids, kept, strict=True):
        embedded = None if image else partial(_embedded, file)
        items.append(Item(id_, image or file, file, partial(_mask, file, by_name), embedded))
        split = split_of_path(file.relative_to(root).parent)
        if split:
            splits.setdefault(split, []).append(id_)
    notes = left_out(thin, "shape", ", points or lines that enclose no pixels") + left_out(
        len(missing), "file", " without its image", *missing[:1]
    )
    return Source("labelme", str(root), items, names, named=True, optional=frozenset({0}), splits=splits, notes=notes)


def _label(shape: Any, file: Path) -> str:
    if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
        raise DataError(f"{file} has a shape without label or points")
    return shape["label"]


def _embedded(file: Path) -> bytes:
    try:
        return base64.b64decode(read_json(file)["imageData"], validate=False)
    except (binascii.Error, TypeError, KeyError) as error:
        raise DataError(f"{file}: its image (imageData) cannot be read: {error}") from error


def _mask(file: Path, labels: dict[str, int]) -> Mask:
    content = read_json(file)
    try:
        height, width = int(content["imageHeight"]), int(content["imageWidth"])
        return shapes.paint(
            height,
            width,
            [
                (_region(shape, height, width), labels[shape["label"]])
                for shape in content["shapes"]
                if shape.get("shape_type") in AREAS
            ],
        )
    except (KeyError, TypeError, *UNREADABLE) as error:
        raise DataError(f"{file} cannot be read as LabelMe's: {type(error).__name__}: {error}") from error


def _region(shape: dict[str, Any], height: int, width: int) -> shapes.Region:
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape.get("shape_type")
    if kind == "circle" and len(points) == 2:
        radius = math.dist(points[0], points[1])
        return shapes.ellipse((points[0][0], points[0][1]), (radius, radius), height, width)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return shapes.polygon([shapes.rectangle(left, top, right - left, bottom - top)], height, width)
    if kind == "mask":
        return _stamp(shape["mask"], points, height, width)
    return shapes.polygon([points], height, width)


def _stamp(data: str, points: Any, height: int, width: int) -> shapes.Region:
    """A PNG of the shape's box, put at its upper left corner."""
    with open_image(io.BytesIO(base64.b64decode(data))) as image:
        stamp = np.asarray(image.convert("L")) > 0
    return shapes.place(stamp, round(float(points[0][0])), round(float(points[0][1])), height, width)
