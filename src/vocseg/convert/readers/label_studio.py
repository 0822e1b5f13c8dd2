"""Read Label Studio's JSON export: a list of tasks with brushed regions, polygons, rectangles and ellipses."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from vocseg.convert import polygons, rle
from vocseg.convert.files import ImageFinder, files_below, json_kind, read_json, unique_ids
from vocseg.convert.source import Item, Mask, Source, object_classes, skipped
from vocseg.data.image_io import image_size
from vocseg.errors import DataError

LABEL_KEYS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """Read an exported JSON file, or the first one below a folder.

    Classes are background and the labels in alphabetical order; where regions overlap, the later in the task is on
    top. Of a task's annotations the ground truth is used, or else the first that was not canceled. Raises DataError,
    naming the file and the task.
    """
    file = path if path.is_file() else _export_below(path)
    tasks = read_json(file)
    folder = images or file.parent
    finder = ImageFinder(folder)
    kept: list[tuple[list[Any], Path, Any]] = []
    missing, unlabeled = [], 0
    for task in tasks if isinstance(tasks, list) else []:
        annotation = _annotation(task, file)
        if annotation is None:
            unlabeled += 1
            continue
        name = _image_name(task, file)
        # Uploads are renamed to <eight hex digits>-<name>.
        image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
        if image is None:
            missing.append(name)
        else:
            kept.append((list(_results(annotation)), image, task.get("id")))
    if not kept:
        example = f" ({missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no annotated task of {file} has its image{example}")
    names, by_name = object_classes(sorted({_label(result) for results, _, _ in kept for result in results}), file)
    items = [
        Item(id_, image, file, partial(_mask, results, image, by_name, f"{file}, task {number}"))
        for id_, (results, image, number) in zip(unique_ids([image for _, image, _ in kept], folder), kept, strict=True)
    ]
    notes = skipped(missing, "task", "whose image cannot be found") + skipped(unlabeled, "task", "without annotation")
    return Source("label-studio", str(file), items, names, named=True, objects=True, notes=notes)


def _export_below(root: Path) -> Path:
    path = next((path for path in files_below(root, (".json",)) if json_kind(path) == "label-studio"), None)
    if path is None:
        raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {root}")
    return path


def _annotation(task: Any, file: Path) -> dict[str, Any] | None:
    if not isinstance(task, dict) or not isinstance(task.get("annotations", task.get("completions")), list):
        raise DataError(f"{file} is not Label Studio's JSON export: a task has no list 'annotations'")
    usable = [one for one in task.get("annotations") or task.get("completions") or [] if not one.get("was_canceled")]
    return next((one for one in usable if one.get("ground_truth")), usable[0] if usable else None)


def _image_name(task: dict[str, Any], file: Path) -> str:
    data = task.get("data") or {}
    values = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not values:
        raise DataError(f"{file}: task {task.get('id')} names no image")
    url = urlparse(values[0])
    # Label Studio serves local files as /data/local-files/?d=folder/name.jpg.
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _results(annotation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the regions that have a label and an area."""
    for result in annotation.get("result", []):
        has_area = any(key in result.get("value", {}) for key in ("rle", "points", "width", "radiusX"))
        if has_area and _label(result) and "original_width" in result:
            yield result


def _label(result: dict[str, Any]) -> str:
    value = result["value"]
    return next((str(value[key][0]) for key in LABEL_KEYS if value.get(key)), "")


def _mask(results: list[dict[str, Any]], image: Path, labels: dict[str, int], task: str) -> Mask:
    height, width = image_size(image)
    try:
        regions = [(_region(one, int(one["original_height"]), int(one["original_width"])), labels[_label(one)]) for one in results]
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(f"cannot read {task}: {error}") from error
    for region, _ in regions:
        if region.shape != (height, width):
            raise DataError(f"{task} has regions of {region.shape[0]}x{region.shape[1]}, but {image} is {height}x{width}")
    return polygons.paint(height, width, regions)


def _region(result: dict[str, Any], height: int, width: int) -> polygons.Region:
    """Return a result's region; its coordinates are percentages of the image's width and height."""
    value = result["value"]
    if "rle" in value:
        return rle.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        return polygons.fill([np.asarray(value["points"], dtype=np.float64).reshape(-1, 2) * scale], height, width)
    x, y = float(value["x"]) * scale[0], float(value["y"]) * scale[1]
    degrees = float(value.get("rotation", 0))
    if "radiusX" in value:
        radii = (float(value["radiusX"]) * scale[0], float(value["radiusY"]) * scale[1])
        return polygons.ellipse((x, y), radii, height, width, degrees)
    corners = polygons.rectangle(x, y, float(value["width"]) * scale[0], float(value["height"]) * scale[1], degrees)
    return polygons.fill([corners], height, width)
