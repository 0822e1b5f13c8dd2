"""Read Label Studio's JSON exports.

Classes are background and the labels in alphabetical order. Where objects overlap, the later in the file is on top.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
from numpy.typing import NDArray

from vocseg.convert import regions, rle
from vocseg.convert.finder import ImageFinder
from vocseg.convert.readers.tools import NOWHERE
from vocseg.convert.regions import NotDrawn, Region
from vocseg.convert.source import Item, Lost, Source, class_name, json_files, parsing, skipped, source_of_objects
from vocseg.errors import DataError
from vocseg.utils.files import read_json

MAX_PERCENT = 200
"""Coordinates may be outside of the image, but much larger ones are in pixels."""


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """Read a JSON file exported by Label Studio, or all below a folder.

    Of a task's annotations the ground truth is used, or else the first that was not canceled.
    """
    files = json_files(path, "label-studio")
    if not files:
        raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {path}")
    where = files[0] if len(files) == 1 else path
    contents = [(file, read_json(file)) for file in files]
    folder = images or (path.parent if path.is_file() else path)
    finder = ImageFinder(folder)
    missing, unlabeled, items, lost = [], 0, [], []
    for file, number, task in [(file, *one) for file, tasks in contents if isinstance(tasks, list) for one in enumerate(tasks)]:
        with parsing(f"{file}, task {task.get('id', number) if isinstance(task, dict) else number}"):
            shapes, unused = _shapes(task)
            if shapes is None:
                unlabeled += 1
                lost += unused
                continue
            name = _image_name(task)
            # Uploads are renamed to <eight hex digits>-<name>.
            image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
            if image is None:
                missing.append(name)
                lost += unused + [Lost(label, "region", NOWHERE, name) for label, _ in shapes]
                continue
            sizes = {(int(one["original_height"]), int(one["original_width"])) for _, one in shapes if "original_width" in one}
            if len(sizes) > 1:
                raise DataError(f"its regions are of images of different sizes: {sorted(sizes)}")
        lost += unused
        items.append(Item(image, file, shapes, next(iter(sizes), None)))
    if not items:
        example = f" ({missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no annotated task of {where} has its image{example}")
    notes = skipped(missing, "task", "whose image cannot be found") + skipped(unlabeled, "task", "without annotation")
    return source_of_objects("label-studio", where, folder, items, (), _label_studio_region, notes, lost=lost)


def _shapes(task: Any) -> tuple[list[tuple[str | None, dict[str, Any]]] | None, list[Lost]]:
    """Return the regions of a task's annotation with their labels, or None if it has none, and what is not used."""
    annotations = task.get("annotations", task.get("completions")) if isinstance(task, dict) else None
    if not isinstance(annotations, list):
        raise DataError("it has no list 'annotations', as Label Studio's JSON export has")
    usable = [one for one in annotations if not one.get("was_cancelled")]
    chosen = next((one for one in usable if one.get("ground_truth")), usable[0] if usable else None)
    shapes, lost = [], []
    for annotation in annotations:
        for one in _regions(annotation):
            value, kind = one["value"], one.get("type")
            if annotation is not chosen:
                why = "of canceled annotations" if annotation.get("was_cancelled") else "of further annotations of a task"
                lost.append(Lost(None, "region", why, f"task {task.get('id')}"))
            elif any(key in value for key in ("rle", "points", "vertices", "x", "imageDataURL")):
                labels = next((value[key] for key in value if key.endswith("labels") and value[key]), [None])
                lost += [Lost(None, "label", "beyond the first of a region", f"task {task.get('id')}", True)] * (len(labels) - 1)
                shapes.append((None if labels[0] is None else class_name(labels[0]), one))
            else:
                lost.append(Lost(None, "result", f"of type {kind}", f"task {task.get('id')}"))
    return shapes if chosen else None, lost


def _regions(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an annotation's results; those of one id, such as a shape, its label and its attributes, are one region."""
    merged: dict[Any, dict[str, Any]] = {}
    for number, result in enumerate(annotation.get("result") or []):
        known = merged.setdefault(result.get("id", number), result | {"value": {}})
        known["value"] = known["value"] | result.get("value", {})
    return [*merged.values()]


def _image_name(task: dict[str, Any]) -> str:
    data = task.get("data") or {}
    values = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not values:
        raise DataError("it names no image")
    url = urlparse(values[0])
    # Label Studio serves local files as /data/local-files/?d=folder/name.jpg.
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _label_studio_region(one: dict[str, Any], height: int, width: int) -> Region:
    """Return the pixels of a region; its coordinates are percentages of the image's width and height."""
    value = one["value"]
    if not any(value[key] for key in value if key.endswith("labels")):
        raise NotDrawn("region", "without a label")
    if one.get("image_rotation"):
        raise NotDrawn("region", "of an image that was rotated in the tool")
    if one.get("item_index"):
        raise NotDrawn("region", "of further images of a task")
    if value.get("rle"):
        return rle.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        _check_percent(np.asarray(value["points"], dtype=np.float64))
        return regions.polygons([value["points"]], height, width, scale, "region", "percentages")
    if "x" not in value or not ("radiusX" in value or "height" in value):
        raise NotDrawn("region", f"of type {one.get('type')}")
    sides = ("radiusX", "radiusY") if "radiusX" in value else ("width", "height")
    numbers = np.array([[float(value[key]) for key in keys] for keys in (("x", "y"), sides)])
    _check_percent(numbers)
    (x, y), (across, down) = (numbers * scale).tolist()
    degrees = float(value.get("rotation") or 0)
    regions.check(np.array([degrees]), "region", "")
    if "radiusX" in value:
        return regions.ellipse((x, y), (across, down), height, width, degrees)
    return regions.fill(regions.rectangle(x, y, across, down, degrees), height, width)


def _check_percent(points: NDArray[np.float64]) -> None:
    regions.check(points, "region", "percentages")
    if points.size and points.max() > MAX_PERCENT:
        raise DataError(f"the coordinate {points.max():g} is no percentage of the image's size")
