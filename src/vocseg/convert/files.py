"""Find images and annotation files, and give images ids and splits by their paths."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError, reason

SPLIT_NAMES = {
    "train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
    "test": "test", "testing": "test", "trainval": "trainval",
}  # fmt: skip


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the files below ``root`` with one of the ``suffixes`` (any case), sorted; hidden ones are ignored."""
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


def ids_by_split(ids: Iterable[str], splits: Iterable[str | None]) -> dict[str, list[str]]:
    """Group image ids by their split; ids without a split are dropped."""
    grouped: dict[str, list[str]] = {}
    for id_, split in zip(ids, splits, strict=True):
        if split:
            grouped.setdefault(split, []).append(id_)
    return grouped


def unique_ids(paths: list[Path], root: Path) -> list[str]:
    """Return an id without blanks for each image: its stem, or if stems repeat, its path below ``root``."""
    stems = [clean_id(path.stem) for path in paths]
    if len(set(stems)) == len(stems):
        return stems
    # Not relative_to: annotation files may name images outside of the folder.
    parts = [Path(os.path.relpath(path, root)).with_suffix("").parts for path in paths]
    ids = [clean_id("_".join(part for part in of_path if part != os.pardir)) for of_path in parts]
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
        """Return the image of that name; of several, the one in the folders most like ``name``, then ``near``."""
        wanted = [part for part in name.replace("\\", "/").split("/") if part]

        def agreement(path: Path) -> tuple[int, int]:
            return common_start([wanted[::-1], path.parts[::-1]]), common_start([path.parts, near.parts]) if near else 0

        return max(self._by_name.get(wanted[-1], []) if wanted else [], key=agreement, default=None)


def common_start(texts: Sequence[Sequence[Any]]) -> int:
    """Return how many elements at their start all sequences share."""
    return next((place for place, parts in enumerate(zip(*texts, strict=False)) if len(set(parts)) > 1), min(map(len, texts)))
