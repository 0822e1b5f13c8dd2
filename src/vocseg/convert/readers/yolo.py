"""Read Ultralytics' segmentation format: text files of polygons, and a YAML file of classes and splits."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg.convert import regions
from vocseg.convert.source import SPLIT_NAMES, Item, Source, files_below, parsing, skipped, source_of_objects
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError
from vocseg.utils.text import counted

BOX = 4
"""Numbers in a line that is a box for detection (center and size)."""


def find_yaml(root: Path) -> Path | None:
    """Return the YAML file with ``names`` at ``root``, a folder or that file; None if there is none."""
    for path in [root] if root.is_file() else sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        with suppress(OSError, UnicodeDecodeError):
            if path.suffix in (".yaml", ".yml") and re.search("^names:", path.read_text("utf-8"), re.MULTILINE):
                return path
    return None


def find_yolo(root: Path, images: Path | None = None) -> Source:
    """Read the data set of the YAML file at or in ``root``: the images of its splits, or all in ``images``.

    Where polygons overlap, the smaller is on top, as in Ultralytics' training. An image without a text file is all
    background.
    """
    path = find_yaml(root)
    if path is None:
        raise DataError(f"no YAML file with 'names', which YOLO data sets have, at {root}")
    content = _read_yaml(path)
    lists, missing = ({"": files_below(images, IMAGE_SUFFIXES)}, []) if images else _splits(content, path)
    texts = {file: _text_file(file) for files in lists.values() for file in files}
    if not texts:
        raise DataError(f"no images found through {path}" + (f": {missing[0]} does not exist" if missing else ""))
    bare = [file for file, text in texts.items() if text is None]
    if len(bare) == len(texts):
        raise DataError(f"no image of {path} has a text file of polygons (labels/{bare[0].stem}.txt, or beside {bare[0]})")
    items, boxes = [], 0
    for file, text in texts.items():
        polygons, more = _read(text, content["names"]) if text else ([], 0)
        items.append(Item(file, text or file, polygons))
        boxes += more
    if boxes and not any(item.objects for item in items):
        raise DataError(f"the text files of {path} contain no polygons, only boxes for detection ({boxes})")
    notes = skipped(boxes, "box", "for detection, which has no outline")
    notes += skipped(missing, "entry", f"of {path.name} that does not exist")
    notes += [f"{counted(len(bare), 'image')} without a text file, all background (such as {bare[0]})"] if bare else []

    def fill(corners: NDArray[np.float64], height: int, width: int) -> regions.Region:
        return regions.fill(corners * (width, height), height, width)

    return source_of_objects("yolo", path, path.parent, items, content["names"], fill, notes, by_size=True, lists=lists)


def _read_yaml(path: Path) -> dict[str, Any]:
    """Read the YAML file; ``names``, a list or a mapping of numbers to names, becomes a list of text."""
    import yaml

    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise DataError(f"cannot read {path}: not valid YAML: {' '.join(str(error).split())}") from error
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict) and sorted(names) == list(range(len(names))):
        names = [names[number] for number in range(len(names))]
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: 'names' is neither a list of classes nor a mapping of all numbers from 0")
    return content | {"names": [str(name) for name in names]}


def _splits(content: dict[str, Any], path: Path) -> tuple[dict[str, list[Path]], list[Path]]:
    """Return the images of each split (all below the folder if no split is named), and entries that do not exist."""
    base = path.parent / str(content.get("path") or "")
    base = base if base.is_dir() else path.parent
    splits: dict[str, list[Path]] = {}
    missing: list[Path] = []
    for key, value in content.items():
        entries = [entry for entry in (value if isinstance(value, list) else [value]) if isinstance(entry, str)]
        # A key with lists of images may have any name, a key with folders must be a split's.
        split = SPLIT_NAMES.get(str(key)) or str(key)
        for entry in entries if key in SPLIT_NAMES or all(entry.endswith(".txt") for entry in entries) else []:
            # Roboflow writes ../train/images for a folder next to the file.
            places = [base / entry, path.parent / entry, path.parent / entry.removeprefix("../")]
            place = next((one for one in places if one.exists()), None)
            if place is None:
                missing.append(places[-1])
            else:
                splits.setdefault(split, []).extend(_images(place))
    return splits if splits or missing else {"": files_below(path.parent, IMAGE_SUFFIXES)}, missing


def _images(place: Path) -> list[Path]:
    """Return the images of a folder, or of a list with one path a line, relative to the list."""
    if place.is_dir():
        return files_below(place, IMAGE_SUFFIXES)
    images = [place.parent / line.strip() for line in place.read_text(encoding="utf-8").splitlines() if line.strip()]
    absent = next((image for image in images if not image.is_file()), None)
    if absent:
        raise DataError(f"{place} names {absent}, which does not exist")
    return images


def _text_file(image: Path) -> Path | None:
    """Return the text file of an image: in ``labels`` if the image is in ``images``, or else beside it."""
    in_labels = Path(re.sub("^(.*/|)images/", r"\1labels/", image.as_posix()))  # .* takes the last folder called images
    places = (in_labels.with_suffix(".txt"), image.with_suffix(".txt"))
    return next((place for place in places if place.is_file()), None)


def _read(path: Path, names: list[str]) -> tuple[list[tuple[str | None, NDArray[np.float64]]], int]:
    """Return class names and corners (N x 2, fractions of width and height) from a text file, and its number of boxes."""
    with parsing(str(path)):
        lines = path.read_text(encoding="utf-8").splitlines()
    found: list[tuple[str | None, NDArray[np.float64]]] = []
    boxes = 0
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        label, *values = line.split()
        try:
            label_id, corners = int(label), np.array(values, dtype=np.float64)
        except ValueError:
            raise DataError(f"{path}, line {number}: '{line[:40]}' is not a class number followed by coordinates") from None
        if not 0 <= label_id < len(names):
            raise DataError(f"{path}, line {number}: class {label_id} is not one of the classes 0 to {len(names) - 1}")
        if len(corners) == BOX:
            boxes += 1
        elif len(corners) < 6 or len(corners) % 2 or not np.isfinite(corners).all():
            raise DataError(f"{path}, line {number}: {len(corners)} numbers are not a polygon of at least three finite corners")
        else:
            found.append((names[label_id], corners.reshape(-1, 2)))
    return found, boxes
