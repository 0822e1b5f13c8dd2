"""Which files there are, and which of them the split lists name."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from vocseg import voc
from vocseg.data.layout import IMAGE_SUFFIXES, VocFolder, files_by_stem
from vocseg.doctor.issues import Case
from vocseg.errors import DataError
from vocseg.utils.text import counted

ALL = "all"
"""Name of the split that stands for all pairs where there are no lists."""
OTHER_SUFFIXES = {".bmp", ".tif", ".tiff", ".jpg", ".jpeg", ".gif", ".webp", ".npy", ".mat", ".heic", ".jp2", ".json", ".xml"}
"""Suffixes of files that may be images or labels in a format that is not read; others (.db, .txt) do not matter."""


@dataclass(frozen=True)
class SplitList:
    """A split: the folder of its masks, and those of its ids that have an image and a mask, each once."""

    name: str
    mask_dir: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """The files of a data set by id, its splits, and what is wrong with lists and files.

    ``images`` by id; ``masks`` by folder and id; ``cases`` as pairs (kind, case).
    """

    root: Path
    images: dict[str, Path]
    masks: dict[str, dict[str, Path]]
    splits: tuple[SplitList, ...]
    cases: tuple[tuple[str, Case], ...]


def survey(folder: VocFolder, mask_dir: str | None = None, splits: list[str] | None = None) -> Survey:
    """Look through the lists and folders; no image is opened.

    Without ``mask_dir``, a split for which SegmentationClass lacks masks takes them from that folder named
    SegmentationClass* which has most of them. Raises DataError for a split in ``splits`` that has no list.
    """
    images = files_by_stem(folder.root / voc.IMAGES, IMAGE_SUFFIXES)
    folders = [folder.mask_dir] if mask_dir else _mask_folders(folder)
    masks = {name: files_by_stem(folder.root / name, (".png",)) for name in folders}
    cases: list[tuple[str, Case]] = []
    lists: list[SplitList] = []
    for split in folder.splits if splits is None else splits:
        if split not in folder.splits and splits is not None:
            folder.listed(split)  # says what lists there are
        try:
            names = folder.listed(split)
        except DataError as error:
            cases.append(("unreadable-list", Case(_list_file(split), str(error))))
            continue
        ids = _clean(names, split, images, cases)
        lists.append(_split(split, ids, images, masks, cases))
    if not folder.splits:
        cases.append(("no-lists", Case(voc.SPLITS)))
        both = tuple(sorted(images.keys() & masks[folder.mask_dir].keys()))
        lists.append(SplitList(ALL, folder.mask_dir, both))
    if splits is None:
        cases += _leftovers(folder.root, images, masks, lists, bool(folder.splits))
    return Survey(folder.root, images, masks, tuple(lists), tuple(cases))


def _mask_folders(folder: VocFolder) -> list[str]:
    """The folder's own masks first, then others named SegmentationClass*."""
    others = sorted(path.name for path in folder.root.glob(f"{voc.MASKS}*") if path.is_dir() and path.name != folder.mask_dir)
    return [folder.mask_dir, *others]


def _list_file(split: str) -> str:
    return f"{voc.SPLITS}/{split}.txt"


def _clean(names: list[str], split: str, images: dict[str, Path], cases: list[tuple[str, Case]]) -> list[str]:
    """The ids that a list means, each once."""
    ids = [as_id(name, images) for name in names]
    if ids != names:
        entry = next(name for name, meant in zip(names, ids, strict=True) if name != meant)
        cases.append(("list-of-files", Case(_list_file(split), f"e.g. {entry}")))
    twice = [name for name, count in Counter(ids).items() if count > 1]
    cases += [("repeated-id", Case(_list_file(split), name)) for name in twice]
    return list(dict.fromkeys(ids))


def as_id(entry: str, images: dict[str, Path]) -> str:
    """The id that a list's entry means, which may be a file name or path (``/JPEGImages/2007_000032.jpg``)."""
    stem = PurePosixPath(entry).stem
    is_file = entry not in images and stem in images
    return stem if is_file else entry


def _split(
    split: str,
    ids: list[str],
    images: dict[str, Path],
    masks: dict[str, dict[str, Path]],
    cases: list[tuple[str, Case]],
) -> SplitList:
    """The split with the mask folder that serves it best; ids without files become cases."""
    own = next(iter(masks))
    chosen = max(masks, key=lambda name: sum(id_ in masks[name] for id_ in ids))  # the first of equals
    if chosen != own:
        detail = f"{split}: {chosen} ({sum(name in masks[chosen] for name in ids)} of {len(ids)} masks; {own} has "
        cases.append(("other-masks", Case(_list_file(split), f"{detail}{sum(name in masks[own] for name in ids)})")))
    for name in ids:
        if name not in images:
            cases.append(("missing-image", Case(name, split)))
        elif name not in masks[chosen]:
            cases.append(("missing-mask", Case(name, f"{split}, {chosen}", (images[name],))))
    return SplitList(split, chosen, tuple(name for name in ids if name in images and name in masks[chosen]))


def _leftovers(
    root: Path, images: dict[str, Path], masks: dict[str, dict[str, Path]], lists: list[SplitList], listed: bool
) -> Iterator[tuple[str, Case]]:
    """Files that belong to nothing or are of the wrong format."""
    masked = set().union(*masks.values())
    used = {name for split in lists for name in split.ids}
    for folder, files in masks.items():
        for name in sorted(files.keys() - images.keys()):
            yield "orphan-mask", Case(f"{folder}/{files[name].name}", mask=files[name])
    alone = sorted(images.keys() - masked)
    if alone:
        yield "orphan-image", Case(voc.IMAGES, f"{counted(len(alone), 'image')}, e.g. {images[alone[0]].name}")
    unlisted = sorted((images.keys() & masked) - used)
    if unlisted and listed:
        yield "unlisted", Case(voc.SPLITS, f"{counted(len(unlisted), 'image')}, e.g. {unlisted[0]}")
    for folder, known in ((voc.IMAGES, IMAGE_SUFFIXES), *((name, (".png",)) for name in masks)):
        yield from _strange_files(root, folder, known)


def _strange_files(root: Path, folder: str, known: tuple[str, ...]) -> Iterator[tuple[str, Case]]:
    stems: dict[str, str] = {}
    with os.scandir(root / folder) as entries:
        names = sorted(entry.name for entry in entries if not entry.name.startswith("."))
    for name in names:
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in known:
            if stem in stems:
                yield "same-stem", Case(f"{folder}/{name}", f"and {stems[stem]}")
            stems[stem] = name
        elif suffix.lower() in OTHER_SUFFIXES:
            yield "unknown-file", Case(f"{folder}/{name}")
