"""Semantic segmentation on Pascal VOC 2012 and data laid out like it, with PyTorch.

Each name is imported from its room when it is first used: ``import vocseg`` itself does not import torch.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

from vocseg.errors import (
    DataError,
    ExportError,
    InputError,
    ModelError,
    OutputError,
    SettingError,
    TrainingError,
    TrainingStopped,
    VocsegError,
)

if TYPE_CHECKING:
    from vocseg.app.serve import serve
    from vocseg.convert import ConvertReport, convert
    from vocseg.data import transforms
    from vocseg.data.pack import Packed, pack, unpack
    from vocseg.data.voc_dataset import VOCDataset
    from vocseg.doctor.examine import Diagnosis, examine
    from vocseg.download.voc import DownloadResult, download
    from vocseg.evaluation.compare import Comparison, compare
    from vocseg.evaluation.evaluate import evaluate
    from vocseg.evaluation.label_errors import find_label_errors
    from vocseg.evaluation.label_result import LabelErrors
    from vocseg.evaluation.merge import merge
    from vocseg.evaluation.report import report
    from vocseg.evaluation.result import Evaluation
    from vocseg.evaluation.score import score
    from vocseg.evaluation.submission import Submission, submit
    from vocseg.evaluation.submission_check import SubmissionCheck, check_submission
    from vocseg.export.export import export
    from vocseg.export.report import ExportReport
    from vocseg.inference.predict import predict
    from vocseg.inference.result import Segmentation
    from vocseg.inference.segmenter import Segmenter
    from vocseg.inference.tiles import TiledSegmentation
    from vocseg.metrics import ConfusionMatrix
    from vocseg.models.base import SegmentationModel
    from vocseg.models.info import ModelInfo
    from vocseg.models.registry import create_model, list_models, register_model
    from vocseg.training.api import TrainResult, train
    from vocseg.training.config import TrainConfig
    from vocseg.training.folds import train_folds
    from vocseg.utils.system import set_max_pixels, tune_process

__version__ = "0.1.0"

__all__ = [
    "Comparison",
    "ConfusionMatrix",
    "ConvertReport",
    "DataError",
    "Diagnosis",
    "DownloadResult",
    "Evaluation",
    "ExportError",
    "ExportReport",
    "InputError",
    "LabelErrors",
    "ModelError",
    "ModelInfo",
    "OutputError",
    "Packed",
    "Segmentation",
    "SegmentationModel",
    "Segmenter",
    "SettingError",
    "Submission",
    "SubmissionCheck",
    "TiledSegmentation",
    "TrainConfig",
    "TrainResult",
    "TrainingError",
    "TrainingStopped",
    "VOCDataset",
    "VocsegError",
    "check_submission",
    "compare",
    "convert",
    "create_model",
    "download",
    "evaluate",
    "examine",
    "export",
    "find_label_errors",
    "list_models",
    "merge",
    "pack",
    "predict",
    "register_model",
    "report",
    "score",
    "serve",
    "set_max_pixels",
    "submit",
    "train",
    "train_folds",
    "transforms",
    "tune_process",
    "unpack",
]

_HOMES = {
    "Comparison": "evaluation.compare:Comparison",
    "ConfusionMatrix": "metrics:ConfusionMatrix",
    "ConvertReport": "convert.report:ConvertReport",
    "Diagnosis": "doctor.examine:Diagnosis",
    "DownloadResult": "download.voc:DownloadResult",
    "Evaluation": "evaluation.result:Evaluation",
    "ExportReport": "export.report:ExportReport",
    "LabelErrors": "evaluation.label_result:LabelErrors",
    "ModelInfo": "models.info:ModelInfo",
    "Packed": "data.pack:Packed",
    "Segmentation": "inference.result:Segmentation",
    "SegmentationModel": "models.base:SegmentationModel",
    "Segmenter": "inference.segmenter:Segmenter",
    "TiledSegmentation": "inference.tiles:TiledSegmentation",
    "Submission": "evaluation.submission:Submission",
    "SubmissionCheck": "evaluation.submission_check:SubmissionCheck",
    "TrainConfig": "training.config:TrainConfig",
    "TrainResult": "training.api:TrainResult",
    "VOCDataset": "data.voc_dataset:VOCDataset",
    "check_submission": "evaluation.submission_check:check_submission",
    "compare": "evaluation.compare:compare",
    "convert": "convert.pipeline:convert",
    "create_model": "models.registry:create_model",
    "download": "download.voc:download",
    "evaluate": "evaluation.evaluate:evaluate",
    "examine": "doctor.examine:examine",
    "export": "export.export:export",
    "find_label_errors": "evaluation.label_errors:find_label_errors",
    "list_models": "models.registry:list_models",
    "merge": "evaluation.merge:merge",
    "pack": "data.pack:pack",
    "predict": "inference.predict:predict",
    "ray": "ray",
    "register_model": "models.registry:register_model",
    "report": "evaluation.report:report",
    "score": "evaluation.score:score",
    "serve": "app.serve:serve",
    "submit": "evaluation.submission:submit",
    "train": "training.api:train",
    "train_folds": "training.folds:train_folds",
    "transforms": "data.transforms",
    "set_max_pixels": "utils.system:set_max_pixels",
    "tune_process": "utils.system:tune_process",
    "unpack": "data.pack:unpack",
}
"""Where each lazily imported name is defined."""


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'vocseg' has no attribute '{name}'")
    room, _, attribute = _HOMES[name].partition(":")
    module = import_module(f"vocseg.{room}")
    value = globals()[name] = getattr(module, attribute) if attribute else module
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Package(ModuleType):
    """Keeps ``vocseg.export`` a function: importing the room ``vocseg/export/`` would set that name to a module."""

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __reduce__(self) -> Any:
        """Let functions that use ``vocseg`` be sent to other processes (cloudpickle: Ray, Dask, joblib)."""
        return import_module, (self.__name__,)


sys.modules[__name__].__class__ = _Package
