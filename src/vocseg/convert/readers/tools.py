"""Read the JSON files of annotation tools: LabelMe, Supervisely and Label Studio.

Classes are background and the labels in alphabetical order, or that of Supervisely's ``meta.json``. Where objects
overlap, the later in the file is on top.
"""

from __future__ import annotations

import base64
import io
import math
import re
import zlib
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlparse

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vocseg.convert import regions, rle
from vocseg.convert.regions import NotDrawn, Region
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Lost,
    Source,
    class_name,
    files_below,
    json_files,
    parsing,
    skipped,
    source_of_objects,
    split_of_path,
)
from vocseg.data.image_io import open_image
from vocseg.errors import DataError
from vocseg.utils.files import read_json

NOWHERE = "of images that cannot be found"
LABELME_IGNORE = "__ignore__"
LABELME_LINES = ("point", "points", "line", "linestrip")
MAX_PERCENT = 200
"""Coordinates may be outside of the image, but much larger ones are in pixels."""
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
            lost += [Lost(None, "object", NOWHERE, file.name)] * len(shapes)
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
            lost += [Lost(None, "object", NOWHERE, file.name)] * len(figures)
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


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """Read a JSON file exported by Label Studio, or the first one below a folder.

    Of a task's annotations the ground truth is used, or else the first that was not canceled.
    """
    files = json_files(path, "label-studio")
    if not files:
        raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {path}")
    file = files[0]
    tasks = read_json(file)
    folder = images or file.parent
    finder = ImageFinder(folder)
    missing, unlabeled, items, lost = [], 0, [], []
    for number, task in enumerate(tasks if isinstance(tasks, list) else []):
        with parsing(f"{file}, task {task.get('id', number) if isinstance(task, dict) else number}"):
            shapes, unused = _shapes(task)
            if shapes is None:
                unlabeled += 1
                lost += unused
                continue
            name = _image_name(task)
            # Uploads are renamed to <eight hex digits>-<name>.
            image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
            if image is None:
                missing.append(name)
                lost += [Lost(None, "region", NOWHERE, name)] * (len(shapes) + len(unused))
                continue
            sizes = {(int(one["original_height"]), int(one["original_width"])) for _, one in shapes if "original_width" in one}
            if len(sizes) > 1:
                raise DataError(f"its regions are of images of different sizes: {sorted(sizes)}")
        lost += unused
        items.append(Item(image, file, shapes, next(iter(sizes), None)))
    if not items:
        example = f" ({missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no annotated task of {file} has its image{example}")
    notes = skipped([one.name for one in files[1:]], "export", f"beside {file.name}")
    notes += skipped(missing, "task", "whose image cannot be found") + skipped(unlabeled, "task", "without annotation")
    return source_of_objects("label-studio", file, folder, items, (), _label_studio_region, notes, lost=lost)


def _shapes(task: Any) -> tuple[list[tuple[str | None, dict[str, Any]]] | None, list[Lost]]:
    """Return the regions of a task's annotation with their labels, or None if it has none, and what is not used."""
    annotations = task.get("annotations", task.get("completions")) if isinstance(task, dict) else None
    if not isinstance(annotations, list):
        raise DataError("it has no list 'annotations', as Label Studio's JSON export has")
    usable = [one for one in annotations if not one.get("was_canceled")]
    chosen = next((one for one in usable if one.get("ground_truth")), usable[0] if usable else None)
    shapes, lost = [], []
    for annotation in annotations:
        for one in _regions(annotation):
            value, kind = one["value"], one.get("type")
            if annotation is not chosen:
                why = "of canceled annotations" if annotation.get("was_canceled") else "of further annotations of a task"
                lost.append(Lost(None, "region", why, f"task {task.get('id')}"))
            elif any(key in value for key in ("rle", "points", "vertices", "x", "imageDataURL")):
                labels = next((value[key] for key in value if key.endswith("labels") and value[key]), [None])
                lost += [Lost(None, "label", "beyond the first of a region", f"task {task.get('id')}", True)] * (len(labels) - 1)
                shapes.append((None if labels[0] is None else class_name(labels[0]), one))
            else:
                lost.append(Lost(None, "result", f"of type {kind}", f"task {task.get('id')}"))
    return shapes if chosen else None, lost


def _regions(annotation: dict[str, Any]) -> list[dict[str, Any]]:
    """Return an annotation's results; those of one id, such as a shape, its label and its attributes, are one region."""
    merged: dict[Any, dict[str, Any]] = {}
    for number, result in enumerate(annotation.get("result") or []):
        known = merged.setdefault(result.get("id", number), result | {"value": {}})
        known["value"] = known["value"] | result.get("value", {})
    return [*merged.values()]


def _image_name(task: dict[str, Any]) -> str:
    data = task.get("data") or {}
    values = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not values:
        raise DataError("it names no image")
    url = urlparse(values[0])
    # Label Studio serves local files as /data/local-files/?d=folder/name.jpg.
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _label_studio_region(one: dict[str, Any], height: int, width: int) -> Region:
    """Return the pixels of a region; its coordinates are percentages of the image's width and height."""
    value = one["value"]
    if not any(value[key] for key in value if key.endswith("labels")):
        raise NotDrawn("region", "without a label")
    if one.get("image_rotation"):
        raise NotDrawn("region", "of an image that was rotated in the tool")
    if one.get("item_index"):
        raise NotDrawn("region", "of further images of a task")
    if value.get("rle"):
        return rle.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        _check_percent(np.asarray(value["points"], dtype=np.float64))
        return regions.polygons([value["points"]], height, width, scale, "region", "percentages")
    if "x" not in value or not ("radiusX" in value or "height" in value):
        raise NotDrawn("region", f"of type {one.get('type')}")
    sides = ("radiusX", "radiusY") if "radiusX" in value else ("width", "height")
    numbers = np.array([[float(value[key]) for key in keys] for keys in (("x", "y"), sides)])
    _check_percent(numbers)
    (x, y), (across, down) = (numbers * scale).tolist()
    degrees = float(value.get("rotation") or 0)
    regions.check(np.array([degrees]), "region", "")
    if "radiusX" in value:
        return regions.ellipse((x, y), (across, down), height, width, degrees)
    return regions.fill(regions.rectangle(x, y, across, down, degrees), height, width)


def _check_percent(points: NDArray[np.float64]) -> None:
    regions.check(points, "region", "percentages")
    if points.size and points.max() > MAX_PERCENT:
        raise DataError(f"the coordinate {points.max():g} is no percentage of the image's size")
