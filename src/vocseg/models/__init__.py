"""Networks: one interface, a registry of names, model files."""

from vocseg.models.base import SegmentationModel
from vocseg.models.checkpoint import read_info, save_model
from vocseg.models.info import ModelInfo
from vocseg.models.registry import create_model, list_models, register_model

__all__ = ["ModelInfo", "SegmentationModel", "create_model", "list_models", "read_info", "register_model", "save_model"]
