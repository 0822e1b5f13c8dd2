"""What every reader returns, and what readers share: finding files, reading masks and JSON, naming splits."""

from __future__ import annotations

import json
import os
import re
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import InitVar, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from vocseg import voc
from vocseg.convert.regions import Mask, Region, paint
from vocseg.data.color_table import ColorTable
from vocseg.data.image_io import UNREADABLE, decode_mask, image_size
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError, reason
from vocseg.utils.text import counted

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "trainval": "trainval",
}  # fmt: skip

Fill = Callable[[Any, int, int], Region]
"""Returns the region of a shape, given the image's height and width."""
Splits = dict[str, list[str]]
"""Image ids by split."""


@dataclass
class Item:
    """An image, and the objects drawn on it if it has no mask file.

    ``origin`` is the file of the mask or the objects. ``objects`` are class names (None: void) and shapes as the format
    stores them, in order; ``size`` is the image's height and width according to the annotation. If the image is stored
    inside an annotation file, ``embedded`` returns its bytes and ``image`` is that file. The id comes from the name of
    ``named_by``, or else of ``image``.
    """

    image: Path
    origin: Path
    objects: list[tuple[str | None, Any]] = field(default_factory=list)
    size: tuple[int, int] | None = None
    split: str | None = None
    embedded: Callable[[], bytes] | None = None
    named_by: Path | None = None
    id: str = ""


@dataclass
class Source:
    """A data set in some format, as a reader found it below ``root``.

    ``names`` maps labels to class names, if there are any. ``named``: the format itself names its classes, so
    ``classes`` selects among them; otherwise it names the labels 0, 1, 2, ... ``void`` are labels besides 255 that are
    not classes. ``splits`` are the source's own: those of the items, or ``lists`` of images. Masks are read with a
    color ``table``, or painted with ``fill``.
    """

    kind: str
    found: str
    root: InitVar[Path]
    items: list[Item]
    names: dict[int, str] | None = None
    named: bool = False
    void: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)
    lists: InitVar[Mapping[str, Collection[Path]] | None] = None
    table: ColorTable | None = None
    fill: Fill | None = None
    by_size: bool = False
    splits: Splits = field(init=False, default_factory=dict)

    def __post_init__(self, root: Path, lists: Mapping[str, Collection[Path]] | None) -> None:
        for item, id_ in zip(self.items, unique_ids([item.named_by or item.image for item in self.items], root), strict=True):
            item.id = id_
            if item.split:
                self.splits.setdefault(item.split, []).append(id_)
        ids = {item.image: item.id for item in self.items}
        self.splits |= {split: [ids[image] for image in images] for split, images in (lists or {}).items() if split and images}

    def mask(self, item: Item) -> Mask:
        """Return the labels of an item; raise DataError if they cannot be read."""
        if self.fill is None:
            return read_labels(item.origin, self.table)
        labels = {name: label for label, name in (self.names or {}).items()} | dict.fromkeys(voc.BACKGROUND_NAMES, 0)
        height, width = item.size or image_size(item.image)
        with parsing(f"an object of {item.image.name} in {item.origin}"):
            filled = [(self.fill(shape, height, width), voc.VOID if name is None else labels[name]) for name, shape in item.objects]
        return paint(height, width, filled, self.by_size)


def source_of_objects(
    kind: str, path: Path | str, root: Path, items: list[Item], names: Iterable[str], fill: Fill, notes: list[str], **settings: Any
) -> Source:
    """Return a source of drawn objects: background names are label 0, the other class ``names`` (if empty, all) follow."""
    names = names or sorted({name for item in items for name, _ in item.objects if name is not None})
    others = [name for name in dict.fromkeys(names) if name not in voc.BACKGROUND_NAMES]
    if len(others) >= voc.VOID:
        raise DataError(f"{path} has {len(others)} classes; ids must stay below the void label {voc.VOID}")
    by_label = dict(enumerate([voc.BACKGROUND_NAMES[0], *others]))
    return Source(kind, str(path), root, items, by_label, named=True, fill=fill, notes=notes, **settings)


def skipped(what: int | Sequence[object], thing: str, why: str) -> list[str]:
    """Return a note on what was skipped: a number of things, or the things, of which the first is shown.

    >>> skipped(["b.png", "c.png"], "mask", "without an image"), skipped(1, "box", "without an outline"), skipped(0, "box", "")
    (['skipped: 2 masks without an image (such as b.png)'], ['skipped: 1 box without an outline'], [])
    """
    count = what if isinstance(what, int) else len(what)
    example = "" if isinstance(what, int) or not what else f" ({'such as ' if count > 1 else ''}{what[0]})"
    return [f"skipped: {counted(count, thing)} {why}{example}"] if count else []


def read_labels(path: Path, table: ColorTable | None = None) -> Mask:
    """Read the labels of a mask file, by color with a ``table``, else by value; raise DataError for any other one."""
    mask = decode_mask(path, None if table is None else table.labels, by_color=table is not None)
    if mask.format in ("JPEG", "MPO"):
        raise DataError(f"mask {path} is a JPEG, whose compression changes labels; masks must be PNG")
    if not mask.foreign.any():
        return mask.labels
    if mask.kind == "color" and table is None:
        raise DataError(f"mask {path} is a color image; map its colors to classes with --colors FILE")
    y, x = np.argwhere(mask.foreign)[0]
    value = mask.pixels[y, x]
    if table is None:
        raise DataError(f"mask {path} holds label {value} at x={x}, y={y}; labels must be 0 to 255")
    count = int((mask.pixels == value).all(-1).sum())
    raise DataError(
        f"mask {path} has color {tuple(value.tolist())}, which is not in {table.path}: {count} pixels, the first at x={x}, y={y}"
    )


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Raise a DataError that says what cannot be read for anything malformed in an annotation."""
    try:
        yield
    except (DataError, LookupError, TypeError, OverflowError, zlib.error, *UNREADABLE) as error:
        detail = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {reason(error)}"
        raise DataError(f"cannot read {what}: {detail}") from error


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DataError if it cannot be read or is not JSON."""
    with parsing(str(path)):
        return json.loads(path.read_text(encoding="utf-8-sig"))


def json_files(root: Path, kind: str) -> list[Path]:
    """List the JSON files of an annotation format below ``root``; or ``root`` if it is a file."""
    return [root] if root.is_file() else [path for path in files_below(root, (".json",)) if json_kind(path) == kind]


def json_kind(path: Path) -> str | None:
    """Guess the annotation format of a JSON file from its first 64 KiB: labelme, coco, label-studio, or None."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 16).lstrip()
    if head.startswith("{"):
        keys = ('"images"', '"annotations"', '"categories"', '"licenses"')
        return "labelme" if '"shapes"' in head else "coco" if any(key in head for key in keys) else None
    return "label-studio" if head.startswith("[") and ('"annotations"' in head or '"completions"' in head) else None


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files below ``root`` with one of the ``suffixes`` (any case), sorted; hidden ones are ignored."""
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        found += [Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes)]
    return sorted(found)


def split_of_path(path: Path) -> str | None:
    """Return the split that a relative path names, the last part first: ``train2017`` → train, ``x_valid`` → val."""
    words = (word for part in reversed(path.parts) for word in re.findall(r"[a-z]+", part.lower()))
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def unique_ids(paths: list[Path], root: Path) -> list[str]:
    """Return an id without blanks, which split lists cannot hold: each file's stem, or if stems repeat, its path."""

    def joined(parts: Iterable[str]) -> str:
        return re.sub(r"\s+", "_", "_".join(part for part in parts if part != os.pardir).strip())

    ids = [joined([path.stem]) for path in paths]
    if len(set(ids)) < len(ids):
        # Not relative_to: annotation files may name images outside of the folder.
        ids = [joined(Path(os.path.relpath(path, root)).with_suffix("").parts) for path in paths]
    if len(set(ids)) < len(ids):
        path, repeated = next((path, id_) for path, id_ in zip(paths, ids, strict=True) if ids.count(id_) > 1)
        raise DataError(f"duplicate image id '{repeated}' (one of its files is {path}); rename one of the files")
    return ids


class ImageFinder:
    """Find images below some folders by the names that annotation files use."""

    def __init__(self, *folders: Path) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for path in dict.fromkeys(path for folder in folders for path in files_below(folder, IMAGE_SUFFIXES)):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, near: Path | None = None) -> Path | None:
        """Return the image of that name; of several, the one in the folders most like ``name``, then ``near``."""
        wanted = [part for part in name.replace("\\", "/").split("/") if part]

        def agreement(path: Path) -> tuple[int, int]:
            return common_start([wanted[::-1], path.parts[::-1]]), common_start([path.parts, near.parts]) if near else 0

        return max(self._by_name.get(wanted[-1], []) if wanted else [], key=agreement, default=None)


def common_start(texts: Sequence[Sequence[Any]]) -> int:
    """Return how many elements at their start all sequences share."""
    return next((place for place, parts in enumerate(zip(*texts, strict=False)) if len(set(parts)) > 1), min(map(len, texts)))
