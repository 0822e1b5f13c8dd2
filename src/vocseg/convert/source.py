"""What every reader returns, and the helpers that readers share."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vocseg import voc
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError, reason
from vocseg.utils.text import counted

BACKGROUNDS = voc.BACKGROUND_NAMES
SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "trainval": "trainval",
}  # fmt: skip

Mask = NDArray[np.uint8]
Splits = dict[str, list[str]]
"""Image ids by split."""


@dataclass(frozen=True)
class Item:
    """An image and its mask.

    ``mask()`` returns the source's labels, uint8 H x W, 255 = void, and raises DataError if it cannot. ``origin`` is the
    file that errors about the mask name. If the image is stored inside an annotation file, ``embedded`` returns its bytes
    and ``image`` is that file.
    """

    id: str
    image: Path
    origin: Path
    mask: Callable[[], Mask]
    embedded: Callable[[], bytes] | None = None


@dataclass
class Source:
    """A data set in some format, as a reader found it.

    ``names`` maps labels to class names; None if the format has no names. ``named``: the format itself names its classes,
    so ``classes`` selects among them; otherwise ``classes`` names the labels 0, 1, 2, ... ``objects``: masks are painted
    from objects, so label 0 is background, and it is a class only if it occurs. ``void`` are labels besides 255 that are
    not classes. ``splits`` are the source's own. ``notes`` say what was found and what was skipped.
    """

    kind: str
    found: str
    items: list[Item]
    names: dict[int, str] | None = None
    named: bool = False
    objects: bool = False
    void: frozenset[int] = frozenset()
    splits: Splits = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files below ``root`` with one of the ``suffixes`` (any case), sorted, without hidden files and folders."""
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        found += [Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes)]
    return sorted(found)


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises DataError if it cannot be read or is not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


def json_kind(path: Path) -> str | None:
    """Guess the annotation format of a JSON file from its first 64 KiB: labelme, coco, label-studio, or None."""
    with open(path, encoding="utf-8", errors="replace") as file:
        head = file.read(1 << 16).lstrip()
    if head.startswith("{"):
        keys = ('"images"', '"annotations"', '"categories"', '"licenses"')
        return "labelme" if '"shapes"' in head else "coco" if any(key in head for key in keys) else None
    return "label-studio" if head.startswith("[") and ('"annotations"' in head or '"completions"' in head) else None


def split_of_path(path: Path) -> str | None:
    """Return the split that a relative path names, the last part first: ``train2017`` → train, ``x_valid`` → val."""
    words = (word for part in reversed(path.parts) for word in re.findall(r"[a-z]+", part.lower()))
    return next((SPLIT_NAMES[word] for word in words if word in SPLIT_NAMES), None)


def ids_by_split(ids: Iterable[str], splits: Iterable[str | None]) -> Splits:
    """Group image ids by their split; ids without a split are dropped."""
    grouped: Splits = {}
    for id_, split in zip(ids, splits, strict=True):
        if split:
            grouped.setdefault(split, []).append(id_)
    return grouped


def unique_ids(paths: list[Path], root: Path) -> list[str]:
    """Return an id without blanks for each image: its stem, or if stems repeat, its path below ``root`` joined by ``_``."""
    stems = [clean_id(path.stem) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    ids = [clean_id("_".join(path.relative_to(root).with_suffix("").parts)) for path in paths]
    if len(set(ids)) < len(ids):
        path, repeated = next((path, id_) for path, id_ in zip(paths, ids, strict=True) if ids.count(id_) > 1)
        raise DataError(f"duplicate image id '{repeated}' (one of its files is {path}); rename one of the files")
    return ids


def clean_id(stem: str) -> str:
    """Replace blanks, which split lists cannot hold, by ``_``."""
    return re.sub(r"\s+", "_", stem.strip())


class ImageFinder:
    """Find images below some folders by the names that annotation files use."""

    def __init__(self, *folders: Path) -> None:
        self._by_name: dict[str, list[Path]] = {}
        for path in dict.fromkeys(path for folder in folders for path in files_below(folder, IMAGE_SUFFIXES)):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, near: Path | None = None) -> Path | None:
        """Return the image of that name; of several, the one whose folders agree best with ``name``, then with ``near``."""
        wanted = [part for part in name.replace("\\", "/").split("/") if part]

        def agreement(path: Path) -> tuple[int, int]:
            return common_start([wanted[::-1], path.parts[::-1]]), common_start([path.parts, near.parts]) if near else 0

        return max(self._by_name.get(wanted[-1], []) if wanted else [], key=agreement, default=None)


def object_classes(names: Iterable[str], origin: Path) -> tuple[dict[int, str], dict[str, int]]:
    """Return the class names by label and the labels by name: background is label 0, the others follow in order.

    All of BACKGROUNDS have label 0. Raises DataError, naming ``origin``, for more classes than masks can hold.
    """
    others = [name for name in dict.fromkeys(names) if name not in BACKGROUNDS]
    if len(others) >= voc.VOID:
        raise DataError(f"{origin} has {len(others)} classes; ids must stay below the void label {voc.VOID}")
    by_label = dict(enumerate([BACKGROUNDS[0], *others]))
    return by_label, {name: label for label, name in by_label.items()} | dict.fromkeys(BACKGROUNDS, 0)


def common_start(texts: Sequence[Sequence[Any]]) -> int:
    """Return how many elements at their start all sequences share."""
    return next((place for place, parts in enumerate(zip(*texts, strict=False)) if len(set(parts)) > 1), min(map(len, texts)))


def skipped(what: int | Sequence[object], thing: str, why: str) -> list[str]:
    """Return a note on ``what`` was skipped: a number or the things themselves, of which the first is shown. Empty if none.

    >>> skipped(["b.png", "c.png"], "mask", "without an image"), skipped(1, "box", "without an outline"), skipped(0, "box", "")
    (['skipped: 2 masks without an image (such as b.png)'], ['skipped: 1 box without an outline'], [])
    """
    count = what if isinstance(what, int) else len(what)
    example = "" if isinstance(what, int) or not what else f" ({'such as ' if count > 1 else ''}{what[0]})"
    return [f"skipped: {counted(count, thing)} {why}{example}"] if count else []
