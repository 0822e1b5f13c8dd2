"""Cityscapes and what is laid out like it: nested city folders, ``*_labelIds.png`` beside ``*_leftImg8bit.png``."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from vocseg.convert.masks import read_labels
from vocseg.convert.source import IMAGES, Item, Source, files_below, left_out, split_of_path, unique_ids
from vocseg.errors import DataError

CLASSES = {
    7: "road", 8: "sidewalk", 11: "building", 12: "wall", 13: "fence", 17: "pole", 19: "traffic light", 20: "traffic sign",
    21: "vegetation", 22: "terrain", 23: "sky", 24: "person", 25: "rider", 26: "car", 27: "truck", 28: "bus", 31: "train",
    32: "motorcycle", 33: "bicycle",
}  # fmt: skip
"""Label ids of the 19 classes that are scored, in the order of their train ids (cityscapesScripts, ``helpers/labels.py``)."""
VOID = frozenset(range(34)) - set(CLASSES)


def find_cityscapes(root: Path, images: Path | None = None) -> Source:
    """The data set below ``root``; every label but the 19 of ``CLASSES`` is void. DataError where no mask has an image.

    A mask ``x_gtFine_labelIds.png`` (or ``x_anything_labelIds.png``) belongs to ``x_leftImg8bit.png``; fine masks win over
    coarse ones.
    """
    masks = [path for path in files_below(root, (".png",)) if path.stem.endswith("_labelIds")]
    by_scene: dict[str, Path] = {}
    for path in files_below(images or root, IMAGES):
        if not re.search(r"_(labelIds|instanceIds|color|labelTrainIds)$", path.stem):
            by_scene.setdefault(re.sub(r"_left_?Img_?8_?bit$", "", path.stem, flags=re.IGNORECASE), path)
    chosen: dict[Path, Path] = {}
    bare = []
    for mask in sorted(masks, key=lambda path: "coarse" in path.stem.lower()):
        scene = re.sub(r"(_gt\w*?)?_labelIds$", "", mask.stem)
        image = by_scene.get(scene)
        if image is None:
            bare.append(mask)
        else:
            chosen.setdefault(image, mask)
    if not chosen:
        raise DataError(
            f"no *_labelIds.png below {root} has an image *_leftImg8bit.png{f' (masks such as {bare[0]})' if bare else ''}"
        )
    paths = sorted(chosen)
    ids = [re.sub(r"_leftImg8bit$", "", id_) for id_ in unique_ids(paths, root)]
    splits: dict[str, list[str]] = {}
    for id_, path in zip(ids, paths, strict=True):
        split = split_of_path(chosen[path].relative_to(root).parent)
        if split:
            splits.setdefault(split, []).append(id_)
    items = [Item(id_, path, chosen[path], partial(read_labels, chosen[path])) for id_, path in zip(ids, paths, strict=True)]
    notes = left_out(len(bare), "mask", " without an image", *bare[:1])
    return Source("cityscapes", str(root), items, dict(CLASSES), named=True, void=VOID, splits=splits, notes=notes)
