"""Simplify the outlines of many label maps, and count what that lost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from threading import Lock
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from vocseg import voc
from vocseg.convert.outlines import Traced, filled
from vocseg.convert.simplify import check_tolerance, simplified
from vocseg.metrics import scores
from vocseg.utils.text import percent

STRIP = 1 << 24
"""Pixels that are compared at a time."""


@dataclass(frozen=True)
class Simplification:
    """What moving borders by up to ``pixels`` did: ``corners`` before and after, and the ``miou`` of polygons with masks.

    ``corners``: of all rings, except the background's. ``miou``: mean IoU over classes, 0..1, of all label maps together;
    polygons are filled by the even-odd rule at the centers of pixels.
    """

    pixels: float
    corners: tuple[int, int]
    miou: float

    def __str__(self) -> str:
        before, after = self.corners
        return (
            f"polygons simplified by up to {self.pixels:g} px: {before:,} corners became {after:,}, "
            f"and filled they have {percent(self.miou)} % mIoU with the masks"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return a form ready for JSON."""
        return {"pixels": self.pixels, "corners": {"before": self.corners[0], "after": self.corners[1]}, "miou": self.miou}


class Simplifier:
    """Simplifies label maps of some classes by up to ``pixels``; several threads may use one.

    >>> from vocseg.convert.outlines import trace
    >>> steps = np.tri(8, dtype=np.uint8)
    >>> simplifier = Simplifier(1, ("background", "stairs"))
    >>> _ = simplifier(trace(steps), steps.shape)
    >>> print(simplifier.loss())
    polygons simplified by up to 1 px: 18 corners became 5, and filled they have 100.00 % mIoU with the masks
    """

    def __init__(self, pixels: float, classes: Sequence[str]) -> None:
        check_tolerance(pixels)
        self.pixels, self.classes = pixels, (*classes, "void")
        self._background = voc.background(classes)
        self._counts = np.zeros((len(self.classes),) * 2, dtype=np.int64)
        self._corners, self._lock = np.zeros(2, dtype=np.int64), Lock()

    def __call__(self, exact: Traced, size: tuple[int, int]) -> Traced:
        """Simplify the parts of all labels of a label map; return ``exact`` for 0 pixels."""
        if not self.pixels:
            return exact
        fewer = simplified(exact, size, self.pixels)
        counts, corners = self._confusion(exact, fewer, size), [self._count(each) for each in (exact, fewer)]
        with self._lock:
            self._counts += counts
            self._corners += corners
        return fewer

    @property
    def counts(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pixels by label before and after, and corners before and after, which :meth:`add` adds to another's."""
        return self._counts, self._corners

    def add(self, counts: NDArray[np.int64], corners: NDArray[np.int64]) -> None:
        """Add what another one counted."""
        self._counts += counts
        self._corners += corners

    def loss(self) -> Simplification | None:
        """Return what was lost so far; None if nothing was simplified."""
        miou = scores(torch.from_numpy(self._counts), self.classes).miou
        before, after = self._corners.tolist()
        return None if miou is None else Simplification(self.pixels, (before, after), miou)

    def _confusion(self, exact: Traced, fewer: Traced, size: tuple[int, int]) -> NDArray[np.int64]:
        """Count pixels by label in the map (row) and in the simplified parts (column)."""
        height, width = size
        classes = len(self.classes)
        counts = np.zeros(classes**2, dtype=np.int64)
        step = max(1, STRIP // width)
        for first in range(0, height, step):
            rows = range(first, min(height, first + step))
            before, after = (np.minimum(filled(each, width, rows), classes - 1).ravel() for each in (exact, fewer))
            counts += np.bincount(before.astype(np.int32) * classes + after, minlength=classes**2)
        return counts.reshape(classes, classes)

    def _count(self, traced: Traced) -> int:
        """Return how many corners polygons have."""
        found = (part for label, parts in traced.items() if label != self._background for part in parts)
        return sum(len(ring) for part in found for ring in part.rings)
