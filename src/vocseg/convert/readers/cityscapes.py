"""Read Cityscapes and data with the same layout: city folders with ``*_labelIds.png`` and ``*_leftImg8bit.png``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from vocseg.convert.source import Item, Source, files_below, read_labels, skipped, split_of_path
from vocseg.data.layout import IMAGE_SUFFIXES
from vocseg.errors import DataError

CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Label ids of the 19 scored classes in the order of their train ids (cityscapesScripts, ``helpers/labels.py``)."""
VOID = frozenset(range(34)) - set(CLASSES)


def find_cityscapes(root: Path, images: Path | None = None) -> Source:
    """Find the images and masks below ``root``; all labels except the 19 in CLASSES are void.

    A mask ``x_gtFine_labelIds.png`` (or ``x_anything_labelIds.png``) belongs to ``x_leftImg8bit.png``; fine masks take
    precedence over coarse ones. Raises DataError if no mask has an image.
    """
    masks = [path for path in files_below(root, (".png",)) if path.stem.endswith("_labelIds")]
    by_scene: dict[str, Path] = {}
    for path in files_below(images or root, IMAGE_SUFFIXES):
        if not re.search(r"_(labelIds|instanceIds|color|labelTrainIds)$", path.stem):
            by_scene.setdefault(re.sub(r"_left_?Img_?8_?bit$", "", path.stem, flags=re.IGNORECASE), path)
    chosen: dict[Path, Item] = {}
    unmatched = []
    for mask in sorted(masks, key=lambda path: "coarse" in path.stem.lower()):
        image = by_scene.get(re.sub(r"(_gt\w*?)?_labelIds$", "", mask.stem))
        if image is None:
            unmatched.append(mask)
            continue
        scene = image.with_name(re.sub(r"_leftImg8bit(?=\.)", "", image.name))
        split = split_of_path(mask.relative_to(root).parent)
        chosen.setdefault(image, Item(image, mask, partial(read_labels, mask), split, named_by=scene))
    if not chosen:
        example = f" (masks such as {unmatched[0]})" if unmatched else ""
        raise DataError(f"no *_labelIds.png below {root} has an image *_leftImg8bit.png{example}")
    items = [chosen[image] for image in sorted(chosen)]
    notes = skipped(unmatched, "mask", "without an image")
    return Source("cityscapes", str(root), root, items, dict(CLASSES), named=True, void=VOID, notes=notes)
