"""The formats that ``predict`` writes, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vocseg.inference import polygon_sinks, sinks, video_sink
from vocseg.inference.options import Traits
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


def traits_of(kind: type[Sink]) -> Traits:
    """Return what a format is."""
    name = next((name for name, sink in SINKS.items() if sink is kind), kind.__name__)
    can_tile = kind.write_tiled is not Sink.write_tiled
    is_mask, is_polygons, is_overlay = (issubclass(kind, one) for one in (sinks.MaskSink, PolygonSink, sinks.OverlaySink))
    return Traits(name, is_mask, is_polygons, is_overlay, can_tile, kind.shared)


def open_sinks(kinds: Sequence[type[Sink]], out: Path, info: ModelInfo, opacity: float, polygons: Polygons) -> list[Sink]:
    """Make the sinks that write below the folder ``out``; those of polygons share ``polygons``."""
    if any(issubclass(kind, NAMES_CLASSES) for kind in kinds):
        polygon_sinks.write_classes(out, info)
    opened = [kind(out, info, opacity) for kind in kinds]
    for sink in opened:
        if isinstance(sink, PolygonSink):
            sink.polygons = polygons
    return opened
