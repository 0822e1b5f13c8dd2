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
from PIL import Image, ImageDraw

from vocseg.convert import regions
from vocseg.convert.source import (
    ImageFinder,
    Item,
    Source,
    files_below,
    json_files,
    parsing,
    read_json,
    skipped,
    source_of_objects,
    split_of_path,
)
from vocseg.data.image_io import open_image
from vocseg.errors import DataError

LABELME_AREAS = ("polygon", "rectangle", "oriented_rectangle", "circle", "mask", None)
"""Types of shapes that enclose pixels; points and lines do not."""
SUPERVISELY_AREAS = ("bitmap", "polygon", "rectangle")
LABEL_STUDIO_LABELS = ("brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels", "labels")


def find_labelme(root: Path, images: Path | None = None) -> Source:
    """Read the LabelMe files below ``root`` (github.com/wkentaro/labelme), one JSON for each image.

    Images are beside them, in ``images``, or inside the files.
    """
    finder = ImageFinder(images or root)
    other, missing, items = 0, [], []
    for file in files_below(root, (".json",)):
        content = read_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("shapes"), list):
            continue
        image = finder.find(str(content.get("imagePath") or ""), file) or finder.find(file.stem + ".jpg", file)
        if image is None and not content.get("imageData"):
            missing.append(file)
            continue
        shapes = content["shapes"]
        for shape in shapes:
            if not isinstance(shape, dict) or not isinstance(shape.get("label"), str) or not isinstance(shape.get("points"), list):
                raise DataError(f"{file} has a shape without label or points")
        areas = [(shape["label"], shape) for shape in shapes if shape.get("shape_type") in LABELME_AREAS]
        other += len(shapes) - len(areas)
        with parsing(f"{file} as a LabelMe file"):
            size = int(content["imageHeight"]), int(content["imageWidth"])
        split, embedded = split_of_path(file.relative_to(root).parent), None if image else partial(_embedded, file)
        items.append(Item(image or file, file, areas, size, split, embedded, named_by=file))
    if not items:
        example = f" (such as {missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no LabelMe file below {root} has its image{example}")
    notes = skipped(other, "shape", "that enclose no pixels (points or lines)") + skipped(missing, "file", "without an image")
    return source_of_objects("labelme", root, root, items, (), _labelme_region, notes)


def _embedded(file: Path) -> bytes:
    with parsing(f"the image inside {file}"):
        return base64.b64decode(read_json(file)["imageData"])


def _labelme_region(shape: dict[str, Any], height: int, width: int) -> regions.Region:
    points = np.asarray(shape["points"], dtype=np.float64).reshape(-1, 2)
    kind = shape.get("shape_type")
    if kind == "circle" and len(points) == 2:
        radius = math.dist(points[0], points[1])
        return regions.ellipse((points[0][0], points[0][1]), (radius, radius), height, width)
    if kind == "rectangle" and len(points) == 2:
        (left, top), (right, bottom) = points.min(0), points.max(0)
        return regions.fill([(left, top), (right, top), (right, bottom), (left, bottom)], height, width)
    if kind == "mask":  # a PNG of the shape's box, whose upper left corner is the first point
        with open_image(io.BytesIO(base64.b64decode(shape["mask"]))) as image:
            stamp = np.asarray(image.convert("L")) > 0
        return regions.place(stamp, round(float(points[0][0])), round(float(points[0][1])), height, width)
    return regions.fill(points, height, width)


def find_supervisely(root: Path, images: Path | None = None) -> Source:
    """Read a Supervisely project (docs.supervisely.com): ``meta.json``, ``ann/<image>.json`` and ``img/<image>``."""
    meta = read_json(root / "meta.json")
    try:
        titles = [str(entry["title"]) for entry in meta["classes"]]
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
        figures = content.get("objects") if isinstance(content, dict) else None
        if not isinstance(figures, list) or not all(isinstance(figure, dict) for figure in figures):
            raise DataError(f"{file} is not Supervisely's: it has no list 'objects'")
        unknown = next((figure for figure in figures if figure.get("classTitle") not in titles), None)
        if unknown is not None:
            raise DataError(f"{file} has an object of class '{unknown.get('classTitle')}', which is not in meta.json")
        areas = [(figure["classTitle"], figure) for figure in figures if figure.get("geometryType") in SUPERVISELY_AREAS]
        other += [figure.get("geometryType") for figure in figures if figure.get("geometryType") not in SUPERVISELY_AREAS]
        with parsing(f"{file} as a Supervisely file"):
            size = int(content["size"]["height"]), int(content["size"]["width"])
        items.append(Item(image, file, areas, size, split_of_path(file.relative_to(root).parent)))
    if not items:
        raise DataError(f"no ann/*.json below {root} has its image{f' (such as {missing[0]})' if missing else ''}")
    notes = skipped(other, "object", "of other types than bitmap, polygon and rectangle")
    notes += skipped(missing, "annotation", "without an image")
    return source_of_objects("supervisely", root, images or root, items, titles, _supervisely_region, notes)


def _supervisely_region(figure: dict[str, Any], height: int, width: int) -> regions.Region:
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


def find_label_studio(path: Path, images: Path | None = None) -> Source:
    """Read a JSON file exported by Label Studio, or the first one below a folder.

    Of a task's annotations the ground truth is used, or else the first that was not canceled.
    """
    file = next(iter(json_files(path, "label-studio")), None)
    if file is None:
        raise DataError(f"no Label Studio export (JSON list of tasks with annotations) below {path}")
    tasks = read_json(file)
    folder = images or file.parent
    finder = ImageFinder(folder)
    missing, unlabeled, items = [], 0, []
    for task in tasks if isinstance(tasks, list) else []:
        results = _results(task, file)
        if results is None:
            unlabeled += 1
            continue
        name = _image_name(task, file)
        # Uploads are renamed to <eight hex digits>-<name>.
        image = finder.find(name) or finder.find(re.sub(r"^[0-9a-f]{8}-", "", Path(name).name))
        if image is None:
            missing.append(name)
            continue
        with parsing(f"{file}, task {task.get('id')}"):
            sizes = {(int(result["original_height"]), int(result["original_width"])) for result in results}
            if len(sizes) > 1:
                raise DataError(f"its regions are of images of different sizes: {sorted(sizes)}")
        items.append(Item(image, file, [(_label(result), result["value"]) for result in results], next(iter(sizes), None)))
    if not items:
        example = f" ({missing[0]}); set --images to their folder" if missing else ""
        raise DataError(f"no annotated task of {file} has its image{example}")
    notes = skipped(missing, "task", "whose image cannot be found") + skipped(unlabeled, "task", "without annotation")
    return source_of_objects("label-studio", file, folder, items, (), _label_studio_region, notes)


def _results(task: Any, file: Path) -> list[dict[str, Any]] | None:
    """Return the regions of a task that have a label and an area, or None if it has no annotation."""
    if not isinstance(task, dict) or not isinstance(task.get("annotations", task.get("completions")), list):
        raise DataError(f"{file} is not Label Studio's JSON export: a task has no list 'annotations'")
    usable = [one for one in task.get("annotations") or task.get("completions") or [] if not one.get("was_canceled")]
    if not usable:
        return None
    results = next((one for one in usable if one.get("ground_truth")), usable[0]).get("result", [])
    areas = [one for one in results if any(key in one.get("value", {}) for key in ("rle", "points", "width", "radiusX"))]
    return [one for one in areas if _label(one) and "original_width" in one]


def _image_name(task: dict[str, Any], file: Path) -> str:
    data = task.get("data") or {}
    values = [value for value in (data.get("image"), *data.values()) if isinstance(value, str)]
    if not values:
        raise DataError(f"{file}: task {task.get('id')} names no image")
    url = urlparse(values[0])
    # Label Studio serves local files as /data/local-files/?d=folder/name.jpg.
    return parse_qs(url.query).get("d", [unquote(url.path)])[0]


def _label(result: dict[str, Any]) -> str:
    value = result["value"]
    return next((str(value[key][0]) for key in LABEL_STUDIO_LABELS if value.get(key)), "")


def _label_studio_region(value: dict[str, Any], height: int, width: int) -> regions.Region:
    """Return a result's region; its coordinates are percentages of the image's width and height."""
    if "rle" in value:
        return regions.decode_label_studio(value["rle"], height, width)
    scale = np.array([width, height]) / 100
    if "points" in value:
        return regions.fill(np.asarray(value["points"], dtype=np.float64).reshape(-1, 2) * scale, height, width)
    x, y = float(value["x"]) * scale[0], float(value["y"]) * scale[1]
    degrees = float(value.get("rotation", 0))
    if "radiusX" in value:
        radii = (float(value["radiusX"]) * scale[0], float(value["radiusY"]) * scale[1])
        return regions.ellipse((x, y), radii, height, width, degrees)
    corners = regions.rectangle(x, y, float(value["width"]) * scale[0], float(value["height"]) * scale[1], degrees)
    return regions.fill(corners, height, width)
