"""Find images, masks, split lists and class names in a folder in VOC layout."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from unicodedata import normalize

from vocseg import voc
from vocseg.data.lists import read_list, resolve_id
from vocseg.data.packed import PackedFiles, find_packed, remote_folder
from vocseg.errors import STAND_INS, DataError, OutputError, nearest, reason
from vocseg.utils.files import read_lines, refuse_to_replace
from vocseg.utils.stand_ins import url_of
from vocseg.utils.urls import is_remote

IMAGE_SUFFIXES = voc.IMAGE_SUFFIXES


@contextmanager
def _reading() -> Iterator[None]:
    """Raise DataError if a folder may not be looked into."""
    try:
        yield
    except OSError as error:
        raise DataError(f"cannot read {error.filename}: {reason(error)}") from error


@dataclass(frozen=True)
class VocFolder:
    """A folder laid out like VOC2012: images, masks, split lists, class names; :meth:`find` builds it.

    The images and masks may be packed in ``packed``.
    """

    root: Path
    mask_dir: str = voc.MASKS
    classes: tuple[str, ...] = voc.CLASSES
    packed: PackedFiles | None = field(default=None, repr=False, compare=False)

    @classmethod
    def find(cls, data: str | Path, mask_dir: str = voc.MASKS, year: str | None = None, *, masks: bool = True) -> VocFolder:
        """Find the VOC layout below ``data``.

        ``data`` is the folder that holds ``VOCdevkit``, or ``VOCdevkit``, or a folder like ``VOC2012``, packed or not, or the
        URL of one. Without a ``year`` the newest one is taken; without ``masks`` it needs no folder of masks, as a test set
        has none. Raises DataError, naming the folder, if there is no such layout.
        """
        top = data_folder(data)
        packed = find_packed(top)
        root = _find_root(top, year) if packed is None else top
        if root is None:
            name = "VOC20xx" if year is None else f"VOC{year}"
            either = "neither it nor a" if year is None else "no"
            raise DataError(f"{top} is not in VOC layout: {either} {name} or VOCdevkit/{name} below it has a {voc.IMAGES} folder")
        found = cls(root, mask_dir, read_classes(root / voc.CLASSES_FILE), packed)
        if masks and not found.has(mask_dir):
            raise DataError(f"no mask folder {root / mask_dir}")
        if Path(mask_dir).name == voc.OBJECTS:
            raise DataError(f"masks in {root / mask_dir} number objects, not classes; class ids are in {voc.MASKS}")
        return found

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"url": url_of(self.root)}

    def __setstate__(self, state: dict[str, object]) -> None:
        if (url := state.pop("url")) is not None:  # another process made the folder
            STAND_INS[str(state["root"])] = str(url)
        self.__dict__.update(state)

    @property
    def name(self) -> str:
        """Name of the folder, before it was packed."""
        return self.root.name if self.packed is None else self.packed.name

    def has(self, folder: str) -> bool:
        """Return whether there is such a folder of images or masks."""
        return (self.root / folder).is_dir() if self.packed is None else folder in self.packed.folders

    def files(self, folder: str) -> list[Path]:
        """List a folder of images or masks by name, except hidden files; raise DataError if it cannot be read."""
        return visible_files(self.root / folder) if self.packed is None else self.packed.files(folder)

    def unpacked(self) -> VocFolder:
        """Return this folder; raise DataError if it is packed or at a URL, and so cannot be copied from or linked to."""
        if url_of(self.root) is not None:
            raise DataError(f"{self.root} is read where it is; copy it to a disk first")
        if self.packed is None:
            return self
        raise DataError(f"{self.root} is packed: `vocseg data unpack {self.root} --out FOLDER` first")

    @property
    @_reading()
    def mask_dirs(self) -> list[str]:
        """Names of the folders SegmentationClass*."""
        if self.packed is not None:
            return [name for name in self.packed.folders if name.startswith(voc.MASKS)]
        return sorted(path.name for path in self.root.glob(f"{voc.MASKS}*") if path.is_dir())

    def masks_of(self, name: str) -> list[Path]:
        """Return the masks of an image in all folders SegmentationClass*, and before them that in the folder of masks."""
        names = [f"{folder}/{name}.png" for folder in dict.fromkeys([self.mask_dir, *self.mask_dirs])]
        if self.packed is not None:
            return [self.packed.path(file) for file in names if file in self.packed]
        return [self.root / file for file in names if (self.root / file).is_file()]

    @cached_property
    @_reading()
    def splits(self) -> list[str]:
        """Names of the split lists."""
        return sorted(path.stem for path in (self.root / voc.SPLITS).glob("*.txt"))

    @cached_property
    def _images(self) -> dict[str, list[Path]]:
        return group_by_stem(self.files(voc.IMAGES), IMAGE_SUFFIXES)

    @cached_property
    def _masks(self) -> dict[str, list[Path]]:
        return group_by_stem(self.files(self.mask_dir), (".png",))

    def listed(self, split: str) -> list[str]:
        """Return the ids that a split list names, unchecked; raise DataError for a missing, unreadable or empty list."""
        return [resolve_id(line, self._images) for line in self.lines(split)]

    @_reading()
    def lines(self, split: str) -> list[str]:
        """Return the lines of a split list as they are; raise DataError for a missing, unreadable or empty list."""
        path = self.root / voc.SPLITS / f"{split}.txt"
        if not path.exists():
            known = ", ".join(self.splits) or "none"
            raise DataError(f"no split list {path}{nearest(split, self.splits)} (lists there: {known})")
        return read_list(path)

    def ids(self, split: str, *, masks: bool = True) -> list[str]:
        """Return the image ids of a split in the list's order.

        Raises DataError for a missing or empty list, an id without an image or (with ``masks``) a mask, and an id listed twice.
        """
        lines: dict[str, str] = {}
        for name, line in zip(self.listed(split), self.lines(split), strict=True):
            self.image(name)
            if masks:
                self.mask(name)
            if name in lines:
                both = "" if lines[name] == line == name else f": '{lines[name]}' and '{line}'"
                raise DataError(f"split list {self.root / voc.SPLITS / split}.txt names '{name}' twice{both}")
            lines[name] = line
        return [*lines]

    def image(self, name: str) -> Path:
        """Return the file of an image; raise DataError if there is none, or more than one."""
        if name in self._images:
            return only_one(name, self._images[name])
        raise DataError(f"id '{name}' has no image in {self.root / voc.IMAGES}")

    def mask(self, name: str) -> Path:
        """Return the file of a mask; raise DataError if there is none, or more than one."""
        if name in self._masks:
            return only_one(name, self._masks[name])
        elsewhere = [path.parent.name for path in self.masks_of(name)]
        hint = f" (it has one in {elsewhere[0]}: --mask-dir {elsewhere[0]})" if elsewhere else ""
        raise DataError(f"id '{name}' has no mask in {self.root / self.mask_dir}{hint}")


@_reading()
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
    top = data_folder(data)
    if find_packed(top) is not None:
        refuse_to_replace(outputs, inputs, [top, top / voc.SPLITS])
        return
    root = _find_root(top)
    folders: list[Path] = []
    if root is not None:
        masks = [root / name for name in mask_dirs if name is not None]
        folders = [root / voc.IMAGES, root / voc.SPLITS, *root.glob(f"{voc.MASKS}*"), *masks]
        inputs = [root / voc.CLASSES_FILE, root / "labelmap.txt", *inputs]
    refuse_to_replace(outputs, inputs, folders)


def refuse_inside(out: Path, root: Path) -> None:
    """Raise OutputError if a new folder would be in that of a data set, and be read as part of it."""
    if out.resolve().is_relative_to(root.resolve()):
        raise OutputError(f"{out} lies inside the data set {root}; choose another folder")


@_reading()
def data_folder(data: str | Path) -> Path:
    """Return ``data`` as a path, of one at a URL as :func:`remote_folder` does; DataError if it is not a folder."""
    if is_remote(data):
        return remote_folder(str(data))
    folder = Path(data).expanduser()
    if not folder.exists():
        raise DataError(f"data folder {folder} does not exist (`vocseg data download {folder}` puts VOC2012 there)")
    if not folder.is_dir():
        raise DataError(f"data {folder} is not a folder")
    return folder


def files_by_stem(folder: Path, suffixes: tuple[str, ...]) -> dict[str, Path]:
    """Return the files of ``folder`` with one of the ``suffixes`` (any case) by stem, except hidden ones.

    Raises DataError if the folder cannot be read, or, naming both files, if two have one stem.
    """
    return {stem: only_one(stem, paths) for stem, paths in group_by_stem(visible_files(folder), suffixes).items()}


def group_by_stem(files: Iterable[Path], suffixes: tuple[str, ...]) -> dict[str, list[Path]]:
    """Return those of ``files`` that have one of the ``suffixes`` (any case) by stem."""
    groups: dict[str, list[Path]] = {}
    for path in files:
        if path.suffix.lower() in suffixes:
            groups.setdefault(normalize("NFC", path.stem), []).append(path)  # macOS takes accents apart
    return groups


def only_one(name: str, paths: list[Path]) -> Path:
    """Return the only file of an id; raise DataError, naming two, if there are several."""
    if len(paths) > 1:
        raise DataError(f"id '{name}' has two files, {paths[0]} and {paths[1]}; rename or remove one")
    return paths[0]


def visible_files(folder: Path) -> list[Path]:
    """List what ``folder`` holds by name, except hidden files; raise DataError if it cannot be read."""
    # Folders, pipes and devices with a file's name are listed too: readers refuse them and say why.
    try:
        names = [name for name in os.listdir(folder) if not name.startswith(".")]
    except OSError as error:
        raise DataError(f"cannot read folder {folder}: {reason(error)}") from error
    return [folder / name for name in sorted(names)]


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
