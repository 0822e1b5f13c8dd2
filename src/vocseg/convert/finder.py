"""Find files below folders, and images by the names that annotation files use."""

from __future__ import annotations

import itertools
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError

MAX_LINKS = 3
"""How many links to folders a path may pass."""


def files_below(root: Path, suffixes: tuple[str, ...]) -> list[Path]:
    """List the regular files below ``root`` with one of the ``suffixes`` (any case), sorted; hidden ones are ignored.

    Links to folders are followed, but not to a folder above, nor more than MAX_LINKS within each other.
    """
    found = []
    real = {str(root): [os.path.realpath(root)]}
    for folder, subfolders, names in os.walk(root, followlinks=True):
        for name in list(subfolders):
            path = os.path.join(folder, name)
            chain = real[path] = [*real[folder], os.path.realpath(path)]
            links = sum(os.path.dirname(below) != above for above, below in itertools.pairwise(chain))
            if name.startswith((".", "__MACOSX")) or chain[-1] in chain[:-1] or links > MAX_LINKS:
                subfolders.remove(name)
        files = (Path(folder, name) for name in names if not name.startswith(".") and name.lower().endswith(suffixes))
        found += [path for path in files if path.is_file()]
    return sorted(found)


class ImageFinder:
    """Find images below some folders by the names that annotation files use."""

    def __init__(self, *folders: Path) -> None:
        self._by_name: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for path in dict.fromkeys(path for folder in folders for path in files_below(folder, IMAGE_SUFFIXES)):
            self._by_name.setdefault(_normal(path.name), []).append(path)
            self._by_stem.setdefault(_normal(path.stem), []).append(path)

    def find(self, name: str, near: Path | None = None) -> Path | None:
        """Return the image of that name or stem; of several, the one in the folders most like ``name``, then ``near``.

        Raises DataError if two fit equally well.
        """
        wanted = [part for part in name.replace("\\", "/").split("/") if part] or [""]
        files = self._by_name if wanted[-1].lower().endswith(IMAGE_SUFFIXES) else self._by_stem

        def agreement(path: Path) -> tuple[int, int]:
            return common_start([wanted[-2::-1], path.parts[-2::-1]]), common_start([path.parts, near.parts]) if near else 0

        found = sorted(files.get(_normal(wanted[-1]), []), key=agreement)
        if len(found) > 1 and agreement(found[-1]) == agreement(found[-2]):
            of = f" of {near}" if near else ""
            raise DataError(f"image '{name}'{of} may be {found[-2]} or {found[-1]}; set --images to the folder of one of them")
        return found[-1] if found else None


def _normal(name: str) -> str:
    """Return a file name as Windows and Linux write it; macOS takes accents apart."""
    return unicodedata.normalize("NFC", name)


def common_start(texts: Sequence[Sequence[Any]]) -> int:
    """Return how many elements at their start all sequences share."""
    return next((place for place, parts in enumerate(zip(*texts, strict=False)) if len(set(parts)) > 1), min(map(len, texts)))
