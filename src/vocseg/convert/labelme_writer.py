"""Write LabelMe's JSON files, one beside each image, whose polygons give exactly the masks when they are read back."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from vocseg import draw, voc
from vocseg.convert import regions
from vocseg.convert.outlines import Ring, Traced, enclosed, trace
from vocseg.convert.readers.tools import LABELME_IGNORE
from vocseg.convert.regions import Mask, Pixels, Region
from vocseg.convert.simplifier import Simplifier
from vocseg.convert.source import Splits

VERSION = "5.5.0"
"""Of LabelMe, whose files these are like."""
NEIGHBORS = ((0, -1), (1, -1), (1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1))
"""Steps (x, y) to the eight neighbors of a pixel, clockwise from above."""


def write_labelme(
    root: Path, classes: Sequence[str], splits: Splits, each: Callable[..., Iterator[Any]], simplifier: Simplifier
) -> None:  # fmt: skip
    """Write ``images/<id>.json`` beside each image, lists of the splits, and class names in the order of their ids.

    A connected region of a class is a polygon whose corners are pixels, as LabelMe draws it; a few that a polygon cannot
    give exactly are LabelMe's masks. Later shapes are on top: holes are filled by what is in them, the background too.
    Void is ``__ignore__``.
    """

    def write(name: str, image: str, mask: Mask) -> None:
        regions = simplifier(trace(mask), (mask.shape[0], mask.shape[1])) if simplifier.pixels else None
        content = labelme_content(mask, classes, image, regions)
        (root / "images" / f"{name}.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")

    for _ in each(write):
        pass
    for name, lines in {**splits, "classes": classes}.items():
        (root / f"{name}.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def labelme_content(mask: Mask, classes: Sequence[str], image: str, regions: Traced | None = None) -> dict[str, Any]:
    """Return the content of the file of a mask (H x W); ``image``: the path of its image relative to the file.

    ``regions``: those of all labels, simplified, to be written instead of exact ones.
    """
    drawn = shapes(mask, classes) if regions is None else simplified_shapes(regions, classes, (mask.shape[0], mask.shape[1]))
    return {
        "version": VERSION, "flags": {}, "shapes": drawn, "imagePath": image, "imageData": None,
        "imageHeight": mask.shape[0], "imageWidth": mask.shape[1],
    }  # fmt: skip


def shapes(mask: Mask, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return the shapes of a mask (H x W), those that enclose others first."""
    names = dict(enumerate(classes)) | {voc.VOID: LABELME_IGNORE}
    background = voc.background(classes)
    found: list[tuple[int, dict[str, Any]]] = []
    for label in np.unique(mask).tolist():
        numbered = ndimage.label(mask == label)[0]
        for number, (rows, columns) in enumerate(ndimage.find_objects(numbered), 1):
            at_edge = rows.start == 0 or columns.start == 0 or rows.stop == mask.shape[0] or columns.stop == mask.shape[1]
            if label == background and at_edge:
                continue  # nothing is painted there
            filled = ndimage.binary_fill_holes(numbered[rows, columns] == number)
            found.append((int(filled.sum()), _shape(names[label], Region(filled, columns.start, rows.start))))
    return [shape for _, shape in sorted(found, key=lambda row: -row[0])]


def simplified_shapes(traced: Traced, classes: Sequence[str], size: tuple[int, int]) -> list[dict[str, Any]]:
    """Return the shapes of simplified regions, those that enclose others first."""
    names = dict(enumerate(classes)) | {voc.VOID: LABELME_IGNORE}
    background = voc.background(classes)
    found: list[tuple[int, dict[str, Any]]] = []
    for label, part in ((label, part) for label, parts in traced.items() for part in parts):
        at_edge = (part.outline.min(0) == 0).any() or (part.outline.max(0) == size[::-1]).any()
        if label != background or not at_edge:
            filled = enclosed(part.outline)
            found.append((filled, _written(names[label], _inside(part.outline))))
    return [shape for _, shape in sorted(found, key=lambda row: -row[0])]


def _inside(ring: Ring) -> NDArray[np.float64]:
    """Return the pixels inside the corners of a ring, since LabelMe fills the pixels of an outline too."""
    along = np.roll(ring, -1, axis=0) - ring
    along = along / np.linalg.norm(along, axis=1, keepdims=True)
    across = along + np.roll(along, 1, axis=0)
    inward = np.sign(np.stack([-across[:, 1], across[:, 0]], axis=1).round(9))
    return np.floor(ring - 0.5 + inward / 2)


def _shape(name: str, region: Region) -> dict[str, Any]:
    points = border(region.pixels)
    height, width = region.pixels.shape
    is_exact = len(points) >= 3 and _same(regions.draw("polygon", points, height, width), region.pixels)
    corner = np.array((region.left, region.top), dtype=np.float64)
    if is_exact:
        return _written(name, points + corner)
    png = draw.encoded(Image.fromarray(region.pixels.astype(np.uint8) * 255))
    mask = {"mask": base64.b64encode(png).decode(), "shape_type": "mask"}
    return _written(name, np.stack([corner, corner + (width - 1, height - 1)])) | mask


def _written(name: str, points: NDArray[np.float64]) -> dict[str, Any]:
    return {
        "label": name, "points": points.tolist(), "group_id": None, "description": "", "shape_type": "polygon", "flags": {},
    }  # fmt: skip


def _same(drawn: Region, pixels: Pixels) -> bool:
    whole = np.zeros_like(pixels)
    whole[drawn.box] = drawn.pixels
    return bool((whole == pixels).all())


def border(pixels: Pixels) -> np.ndarray:
    """Walk along the border pixels of a connected region without holes, clockwise; return the corners (N x 2; x, y).

    Moore's neighbor tracing: each step goes to the first pixel of the region, clockwise from ``came``, the direction of a
    pixel outside. It ends when the first step comes again.
    """
    padded = np.pad(pixels, 1)
    x, y, came = int(np.flatnonzero(pixels[0])[0]), 0, 6
    path = [(x, y)]
    first: tuple[int, int, int] | None = None
    while True:
        for turn in range(8):
            direction = (came + 1 + turn) % 8
            dx, dy = NEIGHBORS[direction]
            if padded[y + dy + 1, x + dx + 1]:
                break
        else:
            return np.array(path, dtype=np.float64)  # a single pixel
        if (x, y, direction) == first:
            break
        first = first or (x, y, direction)
        x, y, came = x + dx, y + dy, (direction - 2 - direction % 2) % 8
        path.append((x, y))
    ring = path[:-1]
    steps = np.diff(np.array([ring[-1], *ring, ring[0]]), axis=0)
    corners = (steps[1:] != steps[:-1]).any(1)  # straight lines need no pixels between their ends
    return np.array(ring, dtype=np.float64)[corners]
