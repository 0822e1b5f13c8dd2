"""Polygons of masks, made once for all formats of a call, and with fewer corners if that is wanted."""

from __future__ import annotations

from typing import Any, Protocol

from vocseg import voc
from vocseg.convert.outlines import Part, Traced
from vocseg.convert.simplifier import Simplification, Simplifier
from vocseg.models import ModelInfo


class Outlined(Protocol):
    """A result whose regions can be traced: of one piece, or in tiles."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""

    def regions(self) -> Traced:
        """Return the connected regions of all classes."""


class Polygons:
    """The polygons of results of a model; ``simplify``: pixels that borders may move."""

    def __init__(self, info: ModelInfo, simplify: float = 0.0) -> None:
        self.info, self.simplify = info, simplify
        self.simplifier = Simplifier(simplify, info.classes)
        self._last: tuple[Outlined | None, Traced] = (None, {})

    def regions(self, result: Outlined) -> Traced:
        """Return the regions of all classes; the same result gives the same ones."""
        if self._last[0] is not result:
            self._last = result, self.simplifier(result.regions(), result.size)
        return self._last[1]

    def of(self, result: Outlined) -> list[tuple[int, Part]]:
        """Return class id and polygon of each region of every class except background, largest first."""
        background, traced = voc.background(self.info.classes), self.regions(result)
        found = [(label, part) for label in sorted(traced) if label != background for part in traced[label]]
        return sorted(found, key=lambda row: -row[1].area)

    def loss(self) -> Simplification | None:
        """Return what simplification lost so far; None if nothing was simplified."""
        return self.simplifier.loss()


def rows(result: Outlined, info: ModelInfo, simplify: float) -> list[dict[str, Any]]:
    """Return the regions of a result; see :meth:`vocseg.Segmentation.polygons`."""
    return [
        {
            "class": info.classes[label], "id": label, "area": part.area, "polygon": part.outline.tolist(),
            "holes": [hole.tolist() for hole in part.holes],
        }
        for label, part in Polygons(info, simplify).of(result)
    ]  # fmt: skip
