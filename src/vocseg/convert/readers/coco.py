"""Read COCO's instance and stuff annotations."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from vocseg import voc
from vocseg.convert import polygons, rle
from vocseg.convert.files import ImageFinder, files_below, json_kind, read_json, split_of_path, unique_ids
from vocseg.convert.source import Item, Mask, Source, object_classes, skipped
from vocseg.errors import DataError

VOID_CATEGORY = "void"


@dataclass(frozen=True)
class _Image:
    """An image of an annotation file: name, height and width, and objects (label, is a crowd, segmentation)."""

    name: str
    height: int
    width: int
    objects: list[tuple[int, bool, Any]]


def find_coco(path: Path, images: Path | None = None) -> Source:
    """Read an annotation file, or all annotation files below a folder.

    Classes are background (pixels in no object) and the categories in the order of their ids, renumbered without gaps.
    Where objects overlap, the smaller is on top. Crowd regions, and a category called void, are void. Files named
    after train, val or test are the splits. Raises DataError, naming the file and the annotation, for anything that is
    not COCO's.
    """
    files = [path] if path.is_file() else _annotation_files(path)
    root = path.parent if path.is_file() else path
    contents = {file: _checked(read_json(file), file) for file in files}
    names, labels = _classes([category for content in contents.values() for category in content["categories"]], files[0])
    folders = [images] if images else [root, root.parent] if root.name == "annotations" else [root]
    split_names = _split_names(files, root)
    finder = ImageFinder(*folders)
    found: dict[Path, tuple[_Image, Path]] = {}
    splits: dict[str, dict[Path, None]] = {}
    missing = []
    for file, content in contents.items():
        for image in _images(content, labels, file):
            place = finder.find(image.name, file)
            if place is None:
                missing.append(image.name)
                continue
            known, in_file = found.setdefault(place, (image, file))
            if known is not image and in_file == file:  # one image, listed twice
                known.objects.extend(image.objects)
            if split := split_names[file]:
                splits.setdefault(split, {})[place] = None
    if not found:
        first = f" (the first is '{missing[0]}')" if missing else ""
        raise DataError(
            f"none of the {len(missing)} images of {files[0]} is below {folders[-1]}{first}; set --images to their folder"
        )
    ids = dict(zip(found, unique_ids(list(found), folders[-1]), strict=True))
    items = [Item(ids[place], place, file, partial(_mask, image, file)) for place, (image, file) in found.items()]
    source = Source("coco", ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else ""), items, names, True, True)
    source.splits = {split: [ids[place] for place in places] for split, places in splits.items()}
    source.notes = skipped(missing, "annotated image", "that cannot be found")
    return source


def _annotation_files(root: Path) -> list[Path]:
    """List the COCO files below a folder; of several kinds, those called instances, or else stuff."""
    files = [path for path in files_below(root, (".json",)) if json_kind(path) == "coco"]
    for word in ("instances", "stuff"):
        files = [path for path in files if path.name.startswith(word)] or files
    if not files:
        raise DataError(f"no COCO annotation file (JSON with images, annotations and categories) below {root}")
    return files


def _split_names(files: list[Path], root: Path) -> dict[Path, str | None]:
    """Return the split of each file; several files of one split, or one like trainaug, keep their own names."""
    names = {file: split_of_path(file.relative_to(root)) for file in files}
    names |= {file: file.stem for file, name in names.items() if name is None and re.match("train|val|test", file.stem)}
    taken = Counter(names.values())
    return {file: name if name is None or taken[name] == 1 else file.stem for file, name in names.items()}


def _checked(content: Any, file: Path) -> dict[str, Any]:
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
    objects: dict[Any, list[tuple[int, bool, Any]]] = {}
    for annotation in content["annotations"]:
        try:
            label = labels[names[annotation["category_id"]]]
            image_id = annotation["image_id"]
        except (KeyError, TypeError) as error:
            of = f" of image {annotation['image_id']}" if isinstance(annotation, dict) and "image_id" in annotation else ""
            key = error.args[0] if error.args else error
            raise DataError(f"{file}: annotation {_id(annotation)}{of} has a missing or unknown {key!r}") from error
        if annotation.get("segmentation"):
            crowd = bool(annotation.get("iscrowd")) or label == voc.VOID
            objects.setdefault(image_id, []).append((label, crowd, annotation["segmentation"]))
    for image in content["images"]:
        try:
            yield _Image(str(image["file_name"]), int(image["height"]), int(image["width"]), objects.get(image["id"], []))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: image {_id(image)} lacks a valid id, file_name, height or width") from error


def _id(entry: Any) -> Any:
    return entry.get("id", "?") if isinstance(entry, dict) else "?"


def _mask(image: _Image, file: Path) -> Mask:
    crowds: list[tuple[polygons.Region, int]] = []
    objects: list[tuple[polygons.Region, int]] = []
    for label, crowd, segmentation in image.objects:
        try:
            region = _region(segmentation, image.height, image.width)
        except (DataError, TypeError, ValueError) as error:
            raise DataError(f"{file}: cannot read an object of {image.name}: {error}") from error
        (crowds if crowd else objects).append((region, voc.VOID if crowd else label))
    objects.sort(key=lambda one: -int(np.count_nonzero(one[0])))
    return polygons.paint(image.height, image.width, [*crowds, *objects])


def _region(segmentation: Any, height: int, width: int) -> polygons.Region:
    """Return the region of run lengths, or the union of polygons."""
    if isinstance(segmentation, dict):
        region = rle.decode(segmentation)
        if region.shape != (height, width):
            raise DataError(f"run lengths of {region.shape[0]}x{region.shape[1]} in an image of {height}x{width}")
        return region
    region = np.zeros((height, width), dtype=bool)
    for ring in segmentation:
        if len(ring) >= 6:
            region |= polygons.fill([np.asarray(ring, dtype=np.float64).reshape(-1, 2)], height, width)
    return region
