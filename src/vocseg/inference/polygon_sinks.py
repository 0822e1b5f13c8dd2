"""Polygons in the formats of other tools. Filled, they give the mask's pixels unless simplified; holes are kept or cut open."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any
from xml.sax.saxutils import quoteattr

import numpy as np
from PIL import Image

from vocseg import draw, voc
from vocseg.convert.labelme_writer import labelme_content
from vocseg.convert.outlines import Part, Ring, cut_open
from vocseg.errors import OutputError
from vocseg.inference.georeference import Georeference, georeference
from vocseg.inference.polygons import Outlined, Polygons
from vocseg.inference.result import Segmentation
from vocseg.inference.sinks import CollectingSink, Sink
from vocseg.inference.sources import Item
from vocseg.inference.tiles import TiledSegmentation
from vocseg.models import ModelInfo
from vocseg.utils.files import MARK, refuse_to_replace, replacing, write_json, write_text
from vocseg.utils.text import visible


class PolygonSink(Sink):
    """A sink of polygons; all of a call share ``polygons``."""

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        super().__init__(out, info, opacity)
        self.polygons = Polygons(info)

    def rings(self, result: Outlined) -> Iterator[tuple[int, Part, Ring]]:
        """Yield the class id of each region, the region, and one ring (N x 2), in which holes are cut open."""
        for label, part in self.polygons.of(result):
            yield label, part, cut_open(part.outline, part.holes)


class CollectingPolygonSink(PolygonSink, CollectingSink):
    """A sink of one file with the polygons of all images."""


def write_classes(out: Path, info: ModelInfo) -> None:
    """Write ``classes.txt``, with which `vocseg data convert` gives classes the ids of the model."""
    path, text = out / voc.CLASSES_FILE, "".join(f"{name}\n" for name in info.classes)
    if path.exists() and path.read_bytes() != text.encode():
        raise OutputError(f"cannot write {path}: it exists with other classes; choose another folder, or delete it")
    write_text(path, text)


class CocoSink(CollectingPolygonSink):
    """``coco.json``: an annotation for each connected region of a class."""

    shared = "coco.json"

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        super().__init__(out, info, opacity)
        background = voc.background(info.classes)
        named = {label: name for label, name in enumerate(info.classes) if label != background}
        self._ids = {label: label + int(0 in named) for label in named}
        categories = [{"id": self._ids[label], "name": name} for label, name in named.items()]
        head = {"info": {"description": MARK.decode()}, "categories": categories}
        self.head = json.dumps(head, ensure_ascii=False)[:-1] + ', "annotations": ['
        self._images: list[dict[str, Any]] = []

    def entry(self, result: Outlined, item: Item) -> Any:
        height, width = result.size
        regions = []
        for label, part, ring in self.rings(result):
            (left, top), (right, bottom) = ring.min(0).tolist(), ring.max(0).tolist()
            regions.append({
                "category_id": self._ids[label], "iscrowd": 0, "area": part.area,
                "bbox": [left, top, right - left, bottom - top], "segmentation": [ring.reshape(-1).tolist()],
            })  # fmt: skip
        return {"file_name": item.relative.as_posix(), "height": height, "width": width}, regions

    def put(self, entry: Any) -> None:
        image, regions = entry
        self._images.append({"id": len(self._images) + 1} | image)
        for region in regions:
            self.count += 1
            one = {"id": self.count, "image_id": len(self._images)} | region
            self.add(("\n" if self.count == 1 else ",\n") + json.dumps(one))

    def close(self) -> None:
        self.tail = '\n], "images": ' + json.dumps(self._images, ensure_ascii=False) + "}\n"
        super().close()


class LabelmeSink(PolygonSink):
    """``labelme/NAME.json``: LabelMe's file, which names the image relative to itself."""

    suffix, folder = ".json", "labelme"

    def write(self, result: Segmentation, item: Item) -> None:
        path = self.file(item)
        image = item.relative.as_posix()
        if item.member is None and item.path.is_file():
            image = Path(_relative(item.path, path.parent)).as_posix()
        regions = self.polygons.regions(result) if self.polygons.simplify else None
        write_json(path, labelme_content(result.mask.numpy(), result.classes, image, regions))


class YoloSink(PolygonSink):
    """``yolo/``: a data set of Ultralytics' segmentation format, ``data.yaml``, ``images`` and ``labels/NAME.txt``."""

    suffix, folder, owner = ".txt", "yolo/labels", "yolo/data.yaml"

    def __init__(self, out: Path, info: ModelInfo, opacity: float = voc.OPACITY) -> None:
        super().__init__(out, info, opacity)
        background = voc.background(info.classes)
        named = [(label, name) for label, name in enumerate(info.classes) if label != background]
        self._numbers = {label: number for number, (label, _) in enumerate(named)}
        rows = [f"  {number}: {json.dumps(name, ensure_ascii=False)}" for number, (_, name) in enumerate(named)]
        self._yaml = "\n".join([f"# {MARK.decode()}", "train: images", "names:", *rows, ""])
        self._started = False

    def write(self, result: Segmentation, item: Item) -> None:
        folder = self.out / "yolo"
        if not self._started:
            others = folder.exists() and any(not path.name.startswith(".") for path in folder.iterdir())  # of now, of shards
            if others and not (folder / "data.yaml").is_file():
                raise OutputError(f"cannot write {folder}: it is not empty, and vocseg did not write it; choose another folder")
            write_text(folder / "data.yaml", self._yaml)
            self._started = True
        size = np.array(result.mask.shape[::-1], dtype=np.float64)
        lines = []
        for label, _, ring in self.rings(result):
            corners = " ".join(f"{part:.9g}" for part in (ring / size).reshape(-1))
            lines.append(f"{self._numbers[label]} {corners}\n")
        image = folder / "images" / f"{item.output}{item.path.suffix if item.read is None else '.png'}"
        image.parent.mkdir(parents=True, exist_ok=True)
        if item.read is None:
            shutil.copyfile(item.path, image)
        else:
            draw.save_image(Image.fromarray(result.image.permute(1, 2, 0).numpy()), image)
        write_text(self.file(item), "".join(lines))


class GeoJsonSink(PolygonSink):
    """``NAME.geojson``: polygons with holes, in the coordinates of a GeoTIFF, or in pixels, y down."""

    suffix = ".geojson"

    def write(self, result: Segmentation, item: Item) -> None:
        self._write(result, item, georeference(item.path) if item.member is None and item.path.is_file() else None)

    def write_tiled(self, result: TiledSegmentation, item: Item) -> None:
        self._write(result, item, result.place)

    def _write(self, result: Outlined, item: Item, place: Georeference | None) -> None:
        crs = {} if place is None or place.crs is None else {"crs": {"type": "name", "properties": {"name": place.crs}}}
        head = json.dumps({"type": "FeatureCollection", **crs})[:-1] + ', "features": ['
        path = self.file(item)
        refuse_to_replace([path])
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            file.write(head)
            for number, (label, part) in enumerate(self.polygons.of(result)):
                file.write((",\n" if number else "\n") + json.dumps(self._feature(label, part, place), ensure_ascii=False))
            file.write("\n]}\n")

    def _feature(self, label: int, part: Part, place: Georeference | None) -> dict[str, Any]:
        rings = [np.concatenate((ring, ring[:1])) for ring in part.rings]
        return {
            "type": "Feature", "properties": {"class": self.info.classes[label], "id": label, "pixels": part.area},
            "geometry": {
                "type": "Polygon",
                "coordinates": [(ring if place is None else place.apply(ring.astype(np.float64))).tolist() for ring in rings],
            },
        }  # fmt: skip


class CvatSink(CollectingPolygonSink):
    """``cvat.xml``: CVAT for images 1.1."""

    shared = "cvat.xml"
    head = f'<?xml version="1.0" encoding="utf-8"?>\n<!-- {MARK.decode()} -->\n<annotations>\n<version>1.1</version>\n'
    tail = "</annotations>\n"

    def entry(self, result: Outlined, item: Item) -> Any:
        polygons = [(label, ";".join(f"{x},{y}" for x, y in ring.tolist())) for label, _, ring in self.rings(result)]
        return item.relative.as_posix(), *result.size, polygons

    def put(self, entry: Any) -> None:
        name, height, width, polygons = entry
        self.add(f'<image id="{self.count}" name={quoteattr(visible(name))} width="{width}" height="{height}">\n')
        for label, points in polygons:
            named = quoteattr(self.info.classes[label])
            self.add(f'<polygon label={named} source="auto" occluded="0" points="{points}" z_order="0"></polygon>\n')
        self.add("</image>\n")
        self.count += 1


class LabelStudioSink(CollectingPolygonSink):
    """``label-studio.json``: tasks with polygons, in percent of the image's width and height."""

    shared = "label-studio.json"
    head, tail = "[", "\n]\n"

    def entry(self, result: Outlined, item: Item) -> Any:
        regions = label_studio_regions(self.polygons.of(result), result.size, dict(enumerate(self.info.classes)))
        return {
            "meta": {"source": MARK.decode()}, "data": {"image": item.relative.as_posix()}, "annotations": [{"result": regions}],
        }  # fmt: skip

    def put(self, entry: Any) -> None:
        self.add(("\n" if self.count == 0 else ",\n") + json.dumps(entry, ensure_ascii=False))
        self.count += 1


def label_studio_regions(
    parts: Iterable[tuple[int, Part]], size: tuple[int, int], labels: Mapping[int, str], name: str = "label", to_name: str = "image"
) -> list[dict[str, Any]]:  # fmt: skip
    """Return Label Studio's results for the regions (class id and part) of an image of ``size`` (height, width).

    ``labels``: of class ids; classes without one are left out. ``name``, ``to_name``: of the project's tags.
    """
    height, width = size
    regions: list[dict[str, Any]] = []
    for label, part in parts:
        if label in labels:
            points = (cut_open(part.outline, part.holes) * 100 / (width, height)).tolist()
            regions.append({
                "id": f"r{len(regions)}", "type": "polygonlabels", "from_name": name, "to_name": to_name, "image_rotation": 0,
                "original_width": width, "original_height": height,
                "value": {"points": points, "closed": True, "polygonlabels": [labels[label]]},
            })  # fmt: skip
    return regions


def _relative(path: Path, folder: Path) -> str:
    try:
        return os.path.relpath(path.resolve(), folder.resolve())
    except ValueError:  # another drive
        return str(path.resolve())
