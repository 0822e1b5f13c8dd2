"""The formats that ``predict`` writes, by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from vocseg.inference import polygon_sinks, sinks, video_sink
from vocseg.inference.sinks import Sink
from vocseg.models import ModelInfo

SINKS: dict[str, type[Sink]] = {
    "mask": sinks.MaskSink, "overlay": video_sink.OverlaySink, "cutout": sinks.CutoutSink, "probabilities": sinks.ProbabilitySink,
    "areas": sinks.AreaSink, "coco": polygon_sinks.CocoSink, "labelme": polygon_sinks.LabelmeSink,
    "yolo": polygon_sinks.YoloSink, "geojson": polygon_sinks.GeoJsonSink, "cvat": polygon_sinks.CvatSink,
    "label-studio": polygon_sinks.LabelStudioSink,
}  # fmt: skip
NAMES_CLASSES = (polygon_sinks.CocoSink, polygon_sinks.LabelmeSink, polygon_sinks.YoloSink, polygon_sinks.LabelStudioSink)
"""Formats that `vocseg data convert` reads: with them comes a list of the classes in the order of their ids."""


def open_sinks(kinds: Sequence[type[Sink]], out: Path, info: ModelInfo, opacity: float) -> list[Sink]:
    """Make the sinks that write below the folder ``out``."""
    if any(issubclass(kind, NAMES_CLASSES) for kind in kinds):
        polygon_sinks.write_classes(out, info)
    return [kind(out, info, opacity) for kind in kinds]
