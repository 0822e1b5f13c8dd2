"""Read masks in two fixed layouts: Pascal VOC's, including CVAT's with its ``labelmap.txt``, and Cityscapes'."""

from __future__ import annotations

import re
from pathlib import Path

from vocseg import voc
from vocseg.convert.finder import ImageFinder, files_below
from vocseg.convert.source import Item, Source, skipped, split_of_path
from vocseg.data.color_table import read_colors
from vocseg.data.layout import IMAGE_SUFFIXES, VocFolder, files_by_stem
from vocseg.errors import DataError
from vocseg.utils.text import counted

CITYSCAPES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Label ids of the 19 scored classes in the order of their train ids (cityscapesScripts, ``helpers/labels.py``)."""
CITYSCAPES_VOID = frozenset(range(34)) - set(CITYSCAPES)


def find_voc(root: Path, mask_dir: Path | None = None, colors: Path | None = None) -> Source:
    """Find the images that the split lists of a folder in VOC layout name, or without lists all with a mask.

    Masks may be colored, with the table ``colors`` or the folder's ``labelmap.txt``. Unless ``mask_dir`` is given,
    images without a mask in SegmentationClass use one in another SegmentationClass*; trainaug has two such folders.
    """
    folder = VocFolder.find(root, str(mask_dir or voc.MASKS)).unpacked()
    labelmap = folder.root / "labelmap.txt"
    path = colors or (labelmap if labelmap.is_file() else None)
    table = read_colors(path) if path else None
    notes = [f"colors from {path}"] if path else []
    if not table and not (folder.root / voc.CLASSES_FILE).exists():
        notes.append(f"no {voc.CLASSES_FILE}, so VOC's class names are used")
    empty = [split for split in folder.splits if not (folder.root / voc.SPLITS / f"{split}.txt").read_bytes().strip()]
    splits = [split for split in folder.splits if split not in empty] or folder.splits  # if all are empty, the error says so
    lists = {split: dict.fromkeys(folder.listed(split)) for split in splits}
    images = files_by_stem(folder.root / voc.IMAGES, IMAGE_SUFFIXES) if lists else {}
    for split, ids in lists.items():
        if not images.keys() & ids and split != "test":  # the images of the test split are an archive of their own
            raise DataError(f"split list {split}.txt of {folder.root} names no image that exists (such as '{next(iter(ids))}')")
    masks = files_by_stem(folder.root / folder.mask_dir, (".png",))
    wanted = dict.fromkeys(id_ for ids in lists.values() for id_ in ids) if lists else dict.fromkeys(sorted(masks))
    for other in sorted(folder.root.glob(f"{voc.MASKS}?*/")) if mask_dir is None and lists else []:
        more = {id_: mask for id_, mask in files_by_stem(other, (".png",)).items() if id_ in wanted and id_ not in masks}
        masks |= more
        notes += [f"masks of {counted(len(more), 'image')} from {other.name}, missing in {voc.MASKS}"] if more else []
    items = [Item(folder.image(id_), masks[id_]) for id_ in wanted if id_ in masks]
    unlisted = [mask.name for id_, mask in masks.items() if id_ not in wanted]
    if not items:
        raise DataError(f"no image in {folder.root} has a mask in {folder.root / folder.mask_dir}")
    return Source(
        "voc",
        str(folder.root),
        folder.root,
        items,
        table.names if table else dict(enumerate(folder.classes)),
        named=table is not None,
        table=table,
        notes=notes
        + skipped([id_ for id_ in wanted if id_ not in masks], "listed image", "without a mask")
        + skipped([f"{split}.txt" for split in empty], "split list", "without images")
        + skipped(unlisted, "mask", "that no split list names"),
        lists={split: [folder.image(id_) for id_ in ids if id_ in masks] for split, ids in lists.items()},
    )


def find_cityscapes(root: Path, images: Path | None = None) -> Source:
    """Find masks ``x_gtFine_labelIds.png`` and images ``x_leftImg8bit.png``; fine masks take precedence over coarse ones.

    All labels except the 19 in CITYSCAPES are void.
    """
    masks = [path for path in files_below(root, (".png",)) if path.stem.endswith("_labelIds")]
    finder = ImageFinder(images or root)
    chosen: dict[Path, Item] = {}
    unmatched, spare = [], []
    for mask in sorted(masks, key=lambda path: "coarse" in path.stem.lower()):
        scene = re.sub(r"(_gt\w*?)?_labelIds$", "", mask.stem)
        names = (mask.with_name(scene + end) for end in ("_leftImg8bit", "_leftimg8bit", ""))
        image = next((image for name in names if (image := finder.find(str(name)))), None)
        if image is None:
            unmatched.append(mask)
        elif image in chosen:
            spare.append(mask.name)
        else:
            split = split_of_path(mask.relative_to(root).parent)
            chosen[image] = Item(image, mask, split=split, named_by=image.with_name(scene + image.suffix))
    if not chosen:
        example = f" (masks such as {unmatched[0]})" if unmatched else ""
        raise DataError(f"no *_labelIds.png below {root} has an image *_leftImg8bit.png{example}")
    items = [chosen[image] for image in sorted(chosen)]
    notes = skipped(unmatched, "mask", "without an image") + skipped(spare, "mask", "of an image that has another mask")
    return Source("cityscapes", str(root), root, items, dict(CITYSCAPES), named=True, void=CITYSCAPES_VOID, notes=notes)
