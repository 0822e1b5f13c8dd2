"""What the registry asks of a family of architectures."""

from __future__ import annotations

from typing import Protocol

from vocseg.models.base import SegmentationModel


class Family(Protocol):
    """A family of architectures; the first of ``weights`` is its default."""

    title: str
    weights: tuple[str, ...]

    def names(self) -> list[str]:
        """List all names that :meth:`build` takes."""

    def build(self, name: str, classes: tuple[str, ...], weights: str) -> SegmentationModel:
        """Make a model; ``weights`` is one of the family's. Raise ModelError if they cannot be loaded."""

    def published(self, name: str) -> tuple[float, str] | None:
        """Return the published mIoU (percent) and the data it was measured on, or None."""
