"""What the registry asks of a zoo of architectures."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from torch import Tensor, nn

from vocseg.models.base import IMAGENET_MEAN, IMAGENET_STD


@dataclass(frozen=True)
class Built:
    """A network fresh from a zoo, in the contract of ``SegmentationModel.network``."""

    network: nn.Module
    class_layers: tuple[str, ...]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD
    pretrained: dict[str, Tensor] | None = None
    """State dict of a whole network trained on VOC's 21 classes, not loaded yet."""
    trained: Path | None = None
    """Model file with the trained weights of the whole network, not loaded yet."""


class Zoo(Protocol):
    """A family of architectures; the first of ``weights`` is its default."""

    title: str
    weights: tuple[str, ...]

    def names(self) -> list[str]:
        """All names that :meth:`build` takes."""

    def build(self, name: str, num_classes: int, weights: str) -> Built:
        """Make a network; ``weights`` is one of the zoo's. Raises ModelError where they cannot be had."""

    def published(self, name: str) -> tuple[float, str] | None:
        """Published mIoU (percent) and the data it was measured on, or None."""
