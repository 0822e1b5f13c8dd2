"""A network together with what is needed to use it: classes, colors, normalization, input protocol."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from vocseg import voc
from vocseg.models.staged import coarse_logits
from vocseg.ops.low_res_logits import CoarseLogits

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelInfo:
    """What a model file says about its network beside the weights."""

    architecture: str
    """Name in the registry."""
    classes: tuple[str, ...]
    """Class names in the order of their ids."""
    palette: tuple[tuple[int, int, int], ...] = ()
    """RGB color of each class; VOC's where empty."""
    mean: tuple[float, float, float] = IMAGENET_MEAN
    """Mean RGB subtracted from images scaled to 0..1."""
    std: tuple[float, float, float] = IMAGENET_STD
    """Divisor after that."""
    short_side: int | None = None
    """Input protocol: images are resized to this shorter side; None: they go in at their own size."""
    trained_on: str | None = None
    """Training data in words."""
    scores: dict[str, Any] = field(default_factory=dict)
    """Scores by split."""
    vocseg_version: str | None = None

    def __post_init__(self) -> None:
        if not self.palette:
            object.__setattr__(self, "palette", voc.PALETTE[: len(self.classes)])

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> ModelInfo:
        """The inverse of :meth:`to_dict`; raises KeyError or TypeError where a part is missing or of another kind."""
        known = {name: values[name] for name in cls.__dataclass_fields__ if name in values}
        known["classes"] = tuple(str(name) for name in values["classes"])
        known["palette"] = tuple(tuple(int(part) for part in rgb) for rgb in values["palette"])
        known["mean"], known["std"] = (tuple(float(part) for part in values[key]) for key in ("mean", "std"))
        return cls(**known)


class SegmentationModel(nn.Module):
    """A network that takes images as they are read and gives logits at their size.

    ``network`` maps normalized float images (N x 3 x H x W) to a dict with ``out`` and, where it has an auxiliary head,
    ``aux``: logits, N x classes x H x W. ``class_layers`` names its layers with one output a class.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: nn.Module, info: ModelInfo, class_layers: tuple[str, ...]) -> None:
        super().__init__()
        self.network = network
        self.info = info
        self.class_layers = class_layers
        self.register_buffer("mean", torch.tensor(info.mean).view(1, 3, 1, 1) * 255, persistent=False)
        self.register_buffer("std", torch.tensor(info.std).view(1, 3, 1, 1) * 255, persistent=False)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Logits of uint8 (or float, 0..255) RGB images, N x 3 x H x W."""
        outputs: dict[str, Tensor] = self.network(self.normalized(images))
        return outputs

    def coarse(self, images: Tensor) -> dict[str, CoarseLogits]:
        """The same before the upsampling that ends the network."""
        return coarse_logits(self.network, self.normalized(images))

    def normalized(self, images: Tensor) -> Tensor:
        """The network's input: float32, of the model's mean and standard deviation."""
        return (images.float() - self.mean) / self.std

    def class_parameters(self) -> list[nn.Parameter]:
        """Parameters of the layers with one output a class."""
        return [parameter for name in self.class_layers for parameter in self.network.get_submodule(name).parameters()]
