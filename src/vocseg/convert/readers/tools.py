"""Read the JSON files of annotation tools that write one for each image: LabelMe and Supervisely.

Classes are background and the labels in alphabetical order, or that of Supervisely's ``meta.json``. Where objects
overlap, the later in the file is on top.
"""

from __future__ import annotations

import base64
import io
import math
import zlib
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from vocseg.convert import regions
from vocseg.convert.finder import ImageFinder, files_below
from vocseg.convert.regions import NotDrawn, Region
from vocseg.convert.source import Item, Lost, Source, class_name, parsing, skipped, source_of_objects, split_of_path
from vocseg.data.image_io import open_image
from vocseg.errors import DataError
from vocseg.utils.files import read_json

NOWHERE = "of images that cannot be found"
LABELME_IGNORE = "__ignore__"
LABELME_LINES = ("point", "points", "line", "linestrip")
SUPERVISELY_AREAS = ("bitmap", "alpha_mask", "polygon", "rectangle")


def find_labelme(root: Path, images: Path | None = None) -> Source:
    """Read the LabelMe files below ``root`` (github.com/wkentaro/labelme), one JSON for each image.

    Images are beside them, in ``images``, or inside the files. The label ``__ignore__`` is void, as in LabelMe's exports.
    """
    finder = ImageFinder(images or root)
    missing, items, lost, foreign = [], [], [], []
    for file in files_below(root, (".json",)):
        content = read_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            foreign.append(file.name)
            continue
        shapes = content["shapes"]
        with parsing(f"{file} as a LabelMe file", "a shape without label or points"):
            names = [class_name(shape["label"]) for shape in shapes if len(shape["points"]) >= 0]
        image = finder.find(str(content.get("imagePath") or ""), file) or finder.find(file.stem, file)
        if image is None and not content.get("imageData"):
            missing.append(file)
            lost += [Lost(name if name != LABELME_IGNORE else None, "object", NOWHERE, file.name) for name in names]
            continue
        with parsing(f"{file} as a LabelMe file"):
            is_old = image and content.get("imageHeight") is content.get("imageWidth") is None
            size = None if is_old else (int(content["imageHeight"]), int(content["imageWidth"]))
        objects = [(None if name == LABELME_IGNORE else name, shape) for name, shape in zip(names, shapes, strict=True)]
        split, embedded = split_of_path(file.relative_to(root).parent), None if image else partial(_embedded, file)
        items.append(Item(image or file, file, objects, size, split, embedded, named_by=file))
    if not items:
        example = f" (such as {missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no LabelMe file below {root} has its image{example}")
    notes = skipped(missing, "file", "without an image") + skipped(foreign, "JSON file", "that is not LabelMe's")
    return source_of_objects("labelme", root, root, items, (), _labelme_region, notes, lost=lost)


def _embedded(file: Path) -> bytes:
    with parsing(f"the image inside {file}"):
        return base64.b64decode(read_json(file)["imageData"])


def _labelme_region(shape: dict[str, Any], height: int, width: int) -> Region:
    """Return the region of a shape, whose corners are pixels: LabelMe draws its own masks with Pillow, outline included."""
    kind = shape.get("shape_type") or "polygon"
    if kind in LABELME_LINES:
        raise NotDrawn("shape", "that enclose no pixels (points or lines)")
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    regions.check(points, "shape")
    if kind == "mask":  # a PNG of the shape's box, whose upper left corner is the first point
        stamp = np.asarray(_decode(shape["mask"], height, width).convert("L")) > 0
        (left, top), *ends = points.round().astype(int).tolist()
        if ends and (points % 1 == 0).all():
            stamp = stamp[: ends[0][1] - top + 1, : ends[0][0] - left + 1]
        return regions.place(stamp, left, top, height, width)
    if kind in ("circle", "rectangle") and len(points) == 2:
        if kind == "circle":
            radius = math.dist(*points)
            points = np.array([points[0] - radius, points[0] + radius])
        return regions.draw("ellipse" if kind == "circle" else kind, [points.min(0), points.max(0)], height, width)
    if kind in ("polygon", "rectangle", "oriented_rectangle"):
        return regions.draw("polygon", regions.corners_of([points], "shape")[0], height, width)
    raise NotDrawn("shape", f"of the unknown type '{kind}'" if kind != "circle" else "with other than two points")


def _decode(png: str, height: int, width: int, compressed: bool = False) -> Image.Image:
    """Open an image that an annotation holds in base 64; it must not be larger than the annotated one."""
    data = base64.b64decode(png)
    if compressed:
        inflater, limit = zlib.decompressobj(), 5 * height * width + (1 << 16)
        data = inflater.decompress(data, limit)
        if inflater.unconsumed_tail:
            raise DataError(f"its bitmap inflates to more than {limit} bytes, too many for {height}x{width} pixels")
    with open_image(io.BytesIO(data), "bitmap", decode=False) as image:
        if image.width > width or image.height > height:
            raise DataError(f"its bitmap is {image.height}x{image.width}, larger than the image of {height}x{width}")
        image.load()
    return image


def find_supervisely(root: Path, images: Path | None = None) -> Source:
    """Read a Supervisely project (docs.supervisely.com): ``meta.json``, ``ann/<image>.json`` and ``img/<image>``."""
    meta = read_json(root / "meta.json")
    try:
        shapes = {class_name(entry["title"]): entry.get("shape") for entry in meta["classes"]}
        by_id = {entry["id"]: class_name(entry["title"]) for entry in meta["classes"] if "id" in entry}
    except (DataError, AttributeError, LookupError, TypeError) as error:
        raise DataError(f"{root / 'meta.json'} is not Supervisely's: it has no list 'classes' with titles") from error
    finder = ImageFinder(images or root)
    missing, items, lost = [], [], []
    for file in (path for path in files_below(root, (".json",)) if path.parent.name == "ann"):
        content = read_json(file)
        figures = content.get("objects") if isinstance(content, dict) else None
        if not isinstance(figures, list) or not all(isinstance(figure, dict) for figure in figures):
            raise DataError(f"{file} is not Supervisely's: it has no list 'objects'")
        names = []
        for figure in figures:
            with parsing(f"{file} as a Supervisely file", "an object without a class"):
                names.append(class_name(figure.get("classTitle") or by_id.get(figure.get("classId"))))
            if names[-1] not in shapes:
                raise DataError(f"{file} has an object of class '{names[-1]}', which is not in meta.json")
            # Older files name the type in meta.json only.
            kind = "bitmap" if figure.get("bitmap") else shapes[names[-1]]
            figure.setdefault("geometryType", kind if kind and kind != "any" else "polygon")
        # Older files are called without the image's suffix.
        image = finder.find(f"img/{file.stem}", file)
        if image is None:
            missing.append(file)
            lost += [Lost(name, "object", NOWHERE, file.name) for name in names]
            continue
        with parsing(f"{file} as a Supervisely file"):
            size = int(content["size"]["height"]), int(content["size"]["width"])
        items.append(Item(image, file, [*zip(names, figures, strict=True)], size, split_of_path(file.relative_to(root).parent)))
    if not items:
        raise DataError(f"no ann/*.json below {root} has its image{f' (such as {missing[0]})' if missing else ''}")
    notes = skipped(missing, "annotation", "without an image")
    return source_of_objects("supervisely", root, images or root, items, [*shapes], _supervisely_region, notes, lost=lost)


def _supervisely_region(figure: dict[str, Any], height: int, width: int) -> Region:
    """Return the region of a figure, whose corners are pixels, as the SDK's Polygon draws."""
    kind = figure["geometryType"]
    if kind not in SUPERVISELY_AREAS:
        raise NotDrawn("object", "of other types than bitmap, polygon and rectangle", example=str(kind))
    if kind in ("bitmap", "alpha_mask"):
        left, top = (int(part) for part in figure["bitmap"]["origin"])
        image = _decode(figure["bitmap"]["data"], height, width, compressed=True)
        # The format's own reader takes the alpha channel; some writers store plain gray instead.
        stamp = np.asarray(image.convert("RGBA"))[..., 3] > 0
        if stamp.all() and "transparency" not in image.info and image.mode in ("1", "L", "P"):
            stamp = np.asarray(image) > 0
        return regions.place(stamp, left, top, height, width)
    exterior = figure["points"]["exterior"]
    if kind == "rectangle":
        points = np.asarray(exterior, dtype=np.float64).reshape(-1, 2)
        regions.check(points)
        return regions.draw("rectangle", [points.min(0), points.max(0)], height, width)
    outline, *holes = regions.corners_of([exterior, *(hole for hole in figure["points"].get("interior") or [] if hole)])
    if len(outline) < 3:
        raise NotDrawn("object", "with fewer than three corners")
    return regions.draw("polygon", outline, height, width, [np.repeat(hole, 2, axis=0) for hole in holes])
