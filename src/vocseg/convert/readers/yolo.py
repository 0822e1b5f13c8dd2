"""Ultralytics' segmentation format: a text file of polygons for each image, and a YAML file that names classes and splits."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.convert import shapes
from vocseg.convert.source import (
    IMAGES,
    SPLIT_NAMES,
    Item,
    Mask,
    Source,
    files_below,
    labels_by_name,
    left_out,
    named_classes,
    unique_ids,
)
from vocseg.data.image_io import image_size
from vocseg.errors import DataError, reason
from vocseg.utils.text import counted

Polygon = tuple[int, NDArray[np.float64]]
"""A class's number and corners as shares of the image's width and height."""
BOX = 4
"""Numbers of a line that is a box (center and size), as detection has them."""


def find_yaml(root: Path) -> Path | None:
    """The YAML file of a YOLO data set at ``root``, a folder or that file; None where there is none that has ``names``."""
    files = [root] if root.is_file() else sorted([*root.glob("*.yaml"), *root.glob("*.yml")])
    for path in files:
        try:
            if path.suffix in (".yaml", ".yml") and any(line.startswith("names:") for line in path.read_text("utf-8").splitlines()):
                return path
        except (OSError, UnicodeDecodeError):
            continue
    return None


def find_yolo(root: Path, images: Path | None = None) -> Source:
    """The data set of the YAML file at or in ``root``: the images of its splits, or all in ``images``.

    Classes are background and those that the file names. Where polygons overlap, the smaller is on top, as where Ultralytics
    trains. An image without a text file shows background only. Raises DataError, naming file and line.
    """
    path = find_yaml(root)
    if path is None:
        raise DataError(f"{root} is or holds no YAML file with 'names', as YOLO's data sets have")
    content = _read_yaml(path)
    names = _names(content["names"], path)
    by_split, missing = ({"": files_below(images, IMAGES)}, []) if images else _splits(content, path)
    found = list(dict.fromkeys(file for files in by_split.values() for file in files))
    if not found:
        raise DataError(f"{path} leads to no images" + (f": there is no {missing[0]}" if missing else ""))
    labels = {file: _label_file(file) for file in found}
    if not any(labels.values()):
        raise DataError(f"no image of {path} has a text file of polygons (labels/{found[0].stem}.txt, or beside {found[0]})")
    polygons = boxes = 0
    for label in filter(None, labels.values()):
        its_polygons, its_boxes = _read(label, len(names))
        polygons, boxes = polygons + len(its_polygons), boxes + its_boxes
    if boxes and not polygons:
        raise DataError(f"the files of {path} hold boxes ({boxes}), which are for detection, and no polygons")
    ids = dict(zip(found, unique_ids(found, path.parent), strict=True))
    classes = named_classes(names, path)
    by_name = labels_by_name(classes)
    numbers = [by_name[name] for name in names]
    items = [Item(ids[file], file, labels[file] or file, partial(_mask, file, labels[file], numbers)) for file in found]
    splits = {split: [ids[file] for file in files] for split, files in by_split.items() if split and files}
    bare = [file for file, label in labels.items() if label is None]
    notes = left_out(boxes, "box", ", of no outline")
    notes += left_out(len(missing), "place", f" that {path.name} names, but not there", *missing[:1])
    notes += [f"{counted(len(bare), 'image')} without a text file, all background (such as {bare[0]})"] if bare else []
    return Source("yolo", str(path), items, classes, named=True, optional=frozenset({0}), splits=splits, notes=notes)


def _read_yaml(path: Path) -> dict[str, Any]:
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    return content if isinstance(content, dict) else {"names": None}


def _names(names: Any, path: Path) -> list[str]:
    """Class names in the order of their numbers, from a list or a table of numbers."""
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: 'names' is neither a list of classes nor one of each number from 0 on")
    return [str(name) for name in names]


def _splits(content: dict[str, Any], path: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """The images of each split, all below the file's folder where it names none, and places that are not there."""
    base = path.parent / str(content.get("path") or "")
    base = base if base.is_dir() else path.parent
    splits: dict[str, list[Path]] = {}
    missing: list[Path] = []
    for key, value in content.items():
        entries = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, str)]
        # Lists may have any name, folders that of a split.
        split = SPLIT_NAMES.get(str(key)) or str(key)
        for entry in entries if key in SPLIT_NAMES or all(entry.endswith(".txt") for entry in entries) else []:
            # Roboflow writes ../train/images for a folder beside the file.
            places = [base / entry, path.parent / entry, path.parent / entry.removeprefix("../")]
            place = next((one for one in places if one.exists()), None)
            if place is None:
                missing.append(places[-1])
            else:
                splits.setdefault(split, []).extend(_images(place))
    if not splits and not missing:
        splits = {"": files_below(path.parent, IMAGES)}
    return splits, missing


def _images(place: Path) -> list[Path]:
    """The images of a folder, or of a list with one a line, relative to the list."""
    if place.is_dir():
        return files_below(place, IMAGES)
    images = [place.parent / line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    absent = next((image for image in images if not image.is_file()), None)
    if absent:
        raise DataError(f"{place} names {absent}, which is not there")
    return images


def _label_file(image: Path) -> Path | None:
    """The text file of an image: in ``labels`` where the image is in ``images``, or beside it."""
    parts = list(image.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[-2::-1].index("images")] = "labels"
    places = (Path(*parts).with_suffix(".txt"), image.with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _read(path: Path, classes: int) -> tuple[list[Polygon], int]:
    """The polygons of a text file, and how many of its lines are boxes."""
    polygons: list[Polygon] = []
    boxes = 0
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label, *values = line.split()
        try:
            corners = np.array(values, dtype=np.float64)
            label_id = int(label)
        except ValueError:
            raise DataError(f"{path}, line {number}: '{line[:40]}' is not a class's number and numbers") from None
        if not 0 <= label_id < classes:
            raise DataError(f"{path}, line {number}: class {label_id}, but classes are 0 to {classes - 1}")
        if len(corners) == BOX:
            boxes += 1
        elif len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise DataError(f"{path}, line {number}: {len(corners)} numbers are no polygon, which has at least three corners")
        else:
            polygons.append((label_id, corners.reshape(-1, 2)))
    return polygons, boxes


def _mask(image: Path, label: Path | None, numbers: list[int]) -> Mask:
    height, width = image_size(image)
    polygons = _read(label, len(numbers))[0] if label else []
    regions = [(shapes.polygon([corners * (width, height)], height, width), numbers[number]) for number, corners in polygons]
    return shapes.paint(height, width, sorted(regions, key=lambda region: -int(region[0].sum())))
