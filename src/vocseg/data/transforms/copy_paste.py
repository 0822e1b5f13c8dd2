"""Objects of one training image pasted onto another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from vocseg import voc
from vocseg.data.dataset import Sample, Transform

Item = TypeVar("Item")


@dataclass(frozen=True)
class CopyPaste:
    """With ``probability``, paste all that is neither background nor void in another labeled image, where it lies there.

    Ghiasi et al., "Simple copy-paste is a strong data augmentation method" (2021), with the source drawn so that rare classes
    come as often as common ones: first a class, then an image of those that show it.

    ``read`` gives the untransformed sample at an index, without soft labels; ``images_of`` lists the indices that show each
    class that can be pasted; ``transform`` brings the source to the size of the samples that this one is given.
    """

    read: Callable[[int], Sample]
    images_of: Sequence[Sequence[int]]
    transform: Transform
    probability: float

    def __call__(self, sample: Sample, generator: torch.Generator) -> Sample:
        if not self.images_of or float(torch.rand((), generator=generator)) >= self.probability:
            return sample
        shown_in = _draw(self.images_of, generator)
        source = self.transform(self.read(_draw(shown_in, generator)), generator)
        pasted = (source.mask != voc.BACKGROUND) & (source.mask != voc.VOID)
        soft = None if sample.soft is None else _paste_soft(sample.soft, source.mask, pasted)
        image = torch.where(pasted, source.image, sample.image)
        return sample._replace(image=image, mask=torch.where(pasted, source.mask, sample.mask), soft=soft)


def _paste_soft(soft: Tensor, labels: Tensor, pasted: Tensor) -> Tensor:
    """Soft labels in which each cell's pasted share of pixels is certain of its class."""
    classes, rows, columns = soft.shape
    cells = (rows, labels.shape[0] // rows, columns, labels.shape[1] // columns)
    certain = one_hot(torch.where(pasted, labels, classes).long(), classes + 1)[..., :classes].to(torch.float32)
    share = certain.view(*cells, classes).mean((1, 3)).permute(2, 0, 1)
    return (soft * (1 - share.sum(0)) + 255 * share).round_().to(torch.uint8)


def _draw(items: Sequence[Item], generator: torch.Generator) -> Item:
    return items[int(torch.randint(len(items), (), generator=generator))]
