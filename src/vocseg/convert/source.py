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
from typing import Any, NamedTuple

from vocseg import voc
from vocseg.convert.finder import files_below
from vocseg.convert.regions import Mask, NotDrawn, Region, paint
from vocseg.data.color_table import ColorTable
from vocseg.data.image_io import decode_mask, image_size, refuse_lossy
from vocseg.errors import DataError, reason
from vocseg.utils.text import counted

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "trainval": "trainval",
}  # fmt: skip
MALFORMED = (ArithmeticError, AttributeError, LookupError, RecursionError, OSError, SyntaxError, TypeError, ValueError, zlib.error)
"""What code that takes a well-formed file for granted raises for any other one."""
TOO_SMALL = "too small to cover a pixel"

Fill = Callable[[Any, int, int], Region]
"""Returns the region of a shape, given the image's height and width; raises NotDrawn for one that encloses no pixels."""
Splits = dict[str, list[str]]
"""Image ids by split."""


class Lost(NamedTuple):
    """An object that is not drawn, its class (None: void, or none), and an example for the report, as its image's name."""

    name: str | None
    thing: str
    why: str
    example: str
    in_part: bool = False


@dataclass
class Item:
    """An image, and the objects drawn on it if it has no mask file.

    ``origin`` is the file of the mask or the objects. ``objects`` are all objects of the image in order, class names
    (None: void, or none) and shapes as the format stores them, also those that are not drawn; ``size`` is the image's
    height and width according to the annotation. If the image is stored inside an annotation file, ``embedded`` returns
    its bytes and ``image`` is that file. The id comes from the name of ``named_by``, or else of ``image``.
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
    color ``table``, or painted with ``fill``. ``lost`` are objects of images that are not among the items.
    ``corrected`` are masks that take the place of items' own, by id.
    """

    kind: str
    found: str
    root: Path
    items: list[Item]
    names: dict[int, str] | None = None
    named: bool = False
    void: frozenset[int] = frozenset()
    notes: list[str] = field(default_factory=list)
    lists: InitVar[Mapping[str, Collection[Path]] | None] = None
    table: ColorTable | None = None
    fill: Fill | None = None
    by_size: bool = False
    lost: list[Lost] = field(default_factory=list)
    corrected: dict[str, Callable[[list[Lost] | None], Mask]] = field(default_factory=dict)
    splits: Splits = field(init=False, default_factory=dict)

    def __post_init__(self, lists: Mapping[str, Collection[Path]] | None) -> None:
        for item, id_ in zip(self.items, unique_ids([item.named_by or item.image for item in self.items], self.root), strict=True):
            item.id = id_
            if item.split:
                self.splits.setdefault(item.split, []).append(id_)
        ids = {item.image: item.id for item in self.items}
        self.splits |= {split: [ids[image] for image in images] for split, images in (lists or {}).items() if split and images}

    def mask(self, item: Item, lost: list[Lost] | None = None) -> Mask:
        """Return the labels of an item, and append its objects that are not drawn to ``lost``.

        Raises DataError if they cannot be read.
        """
        if item.id in self.corrected:
            return self.corrected[item.id](lost)
        if self.fill is None:
            return read_labels(item.origin, self.table)
        labels = {name: label for label, name in (self.names or {}).items() if label}
        height, width = item.size or image_size(item.image)
        return paint(height, width, self._regions(item, height, width, labels, [] if lost is None else lost), self.by_size)

    def _regions(
        self, item: Item, height: int, width: int, labels: Mapping[str, int], lost: list[Lost]
    ) -> Iterator[tuple[Region, int]]:
        assert self.fill is not None
        for number, (name, shape) in enumerate(item.objects, 1):
            which = f"object id {shape['id']}" if isinstance(shape, dict) and "id" in shape else f"object {number}"
            label = voc.VOID if name is None else labels.get(name, voc.BACKGROUND)
            try:
                with parsing(f"an object of {item.image.name} in {item.origin}", which):
                    region = self.fill(shape, height, width)
                if region.pixels.any():
                    yield region, label
                else:
                    raise NotDrawn("object", TOO_SMALL if region.pixels.size else "outside the image")
            except NotDrawn as skip:
                lost.append(Lost(name, skip.thing, skip.why, skip.example or item.image.name, skip.in_part))
                if skip.region is not None:
                    yield skip.region, label if skip.in_part else voc.VOID


def source_of_objects(
    kind: str, path: Path | str, root: Path, items: list[Item], names: Iterable[str], fill: Fill, notes: list[str], **settings: Any
) -> Source:
    """Return a source of drawn objects: background names are label 0, the other class ``names`` (if empty, all) follow."""
    annotated: dict[Path, Item] = {}
    for item in items:
        if (other := annotated.setdefault(item.image, item)) is not item:
            files = f"{other.origin} and {item.origin}" if other.origin != item.origin else f"two entries of {item.origin}"
            raise DataError(f"{files} annotate the same image {item.image}; remove one of them")
    bare = [item.image.name for item in items if not item.objects]
    if len(bare) == len(items) and not settings.get("lost"):
        raise DataError(f"{path} has no annotations; all images would be background")
    notes += [f"{counted(len(bare), 'image')} without annotations, all background (such as {bare[0]})"] if bare else []
    names = names or sorted({name for item in items for name, _ in item.objects if name is not None})
    others = [name for name in dict.fromkeys(names) if not is_background(name)]
    if len(others) >= voc.VOID:
        raise DataError(f"{path} has {len(others)} classes; ids must stay below the void label {voc.VOID}")
    by_label = dict(enumerate([voc.BACKGROUND_NAMES[0], *(encodable(name, f"class name in {path}") for name in others)]))
    return Source(kind, str(path), root, items, by_label, named=True, fill=fill, notes=notes, **settings)


def class_name(value: Any) -> str:
    """Return a class name that a file gives as text, with or without blanks around it, or as a number.

    Raises DataError for anything else.
    """
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise DataError(f"the class name {str(value)[:40]!r} is not text")
    return " ".join(str(value).split())


def is_inside(path: Path, folders: Iterable[Path]) -> bool:
    """Return whether a path, with links followed, is one of the folders or below one of them."""
    real = Path(path).resolve()
    return any(real.is_relative_to(folder.resolve()) for folder in folders)


def is_background(name: str) -> bool:
    """Return whether a class name means background, in any case."""
    return name.strip().lower() in voc.BACKGROUND_NAMES


def encodable(text: str, what: str) -> str:
    """Return a name that can be written as UTF-8; raise DataError for any other one."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{what} {text!r} is not valid Unicode; rename it") from error
    return text


class Skip(str):
    """A note on a ``number`` of things of one ``kind`` that are not converted."""

    kind: str
    number: int


def skipped(what: int | Sequence[object], thing: str, why: str) -> list[str]:
    """Return a note on what was skipped: a number of things, or the things, of which the first is shown.

    >>> skipped(["b.png", "c.png"], "mask", "without an image"), skipped(1, "box", "without an outline"), skipped(0, "box", "")
    (['skipped: 2 masks without an image (such as b.png)'], ['skipped: 1 box without an outline'], [])
    """
    count = what if isinstance(what, int) else len(what)
    example = "" if isinstance(what, int) or not what else f" ({'such as ' if count > 1 else ''}{what[0]})"
    note = Skip(f"skipped: {counted(count, thing)} {why}{example}")
    note.kind, note.number = f"{thing} {why}", count
    return [note] if count else []


def read_labels(path: Path, table: ColorTable | None = None) -> Mask:
    """Read the labels of a mask file, by color with a ``table``, else by value; raise DataError for any other one."""
    mask = decode_mask(path, None if table is None else table.labels, by_color=table is not None)
    refuse_lossy(mask, path)
    if not mask.foreign.any():
        return mask.labels
    if mask.kind == "color" and table is None:
        raise DataError(f"mask {path} is a color image; map its colors to classes with --colors FILE")
    y, x = (int(places[0]) for places in mask.foreign.nonzero())
    value = mask.pixels[y, x]
    if table is None:
        raise DataError(f"mask {path} holds label {value} at x={x}, y={y}; labels must be whole numbers from 0 to 255")
    count = int((mask.pixels == value).all(-1).sum())
    raise DataError(
        f"mask {path} has color {tuple(value.tolist())}, which is not in {table.path}: {count} pixels, the first at x={x}, y={y}"
    )


@contextmanager
def parsing(what: str, which: str = "") -> Iterator[None]:
    """Raise a DataError that says what cannot be read for anything malformed in an annotation."""
    try:
        yield
    except (DataError, *MALFORMED) as error:
        detail = str(error) if isinstance(error, DataError) else f"{type(error).__name__}: {reason(error)}"
        raise DataError(f"cannot read {what}: {detail}" + (f" ({which})" if which else "")) from error


def json_files(root: Path, kind: str) -> list[Path]:
    """List the JSON files of an annotation format below ``root``; or ``root`` if it is a file."""
    return [root] if root.is_file() else [path for path in files_below(root, (".json",)) if json_kind(path) == kind]


def json_kind(path: Path) -> str | None:
    """Guess the annotation format of a JSON file from its first 64 KiB: labelme, coco, label-studio, or None."""
    with open(path, "rb") as file:
        start = file.read(1 << 16)
    head = start.decode(json.detect_encoding(start), errors="replace").lstrip()
    # With sorted keys, LabelMe's "shapes" comes after the image.
    for kind, opening, keys in (
        ("labelme", "{", ("shapes", "imageData", "imagePath")),
        ("coco", "{", ("images", "annotations", "categories", "licenses")),
        ("label-studio", "[", ("annotations", "completions")),
    ):
        if head.startswith(opening) and any(f'"{key}"' in head for key in keys):
            return kind
    return None


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
    first: dict[str, Path] = {}
    for path, id_ in zip(paths, ids, strict=True):
        if first.setdefault(encodable(id_, "image name"), path) is not path:
            raise DataError(f"duplicate image id '{id_}' (of {first[id_]} and {path}); rename one of the files")
    return ids
