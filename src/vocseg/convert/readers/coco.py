"""Read COCO's instance and stuff annotations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from vocseg.convert import regions
from vocseg.convert.source import ImageFinder, Item, Source, json_files, read_json, skipped, source_of_objects, split_of_path
from vocseg.errors import DataError

VOID_CATEGORY = "void"


def find_coco(path: Path, images: Path | None = None) -> Source:
    """Read an annotation file, or all annotation files below a folder; of several kinds, instances, or else stuff.

    Classes are background and the categories in the order of their ids. Where objects overlap, the smaller is on top.
    Crowd regions, and a category called void, are void. Files named after train, val or test are the splits.
    """
    files = json_files(path, "coco")
    for word in ("instances", "stuff"):
        files = [file for file in files if file.name.startswith(word)] or files
    if not files:
        raise DataError(f"no COCO annotation file (JSON with images, annotations and categories) below {path}")
    root = path.parent if path.is_file() else path
    contents = {file: _read(file) for file in files}
    folders = [images] if images else [root, root.parent] if root.name == "annotations" else [root]
    finder = ImageFinder(*folders)
    found: dict[Path, Item] = {}
    lists: dict[str, dict[Path, None]] = {}
    missing = []
    for file, split in _splits(files, root).items():
        for name, size, objects in _images(contents[file], file):
            image = finder.find(name, file)
            if image is None:
                missing.append(name)
                continue
            known = found.setdefault(image, Item(image, file, objects, size))
            if known.objects is not objects and known.origin == file:  # one image, listed twice
                known.objects.extend(objects)
            if split:
                lists.setdefault(split, {})[image] = None
    if not found:
        first = f" (the first is '{missing[0]}')" if missing else ""
        number = f"none of the {len(missing)} images of {files[0]}"
        raise DataError(f"{number} is below {folders[-1]}{first}; set --images to their folder")
    by_id = sorted((int(id_), name) for content in contents.values() for id_, name in _categories(content, files[0]).items())
    names = [name for _, name in by_id if name != VOID_CATEGORY]
    where = ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
    notes = skipped(missing, "annotated image", "that cannot be found")
    return source_of_objects("coco", where, folders[-1], [*found.values()], names, _region, notes, by_size=True, lists=lists)


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


def _categories(content: dict[str, Any], file: Path) -> dict[Any, str]:
    try:
        return {one["id"]: str(one["name"]) for one in sorted(content["categories"], key=lambda one: int(one["id"]))}
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} has a category without id or name") from error


def _images(content: dict[str, Any], file: Path) -> Iterator[tuple[str, tuple[int, int], list[tuple[str | None, Any]]]]:
    """Yield the name, the size and the objects (class name, or None for void, and segmentation) of each image."""
    names = _categories(content, file)
    objects: dict[Any, list[tuple[str | None, Any]]] = {}
    for annotation in content["annotations"]:
        try:
            name, image_id = names[annotation["category_id"]], annotation["image_id"]
        except (KeyError, TypeError) as error:
            of = f" of image {annotation['image_id']}" if isinstance(annotation, dict) and "image_id" in annotation else ""
            key = error.args[0] if error.args else error
            raise DataError(f"{file}: annotation {_id(annotation)}{of} has a missing or unknown {key!r}") from error
        if annotation.get("segmentation"):
            is_void = annotation.get("iscrowd") or name == VOID_CATEGORY
            objects.setdefault(image_id, []).append((None if is_void else name, annotation["segmentation"]))
    for image in content["images"]:
        try:
            yield str(image["file_name"]), (int(image["height"]), int(image["width"])), objects.get(image["id"], [])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: image {_id(image)} lacks a valid id, file_name, height or width") from error


def _id(entry: Any) -> Any:
    return entry.get("id", "?") if isinstance(entry, dict) else "?"


def _region(segmentation: Any, height: int, width: int) -> regions.Region:
    """Return the region of run lengths, or the union of polygons."""
    if isinstance(segmentation, dict):
        region = regions.decode(segmentation)
        if region.shape != (height, width):
            raise DataError(f"run lengths of {region.shape[0]}x{region.shape[1]} in an image of {height}x{width}")
        return region
    region = np.zeros((height, width), dtype=bool)
    for ring in segmentation:
        if len(ring) >= 6:
            region |= regions.fill(ring, height, width)
    return region
