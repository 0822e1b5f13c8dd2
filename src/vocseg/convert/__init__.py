"""Convert data sets of other formats into VOC layout, and out of it."""

from vocseg.convert.pipeline import convert
from vocseg.convert.report import ConvertReport

__all__ = ["ConvertReport", "convert"]
