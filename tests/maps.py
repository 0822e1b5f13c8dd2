"""An extra map for tests of transforms: a copy of the mask that must come out equal to the mask."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import Placement
from vocseg.data.transforms.geometry import resize_mask


@dataclass(frozen=True)
class MaskCopy:
    tensor: Tensor
    cell: int = 1

    def place(self, shape: tuple[int, int], rows: Placement, columns: Placement, size: int) -> MaskCopy:
        assert self.tensor.shape == shape
        square = torch.full((size, size), voc.VOID, dtype=torch.uint8)
        shown = self.tensor[rows.start : rows.stop, columns.start : columns.stop]
        square[rows.to :, columns.to :][: rows.length, : columns.length] = resize_mask(shown, (rows.length, columns.length))
        return MaskCopy(square, self.cell)

    def flip(self) -> MaskCopy:
        return MaskCopy(self.tensor.flip(-1), self.cell)

    def paste(self, labels: Tensor, pasted: Tensor) -> MaskCopy:
        return MaskCopy(torch.where(pasted, labels, self.tensor), self.cell)

    def cut(self, other: MaskCopy, rows: slice, columns: slice) -> MaskCopy:
        assert all(side % self.cell == 0 for part in (rows, columns) for side in (part.start, part.stop))
        tensor = self.tensor.clone()
        tensor[rows, columns] = other.tensor[rows, columns]
        return MaskCopy(tensor, self.cell)

    def blend(self, other: MaskCopy, share: float) -> MaskCopy:
        return MaskCopy((share * self.tensor.double() + (1 - share) * other.tensor.double()).round().to(torch.uint8), self.cell)
