"""What the service answers: masks, JSON, and the formats of ``vocseg predict``."""

from __future__ import annotations

import base64
import json
import tempfile
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

import numpy as np
from starlette.exceptions import HTTPException

from vocseg import draw
from vocseg.app.serve.service import Stopwatch
from vocseg.convert.rle import encode
from vocseg.inference.archives import safe_name
from vocseg.inference.formats import SINKS
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item
from vocseg.voc import OPACITY

Format = Literal[
    "mask", "json", "overlay", "polygons", "cutout", "probabilities", "areas", "coco", "labelme", "geojson", "cvat", "label-studio"
]  # fmt: skip
Polygons = Literal["polygons", "rle", "none"]
JSON, PNG = "application/json", "image/png"
MEDIA_TYPES: dict[str, str] = {
    "mask": PNG, "json": JSON, "overlay": "image/jpeg", "polygons": JSON, "cutout": PNG,
    "probabilities": "application/octet-stream", "areas": "text/csv; charset=utf-8", "coco": JSON, "labelme": JSON,
    "geojson": "application/geo+json", "cvat": "application/xml", "label-studio": JSON,
}  # fmt: skip
"""Media type of each format."""
PROBABILITY_BYTES = 256 << 20
"""Most memory that the probabilities of an image may take, float32."""
assert set(MEDIA_TYPES) == set(get_args(Format))


class Answer(NamedTuple):
    """A finished answer for an image of ``size`` (height, width); ``times``: ms of each stage."""

    content: bytes
    media_type: str
    size: tuple[int, int]
    times: dict[str, float]


class Wanted(NamedTuple):
    """What a request wants. ``name``: of the image in files that name it. ``polygons`` and ``mask`` are for JSON."""

    format: Format = "mask"
    polygons: Polygons = "polygons"
    mask: bool = False
    opacity: float = OPACITY
    name: str = "image"
    request_id: str = ""

    def render(self, result: Segmentation, watch: Stopwatch) -> Answer:
        """Make the answer of a result; called in a worker's thread."""
        if self.format == "json":
            content = _dumps(self.values(result, watch))
        elif self.format == "mask":
            content = mask_png(result)
        elif self.format == "overlay":
            content = draw.encoded(result.overlay(self.opacity), "JPEG", quality=92)
        elif self.format == "polygons":
            height, width = result.mask.shape
            content = _dumps({"width": width, "height": height, "polygons": result.polygons()})
        else:
            content = self._file(result)
        if "encode" not in watch.ms:
            watch.lap("encode")
        return Answer(content, MEDIA_TYPES[self.format], (result.mask.shape[0], result.mask.shape[1]), watch.ms)

    def values(self, result: Segmentation, watch: Stopwatch) -> dict[str, Any]:
        """Return the JSON of a result."""
        height, width = result.mask.shape
        areas = result.areas()
        answer: dict[str, Any] = {
            "id": self.request_id, "size": [height, width],
            "classes": [_found(result, name, share) for name, share in areas.items()], "areas": areas,
        }  # fmt: skip
        if self.polygons == "polygons":
            answer["polygons"] = [_with_box(row) for row in result.polygons()]
        elif self.polygons == "rle":
            answer["rle"] = [_run_lengths(result, name) for name in areas]
        if self.mask:
            answer["mask"] = base64.b64encode(mask_png(result)).decode()
        watch.lap("encode")
        notes = list(result.notes)
        if result.shrunk:
            notes.append("the network saw the image at {}x{} pixels".format(*(result.network_size or ())[::-1]))
        return answer | {"time_ms": dict(watch.ms), "notes": notes}

    def _file(self, result: Segmentation) -> bytes:
        """Return the file that ``vocseg predict`` writes."""
        needed = 4 * len(result.classes) * result.mask.numel()
        if self.format == "probabilities" and needed > PROBABILITY_BYTES:
            limit = PROBABILITY_BYTES // (4 * len(result.classes)) / 1e6
            raise HTTPException(413, f"probabilities are for images of at most {limit:.1f} megapixels; send a smaller image")
        name = Path(safe_name(self.name).name or "image")
        # A member of an archive, so that no file of this machine is looked for.
        item = Item(name, name, lambda: None, member=0, output=Path("image"))
        with tempfile.TemporaryDirectory(prefix="vocseg-serve-") as folder:
            sink = SINKS[self.format](Path(folder), result.info, self.opacity)
            try:
                sink.write(result, item)
            finally:
                sink.close()
            return (Path(folder) / sink.shared if sink.shared else sink.file(item)).read_bytes()


def mask_png(result: Segmentation) -> bytes:
    """Return a mask as a palette PNG."""
    return draw.encoded(draw.palette_image(result.mask, result.info.palette))


def hexadecimal(color: tuple[int, int, int]) -> str:
    """Format a color as pages do.

    >>> hexadecimal((128, 0, 255))
    '#8000ff'
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def choose_format(accept: str) -> Format:
    """Choose the answer's format by the header Accept: the mask as PNG, or JSON. Raises 406 for other types.

    >>> choose_format("text/html,*/*;q=0.8"), choose_format("application/json"), choose_format("image/png;q=0.1,application/*")
    ('mask', 'json', 'json')
    """
    best: dict[Format, tuple[int, float]] = {"mask": (-1, 0.0), "json": (-1, 0.0)}
    kinds: dict[Format, tuple[str, ...]] = {"mask": ("*/*", "image/*", PNG), "json": ("*/*", "application/*", JSON)}
    for part in (accept or "*/*").split(",")[:32]:
        kind, *options = (word.strip().lower() for word in part.split(";"))
        weight = next((_weight(word[2:]) for word in options if word.startswith("q=")), 1.0)
        for name, known in kinds.items():
            if kind in known:
                best[name] = max(best[name], (known.index(kind), weight))
    name = max(best, key=lambda name: best[name][::-1])  # of two that are as welcome, the one that is named
    if not best[name][1]:
        raise HTTPException(406, "Accept names neither image/png nor application/json; ?format= has more")
    return name


def _weight(text: str) -> float:
    try:
        return min(1.0, max(0.0, float(text)))
    except ValueError:
        return 0.0


def _dumps(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _found(result: Segmentation, name: str, share: float) -> dict[str, Any]:
    label = result.classes.index(name)
    pixels = round(share * result.mask.numel())
    return {"id": label, "name": name, "color": hexadecimal(result.info.palette[label]), "pixels": pixels, "share": share}


def _with_box(row: dict[str, Any]) -> dict[str, Any]:
    ring = np.array(row["polygon"])
    (left, top), (right, bottom) = ring.min(0).tolist(), ring.max(0).tolist()
    return row | {"bbox": [left, top, right - left, bottom - top]}


def _run_lengths(result: Segmentation, name: str) -> dict[str, Any]:
    label = result.classes.index(name)
    region = (result.mask == label).numpy()
    return {"class": name, "id": label, "area": int(region.sum()), **encode(region)}
