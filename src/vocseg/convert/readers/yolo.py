"""Read Ultralytics' segmentation format: text files of polygons, and a YAML file of classes and splits."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert import regions
from vocseg.convert.finder import ImageFinder, files_below
from vocseg.convert.regions import NotDrawn, Region
from vocseg.convert.source import SPLIT_NAMES, Item, Lost, Source, is_inside, skipped, source_of_objects
from vocseg.data.layout import IMAGE_SUFFIXES, read_classes
from vocseg.errors import DataError
from vocseg.utils.files import read_lines, read_yaml

BOX = 4
"""Numbers in a line that is a box for detection (center and size)."""
MAX_SHARE = 2
"""Corners may be outside of the image, but much larger coordinates are in pixels."""
CLASS_FILES = ("classes.txt", "obj.names", "predefined_classes.txt")
"""Files that tools write beside the text files, with a class name a line; the first two also serve without a YAML file."""
Objects = list[tuple[str | None, NDArray[np.float64]]]


def find_yaml(root: Path) -> Path | None:
    """Return the file that names the classes at ``root``, a folder or that file: YAML or CLASS_FILES; None if none does.

    Raises DataError for several YAML files of which none is called data.
    """
    found = []
    for path in [root] if root.is_file() else sorted([*root.glob("*.yaml"), *root.glob("*.yml")]):
        if path.suffix in (".yaml", ".yml") and path.is_file():
            with open(path, "rb") as file:
                text = file.read(1 << 16).replace(b"\0", b"")  # UTF-16 has zeros between the letters
            if re.search(rb"""(^|[{,]|\xbf|\xff\xfe|\xfe\xff)\s*["']?(names|nc)["']?\s*:""", text, re.MULTILINE):
                found.append(path)
    if len(found) > 1 and not any(path.stem == "data" for path in found):
        raise DataError(f"{found[0]} and {found[1]} both describe a YOLO data set; give one of them instead of {root}")
    if not found and next((root / "labels").rglob("*.txt"), None):
        found = [root / name for name in CLASS_FILES[:2] if (root / name).is_file()]
    return next((path for path in found if path.stem == "data"), found[0] if found else None)


def find_yolo(root: Path, images: Path | None = None, allow_outside: bool = False) -> Source:
    """Read the data set of the YAML file at or in ``root``: the images of its splits, or all in ``images``.

    Where polygons overlap, the smaller is on top, as in Ultralytics' training. An image without a text file is all
    background. Paths that lead outside the file's folder are refused unless ``allow_outside``.
    """
    path = find_yaml(root)
    if path is None:
        raise DataError(f"no YAML file with 'names', which YOLO data sets have, at {root}")
    layout = _Layout(path, None if allow_outside else [path.parent, *([images] if images else [])])
    lists = {"": files_below(images, IMAGE_SUFFIXES)} if images else layout.splits()
    texts = {file: layout.text_file(file) for file in dict.fromkeys(file for files in lists.values() for file in files)}
    if not texts:
        raise DataError(f"no images found through {path}" + (f": {layout.missing[0]} does not exist" if layout.missing else ""))
    bare = [file for file, text in texts.items() if text is None]
    if len(bare) == len(texts):
        raise DataError(f"no image of {path} has a text file of polygons (labels/{bare[0].stem}.txt, or beside {bare[0]})")
    items = [Item(file, text or file, _read(text, layout.names) if text else []) for file, text in texts.items()]
    shapes = [shape for item in items for _, shape in item.objects]
    if shapes and all(len(shape) == BOX for shape in shapes):
        raise DataError(f"the text files of {path} contain no polygons, only boxes for detection ({len(shapes)})")
    notes = skipped(layout.missing, "entry", f"of {path.name} that does not exist")
    settings = {"by_size": True, "lists": lists, "lost": [*_stray(texts, path)]}
    fill = partial(_region, has_key_points="kpt_shape" in layout.content)
    return source_of_objects("yolo", path, path.parent, items, layout.names, fill, notes, **settings)


class _Layout:
    """The files that a YAML file, or a list of class names, leads to; those outside of ``roots``, if given, are refused."""

    def __init__(self, path: Path, roots: Sequence[Path] | None) -> None:
        self.path, self.roots = path, roots
        is_yaml = path.suffix in (".yaml", ".yml")
        content = read_yaml(path) if is_yaml else {}
        self.content = content if isinstance(content, dict) else {}
        self.names = _names(self.content, path) if is_yaml else list(read_classes(path))
        self.missing: list[Path] = []
        folder = self.content.get("path") or ""
        if not isinstance(folder, str):
            raise DataError(f"{path}: 'path' is not the name of a folder")
        base = path.parent / folder.replace("\\", "/")
        self.base = self._allowed(base) if base.is_dir() else path.parent

    @cached_property
    def finder(self) -> ImageFinder:
        return ImageFinder(self.path.parent)

    def splits(self) -> dict[str, list[Path]]:
        """Return the images of each split; all below the folder if no split is named."""
        content = self.content or {path.stem: path.name for path in self.path.parent.glob("*.txt") if path.stem in SPLIT_NAMES}
        splits: dict[str, list[Path]] = {}
        for key, value in content.items():
            entries = [entry for entry in (value if isinstance(value, list) else [value]) if entry not in (None, "")]
            # A key with lists of images may have any name, a key with folders must be a split's.
            if key not in SPLIT_NAMES and not all(isinstance(entry, str) and entry.endswith(".txt") for entry in entries):
                continue
            for entry in entries:
                if not isinstance(entry, str):
                    raise DataError(f"{self.path}: '{key}' is not a path or a list of paths")
                splits.setdefault(SPLIT_NAMES.get(key) or str(key), []).extend(self._images(entry))
        return splits if splits or self.missing else {"": files_below(self.path.parent, IMAGE_SUFFIXES)}

    def _images(self, entry: str) -> list[Path]:
        """Return the images of an entry, which may have been written on another machine: a folder or a list of paths."""
        name = entry.replace("\\", "/")
        parts = [part for part in name.split("/") if part not in ("", ".", "..") and not part.endswith(":")]
        least = 1 if name.endswith(".txt") else 2  # images/ alone may be another split's
        ends = [self.path.parent.joinpath(*parts[start:]) for start in range(max(1, len(parts) - least + 1))]
        places = [place for place in (self.base / name, *ends) if place.exists()]
        if not places:
            self.missing.append(ends[0])
            return []
        # Roboflow writes ../train/images for a folder next to the file.
        inside = [place for place in places if name.startswith("../") and self._is_allowed(place)]
        place = inside[0] if inside else self._allowed(places[0])
        if place.is_dir():
            return files_below(place, IMAGE_SUFFIXES)
        return [self._listed(line.strip().strip("\"'"), place) for line in read_lines(place, "list of images") if line.strip()]

    def _listed(self, line: str, place: Path) -> Path:
        for name in dict.fromkeys((line, line.replace("\\", "/"), line.replace("\\", "/").split()[0])):
            for folder in (place.parent, self.base):
                if (folder / name).is_file():
                    return self._allowed(folder / name)
        found = self.finder.find(line, place) or self.finder.find(line.split()[0], place)
        if found is None:
            raise DataError(f"{place} names {place.parent / line}, which does not exist")
        return found

    def text_file(self, image: Path) -> Path | None:
        """Return the text file of an image: in ``labels`` if the image is in ``images``, or else beside it."""
        in_labels = Path(re.sub("^(.*/|)images/", r"\1labels/", image.as_posix()))  # .* takes the last folder called images
        places = (in_labels.with_suffix(".txt"), image.with_suffix(".txt"))
        return next((self._allowed(place) for place in places if place.is_file()), None)

    def _is_allowed(self, place: Path) -> bool:
        return self.roots is None or is_inside(place, self.roots)

    def _allowed(self, place: Path) -> Path:
        if not self._is_allowed(place):
            raise DataError(f"{self.path} leads to {os.path.realpath(place)}, outside of its folder; --allow-outside reads it")
        return place


def _names(content: dict[Any, Any], path: Path) -> list[str]:
    """Return ``names``, a list or a mapping of numbers to names, as text; or those that ``nc``, a number, stands for."""
    names, number = content.get("names"), content.get("nc")
    if names is None and isinstance(number, int) and 0 < number < voc.VOID:
        names = [f"class_{label}" for label in range(number)]
    if isinstance(names, dict) and all(str(key).isdecimal() for key in names):
        numbered = {int(key): name for key, name in names.items()}
        names = [numbered[key] for key in range(len(names))] if {*numbered} == {*range(len(names))} else None
    if not isinstance(names, list) or not names:
        raise DataError(f"{path}: 'names' is neither a list of classes nor a mapping of all numbers from 0")
    numbers: dict[str, int] = {}
    for label, name in enumerate(names):
        if isinstance(name, bool) or not isinstance(name, str | int | float) or not str(name).strip():
            # The value itself may be nested without end.
            shown = f"'{name}'" if isinstance(name, str | bool) else f"a {type(name).__name__}"
            raise DataError(f"{path}: the name of class {label} is {shown} instead of text; put names in quotes")
        if numbers.setdefault(str(name).strip(), label) != label:
            raise DataError(f"{path}: classes {numbers[str(name).strip()]} and {label} are both called '{name}'")
    return list(numbers)


def _read(path: Path, names: list[str]) -> Objects:
    """Return the class name and the numbers of each line of a text file."""
    found: Objects = []
    for number, line in _lines(path):
        where = f"{path}, line {number}:"
        label, *values = line.split()
        try:
            label_id, numbers = float(label), np.array(values, dtype=np.float64)
        except ValueError:
            raise DataError(f"{where} '{line[:40]}' is not a class number followed by coordinates") from None
        if label_id not in range(len(names)):
            raise DataError(f"{where} class {label} is not one of the classes 0 to {len(names) - 1}")
        if len(numbers) != BOX and (len(numbers) < 6 or len(numbers) % 2 or not np.isfinite(numbers).all()):
            raise DataError(f"{where} {len(numbers)} numbers are not a polygon of at least three finite corners")
        found.append((names[int(label_id)], numbers))
    return found


def _lines(path: Path) -> Iterator[tuple[int, str]]:
    return ((number, line) for number, line in enumerate(read_lines(path, "labels"), 1) if line.strip())


def _region(numbers: NDArray[np.float64], height: int, width: int, has_key_points: bool) -> Region:
    """Fill a polygon whose corners are shares of the width and the height; a box, of center and size, is not drawn."""
    thing = "box" if len(numbers) == BOX else "polygon"
    if not (np.abs(numbers) <= MAX_SHARE).all():
        raise NotDrawn(thing, "with coordinates that are pixels instead of shares of the size, or no numbers")
    if has_key_points or len(numbers) == BOX:
        x, y, across, down = numbers[:BOX] * (width, height, width, height)
        box = regions.fill(regions.rectangle(x - across / 2, y - down / 2, across, down), height, width)
        raise NotDrawn("box", "with key points, but no outline" if has_key_points else "without an outline", box)
    return regions.polygons([numbers], height, width, (width, height), thing, "")


def _stray(texts: dict[Path, Path | None], path: Path) -> Iterator[Lost]:
    """Yield the objects of text files, in the folders called labels, that belong to no image."""
    used = {text for text in texts.values() if text}
    folders = {folder for text in used for folder in text.parents if folder.name == "labels" and path.parent in folder.parents}
    for text in sorted({text for folder in folders for text in files_below(folder, (".txt",))} - used):
        if text.name not in CLASS_FILES:
            yield from (Lost(None, "object", f"of images that {path.name} does not lead to", text.name) for _ in _lines(text))
