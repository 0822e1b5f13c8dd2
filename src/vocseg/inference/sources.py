"""Where the images of a prediction are, and what its files are called. Does not import torch."""

from __future__ import annotations

import glob
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vocseg.errors import InputError
from vocseg.voc import IMAGE_SUFFIXES


class Found(NamedTuple):
    """An image file, and its path relative to the folder that was searched."""

    path: Path
    relative: Path


def find_images(sources: str | Path | Iterable[str | Path], out: Path | None = None) -> list[Found]:
    """Find the image files of files, folders (searched with all below them) and glob patterns, sorted in each.

    What is in ``out`` below a searched folder are predictions, not images. Raises InputError for a path that does not
    exist, a pattern that matches nothing, or a folder without images.
    """
    paths = [sources] if isinstance(sources, str | Path) else sources
    return [found for path in paths for found in _find(Path(path), out)]


def _find(path: Path, out: Path | None) -> list[Found]:
    if path.is_dir():
        inside = sorted(file for file in path.rglob("*") if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file())
        if out is not None and path.resolve() in out.resolve().parents:
            inside = [file for file in inside if out.resolve() not in file.resolve().parents]
        if not inside:
            raise InputError(f"folder {path} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return [Found(file, file.relative_to(path)) for file in inside]
    matches = [path] if path.is_file() else map(Path, sorted(glob.glob(str(path), recursive=True)))
    found = [Found(file, Path(file.name)) for file in matches if file.is_file()]
    if not found:
        raise InputError(f"no image or folder {path}")
    return found


def output_names(files: Iterable[Found]) -> list[Path]:
    """Name the output of each image, without a suffix: as the image; if two collide, with its suffix, then a number.

    >>> [str(name) for name in output_names(Found(Path(name), Path(name)) for name in ("a.png", "b.jpg", "a.jpg", "a.jpg"))]
    ['a.png', 'b', 'a.jpg', 'a-2']
    """
    relative = [found.relative for found in files]
    stems = Counter(path.with_suffix("") for path in relative)
    names: dict[Path, None] = {}  # a set in order
    for path in relative:
        name = path.with_suffix("") if stems[path.with_suffix("")] == 1 else path
        number = 1
        while name in names:
            number += 1
            name = path.with_name(f"{path.stem}-{number}")
        names[name] = None
    return list(names)
