"""COCO's instance and stuff annotations."""

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
from vocseg.convert import rle, shapes
from vocseg.convert.source import (
    BACKGROUNDS,
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
from vocseg.errors import DataError

VOID_CATEGORY = "void"


@dataclass(frozen=True)
class _Image:
    """What annotation files say of one image: its name, height and width, and objects (label, is a crowd, segmentation)."""

    name: str
    height: int
    width: int
    objects: list[tuple[int, bool, Any]]


def find_coco(path: Path, images: Path | None = None) -> Source:
    """The data set of an annotation file, or of all annotation files below a folder.

    Classes are background, for pixels in no object, and the categories in the order of their ids, whatever gaps these have.
    Where objects overlap, the smaller is on top. Crowd regions, and a category called void, are void. Files named after
    train, val or test give the splits. Raises DataError, naming file and annotation, for what is not COCO's.
    """
    files = [path] if path.is_file() else _annotation_files(path)
    root = path.parent if path.is_file() else path
    contents = [(file, _checked(read_json(file), file)) for file in files]
    labels = _labels([category for _, content in contents for category in content["categories"]], files[0])
    folders = [images] if images else [root, root.parent] if root.name == "annotations" else [root]
    finder = ImageFinder(folders)
    found: dict[Path, tuple[_Image, Path]] = {}
    splits: dict[str, dict[Path, None]] = {}
    missing = []
    split_names = _split_names(files, root)
    for file, content in contents:
        for image in _images(content, labels, file):
            where = finder.find(image.name, file)
            if where is None:
                missing.append(image.name)
                continue
            known, in_file = found.setdefault(where, (image, file))
            if known is not image and in_file == file:  # one image, listed twice
                known.objects.extend(image.objects)
            split = split_names[file]
            if split:
                splits.setdefault(split, {})[where] = None
    if not found:
        raise DataError(
            f"none of the {len(missing)} images of {files[0]} is below {folders[-1]} "
            f"(the first is '{missing[0] if missing else ''}'); --images says where they are"
        )
    ids = dict(zip(found, unique_ids(list(found), folders[-1]), strict=True))
    items = [Item(ids[where], where, file, partial(_mask, image, file)) for where, (image, file) in found.items()]
    return Source(
        "coco",
        ", ".join(str(file) for file in files[:3]) + (", ..." if len(files) > 3 else ""),
        items,
        _names(labels),
        named=True,
        optional=frozenset({0}),
        splits={split: [ids[where] for where in paths] for split, paths in splits.items()},
        notes=left_out(len(missing), "annotated image", ", not there", *missing[:1]),
    )


def looks_like_coco(head: str) -> bool:
    """Whether the beginning of a JSON file may be COCO's."""
    keys = ('"images"', '"annotations"', '"categories"', '"licenses"')
    return head.lstrip().startswith("{") and any(key in head for key in keys) and '"shapes"' not in head


def _annotation_files(root: Path) -> list[Path]:
    """COCO files below a folder, one for each split: of several, those called instances or else stuff."""
    files = []
    for path in files_below(root, (".json",)):
        with open(path, encoding="utf-8", errors="replace") as file:
            if looks_like_coco(file.read(1 << 16)):
                files.append(path)
    for word in ("instances", "stuff"):
        if any(path.name.startswith(word) for path in files):
            files = [path for path in files if path.name.startswith(word)]
    if not files:
        raise DataError(f"no COCO annotation file (JSON with images, annotations and categories) below {root}")
    return files


def _split_names(files: list[Path], root: Path) -> dict[Path, str | None]:
    """The split that each file holds; where several speak of one split, or with an ending (trainaug), their own names do."""
    names = {file: split_of_path(file.relative_to(root)) for file in files}
    names |= {file: file.stem for file, name in names.items() if name is None and re.match("train|val|test", file.stem)}
    taken = Counter(names.values())
    return {file: name if name is None or taken[name] == 1 else file.stem for file, name in names.items()}


def _checked(content: Any, file: Path) -> dict[str, Any]:
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{file} is not in COCO's format: it has no list '{key}'")
    return content


def _labels(categories: list[dict[str, Any]], file: Path) -> dict[str, int]:
    """Label of each category's name: background 0, then by id."""
    try:
        by_id = sorted((int(category["id"]), str(category["name"])) for category in categories)
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"{file} has a category without id or name") from error
    names = named_classes([name for _, name in by_id if name != VOID_CATEGORY], file)
    return labels_by_name(names) | {VOID_CATEGORY: voc.VOID}


def _names(labels: dict[str, int]) -> dict[int, str]:
    """Names by label; background goes by the first of its names."""
    return {label: name for name, label in labels.items() if label != voc.VOID and name not in BACKGROUNDS[1:]}


def _images(content: dict[str, Any], labels: dict[str, int], file: Path) -> Iterator[_Image]:
    names = {category["id"]: str(category["name"]) for category in content["categories"]}
    objects: dict[Any, list[tuple[int, bool, Any]]] = {}
    for annotation in content["annotations"]:
        try:
            label = labels[names[annotation["category_id"]]]
            place = annotation["image_id"]
        except (KeyError, TypeError) as error:
            of = f" of image {annotation['image_id']}" if isinstance(annotation, dict) and "image_id" in annotation else ""
            raise DataError(
                f"{file}: annotation {_id(annotation)}{of} has no or an unknown {error.args[0] if error.args else error!r}"
            ) from error
        if annotation.get("segmentation"):
            crowd = bool(annotation.get("iscrowd")) or label == voc.VOID
            objects.setdefault(place, []).append((label, crowd, annotation["segmentation"]))
    for image in content["images"]:
        try:
            yield _Image(str(image["file_name"]), int(image["height"]), int(image["width"]), objects.get(image["id"], []))
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: image {_id(image)} has no id, file_name, height or width") from error


def _id(entry: Any) -> Any:
    return entry.get("id", "?") if isinstance(entry, dict) else "?"


def _mask(image: _Image, file: Path) -> Mask:
    height, width = image.height, image.width
    crowds: list[tuple[shapes.Region, int]] = []
    objects: list[tuple[shapes.Region, int]] = []
    for label, crowd, segmentation in image.objects:
        try:
            region = _region(segmentation, height, width)
        except (DataError, TypeError, ValueError) as error:
            raise DataError(f"{file}: an object of {image.name} cannot be read: {error}") from error
        (crowds if crowd else objects).append((region, voc.VOID if crowd else label))
    objects.sort(key=lambda one: -int(np.count_nonzero(one[0])))
    return shapes.paint(height, width, [*crowds, *objects])


def _region(segmentation: Any, height: int, width: int) -> shapes.Region:
    """Run lengths, or the union of polygons."""
    if isinstance(segmentation, dict):
        region = rle.decode(segmentation)
        if region.shape != (height, width):
            raise DataError(f"run lengths of {region.shape[0]}x{region.shape[1]} in an image of {height}x{width}")
        return region
    region = np.zeros((height, width), dtype=bool)
    for ring in segmentation:
        if len(ring) >= 6:
            region |= shapes.polygon([np.asarray(ring, dtype=np.float64).reshape(-1, 2)], height, width)
    return region
