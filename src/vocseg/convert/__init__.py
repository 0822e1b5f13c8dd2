"""Data sets of other formats into VOC layout, and out of it."""

from vocseg.convert.classes import parse_classes
from vocseg.convert.pipeline import Options, Report, convert

__all__ = ["Options", "Report", "convert", "parse_classes"]
