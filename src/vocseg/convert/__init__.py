"""Convert data sets of other formats into VOC layout, and out of it."""

import sys
from types import ModuleType
from typing import Any

from vocseg.convert.pipeline import convert
from vocseg.convert.report import ConvertReport

__all__ = ["ConvertReport", "convert"]


class _CallableModule(ModuleType):
    """Makes ``vocseg.convert(...)`` work: importing this package sets ``vocseg.convert`` to the package, not the function."""

    def __call__(self, *args: Any, **settings: Any) -> ConvertReport:
        return convert(*args, **settings)


sys.modules[__name__].__class__ = _CallableModule
