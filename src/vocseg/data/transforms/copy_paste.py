"""Paste objects of one training image onto another."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch

from vocseg import voc
from vocseg.data.dataset import Sample, Transform

Item = TypeVar("Item")


@dataclass(frozen=True)
class CopyPaste:
    """With ``probability``, paste everything except background and void of another image, at its place in that image.

    Ghiasi et al., "Simple copy-paste is a strong data augmentation method" (2021). The source is drawn so that rare
    classes come as often as common ones: first a class, then an image of those that show it.

    ``read`` returns the untransformed sample at an index (its extra maps are not used), ``images_of`` lists the indices
    that show each class that can be pasted, and ``transform`` brings the source to the size of the samples it is pasted
    on.

    >>> under = Sample(torch.zeros(3, 2, 2, dtype=torch.uint8), torch.zeros(2, 2, dtype=torch.uint8), "under")
    >>> over = under._replace(mask=torch.tensor([[7, 0], [255, 7]], dtype=torch.uint8))
    >>> paste = CopyPaste(read=lambda index: over, images_of=[[0]], transform=lambda sample, _: sample, probability=1.0)
    >>> paste(under, torch.Generator().manual_seed(0)).mask.tolist()
    [[7, 0], [0, 7]]
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
        maps = {key: values.paste(source.mask, pasted) for key, values in sample.maps.items()}
        image = torch.where(pasted, source.image, sample.image)
        return sample._replace(image=image, mask=torch.where(pasted, source.mask, sample.mask), maps=maps)


def _draw(items: Sequence[Item], generator: torch.Generator) -> Item:
    return items[int(torch.randint(len(items), (), generator=generator))]
