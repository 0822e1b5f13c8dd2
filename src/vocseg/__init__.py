"""Semantic segmentation on Pascal VOC 2012 and data laid out like it, with PyTorch.

Each name is imported from its room when it is first used: ``import vocseg`` itself does not import torch.
"""

from __future__ import annotations

from pkgutil import resolve_name
from typing import TYPE_CHECKING, Any

from vocseg.errors import (
    DataError,
    ExportError,
    InputError,
    ModelError,
    OutputError,
    SettingError,
    TrainingError,
    VocsegError,
)

if TYPE_CHECKING:
    from vocseg.data import transforms
    from vocseg.doctor.examine import examine
    from vocseg.inference.segmenter import Segmentation, Segmenter
    from vocseg.metrics import ConfusionMatrix
    from vocseg.models.base import ModelInfo, SegmentationModel
    from vocseg.models.registry import create_model, list_models, register_model

__version__ = "0.1.0"

__all__ = [
    "ConfusionMatrix",
    "DataError",
    "ExportError",
    "InputError",
    "ModelError",
    "ModelInfo",
    "OutputError",
    "Segmentation",
    "SegmentationModel",
    "Segmenter",
    "SettingError",
    "TrainingError",
    "VocsegError",
    "create_model",
    "examine",
    "list_models",
    "register_model",
    "transforms",
]

_HOMES = {
    "ConfusionMatrix": "metrics:ConfusionMatrix",
    "ModelInfo": "models.base:ModelInfo",
    "Segmentation": "inference.segmenter:Segmentation",
    "SegmentationModel": "models.base:SegmentationModel",
    "Segmenter": "inference.segmenter:Segmenter",
    "create_model": "models.registry:create_model",
    "examine": "doctor.examine:examine",
    "list_models": "models.registry:list_models",
    "register_model": "models.registry:register_model",
    "transforms": "data.transforms",
}
"""Where each lazily imported name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vocseg' has no attribute '{name}'")
    value = globals()[name] = resolve_name(f"vocseg.{_HOMES[name]}")
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
