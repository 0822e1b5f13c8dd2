"""Convert data sets of other formats into VOC layout, and out of it.

This package can be called like its function :func:`vocseg.convert.pipeline.convert`:

>>> import vocseg
>>> vocseg.convert("no/such/folder", "out")
Traceback (most recent call last):
vocseg.errors.DataError: no/such/folder does not exist
"""

import sys
from types import ModuleType
from typing import Any

from vocseg.convert.pipeline import convert
from vocseg.convert.report import ConvertReport

__all__ = ["ConvertReport", "convert"]


class _CallableModule(ModuleType):
    """Importing this package sets ``vocseg.convert`` to the package instead of the function, so it has to be callable."""

    __wrapped__ = staticmethod(convert)  # for help() and inspect.signature()

    def __call__(self, *args: Any, **settings: Any) -> ConvertReport:
        return convert(*args, **settings)


sys.modules[__name__].__class__ = _CallableModule
