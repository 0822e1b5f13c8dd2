"""What every reader gives: the images found, how to get at their masks, and what the labels in them mean."""

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
from vocseg.errors import DataError, reason
from vocseg.utils.text import counted

IMAGES = (".jpg", ".jpeg", ".png", ".webp", ".gif", ".bmp", ".tif", ".tiff")
"""Suffixes of images, most likely first."""
BACKGROUNDS = voc.BACKGROUND_NAMES
BACKGROUND = BACKGROUNDS[0]
"""Names of the class of pixels that no object covers."""

Mask = NDArray[np.uint8]


@dataclass(frozen=True)
class Item:
    """An image and its mask. ``mask()`` gives H x W labels as the source numbers them, 255 = void; DataError if it cannot.

    ``origin`` is the file that errors about the mask name. An image that lies inside an annotation file has ``embedded``,
    which gives its bytes, and ``image`` is that file.
    """

    id: str
    image: Path
    origin: Path
    mask: Callable[[], Mask]
    embedded: Callable[[], bytes] | None = None


@dataclass
class Source:
    """A data set found in some format.

    ``names`` gives the class of each label that has one, None where the format does not say. ``named`` tells that the
    format itself names its classes, so that a list of classes chooses among them; else a list names labels 0, 1, 2, ...
    ``void`` are labels that stand for no class besides 255, ``optional`` those that are a class only where they occur.
    ``splits`` are the source's own, ids by name. ``notes`` say what was found and what was left out.
    """

    kind: str
    found: str
    items: list[Item]
    names: dict[int, str] | None = None
    named: bool = False
    void: frozenset[int] = frozenset()
    optional: frozenset[int] = frozenset()
    splits: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """Files of any of the ``suffixes`` (any case) below ``root``, sorted; hidden files and folders are passed over."""
    found = []
    for folder, subfolders, names in os.walk(root, followlinks=True):
        subfolders[:] = [name for name in subfolders if not name.startswith((".", "__MACOSX"))]
        found += [Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes)]
    return sorted(found)


def read_json(path: Path) -> Any:
    """Content of a JSON file; DataError where it cannot be read or is no JSON."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error


SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "trainval": "trainval",
}  # fmt: skip


def split_of(text: str) -> str | None:
    """The split that a folder's or file's name speaks of: ``train2017`` → train, ``_annotations_valid`` → val."""
    for word in re.findall(r"[a-z]+", text.lower()):
        if word in SPLIT_NAMES:
            return SPLIT_NAMES[word]
    return None


def split_of_path(path: Path) -> str | None:
    """The split that a relative path speaks of, the last part first."""
    return next((split for part in reversed(path.parts) if (split := split_of(part))), None)


def unique_ids(paths: list[Path], root: Path) -> list[str]:
    """An id for each image: its stem, or where stems repeat the path below ``root`` joined by ``_``; without blanks."""
    stems = [clean_id(path.stem) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    ids = [clean_id("_".join(path.relative_to(root).with_suffix("").parts)) for path in paths]
    if len(set(ids)) < len(ids):
        twice = next(path for path, id_ in zip(paths, ids, strict=True) if ids.count(id_) > 1)
        raise DataError(f"two images would be called '{ids[paths.index(twice)]}', one of them {twice}; rename one")
    return ids


def clean_id(stem: str) -> str:
    """``stem`` without blanks, which split lists cannot hold."""
    return re.sub(r"\s+", "_", stem.strip())


class ImageFinder:
    """Finds images by the names that annotation files give them, below some folders."""

    def __init__(self, folders: Iterable[Path]) -> None:
        self.folders = list(folders)
        self._by_name: dict[str, list[Path]] = {}
        for path in dict.fromkeys(path for folder in self.folders for path in files_below(folder, IMAGES)):
            self._by_name.setdefault(path.name, []).append(path)

    def find(self, name: str, near: Path | None = None) -> Path | None:
        """The image of that name, of several the one whose folders agree best with ``name``, then with ``near``."""
        wanted = [part for part in name.replace("\\", "/").split("/") if part]
        there = self._by_name.get(wanted[-1], []) if wanted else []

        def agreement(path: Path) -> tuple[int, int]:
            near_by = common_start([path.parts, near.parts]) if near else 0
            return common_start([wanted[::-1], path.parts[::-1]]), near_by

        return max(there, key=agreement, default=None)


def named_classes(labels: Iterable[str], origin: Path) -> dict[int, str]:
    """Background as label 0, then every other name in the order given; DataError where there are too many."""
    names = [name for name in dict.fromkeys(labels) if name not in BACKGROUNDS]
    if len(names) >= voc.VOID:
        raise DataError(f"{origin} has {len(names)} classes; ids must stay below the void label {voc.VOID}")
    return dict(enumerate([BACKGROUND, *names]))


def labels_by_name(names: dict[int, str]) -> dict[str, int]:
    """The label of each class name; every name for background is label 0."""
    return {name: label for label, name in names.items()} | dict.fromkeys(BACKGROUNDS, 0)


def common_start(texts: Sequence[Sequence[Any]]) -> int:
    """How many elements at their start all sequences share."""
    return next((place for place, parts in enumerate(zip(*texts, strict=False)) if len(set(parts)) > 1), min(map(len, texts)))


def left_out(count: int, thing: str, which: str = "", first: object = None) -> list[str]:
    """The note on things left out, if any were: how many of what, ``which`` of them, and the first."""
    example = "" if first is None else f" ({'such as ' if count > 1 else ''}{first})"
    return [f"left out: {counted(count, thing)}{which}{example}"] if count else []
