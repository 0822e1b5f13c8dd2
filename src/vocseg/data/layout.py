"""Find images, masks, split lists and class names in a folder in VOC layout."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from vocseg import voc
from vocseg.errors import DataError, nearest
from vocseg.utils.files import read_lines, refuse_to_replace

IMAGE_SUFFIXES = voc.IMAGE_SUFFIXES


@dataclass(frozen=True)
class VocFolder:
    """A folder laid out like VOC2012: images, masks, split lists, class names; :meth:`find` builds it."""

    root: Path
    mask_dir: str = voc.MASKS
    classes: tuple[str, ...] = voc.CLASSES

    @classmethod
    def find(cls, data: str | Path, mask_dir: str = voc.MASKS, year: str | None = None) -> VocFolder:
        """Find the VOC layout below ``data``.

        ``data`` is the folder that holds ``VOCdevkit``, or ``VOCdevkit``, or a folder like ``VOC2012``. Without a
        ``year`` the newest one is taken. Raises DataError, naming the folder, if there is no such layout.
        """
        top = data_folder(data)
        root = _find_root(top, year)
        if root is None:
            name = "VOC20xx" if year is None else f"VOC{year}"
            either = "neither it nor a" if year is None else "no"
            raise DataError(f"{top} is not in VOC layout: {either} {name} or VOCdevkit/{name} below it has a {voc.IMAGES} folder")
        if not (root / mask_dir).is_dir():
            raise DataError(f"no mask folder {root / mask_dir}")
        return cls(root, mask_dir, read_classes(root / voc.CLASSES_FILE))

    @cached_property
    def splits(self) -> list[str]:
        """Names of the split lists."""
        return sorted(path.stem for path in (self.root / voc.SPLITS).glob("*.txt"))

    @cached_property
    def _images(self) -> dict[str, Path]:
        return files_by_stem(self.root / voc.IMAGES, IMAGE_SUFFIXES)

    @cached_property
    def _masks(self) -> dict[str, Path]:
        return files_by_stem(self.root / self.mask_dir, (".png",))

    def listed(self, split: str) -> list[str]:
        """Return the entries of a split list, unchecked; raise DataError for a missing, unreadable or empty list."""
        path = self.root / voc.SPLITS / f"{split}.txt"
        if not path.is_file():
            known = ", ".join(self.splits) or "none"
            raise DataError(f"no split list {path}{nearest(split, self.splits)} (lists there: {known})")
        return read_ids(path)

    def ids(self, split: str) -> list[str]:
        """Return the image ids of a split in the list's order.

        Raises DataError for a missing or empty list, an id without an image or a mask, and an id listed twice.
        """
        ids = self.listed(split)
        seen: set[str] = set()
        for name in ids:
            self.image(name), self.mask(name)
            if name in seen:
                raise DataError(f"split list {self.root / voc.SPLITS / split}.txt names '{name}' twice")
            seen.add(name)
        return ids

    def image(self, name: str) -> Path:
        """Return the file of an image; raise DataError if there is none."""
        if name in self._images:
            return self._images[name]
        raise DataError(f"id '{name}' has no image in {self.root / voc.IMAGES}")

    def mask(self, name: str) -> Path:
        """Return the file of a mask; raise DataError if there is none."""
        if name in self._masks:
            return self._masks[name]
        elsewhere = sorted(path.parent.name for path in self.root.glob(f"{voc.MASKS}*/{glob.escape(name)}.png"))
        hint = f" (it has one in {elsewhere[0]}: --mask-dir {elsewhere[0]})" if elsewhere else ""
        raise DataError(f"id '{name}' has no mask in {self.root / self.mask_dir}{hint}")


def _find_root(top: Path, year: str | None = None) -> Path | None:
    """Return the folder in VOC layout that ``top`` is or holds, of a ``year`` or the newest one."""
    name = f"VOC{year or '20[0-9][0-9]'}"
    # The archive of 2011 unpacks into a folder TrainVal.
    years = [path for parent in ("", "VOCdevkit/", "TrainVal/VOCdevkit/") for path in top.glob(parent + name)]
    newest_first = sorted(years, key=lambda path: path.name, reverse=True)
    itself = [top] if year is None or top.name == name else []
    return next((root for root in (*itself, *newest_first) if (root / voc.IMAGES).is_dir()), None)


def protect_data(
    data: str | Path, mask_dirs: Iterable[str | None], outputs: Iterable[Path | None], inputs: Iterable[str | Path | None] = ()
) -> None:
    """Raise OutputError if an output would replace an input or a file of the data set (see :func:`refuse_to_replace`).

    Raises DataError if ``data`` is not a folder; whether it holds a data set is left to :meth:`VocFolder.find`.
    """
    root = _find_root(data_folder(data))
    folders: list[Path] = []
    if root is not None:
        masks = [root / name for name in mask_dirs if name is not None]
        folders = [root / voc.IMAGES, root / voc.SPLITS, *root.glob(f"{voc.MASKS}*"), *masks]
        inputs = [root / voc.CLASSES_FILE, root / "labelmap.txt", *inputs]
    refuse_to_replace(outputs, inputs, folders)


def data_folder(data: str | Path) -> Path:
    """Return ``data`` as a path; raise DataError if it is not a folder."""
    folder = Path(data).expanduser()
    if not folder.exists():
        raise DataError(f"data folder {folder} does not exist (`vocseg data download {folder}` puts VOC2012 there)")
    if not folder.is_dir():
        raise DataError(f"data {folder} is not a folder")
    return folder


def read_ids(path: Path) -> list[str]:
    """Read the ids of a split list, one a line, in order; raise DataError if it cannot be read or is empty."""
    # Some VOC lists carry a second column (-1, 0, 1); the id is the first.
    ids = [line.split()[0] for line in read_lines(path, "split list") if line.strip()]
    if not ids:
        raise DataError(f"split list {path} is empty")
    return ids


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of ``folder`` with one of the ``suffixes`` (any case), by stem; the earlier suffix wins."""
    names = [name for name in os.listdir(folder) if not name.startswith(".") and Path(name).suffix.lower() in suffixes]
    names.sort(key=lambda name: suffixes.index(Path(name).suffix.lower()), reverse=True)
    return {Path(name).stem: folder / name for name in names}


def read_classes(path: Path) -> tuple[str, ...]:
    """Read the class names of a ``classes.txt``, one a line in the order of their ids; VOC's 21 if there is no file."""
    if not path.exists():
        return voc.CLASSES
    names = [line.strip() for line in read_lines(path, "class names") if line.strip()]
    if not names:
        raise DataError(f"{path} names no class")
    if len(names) > voc.VOID:
        raise DataError(f"{path} names {len(names)} classes; ids must stay below the void label {voc.VOID}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"{path} names class '{twice[0]}' twice")
    return tuple(names)
