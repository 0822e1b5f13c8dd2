"""Which files of a folder or an archive are images and videos. Does not import torch."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from vocseg.data.plugins import SUFFIXES, missing_plugin
from vocseg.errors import DataError, reason
from vocseg.inference.archives import is_archive
from vocseg.utils.files import MARK
from vocseg.voc import IMAGE_SUFFIXES, UNSUPPORTED_SUFFIXES

Skipped = dict[Any, DataError]
"""Why images were skipped, by file or name."""
VIDEO_SUFFIXES = (
    ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mpg", ".mpeg", ".ts", ".mts", ".flv", ".wmv", ".ogv", ".3gp", ".mxf",
)  # fmt: skip
FOLDER_VIDEO_SUFFIXES = tuple(suffix for suffix in VIDEO_SUFFIXES if suffix != ".ts")
"""Of videos that are searched for: most .ts files are programs."""


def is_video(file: Path) -> bool:
    """Tell by the suffix whether a file in a folder is a video."""
    return file.suffix.lower() in FOLDER_VIDEO_SUFFIXES


def image_files(top: Path, out: Path | None, skipped: Skipped, passed: list[Path] | None = None) -> Iterator[Path]:
    """Yield the images and videos below a folder, except hidden ones and those in ``out``; links to folders are not followed.

    ``passed`` gets the archives.
    """

    def unreadable(error: OSError) -> None:
        skipped[Path(error.filename)] = DataError(f"cannot read folder {error.filename}: {reason(error)}")

    excluded = None if out is None or out.resolve() == top.resolve() else out.resolve()
    for parent, folders, files in os.walk(top, onerror=unreadable):
        folders[:] = [name for name in folders if not is_hidden(name) and Path(parent, name).resolve() != excluded]
        for file in (Path(parent, name) for name in files if not name.startswith(".")):
            if passed is not None and is_archive(file):
                passed.append(file)
            elif is_video(file) or is_image(file, file, skipped):
                if file.is_file():
                    yield file
                else:
                    skipped[file] = DataError(f"cannot read {file}: it is not a regular file")


def matches(pattern: Path) -> set[str]:
    """Return what a pattern matches, as a shell names it; ``**`` does not follow links to folders either."""
    if "**" not in pattern.parts:
        return set(glob.glob(str(pattern)))
    place = pattern.parts.index("**")
    found: set[str] = set()
    for top in glob.glob(str(Path(*pattern.parts[:place]))):
        for parent, folders, _ in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith(".")]
            found |= matches(Path(glob.escape(parent), *pattern.parts[place + 1 :] or "*"))
    return found


def is_hidden(name: str) -> bool:
    return name.startswith((".", "__MACOSX"))


def is_image(path: Path, key: Path | str, skipped: Skipped) -> bool:
    """Tell by the suffix whether a file is an image that can be read; one of another format goes to ``skipped``."""
    suffix = path.suffix.lower()
    if missing := missing_plugin(suffix):
        skipped[key] = DataError(f"cannot read {key}: {path.suffix} is not supported: {missing}")
        return False
    if suffix in IMAGE_SUFFIXES or suffix in SUFFIXES:
        return True
    if suffix in UNSUPPORTED_SUFFIXES:
        skipped[key] = DataError(f"cannot read {key}: {path.suffix} is not supported; convert it to JPEG or PNG")
    return False


def is_prediction(path: Path) -> bool:
    try:
        with open(path, "rb") as file:
            if path.suffix.lower() == ".mp4":
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))  # its notes are at the end
            return MARK in file.read(4096)
    except OSError:
        return False  # the reader of images says why
