"""List the files of a data set, what its split lists name, and its legend: class names and colors."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from vocseg import voc
from vocseg.data.color_table import read_colors
from vocseg.data.layout import IMAGE_SUFFIXES, VocFolder, group_by_stem
from vocseg.data.lists import resolve_id
from vocseg.data.packed import ShardFile
from vocseg.doctor.issues import Case
from vocseg.errors import DataError
from vocseg.utils.stand_ins import url_of
from vocseg.utils.text import counted

ALL = "all"
"""Name of the split of all pairs if there are no lists."""
MAX_FOLDERS = 6
"""Folders that an error names."""
OTHER_SUFFIXES = {*IMAGE_SUFFIXES, *voc.UNSUPPORTED_SUFFIXES, ".npy", ".npz", ".mat", ".json", ".xml"}
"""Suffixes of files that may be images or labels in a format that is not read; others (.db, .txt) do not matter."""

LABELMAP = "labelmap.txt"
NO_COLOR = (-1, -1, -1)

Color = tuple[int, int, int]
Colors = tuple[Color, ...]
Files = dict[str, Path]
"""Files by id."""


MaskKey = tuple[str, str]
"""Mask folder and id."""


@dataclass(frozen=True)
class SplitList:
    """A split: the folder of its masks, and its ids that have an image and a mask, each once."""

    name: str
    mask_dir: str
    ids: tuple[str, ...]


@dataclass(frozen=True)
class Survey:
    """Images by id, masks by folder and id, and splits; ``cases`` are what is wrong with lists and files.

    ``classes`` are those of classes.txt, or else VOC's. ``is_part``: the splits have only the ids of a shard. ``packed``: tar
    files of a packed data set whose contents are compared with the index.
    """

    root: Path
    classes: tuple[str, ...]
    images: Files
    masks: dict[str, Files]
    splits: tuple[SplitList, ...]
    cases: tuple[Case, ...]
    is_part: bool = False
    packed: tuple[ShardFile, ...] = field(default=(), repr=False)

    def keys(self) -> list[MaskKey]:
        """List the masks of the splits, each once."""
        return list(dict.fromkeys((split.mask_dir, name) for split in self.splits for name in split.ids))

    def only(self, holds: Callable[[str], bool]) -> Survey:
        """Return the survey of the ids for which ``holds`` is true, without what is wrong with lists and files."""
        splits = (replace(split, ids=tuple(filter(holds, split.ids))) for split in self.splits)
        packed = tuple(shard for shard in self.packed if holds(shard.file))
        return replace(self, splits=tuple(splits), cases=(), is_part=True, packed=packed)

    def choose(self) -> SplitList | None:
        """Return ``train``, else the split of all pairs, else the first that is not empty; None if all are empty."""
        by_name = {split.name: split for split in self.splits if split.ids}
        return by_name.get("train") or by_name.get(ALL) or next(iter(by_name.values()), None)


def survey(data: str | Path, mask_dir: str | None = None, splits: list[str] | None = None) -> Survey:
    """Look through the lists and folders of the VOC layout below ``data``; no image is opened.

    Without ``mask_dir``, a split that lacks masks in SegmentationClass takes the folder SegmentationClass* with the
    most. Raises DataError if there is no VOC layout, naming the folders that hold images, and for a name in ``splits``
    without list.
    """
    folder = _find_folder(data, mask_dir)
    others = [] if mask_dir else folder.mask_dirs
    images = _first_files(folder, voc.IMAGES, IMAGE_SUFFIXES)
    masks = {name: _first_files(folder, name, (".png",)) for name in dict.fromkeys([folder.mask_dir, *others])}
    cases: list[Case] = []
    lists: list[SplitList] = []
    for split in folder.splits if splits is None else splits:
        try:
            lists.append(_read_list(split, folder.lines(split), images, masks, cases))
        except DataError as error:
            if split not in folder.splits:
                raise
            cases.append(Case("unreadable-list", _list_file(split), str(error).replace(f"{folder.root}{os.sep}", "")))
    if not folder.splits:
        cases.append(Case("no-lists", voc.SPLITS))
        lists.append(SplitList(ALL, folder.mask_dir, tuple(sorted(images.keys() & masks[folder.mask_dir].keys()))))
    if splits is None:
        cases += _unused_files(folder, images, masks, lists)
    is_whole = splits is None and url_of(folder.root) is None  # reading all again would take long
    packed = folder.packed.shards if folder.packed is not None and is_whole else ()
    return Survey(folder.root, folder.classes, images, masks, tuple(lists), tuple(cases), packed=tuple(packed))


def _find_folder(data: str | Path, mask_dir: str | None) -> VocFolder:
    """Find the layout; the error names the folders that hold images."""
    try:
        return VocFolder.find(data, mask_dir or voc.MASKS)
    except DataError as error:
        top = Path(data).expanduser()
        if not top.is_dir() or ((top / voc.IMAGES).is_dir() and (top / (mask_dir or voc.MASKS)).is_dir()):
            raise
        found: list[str] = []
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if not name.startswith((".", "__MACOSX"))]
            counts = Counter(os.path.splitext(file)[1].lower() for file in files if not file.startswith("."))
            if images := [f"{counts[suffix]} {suffix}" for suffix in IMAGE_SUFFIXES if counts[suffix]]:
                found.append(f"{os.path.relpath(folder, top)} ({', '.join(images)})")
        if not found:
            raise DataError(f"{error}; it holds no images") from error
        more = f" and {len(found) - MAX_FOLDERS} more" if len(found) > MAX_FOLDERS else ""
        where = f"{', '.join(sorted(found)[:MAX_FOLDERS])}{more}"
        raise DataError(f"{error}; images are in {where}; `vocseg data convert` converts other layouts") from error


def _list_file(split: str) -> str:
    return f"{voc.SPLITS}/{split}.txt"


def _first_files(folder: VocFolder, name: str, suffixes: tuple[str, ...]) -> Files:
    return {stem: paths[0] for stem, paths in group_by_stem(folder.files(name), suffixes).items()}


def _read_list(split: str, lines: list[str], images: Files, masks: dict[str, Files], cases: list[Case]) -> SplitList:
    """Pair the ids of a list with the mask folder that has the most of them; what is wrong is added to ``cases``."""
    file = _list_file(split)
    entries = [resolve_id(line, images) for line in lines]
    paths = [line for line, name in zip(lines, entries, strict=True) if name not in (line, line.split()[0])]
    if paths:
        cases.append(Case("list-of-files", file, f"e.g. {paths[0]}"))
    times = Counter(entries)
    cases += [Case("repeated-id", file, name) for name, count in times.items() if count > 1]
    found = {folder: sum(name in files for name in times) for folder, files in masks.items()}
    own, chosen = next(iter(masks)), max(found, key=lambda folder: found[folder])  # the first of equals
    if chosen != own:
        detail = f"{split}: {chosen} ({found[chosen]} of {len(times)} masks; {own} has {found[own]})"
        cases.append(Case("other-masks", file, detail))
    for name in times:
        if name not in images:
            cases.append(Case("missing-image", name, split))
        elif name not in masks[chosen]:
            cases.append(Case("missing-mask", name, f"{split}, {chosen}", (images[name],)))
    return SplitList(split, chosen, tuple(name for name in times if name in images and name in masks[chosen]))


def _unused_files(folder: VocFolder, images: Files, masks: dict[str, Files], lists: list[SplitList]) -> Iterator[Case]:
    """Yield files without a partner, outside all lists, or of the wrong format."""
    masked = set().union(*masks.values())
    for mask_dir, files in masks.items():
        for name in sorted(files.keys() - images.keys()):
            yield Case("orphan-mask", f"{mask_dir}/{files[name].name}", mask=files[name])
    if unmasked := sorted(images.keys() - masked):
        yield Case("orphan-image", voc.IMAGES, f"{counted(len(unmasked), 'image')}, e.g. {images[unmasked[0]].name}")
    unlisted = sorted((images.keys() & masked) - {name for split in lists for name in split.ids})
    if unlisted and folder.splits:
        yield Case("unlisted", voc.SPLITS, f"{counted(len(unlisted), 'image')}, e.g. {unlisted[0]}")
    for name, known in ((voc.IMAGES, IMAGE_SUFFIXES), *((mask_dir, (".png",)) for mask_dir in masks)):
        yield from _strange_files(folder, name, known)


def _strange_files(data: VocFolder, folder: str, known: tuple[str, ...]) -> Iterator[Case]:
    stems: dict[str, str] = {}
    for name in (path.name for path in data.files(folder)):
        stem, suffix = os.path.splitext(name)
        if suffix.lower() in known:
            if stem in stems:
                yield Case("same-stem", f"{folder}/{name}", f"and {stems[stem]}")
            stems[stem] = name
        elif suffix.lower() in OTHER_SUFFIXES:
            yield Case("unknown-file", f"{folder}/{name}")


@dataclass(frozen=True)
class Legend:
    """Class names and colors; the last color is void's.

    ``own`` says that the colors are known to be the data set's own. ``renamed`` says that the names come from
    labelmap.txt, which training does not read.
    """

    classes: tuple[str, ...]
    colors: Colors
    own: bool
    renamed: bool = False


def find_legend(root: Path, classes: tuple[str, ...]) -> Legend:
    """Find the legend of the data set in ``root``, whose ``classes`` come from its classes.txt or else are VOC's.

    A ``labelmap.txt``, which CVAT writes beside masks, gives the colors, and the names if there is no classes.txt.
    Otherwise colors are VOC's. Raises DataError for a malformed labelmap.txt.
    """
    named = (root / voc.CLASSES_FILE).exists()
    has_map = (root / LABELMAP).exists()
    colors = read_labelmap(root / LABELMAP) if has_map else {}
    if not has_map or (named and not set(classes) <= set(colors)):
        return Legend(classes, voc.PALETTE[: len(classes)] + voc.PALETTE[voc.VOID :], own=not named)
    names = classes if named else tuple(colors)
    ordered = tuple(colors[name] for name in names)
    void = voc.PALETTE[voc.VOID] if voc.PALETTE[voc.VOID] not in ordered else NO_COLOR
    return Legend(names, (*ordered, void), own=True, renamed=not named and names != voc.CLASSES)


def read_labelmap(path: Path) -> dict[str, Color]:
    """Read the first color of each class of a ``labelmap.txt``; a black class, which is the background, comes first.

    Raises DataError, naming the line.
    """
    table = read_colors(path)
    colors: dict[str, Color] = {}
    for code, label in table.labels.items():
        if label in table.names:
            colors.setdefault(table.names[label], (code >> 16, code >> 8 & 255, code & 255))
    return dict(sorted(colors.items(), key=lambda item: item[1] != (0, 0, 0)))
