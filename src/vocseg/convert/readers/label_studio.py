"""Label Studio's JSON export: a list of tasks with brushed regions, polygons, rectangles and ellipses."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np

from vocseg.convert import rle, shapes
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
    unique_ids,
)
from vocseg.errors import DataError

KINDS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels")


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """The data set of an exported JSON file, or of the one below a folder. Classes are background and the labels in the order
    of the alphabet; where regions overlap, the later in the task is on top. A task's ground truth is taken, or else its
    first annotation that was not canceled.

    Raises DataError, naming the file and the task.
    """
    file = path if path.is_file() else _export_below(path)
    tasks = read_json(file)
    finder = ImageFinder([images or file.parent])
    labels: Counter[str] = Counter()
    kept: list[tuple[list[Any], Path, Any]] = []
    missing, empty = [], 0
    for task in tasks if isinstance(tasks, list) else []:
        annotation = _annotation(task, file)
        if annotation is None:
            empty += 1
            continue
        name = _image_name(task, file)
        # uploads are renamed to <eight hex digits>-<name>
        image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
        if image is None:
            missing.append(name)
            continue
        results = list(_results(annotation))
        labels.update(_label(result) for result in results)
        kept.append((results, image, task.get("id")))
    if not kept:
        raise DataError(f"no annotated task of {file} has its image{f' ({missing[0]}); --images says where' if missing else ''}")
    names = named_classes(sorted(labels), file)
    by_name = labels_by_name(names)
    ids = unique_ids([image for _, image, _ in kept], finder.folders[0])
    items = [
        Item(id_, image, file, partial(_mask, results, image, by_name, f"{file}, task {number}"))
        for id_, (results, image, number) in zip(ids, kept, strict=True)
    ]
    notes = left_out(len(missing), "task", " whose image is not there", *missing[:1])
    notes += left_out(empty, "task", " without annotation", "not labeled yet")
    return Source("label-studio", str(file), items, names, named=True, optional=frozenset({0}), notes=notes)


def looks_like_label_studio(head: str) -> bool:
    """Whether the beginning of a JSON file may be an export's."""
    return head.lstrip().startswith("[") and ('"annotations"' in head or '"completions"' in head)


def _export_below(root: Path) -> Path:
    for path in files_below(root, (".json",)):
        with open(path, encoding="utf-8", errors="replace") as file:
            if looks_like_label_studio(file.read(1 << 16)):
                return path
    raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {root}")


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
    # files that Label Studio serves from disk: /data/local-files/?d=folder/name.jpg
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _results(annotation: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Regions that have a label and an area."""
    for result in annotation.get("result", []):
        value = result.get("value", {})
        shape = "rle" in value or "points" in value or "width" in value or "radiusX" in value
        if shape and _label(result) and "original_width" in result:
            yield result


def _label(result: dict[str, Any]) -> str:
    value = result["value"]
    return next((str(value[kind][0]) for kind in (*KINDS, "labels") if value.get(kind)), "")


def _mask(results: list[dict[str, Any]], image: Path, labels: dict[str, int], where: str) -> Mask:
    from vocseg.data.image_io import image_size

    height, width = image_size(image)
    try:
        regions = [(_region(one, int(one["original_height"]), int(one["original_width"])), labels[_label(one)]) for one in results]
    except (KeyError, TypeError, ValueError, DataError) as error:
        raise DataError(f"{where} cannot be read: {error}") from error
    for region, _ in regions:
        if region.shape != (height, width):
            raise DataError(f"{where} has regions of {region.shape[0]}x{region.shape[1]}, but {image} is {height}x{width}")
    return shapes.paint(height, width, regions)


def _region(result: dict[str, Any], height: int, width: int) -> shapes.Region:
    """Coordinates are per cent of the image's width and height."""
    value = result["value"]
    if "rle" in value:
        return rle.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        return shapes.polygon([np.asarray(value["points"], dtype=np.float64).reshape(-1, 2) * scale], height, width)
    x, y = float(value["x"]) * scale[0], float(value["y"]) * scale[1]
    turn = float(value.get("rotation", 0))
    if "radiusX" in value:
        radii = (float(value["radiusX"]) * scale[0], float(value["radiusY"]) * scale[1])
        return shapes.ellipse((x, y), radii, height, width, turn)
    corners = shapes.rectangle(x, y, float(value["width"]) * scale[0], float(value["height"]) * scale[1], turn)
    return shapes.polygon([corners], height, width)
