"""Where a part of an image is put along one axis of a transformed one."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Placement(NamedTuple):
    """Along one axis: the interval ``start:stop`` of the source that is shown, and ``to:to + length`` of the result."""

    start: int
    stop: int
    to: int
    length: int

    @property
    def source(self) -> slice:
        return slice(self.start, self.stop)

    @property
    def target(self) -> slice:
        return slice(self.to, self.to + self.length)

    def cells(self, side: int, size: int, count: int) -> Tensor:
        """Return where on the source (of length ``side``) the centers of ``count`` cells over the result's ``size``
        are.

        In grid_sample's coordinates: -1 to 1 over the source, 2 for a center outside the interval.
        """
        centers = (torch.arange(count) + 0.5) * (size / count) - self.to
        places = (self.start + centers * ((self.stop - self.start) / self.length)) * (2 / side) - 1
        return torch.where((centers >= 0) & (centers < self.length), places, 2.0)
