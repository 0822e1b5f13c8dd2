"""torchvision's segmentation networks and their weights."""

from __future__ import annotations

import hashlib
import inspect
import logging
import urllib.error
from pathlib import Path
from typing import Any, ClassVar

import torch
from torch import Tensor

from vocseg import voc
from vocseg.errors import ModelError, reason
from vocseg.models.base import Family, SegmentationModel
from vocseg.models.checkpoint import load_pickle
from vocseg.models.info import ModelInfo
from vocseg.models.weights import load_weights

logger = logging.getLogger(__name__)

# Functions import torchvision, which takes more than a second and vocseg-s does not need.


class LRASPPModel(SegmentationModel):
    """LRASPP, whose classifier takes two outputs of the backbone."""

    backbone_layers = ("backbone",)
    feature_layers: ClassVar[dict[str, str]] = {"encoder": "backbone"}

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        return {"out": network.classifier(network.backbone(inputs))}


class TorchvisionModel(LRASPPModel):
    """FCN and DeepLabV3: a classifier on one output of the backbone, an auxiliary one on another."""

    def layers(self, inputs: Tensor) -> dict[str, Tensor]:
        network: Any = self.network
        features = network.backbone(inputs)
        outputs = {"out": network.classifier(features["out"])}
        if network.aux_classifier is not None:
            outputs["aux"] = network.aux_classifier(features["aux"])
        return outputs

    def without_auxiliary(self) -> TorchvisionModel:
        self.network.aux_classifier = None  # type: ignore[assignment]
        self.class_layers = tuple(name for name in self.class_layers if not name.startswith("aux_classifier."))
        return self


def adapt_torchvision(network: Any, info: ModelInfo) -> SegmentationModel:
    """Wrap one of torchvision's segmentation networks."""
    if not hasattr(network, "aux_classifier"):
        return LRASPPModel(network, info, ("classifier.low_classifier", "classifier.high_classifier"))
    heads = ("classifier.4", "aux_classifier.4") if network.aux_classifier is not None else ("classifier.4",)
    return TorchvisionModel(network, info, heads)


class TorchvisionFamily(Family):
    """Weights: ``coco``, COCO images with VOC's classes; ``backbone``, ImageNet weights and a random head."""

    title = "torchvision"
    weights = ("coco", "backbone", "none")

    def names(self) -> list[str]:
        from torchvision.models import list_models, segmentation

        return list_models(module=segmentation)

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        from torchvision.models import get_model, get_model_weights, segmentation

        lraspp = name.startswith("lraspp")
        options: dict[str, Any] = {} if lraspp else {"aux_loss": True}
        network = get_model(name, weights=None, weights_backbone=None, num_classes=len(classes), **options)
        if weights == "backbone":
            # The ImageNet weights that torchvision's own builder uses, without those of the classifier.
            builder = inspect.signature(inspect.unwrap(getattr(segmentation, name)))
            state = _download(builder.parameters["weights_backbone"].default)
            state = {key.removeprefix("features."): value for key, value in state.items()}
            network.backbone.load_state_dict({key: state[key] for key in network.backbone.state_dict() if key in state})
        model = adapt_torchvision(network, ModelInfo(name, classes))
        if weights == "coco":
            load_weights(model, _download(get_model_weights(name).DEFAULT), voc.CLASSES, "the coco weights")
        return model

    def published(self, name: str) -> tuple[float, str] | None:
        from torchvision.models import get_model_weights

        weights = get_model_weights(name).DEFAULT
        (split, metrics), *_ = weights.meta["_metrics"].items()
        return metrics["miou"] / 100, split


def _download(weights: Any) -> dict[str, torch.Tensor]:
    """Return weights from torch's cache, or download them into it."""
    cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    if cache.is_file():
        return _read_cached(cache)
    try:
        state: dict[str, torch.Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        raise ModelError(
            f"could not download weights from {weights.url} ({getattr(error, 'reason', None) or reason(error)}). If you are "
            f"offline, place the file at {cache}, or use the weights 'none', a weights file, or the model vocseg-s, whose "
            "weights are included"
        ) from error
    return state


def _read_cached(path: Path) -> dict[str, torch.Tensor]:
    """Read a file whose name ends in the first digits of its SHA-256; warn if they are others."""
    try:
        state: dict[str, torch.Tensor] = load_pickle(path)
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except Exception as error:  # torch raises many kinds
        raise ModelError(f"{path} is damaged ({reason(error)}); delete it, and it is downloaded again") from error
    if not digest.startswith(path.stem.rpartition("-")[2]):
        logger.warning(f"{path} is not the file that its name says: its SHA-256 starts with {digest[:8]}; delete it if in doubt")
    return state
