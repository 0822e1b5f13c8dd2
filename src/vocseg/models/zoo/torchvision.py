"""torchvision's six segmentation networks and their weights."""

from __future__ import annotations

import urllib.error
from pathlib import Path
from typing import Any

import torch

from vocseg.errors import ModelError
from vocseg.models.family import Built

# torchvision is imported where it is used: it takes more than a second, and vocseg-s does without.


class TorchvisionZoo:
    """``coco``: trained on COCO images with VOC's classes; ``backbone``: ImageNet weights below new heads."""

    title = "torchvision"
    weights: tuple[str, ...] = ("coco", "backbone", "none")

    def names(self) -> list[str]:
        from torchvision.models import list_models, segmentation

        return list_models(module=segmentation)

    def build(self, name: str, num_classes: int, weights: str) -> Built:
        from torchvision.models import get_model, get_model_weights

        has_aux = not name.startswith("lraspp")
        options: dict[str, Any] = {"aux_loss": True} if has_aux else {}
        network = get_model(name, weights=None, weights_backbone=None, num_classes=num_classes, **options)
        pretrained = None
        if weights == "coco":
            pretrained = _download(get_model_weights(name).DEFAULT)
        elif weights == "backbone":
            backbone = _backbone_weights(name)
            network.backbone.load_state_dict(_without_classifier(_download(backbone), network.backbone))
        layers = ("classifier.4", "aux_classifier.4") if has_aux else ("classifier.low_classifier", "classifier.high_classifier")
        return Built(network, layers, pretrained=pretrained)

    def published(self, name: str) -> tuple[float, str] | None:
        from torchvision.models import get_model_weights

        weights = get_model_weights(name).DEFAULT
        (split, metrics), *_ = weights.meta["_metrics"].items()
        return metrics["miou"], split


def _backbone_weights(name: str) -> Any:
    """The ImageNet weights that torchvision itself puts below new heads of ``name``: its builder's default."""
    import inspect

    from torchvision.models import segmentation

    builder = getattr(segmentation, name)
    return inspect.signature(inspect.unwrap(builder)).parameters["weights_backbone"].default


def _without_classifier(state: dict[str, torch.Tensor], backbone: torch.nn.Module) -> dict[str, torch.Tensor]:
    """Classification weights with the names of the segmentation backbone, which keeps only the feature layers."""
    wanted = backbone.state_dict()
    return {key.removeprefix("features."): value for key, value in state.items() if key.removeprefix("features.") in wanted}


def _download(weights: Any) -> dict[str, torch.Tensor]:
    cache = Path(torch.hub.get_dir()) / "checkpoints" / Path(weights.url).name
    try:
        state: dict[str, torch.Tensor] = weights.get_state_dict(progress=True, check_hash=True, weights_only=True)
    except (urllib.error.URLError, OSError, RuntimeError) as error:
        reason = getattr(error, "reason", None) or str(error).splitlines()[0]
        raise ModelError(
            f"weights not to be had from {weights.url} ({reason}); offline, put that file at {cache}, "
            "or start without it: --weights none, --weights FILE, or --model vocseg-s, whose weights are here"
        ) from error
    return state
