"""Write data sets in VOC layout, COCO's JSON and YOLO's polygons, into folders that already hold the images."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from scipy import ndimage

from vocseg import draw, voc
from vocseg.convert import rle
from vocseg.convert.outlines import Traced, cut_open, filled, trace
from vocseg.convert.readers.coco import VOID_CATEGORY
from vocseg.convert.regions import Mask
from vocseg.convert.simplifier import Simplifier
from vocseg.convert.source import Splits

T = TypeVar("T")
Each = Callable[[Callable[[str, str, Mask], T]], Iterator[T]]
"""Calls a function with the name, the image's file name and the mask of each image, in threads; yields the results."""


def write_voc(root: Path, classes: Sequence[str], splits: Splits, each: Each[None]) -> None:
    """Write Pascal VOC's layout: palette PNGs of class ids and 255, split lists, class names."""

    def save(name: str, image: str, mask: Mask) -> None:
        (root / voc.MASKS / f"{name}.png").write_bytes(draw.encoded(draw.palette_image(torch.from_numpy(mask))))

    (root / voc.MASKS).mkdir()
    for _ in each(save):
        pass
    (root / voc.SPLITS).mkdir(parents=True)
    for split, names in splits.items():
        _write_lines(root / voc.SPLITS / f"{split}.txt", names)
    _write_lines(root / voc.CLASSES_FILE, classes)


def write_coco(
    root: Path,
    classes: Sequence[str],
    splits: Splits,
    each: Each[Any],
    simplifier: Simplifier,
    *,
    void: bool,
    polygons: bool,
    parts: bool,
) -> None:
    """Write COCO's ``annotations/<split>.json``, as annotations arrive; only the images are kept in memory.

    A category's id is the class's id, plus one if no class is background; pixels of the background are in no object.
    With ``void``, it is a crowd region of a last category. An object is all pixels of a class in an image, or with
    ``parts`` a connected part of them; as run lengths, or as ``polygons`` along pixel edges unless they are simplified.
    """
    named = object_ids(classes) | ({voc.VOID: VOID_CATEGORY} if void else {})
    ids = {label: label + int(0 in named) for label in named}
    categories = [{"id": ids[label], "name": name} for label, name in named.items()]
    head = json.dumps({"info": {"description": "written by vocseg data convert"}, "categories": categories})

    def describe(name: str, image: str, mask: Mask) -> tuple[str, dict[str, Any], list[dict[str, Any]]]:
        regions = simplifier(trace(mask), (mask.shape[0], mask.shape[1])) if polygons else {}
        if simplifier.pixels:  # void, which is run lengths, goes as far as its neighbors
            mask = filled(regions, mask.shape[1], range(len(mask)))
        objects = [one for label in ids for one in _coco_objects(mask, label, ids[label], regions, polygons, parts)]
        return name, {"file_name": image, "height": mask.shape[0], "width": mask.shape[1]}, objects

    members = {split: set(names) for split, names in splits.items()}
    images: dict[str, list[dict[str, Any]]] = {split: [] for split in splits}
    counts = dict.fromkeys(splits, 0)
    (root / "annotations").mkdir()
    with ExitStack() as stack:
        files = {
            split: stack.enter_context(open(root / "annotations" / f"{split}.json", "w", encoding="utf-8")) for split in splits
        }
        for file in files.values():
            file.write(head[:-1] + ', "annotations": [')
        for name, image, objects in each(describe):
            for split in (split for split in splits if name in members[split]):
                images[split].append({"id": len(images[split]) + 1} | image)
                for one in objects:
                    counts[split] += 1
                    numbered = {"id": counts[split], "image_id": len(images[split])} | one
                    files[split].write((",\n" if counts[split] > 1 else "\n") + json.dumps(numbered))
        for split, file in files.items():
            file.write('\n], "images": ' + json.dumps(images[split]) + "}\n")


def _coco_objects(
    mask: Mask, label: int, category: int, regions: Traced, polygons: bool, parts: bool
) -> Iterator[dict[str, Any]]:  # fmt: skip
    """Yield the objects of a label: each of its ``regions``, or all in one, or run lengths."""

    def described(area: int, low: Any, high: Any, segmentation: Any) -> dict[str, Any]:
        box = [*low, *np.subtract(high, low).tolist()]
        return {"category_id": category, "iscrowd": int(label == voc.VOID), "area": area, "bbox": box, "segmentation": segmentation}

    if polygons and label != voc.VOID:  # the format defines crowd regions as run lengths
        found = regions.get(label, [])
        for group in [[part] for part in found] if parts else [found] if found else []:
            rings = [cut_open(part.outline, part.holes) for part in group]
            corners = np.concatenate(rings)
            outlines = [ring.reshape(-1).tolist() for ring in rings]
            yield described(sum(part.area for part in group), corners.min(0).tolist(), corners.max(0).tolist(), outlines)
        return
    numbered = ndimage.label(mask == label)[0] if parts else (mask == label).astype(np.int32)
    for number, (rows, columns) in enumerate(ndimage.find_objects(numbered), 1):
        region = numbered == number
        yield described(int(region.sum()), (columns.start, rows.start), (columns.stop, rows.stop), rle.encode(region))


def write_yolo(
    root: Path, classes: Sequence[str], splits: Splits, each: Each[tuple[str, str]], simplifier: Simplifier
) -> None:  # fmt: skip
    """Write Ultralytics' segmentation format: ``labels/<image>.txt``, ``data.yaml``, and a list of images per split.

    Coordinates are fractions of width and height. The format has neither background nor void: their pixels are in no
    polygon. Holes are cut open.
    """
    named = object_ids(classes)

    def write(name: str, image: str, mask: Mask) -> tuple[str, str]:
        size = np.array(mask.shape[::-1], dtype=np.float64)
        regions = simplifier(trace(mask), (mask.shape[0], mask.shape[1]))
        found = [(number, part) for number, label in enumerate(named) for part in regions.get(label, [])]
        rings = [(number, cut_open(part.outline, part.holes) / size) for number, part in found]
        lines = [f"{number} " + " ".join(f"{value:.7g}" for value in ring.reshape(-1)) for number, ring in rings]
        _write_lines(root / "labels" / f"{name}.txt", lines)
        return name, image

    (root / "labels").mkdir()
    images = dict(each(write))
    for split, names in splits.items():
        _write_lines(root / f"{split}.txt", [f"./images/{images[name]}" for name in names])
    # JSON strings are valid YAML strings.
    names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(named.values())]
    _write_lines(root / "data.yaml", [*(f"{split}: {split}.txt" for split in splits), "names:", *names])


def object_ids(classes: Sequence[str]) -> dict[int, str]:
    """Return the classes that are objects, by id: all except a first one called background."""
    return {label: name for label, name in enumerate(classes) if label or name not in voc.BACKGROUND_NAMES}


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
