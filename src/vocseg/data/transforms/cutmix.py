"""Training images mixed with others of their batch."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.loader import Batch
from vocseg.data.transforms.geometry import SOFT_CELL, uniform

SIDES = (0.25, 0.75)
"""Shortest and longest side of a pasted rectangle, as a share of the image's."""
SHARES = (0.3, 0.7)
"""Least and largest share of an image in its blend with another."""


@dataclass(frozen=True)
class Mixing:
    """Each image of a batch, with probability ``cutmix``, gets a rectangle of another one; with ``mixup`` it is blended with it.

    CutMix (Yun et al., 2019), as French et al., "Semi-supervised semantic segmentation needs strong, varied perturbations"
    (2020), use it: mask and soft labels come with the rectangle, whose edges lie on cells of soft labels. Mixup (Zhang et al.,
    2018), for a teacher alone (Beyer et al., "Knowledge distillation: a good teacher is patient and consistent", 2022): a
    blend's mask is void.
    """

    cutmix: float
    mixup: float

    def __call__(self, batch: Batch, generator: torch.Generator) -> Batch:
        """The mixed batch; that given stays as it is."""
        images, masks = batch.images.clone(), batch.masks.clone()
        soft = None if batch.soft is None else batch.soft.clone()
        others = torch.randperm(len(images), generator=generator).tolist()
        chances = torch.rand(len(images), generator=generator).tolist()
        for place, (other, chance) in enumerate(zip(others, chances, strict=True)):
            if chance < self.cutmix:
                rows, columns = (_interval(size, generator) for size in masks.shape[1:])
                images[place, :, rows, columns] = batch.images[other, :, rows, columns]
                masks[place, rows, columns] = batch.masks[other, rows, columns]
                if soft is not None and batch.soft is not None:
                    rows, columns = (slice(part.start // SOFT_CELL, part.stop // SOFT_CELL) for part in (rows, columns))
                    soft[place, :, rows, columns] = batch.soft[other, :, rows, columns]
            elif chance < self.cutmix + self.mixup:
                share = uniform(*SHARES, generator)
                images[place] = _blend(batch.images[place], batch.images[other], share)
                masks[place] = voc.VOID
                if soft is not None and batch.soft is not None:
                    soft[place] = _blend(batch.soft[place], batch.soft[other], share)
        return batch._replace(images=images, masks=masks, soft=soft)


def _interval(size: int, generator: torch.Generator) -> slice:
    """A random part of an axis, from and to whole cells of soft labels."""
    cells = size // SOFT_CELL
    length = round(cells * uniform(*SIDES, generator))
    start = int(torch.randint(cells - length + 1, (), generator=generator))
    return slice(start * SOFT_CELL, (start + length) * SOFT_CELL)


def _blend(one: Tensor, other: Tensor, share: float) -> Tensor:
    return torch.lerp(other.float(), one.float(), share).round_().to(torch.uint8)
