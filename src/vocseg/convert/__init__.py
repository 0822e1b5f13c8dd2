"""Convert data sets of other formats into VOC layout, and out of it."""

from vocseg.convert.pipeline import ConvertReport, convert

__all__ = ["ConvertReport", "convert"]
