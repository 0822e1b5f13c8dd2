"""Read COCO's instance and stuff annotations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from vocseg import voc
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
    split_of_path,
)  # fmt: skip
from vocseg.errors import DataError

VOID_CATEGORY = "void"


class _Image(NamedTuple):
    """An image of an annotation file, and its objects: label (void for crowds) and segmentation."""

    file: Path
    name: str
    height: int
    width: int
    objects: list[tuple[int, Any]]


def find_coco(path: Path, images: Path | None = None) -> Source:
    """Read an annotation file, or all annotation files below a folder.

    Classes are background (pixels in no object) and the categories in the order of their ids, renumbered without gaps.
    Where objects overlap, the smaller is on top. Crowd regions, and a category called void, are void. Files named
    after train, val or test are the splits. Raises DataError, naming the file and the annotation, for anything that is
    not COCO's.
    """
    files = [path] if path.is_file() else _annotation_files(path)
    root = path.parent if path.is_file() else path
    contents = {file: _read(file) for file in files}
    names, labels = _classes([category for content in contents.values() for category in content["categories"]], files[0])
    folders = [images] if images else [root, root.parent] if root.name == "annotations" else [root]
    finder = ImageFinder(*folders)
    found: dict[Path, _Image] = {}
    lists: dict[str, dict[Path, None]] = {}
    missing = []
    for file, split in _splits(files, root).items():
        for image in _images(contents[file], labels, file):
            place = finder.find(image.name, file)
            if place is None:
                missing.append(image.name)
                continue
            known = found.setdefault(place, image)
            if known is not image and known.file == file:  # one image, listed twice
                known.objects.extend(image.objects)
            if split:
                lists.setdefault(split, {})[place] = None
    if not found:
        first = f" (the first is '{missing[0]}')" if missing else ""
        raise DataError(
            f"none of the {len(missing)} images of {files[0]} is below {folders[-1]}{first}; set --images to their folder"
        )
    items = [Item(place, image.file, partial(_mask, image)) for place, image in found.items()]
    where = ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
    notes = skipped(missing, "annotated image", "that cannot be found")
    return Source("coco", where, folders[-1], items, names, named=True, objects=True, notes=notes, lists=lists)


def _annotation_files(root: Path) -> list[Path]:
    """List the COCO files below a folder; of several kinds, those called instances, or else stuff."""
    files = [path for path in files_below(root, (".json",)) if json_kind(path) == "coco"]
    for word in ("instances", "stuff"):
        files = [path for path in files if path.name.startswith(word)] or files
    if not files:
        raise DataError(f"no COCO annotation file (JSON with images, annotations and categories) below {root}")
    return files


def _splits(files: list[Path], root: Path) -> dict[Path, str | None]:
    """Return the split of each file; several files of one split, or one like trainaug, keep their own names."""
    names = {file: split_of_path(file.relative_to(root)) for file in files}
    names |= {file: file.stem for file, name in names.items() if name is None and re.match("train|val|test", file.stem)}
    taken = Counter(names.values())
    return {file: name if name is None or taken[name] == 1 else file.stem for file, name in names.items()}


def _read(file: Path) -> dict[str, Any]:
    content = read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{file} is not in COCO's format: it has no list '{key}'")
    return content


def _classes(categories: list[dict[str, Any]], file: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Return the names by label and the labels by name: background 0, then the categories by id."""
    try:
        by_id = sorted((int(category["id"]), str(category["name"])) for category in categories)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} has a category without id or name") from error
    names, labels = object_classes([name for _, name in by_id if name != VOID_CATEGORY], file)
    return names, labels | {VOID_CATEGORY: voc.VOID}


def _images(content: dict[str, Any], labels: dict[str, int], file: Path) -> Iterator[_Image]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    objects: dict[Any, list[tuple[int, Any]]] = {}
    for annotation in content["annotations"]:
        try:
            label = labels[names[annotation["category_id"]]]
            image_id = annotation["image_id"]
        except (KeyError, TypeError) as error:
            of = f" of image {annotation['image_id']}" if isinstance(annotation, dict) and "image_id" in annotation else ""
            key = error.args[0] if error.args else error
            raise DataError(f"{file}: annotation {_id(annotation)}{of} has a missing or unknown {key!r}") from error
        if annotation.get("segmentation"):
            label = voc.VOID if annotation.get("iscrowd") else label
            objects.setdefault(image_id, []).append((label, annotation["segmentation"]))
    for image in content["images"]:
        try:
            shape = int(image["height"]), int(image["width"])
            yield _Image(file, str(image["file_name"]), *shape, objects.get(image["id"], []))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: image {_id(image)} lacks a valid id, file_name, height or width") from error


def _id(entry: Any) -> Any:
    return entry.get("id", "?") if isinstance(entry, dict) else "?"


def _mask(image: _Image) -> Mask:
    with parsing(f"an object of {image.name} in {image.file}"):
        objects = [(_region(segmentation, image.height, image.width), label) for label, segmentation in image.objects]
    return regions.paint(image.height, image.width, objects, by_size=True)


def _region(segmentation: Any, height: int, width: int) -> regions.Region:
    """Return the region of run lengths, or the union of polygons."""
    if isinstance(segmentation, dict):
        region = rle.decode(segmentation)
        if region.shape != (height, width):
            raise DataError(f"run lengths of {region.shape[0]}x{region.shape[1]} in an image of {height}x{width}")
        return region
    region = np.zeros((height, width), dtype=bool)
    for ring in segmentation:
        if len(ring) >= 6:
            region |= regions.fill(ring, height, width)
    return region
