"""The formats that ``predict`` writes, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vocseg.convert.simplify import check_tolerance
from vocseg.errors import SettingError
from vocseg.inference import polygon_sinks, sinks, video_sink
from vocseg.inference.polygon_sinks import PolygonSink
from vocseg.inference.polygons import Polygons
from vocseg.inference.sinks import Sink
from vocseg.models import ModelInfo

SINKS: dict[str, type[Sink]] = {
    "mask": sinks.MaskSink, "mask-video": video_sink.MaskVideoSink, "overlay": video_sink.OverlaySink, "cutout": sinks.CutoutSink,
    "probabilities": sinks.ProbabilitySink, "areas": sinks.AreaSink,
    "coco": polygon_sinks.CocoSink, "labelme": polygon_sinks.LabelmeSink,
    "yolo": polygon_sinks.YoloSink, "geojson": polygon_sinks.GeoJsonSink, "cvat": polygon_sinks.CvatSink,
    "label-studio": polygon_sinks.LabelStudioSink,
}  # fmt: skip
NAMES_CLASSES = (polygon_sinks.CocoSink, polygon_sinks.LabelmeSink, polygon_sinks.YoloSink, polygon_sinks.LabelStudioSink)
"""Formats that `vocseg data convert` reads: with them comes a list of the classes in the order of their ids."""


def check_simplify(simplify: float, kinds: Sequence[type[Sink]]) -> None:
    """Raise SettingError for a distance that is none, or without polygons to simplify."""
    check_tolerance(simplify)
    if simplify and not any(issubclass(kind, PolygonSink) for kind in kinds):
        names = ", ".join(name for name, kind in SINKS.items() if issubclass(kind, PolygonSink))
        raise SettingError(f"simplify (--simplify) {simplify:g} needs a format of polygons (--format): {names}")


def open_sinks(kinds: Sequence[type[Sink]], out: Path, info: ModelInfo, opacity: float, polygons: Polygons) -> list[Sink]:
    """Make the sinks that write below the folder ``out``; those of polygons share ``polygons``."""
    if any(issubclass(kind, NAMES_CLASSES) for kind in kinds):
        polygon_sinks.write_classes(out, info)
    opened = [kind(out, info, opacity) for kind in kinds]
    for sink in opened:
        if isinstance(sink, PolygonSink):
            sink.polygons = polygons
    return opened
