"""Read Supervisely's projects: ``meta.json``, and folders with ``ann/<image>.json`` and ``img/<image>``."""

from __future__ import annotations

import base64
import io
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw

from vocseg.convert import regions
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Mask,
    Source,
    object_classes,
    parsing,
    read_json,
    skipped,
    split_of_path,
)  # fmt: skip
from vocseg.data.image_io import open_image
from vocseg.errors import DataError

AREAS = ("bitmap", "polygon", "rectangle")


def find_supervisely(root: Path, images: Path | None = None) -> Source:
    """Read a project folder (format: docs.supervisely.com).

    Classes are background and those of ``meta.json`` in its order; where objects overlap, the later in the file is on
    top. Data sets of the project called train, val or test are the splits. Raises DataError, naming the file.
    """
    meta = read_json(root / "meta.json")
    try:
        names, labels = object_classes([str(entry["title"]) for entry in meta["classes"]], root / "meta.json")
    except (KeyError, TypeError) as error:
        raise DataError(f"{root / 'meta.json'} is not Supervisely's: it has no list 'classes' with titles") from error
    finder = ImageFinder(images or root)
    missing, items, other = [], [], []
    for file in sorted(root.rglob("ann/*.json")):
        image = finder.find(f"img/{file.stem}", file)
        if image is None:
            missing.append(file)
            continue
        content = read_json(file)
        objects = content.get("objects") if isinstance(content, dict) else None
        if not isinstance(objects, list) or not all(isinstance(one, dict) for one in objects):
            raise DataError(f"{file} is not Supervisely's: it has no list 'objects'")
        unknown = next((one for one in objects if one.get("classTitle") not in labels), None)
        if unknown is not None:
            raise DataError(f"{file} has an object of class '{unknown.get('classTitle')}', which is not in meta.json")
        other += [one.get("geometryType") for one in objects if one.get("geometryType") not in AREAS]
        items.append(Item(image, file, partial(_mask, file, labels), split_of_path(file.relative_to(root).parent)))
    if not items:
        raise DataError(f"no ann/*.json below {root} has its image{f' (such as {missing[0]})' if missing else ''}")
    notes = skipped(other, "object", "of other types than bitmap, polygon and rectangle")
    notes += skipped(missing, "annotation", "without an image")
    return Source("supervisely", str(root), images or root, items, names, named=True, objects=True, notes=notes)


def _mask(file: Path, labels: dict[str, int]) -> Mask:
    content = read_json(file)
    with parsing(f"{file} as a Supervisely file"):
        height, width = int(content["size"]["height"]), int(content["size"]["width"])
        areas = [figure for figure in content["objects"] if figure.get("geometryType") in AREAS]
        return regions.paint(height, width, [(_region(one, height, width), labels[one["classTitle"]]) for one in areas])


def _region(figure: dict[str, Any], height: int, width: int) -> regions.Region:
    if figure["geometryType"] == "bitmap":
        left, top = (int(part) for part in figure["bitmap"]["origin"])
        with open_image(io.BytesIO(zlib.decompress(base64.b64decode(figure["bitmap"]["data"])))) as image:
            # The format's own reader takes the alpha channel; some writers store plain gray instead.
            stamp = np.asarray(image.convert("RGBA"))[..., 3] > 0
            if stamp.all() and "transparency" not in image.info and image.mode in ("1", "L", "P"):
                stamp = np.asarray(image) > 0
        return regions.place(stamp, left, top, height, width)
    # Corners are pixels. Pixels on an outline are filled and those on a hole's are cleared, as the SDK's Polygon draws.
    canvas = Image.new("1", (width, height))
    pen = ImageDraw.Draw(canvas)
    outline = [(float(x), float(y)) for x, y in figure["points"]["exterior"]]
    if figure["geometryType"] == "rectangle":
        pen.rectangle(outline, fill=1)
    elif len(outline) > 2:
        pen.polygon(outline, fill=1, outline=1)
        for hole in figure["points"].get("interior", []):
            pen.polygon([(float(x), float(y)) for x, y in hole], fill=0, outline=0)
    return np.asarray(canvas)
