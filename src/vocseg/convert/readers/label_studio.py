"""Read Label Studio's JSON export: a list of tasks with brushed regions, polygons, rectangles and ellipses."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from vocseg.convert import regions, rle
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Mask,
    Source,
    files_below,
    json_kind,
    object_classes,
    parsing,
    read_json,
    skipped,
)  # fmt: skip
from vocseg.data.image_io import image_size
from vocseg.errors import DataError

LABEL_KEYS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """Read an exported JSON file, or the first one below a folder.

    Classes are background and the labels in alphabetical order; where regions overlap, the later in the task is on
    top. Of a task's annotations the ground truth is used, or else the first that was not canceled. Raises DataError,
    naming the file and the task.
    """
    files = [path] if path.is_file() else [file for file in files_below(path, (".json",)) if json_kind(file) == "label-studio"]
    if not files:
        raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {path}")
    file = files[0]
    tasks = read_json(file)
    folder = images or file.parent
    finder = ImageFinder(folder)
    kept: list[tuple[list[dict[str, Any]], Path, Any]] = []
    missing, unlabeled = [], 0
    for task in tasks if isinstance(tasks, list) else []:
        results = _results(task, file)
        if results is None:
            unlabeled += 1
            continue
        name = _image_name(task, file)
        # Uploads are renamed to <eight hex digits>-<name>.
        image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
        if image is None:
            missing.append(name)
        else:
            kept.append((results, image, task.get("id")))
    if not kept:
        example = f" ({missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no annotated task of {file} has its image{example}")
    names, by_name = object_classes(sorted({_label(result) for results, _, _ in kept for result in results}), file)
    items = [
        Item(image, file, partial(_mask, results, image, by_name, f"{file}, task {number}")) for results, image, number in kept
    ]
    notes = skipped(missing, "task", "whose image cannot be found") + skipped(unlabeled, "task", "without annotation")
    return Source("label-studio", str(file), folder, items, names, named=True, objects=True, notes=notes)


def _results(task: Any, file: Path) -> list[dict[str, Any]] | None:
    """Return the regions of a task that have a label and an area, or None if it has no annotation."""
    if not isinstance(task, dict) or not isinstance(task.get("annotations", task.get("completions")), list):
        raise DataError(f"{file} is not Label Studio's JSON export: a task has no list 'annotations'")
    usable = [one for one in task.get("annotations") or task.get("completions") or [] if not one.get("was_canceled")]
    if not usable:
        return None
    chosen = next((one for one in usable if one.get("ground_truth")), usable[0])
    return [
        result
        for result in chosen.get("result", [])
        if any(key in result.get("value", {}) for key in ("rle", "points", "width", "radiusX"))
        and _label(result)
        and "original_width" in result
    ]


def _image_name(task: dict[str, Any], file: Path) -> str:
    data = task.get("data") or {}
    values = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not values:
        raise DataError(f"{file}: task {task.get('id')} names no image")
    url = urlparse(values[0])
    # Label Studio serves local files as /data/local-files/?d=folder/name.jpg.
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _label(result: dict[str, Any]) -> str:
    value = result["value"]
    return next((str(value[key][0]) for key in LABEL_KEYS if value.get(key)), "")


def _mask(results: list[dict[str, Any]], image: Path, labels: dict[str, int], task: str) -> Mask:
    height, width = image_size(image)
    with parsing(task):
        for one in results:
            rows, columns = int(one["original_height"]), int(one["original_width"])
            if (rows, columns) != (height, width):
                raise DataError(f"its regions are of {rows}x{columns}, but {image} is {height}x{width}")
        return regions.paint(height, width, [(_region(one["value"], height, width), labels[_label(one)]) for one in results])


def _region(value: dict[str, Any], height: int, width: int) -> regions.Region:
    """Return a result's region; its coordinates are percentages of the image's width and height."""
    if "rle" in value:
        return rle.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        return regions.fill(np.asarray(value["points"], dtype=np.float64).reshape(-1, 2) * scale, height, width)
    x, y = float(value["x"]) * scale[0], float(value["y"]) * scale[1]
    degrees = float(value.get("rotation", 0))
    if "radiusX" in value:
        radii = (float(value["radiusX"]) * scale[0], float(value["radiusY"]) * scale[1])
        return regions.ellipse((x, y), radii, height, width, degrees)
    corners = regions.rectangle(x, y, float(value["width"]) * scale[0], float(value["height"]) * scale[1], degrees)
    return regions.fill(corners, height, width)
