"""Networks: a registry of names, three zoos, model files."""

from vocseg.models.base import ModelInfo, SegmentationModel
from vocseg.models.checkpoint import read_info, save_model
from vocseg.models.registry import create_model

__all__ = ["ModelInfo", "SegmentationModel", "create_model", "read_info", "save_model"]
