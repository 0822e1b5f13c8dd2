"""Write data sets in VOC layout, COCO's JSON and YOLO's polygons."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol, TextIO

import numpy as np
import torch

from vocseg import draw, voc
from vocseg.convert import contours, polygons, rle
from vocseg.convert.readers.coco import VOID_CATEGORY
from vocseg.convert.source import BACKGROUNDS, Mask, Splits


class Writer(Protocol):
    """Writes masks into a folder that already holds the images.

    ``write`` may run in any thread and in any order; its results are passed to ``collect`` in the order of the images.
    """

    def write(self, name: str, image: str, mask: Mask) -> Any: ...

    def collect(self, name: str, written: Any) -> None: ...

    def finish(self, splits: Splits) -> None: ...


def make_writer(to: str, root: Path, classes: Sequence[str], splits: Splits, void: bool, outlines: bool, parts: bool) -> Writer:
    """Return the writer of the format ``to``: voc, coco or yolo."""
    if to == "coco":
        return CocoWriter(root, classes, splits, void, outlines, parts)
    return YoloWriter(root, classes) if to == "yolo" else VocWriter(root, classes)


class VocWriter:
    """Pascal VOC's layout: palette PNGs of class ids and 255, split lists, class names."""

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.root, self.classes = root, classes
        (root / voc.MASKS).mkdir()

    def write(self, name: str, image: str, mask: Mask) -> None:
        draw.palette_image(torch.from_numpy(mask)).save(self.root / voc.MASKS / f"{name}.png")

    def collect(self, name: str, written: Any) -> None:
        pass

    def finish(self, splits: Splits) -> None:
        lists = self.root / voc.SPLITS
        lists.mkdir(parents=True)
        for split, names in splits.items():
            _write_lines(lists / f"{split}.txt", names)
        _write_lines(self.root / voc.CLASSES_FILE, self.classes)


class CocoWriter:
    """COCO's JSON, ``annotations/<split>.json``, with images in ``images``.

    A category's id is the class's id, plus one if no class is background; pixels of the background are in no object.
    Void, if there is any, is a crowd region of the last category, called void. An object is all pixels of a class in
    an image, or with ``parts`` a connected part of them; as run lengths, or with ``outlines`` as polygons along pixel
    edges.
    """

    def __init__(self, root: Path, classes: Sequence[str], splits: Splits, void: bool, outlines: bool, parts: bool) -> None:
        self.outlines, self.parts = outlines, parts
        self.ids = object_ids(classes)
        self.splits_of: dict[str, list[str]] = {}
        for split, names in splits.items():
            for name in names:
                self.splits_of.setdefault(name, []).append(split)
        first = 1 - min(self.ids, default=1)
        named = self.ids | ({voc.VOID: VOID_CATEGORY} if void else {})
        self.category = {label: label + first for label in named}
        categories = [{"id": self.category[label], "name": name} for label, name in named.items()]
        head = {"info": {"description": "written by vocseg data convert"}, "categories": categories}
        (root / "annotations").mkdir()
        self.files: dict[str, _JsonFile] = {split: _JsonFile(root / "annotations" / f"{split}.json", head) for split in splits}

    def write(self, name: str, image: str, mask: Mask) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        regions = ((label, region) for label in self.category for region in self._regions(mask == label))
        objects = [self._object(label, region) for label, region in regions]
        return {"file_name": image, "height": mask.shape[0], "width": mask.shape[1]}, objects

    def _regions(self, region: rle.Region) -> Iterator[rle.Region]:
        if self.parts:
            yield from (polygons.fill([ring], *region.shape) for ring in contours.outlines(region))
        elif region.any():
            yield region

    def _object(self, label: int, region: rle.Region) -> dict[str, Any]:
        ys, xs = (np.flatnonzero(region.any(axis)) for axis in (1, 0))
        left, top = int(xs[0]), int(ys[0])
        return {
            "category_id": self.category[label],
            "iscrowd": int(label == voc.VOID),
            "area": int(region.sum()),
            "bbox": [left, top, int(xs[-1]) + 1 - left, int(ys[-1]) + 1 - top],
            # The format defines crowd regions as run lengths.
            "segmentation": [ring.reshape(-1).tolist() for ring in contours.outlines(region)]
            if self.outlines and label != voc.VOID
            else rle.encode(region),
        }

    def collect(self, name: str, written: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
        for split in self.splits_of.get(name, []):
            self.files[split].add(*written)

    def finish(self, splits: Splits) -> None:
        for file in self.files.values():
            file.close()


class _JsonFile:
    """An annotation file that is written as its annotations arrive; only the images are kept in memory."""

    def __init__(self, path: Path, head: dict[str, Any]) -> None:
        self.file: TextIO = open(path, "w", encoding="utf-8")  # noqa: SIM115  (closed by close)
        self.images: list[dict[str, Any]] = []
        self.annotations = 0
        self.file.write(json.dumps(head)[:-1] + ', "annotations": [')

    def add(self, image: dict[str, Any], objects: list[dict[str, Any]]) -> None:
        self.images.append({"id": len(self.images) + 1} | image)
        for one in objects:
            self.annotations += 1
            self.file.write(",\n" if self.annotations > 1 else "\n")
            self.file.write(json.dumps({"id": self.annotations, "image_id": len(self.images)} | one))

    def close(self) -> None:
        self.file.write('\n], "images": ' + json.dumps(self.images) + "}\n")
        self.file.close()


class YoloWriter:
    """Ultralytics' segmentation format: ``labels/<image>.txt``, ``data.yaml``, and a list of images per split.

    Coordinates are fractions of width and height. The format has neither background nor void: their pixels are in no
    polygon. Holes are cut open.
    """

    def __init__(self, root: Path, classes: Sequence[str]) -> None:
        self.root = root
        self.ids = object_ids(classes)
        self.written: dict[str, str] = {}
        (root / "labels").mkdir()

    def write(self, name: str, image: str, mask: Mask) -> str:
        lines = []
        size = np.array(mask.shape[::-1], dtype=np.float64)
        for number, label in enumerate(self.ids):
            for ring in contours.outlines(mask == label):
                lines.append(f"{number} " + " ".join(f"{part:.7g}" for part in (ring / size).reshape(-1)))
        _write_lines(self.root / "labels" / f"{name}.txt", lines)
        return image

    def collect(self, name: str, written: str) -> None:
        self.written[name] = written

    def finish(self, splits: Splits) -> None:
        for split, names in splits.items():
            _write_lines(self.root / f"{split}.txt", [f"./images/{self.written[name]}" for name in names])
        # JSON strings are valid YAML strings.
        names = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, name in enumerate(self.ids.values())]
        _write_lines(self.root / "data.yaml", [*(f"{split}: {split}.txt" for split in splits), "names:", *names])


def object_ids(classes: Sequence[str]) -> dict[int, str]:
    """Return the classes that are objects, by id: all except a first one called background."""
    return {label: name for label, name in enumerate(classes) if label or name not in BACKGROUNDS}


def _write_lines(path: Path, lines: Sequence[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
