"""Read COCO's instance and stuff annotations."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

from vocseg.convert import regions, rle
from vocseg.convert.finder import ImageFinder
from vocseg.convert.regions import NotDrawn, Region, polygons
from vocseg.convert.source import Item, Lost, Source, class_name, json_files, parsing, skipped, source_of_objects, split_of_path
from vocseg.errors import DataError
from vocseg.utils.files import read_json
from vocseg.utils.text import counted

VOID_CATEGORY = "void"
Annotation = dict[str, Any]
Size = tuple[int, int] | None
Objects = list[tuple[str | None, Annotation]]
"""Annotations with the names of their categories, or None for void."""


def find_coco(path: Path, images: Path | None = None, crowds: str = "auto") -> Source:
    """Read an annotation file, or all annotation files below a folder; of several kinds, instances, or else stuff.

    Classes are background and the categories in the order of their ids. Where objects overlap, the smaller is on top.
    A category called void is void. Crowd regions are ``void`` or ``objects``; ``auto``: void unless all objects are
    crowds, as tools write that mark each painted object as one. Files named after train, val or test are the splits.
    """
    files = every = json_files(path, "coco")
    for word in ("instances", "stuff"):
        files = [file for file in files if file.name.startswith(word)] or files
    if not files:
        raise DataError(f"no COCO annotation file (JSON with images, annotations and categories) below {path}")
    root = path.parent if path.is_file() else path
    contents = {file: _read(file) for file in files}
    where = ", ".join(map(str, files[:3])) + (", ..." if len(files) > 3 else "")
    notes = skipped([file.name for file in every if file not in files], "annotation file", f"beside {files[0].name}")
    void_crowds = _void_crowds(contents, where, crowds, notes)
    folders = [images] if images else [root, root.parent] if root.name == "annotations" else [root]
    finder = ImageFinder(*folders)
    found: dict[Path, Item] = {}
    spelled: dict[Path, str] = {}
    lists: dict[str, dict[Path, None]] = {}
    missing, lost = [], []
    for file, split in _splits(files, root).items():
        listed, unlisted = _images(contents[file], file, void_crowds)
        lost += unlisted
        for name, size, objects in listed:
            image = finder.find(name, file)
            if image is None:
                missing.append(name)
                lost += [Lost(category, "object", "of images that cannot be found", name) for category, _ in objects]
                continue
            known = found.setdefault(image, Item(image, file, [], size))
            if spelled.setdefault(image, name) != name and known.origin == file:
                raise DataError(f"{file} lists '{spelled[image]}' and '{name}', but only {image} exists; one image is missing")
            # One image listed twice in a file has the objects of both; other files may repeat them.
            seen = [] if known.origin == file else [_shape(one) for one in known.objects]
            known.objects += [one for one in objects if _shape(one) not in seen]
            if split:
                lists.setdefault(split, {})[image] = None
    if not found:
        first = f" (the first is '{missing[0]}')" if missing else ""
        number = f"none of the {len(missing)} images of {files[0]}"
        raise DataError(f"{number} is below {folders[-1]}{first}; set --images to their folder")
    by_id = sorted((int(key), name) for content in contents.values() for key, name in content["categories"].items())
    names = [name for _, name in by_id if name != VOID_CATEGORY]
    notes += skipped(missing, "annotated image", "that cannot be found")
    items = [*found.values()]
    return source_of_objects("coco", where, folders[-1], items, names, _region, notes, by_size=True, lists=lists, lost=lost)


def _shape(one: tuple[str | None, Annotation]) -> tuple[Any, ...]:
    return one[0], one[1].get("segmentation"), one[1].get("bbox")


def _splits(files: list[Path], root: Path) -> dict[Path, str | None]:
    """Return the split of each file; several files of one split, or one like trainaug, keep their own names."""
    names = {file: split_of_path(file.relative_to(root)) for file in files}
    names |= {file: file.stem for file, name in names.items() if name is None and re.match("train|val|test", file.stem)}
    taken = Counter(names.values())
    return {file: name if name is None or taken[name] == 1 else file.stem for file, name in names.items()}


def _read(file: Path) -> dict[str, Any]:
    """Return a file's content with ids in one spelling and ``categories`` as names by id."""
    content = read_json(file)
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise DataError(f"{file} is not in COCO's format: it has no list '{key}'")
    content["categories"] = names = _categories(content["categories"], file)
    for annotation in content["annotations"]:
        if not isinstance(annotation, dict):
            raise DataError(f"{file}: annotation {str(annotation)[:40]!r} is not an object with image_id and category_id")
        if "segments_info" in annotation:
            raise DataError(f"{file} is in COCO's panoptic format, which is not supported; use the instance or stuff annotations")
        where = f"{file}: annotation {_id(annotation)}"
        for key in ("image_id", "category_id"):
            if key not in annotation:
                raise DataError(f"{where} has a missing or unknown {key!r}")
            with parsing(str(file), f"{key} of annotation {_id(annotation)}"):
                annotation[key] = _key(annotation[key])
        if annotation["category_id"] not in names:
            raise DataError(f"{where} of image {annotation['image_id']} has a missing or unknown {annotation['category_id']}")
    return content


def _id(entry: Any) -> Any:
    return entry.get("id", "?") if isinstance(entry, dict) else "?"


def _key(id_: Any) -> str:
    """Return one spelling of an id, which files write as 1, 1.0, "1" and "0001"."""
    if isinstance(id_, bool) or not isinstance(id_, int | float | str) or (isinstance(id_, float) and not id_.is_integer()):
        raise ValueError(f"{id_!r} is neither a whole number nor text")
    text = str(int(id_) if isinstance(id_, float) else id_).strip()
    return text.lstrip("0") or "0" if text.isdecimal() else text


def _categories(categories: list[Any], file: Path) -> dict[str, str]:
    names: dict[str, str] = {}
    for one in categories:
        try:
            key, name = str(int(_key(one["id"]))), class_name(one["name"])
        except (DataError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file} has a category without id or name") from error
        if names.setdefault(key, name) != name:
            raise DataError(f"{file} gives the id {key} to two categories, '{names[key]}' and '{name}'")
    return names


def _is_crowd(annotation: Annotation) -> bool:
    return str(annotation.get("iscrowd")).lower() in ("1", "1.0", "true")


def _void_crowds(contents: dict[Path, dict[str, Any]], where: str, crowds: str, notes: list[str]) -> bool:
    """Return whether crowd regions are void, and note it."""
    every: Counter[str] = Counter()
    crowded: Counter[str] = Counter()
    for content in contents.values():
        for annotation in content["annotations"]:
            name = content["categories"][annotation["category_id"]]
            if name != VOID_CATEGORY:
                every[name] += 1
                crowded[name] += _is_crowd(annotation)
    number = counted(crowded.total(), "crowd region")
    if not crowded.total():
        return False
    if crowds == "objects" or (crowds == "auto" and crowded == every):
        notes.append(f"{number} taken as objects" + ("" if crowds == "objects" else ", as no object is anything else"))
        return False
    name = next((name for name, count in crowded.items() if count == every[name]), None)
    if name is not None and crowds == "auto":
        raise DataError(
            f"all {counted(crowded[name], 'object')} of class '{name}' in {where} are crowd regions; "
            "--crowds void makes these void, --crowds objects takes them as objects, as some tools mark what is painted"
        )
    notes.append(f"{number} made void; --crowds objects takes them as objects")
    return True


def _size(image: dict[str, Any]) -> Size:
    """Return the height and width, or None if there are none: scripts leave them out."""
    return (int(image["height"]), int(image["width"])) if {"height", "width"} & {*image} else None


def _images(content: dict[str, Any], file: Path, void_crowds: bool) -> tuple[list[tuple[str, Size, Objects]], list[Lost]]:
    """Return the name, the size and the objects of each image, and the objects of images that are not listed."""
    objects: dict[str, Objects] = {}
    for annotation in content["annotations"]:
        name = content["categories"][annotation["category_id"]]
        is_void = name == VOID_CATEGORY or (void_crowds and _is_crowd(annotation))
        objects.setdefault(annotation["image_id"], []).append((None if is_void else name, annotation))
    listed: dict[str, tuple[str, Size, Objects]] = {}
    for image in content["images"]:
        try:
            key, name, size = _key(image["id"]), str(image["file_name"]), _size(image)
        except (ArithmeticError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{file}: image {_id(image)} lacks a valid id, file_name, height or width") from error
        if listed.setdefault(key, (name, size, objects.pop(key, [])))[0] != name:
            raise DataError(f"{file} gives the id {key} to two images, '{listed[key][0]}' and '{name}'")
    unlisted = [(name, key) for key, annotations in objects.items() for name, _ in annotations]
    return [*listed.values()], [Lost(name, "object", "of images that are not listed", f"image_id {key}") for name, key in unlisted]


def _region(annotation: Annotation, height: int, width: int) -> Region:
    """Return the region of run lengths, or the union of polygons: lists of x, y, x, y, ... or of pairs."""
    outline = annotation.get("segmentation")
    if not outline or outline == [[]]:
        if annotation.get("bbox"):
            x, y, across, down = (float(part) for part in annotation["bbox"])
            raise NotDrawn("box", "without an outline", regions.fill(regions.rectangle(x, y, across, down), height, width))
        raise NotDrawn("object", "with key points, but no outline" if annotation.get("keypoints") else "without an outline")
    if isinstance(outline, dict):
        return rle.decode(outline, height, width)
    if all(isinstance(part, dict) for part in outline):
        return regions.union([rle.decode(part, height, width) for part in outline])
    # One polygon may stand without the list around it, flat or as pairs.
    single = not isinstance(outline[0], list) or all(len(part) == 2 and not isinstance(part[0], list) for part in outline)
    return polygons([outline] if single else outline, height, width)
