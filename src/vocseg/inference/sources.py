"""Where the images of a prediction are, and what its files are called. Does not import torch."""

from __future__ import annotations

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from vocseg.errors import DataError, InputError, reason
from vocseg.utils.files import MARK
from vocseg.utils.text import counted
from vocseg.voc import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES

Skipped = dict[Any, DataError]


class Found(NamedTuple):
    """An image file, and its path relative to the folder that was searched."""

    path: Path
    relative: Path


def find_images(sources: str | Path | Iterable[str | Path], out: Path | None = None, skipped: Skipped | None = None) -> list[Found]:
    """Find the image files of files, folders (searched with all below them) and glob patterns, sorted in each.

    In a folder, hidden files and folders are passed over, and so are predictions: what is in ``out``, and masks and
    overlays that vocseg wrote elsewhere. ``skipped`` gets the files and folders there that cannot be read. Raises
    InputError for a path that does not exist, a pattern that matches nothing, or a folder without images.
    """
    paths = [Path(path) for path in ([sources] if isinstance(sources, str | Path) else sources)]
    if not paths:
        raise InputError("no images to segment; name files, folders or patterns")
    skipped = {} if skipped is None else skipped
    found = [found for path in paths for found in _find(path, out, skipped)]
    # Files of one name from several folders keep the names of these.
    tops = {row: Path(os.path.abspath(row.path)).parents[len(row.relative.parts) - 1] for row in found}
    folders = Counter(relative for relative, _ in {(row.relative, top) for row, top in tops.items()})
    return [Found(row.path, tops[row].name / row.relative) if folders[row.relative] > 1 else row for row in found]


def _find(path: Path, out: Path | None, skipped: Skipped) -> list[Found]:
    if path.is_dir():
        before, written = len(skipped), 0
        inside = []
        for file in sorted(_walk(path, out, skipped)):
            if _is_prediction(file):
                written += 1
            else:
                inside.append(Found(file, file.relative_to(path)))
        if not inside:
            if len(skipped) > before:
                raise InputError(f"folder {path} holds no images that can be read: {list(skipped.values())[before]}")
            only = f" except {counted(written, 'mask')} or overlays that vocseg wrote" if written else ""
            raise InputError(f"folder {path} holds no images{only} ({', '.join(sorted(IMAGE_SUFFIXES))})")
        return inside
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    matches = [path] if path.is_file() else map(Path, sorted(glob.glob(str(path), recursive=True)))
    found = [Found(file, Path(file.name)) for file in matches if file.is_file() and (file == path or not _is_prediction(file))]
    if not found:
        raise InputError(f"no image or folder {path}")
    return found


def _walk(top: Path, out: Path | None, skipped: Skipped) -> Iterator[Path]:
    """Yield the image files below a folder, except hidden ones and those in ``out``; links to folders are not followed."""

    def unreadable(error: OSError) -> None:
        skipped[Path(error.filename)] = DataError(f"cannot read folder {error.filename}: {reason(error)}")

    excluded = None if out is None or out.resolve() == top.resolve() else out.resolve()
    for parent, folders, files in os.walk(top, onerror=unreadable):
        folders[:] = [
            name for name in folders if not name.startswith((".", "__MACOSX")) and Path(parent, name).resolve() != excluded
        ]
        for file in (Path(parent, name) for name in files if not name.startswith(".")):
            if file.suffix.lower() in UNSUPPORTED_SUFFIXES:
                skipped[file] = DataError(f"cannot read {file}: {file.suffix} is not supported; convert it to JPEG or PNG")
            elif file.suffix.lower() in IMAGE_SUFFIXES:
                if file.is_file():
                    yield file
                else:
                    skipped[file] = DataError(f"cannot read {file}: it is not a regular file")


def _is_prediction(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            return MARK in file.read(4096)
    except OSError:
        return False  # the reader of images says why


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
