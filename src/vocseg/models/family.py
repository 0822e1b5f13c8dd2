"""The interface between the registry and a family of architectures."""

from __future__ import annotations

from typing import Protocol

from vocseg.models.base import SegmentationModel


class Family(Protocol):
    """A family of architectures.

    ``title`` is shown in lists. ``weights`` are the kinds of pretrained weights, the default first; ``none`` is random.
    """

    title: str
    weights: tuple[str, ...]

    def names(self) -> list[str]:
        """List all names that :meth:`build` takes."""

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        """Build a model; ``weights`` is one of the family's. Raise ModelError if they cannot be loaded."""

    def published(self, name: str) -> tuple[float, str] | None:
        """Return the published mIoU (percent) and the data it was measured on, or None."""
