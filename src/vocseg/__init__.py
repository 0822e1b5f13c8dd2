"""Semantic segmentation on Pascal VOC 2012 and data laid out like it, with PyTorch."""

from typing import Any

__version__ = "0.1.0"
__all__ = ["Segmenter", "__version__"]


def __getattr__(name: str) -> Any:
    # Torch takes seconds to import; `vocseg --help` must not.
    if name == "Segmenter":
        from vocseg.inference.segmenter import Segmenter

        return Segmenter
    raise AttributeError(f"module 'vocseg' has no attribute '{name}'")
