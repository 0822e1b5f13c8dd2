"""Mix training images: paste objects of another image (copy-paste), CutMix and mixup within a batch."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from vocseg import voc
from vocseg.data.dataset import Sample, Transform
from vocseg.data.transforms.geometry import uniform

SIDES = (0.25, 0.75)
"""Shortest and longest side of a pasted rectangle, as a share of the image's."""
SHARES = (0.3, 0.7)
"""Least and largest share of an image in its blend with another."""


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
        shown_in = self.images_of[_below(len(self.images_of), generator)]
        source = self.transform(self.read(shown_in[_below(len(shown_in), generator)]), generator)
        pasted = (source.mask != voc.BACKGROUND) & (source.mask != voc.VOID)
        maps = {key: values.paste(source.mask, pasted) for key, values in sample.maps.items()}
        image = torch.where(pasted, source.image, sample.image)
        return sample._replace(image=image, mask=torch.where(pasted, source.mask, sample.mask), maps=maps)


@dataclass(frozen=True)
class Mixing:
    """Mix each sample of a batch with another: with probability ``cutmix`` by a rectangle, with ``mixup`` by a blend.

    CutMix (Yun et al., 2019), as French et al., "Semi-supervised semantic segmentation needs strong, varied
    perturbations" (2020), use it: the mask and the extra maps come with the rectangle, whose corners are on the maps'
    grids. Mixup (Zhang et al., 2018), only of use with a teacher (Beyer et al., "Knowledge distillation: a good teacher
    is patient and consistent", 2022): a blend's mask is void.

    >>> masks = [torch.full((8, 8), label, dtype=torch.uint8) for label in (1, 2)]
    >>> samples = [Sample(mask.expand(3, 8, 8), mask, str(place)) for place, mask in enumerate(masks)]
    >>> [sample.mask.unique().tolist() for sample in Mixing(cutmix=1.0)(samples, torch.Generator().manual_seed(1))]
    [[1, 2], [1, 2]]
    """

    cutmix: float = 0.0
    mixup: float = 0.0

    def __call__(self, samples: Sequence[Sample], generator: torch.Generator) -> list[Sample]:
        """Return the mixed samples; all must be of one size. The given ones are not changed."""
        others = torch.randperm(len(samples), generator=generator).tolist()
        chances = torch.rand(len(samples), generator=generator).tolist()
        mixed = []
        for sample, other, chance in zip(samples, others, chances, strict=True):
            if chance < self.cutmix:
                sample = _cut(sample, samples[other], generator)
            elif chance < self.cutmix + self.mixup:
                sample = _blend(sample, samples[other], uniform(*SHARES, generator))
            mixed.append(sample)
        return mixed


def _cut(sample: Sample, other: Sample, generator: torch.Generator) -> Sample:
    cell = math.lcm(*(values.cell for values in sample.maps.values()))
    rows, columns = (_interval(size, cell, generator) for size in sample.mask.shape)
    image, mask = sample.image.clone(), sample.mask.clone()
    image[:, rows, columns] = other.image[:, rows, columns]
    mask[rows, columns] = other.mask[rows, columns]
    maps = {key: values.cut(other.maps[key], rows, columns) for key, values in sample.maps.items()}
    return sample._replace(image=image, mask=mask, maps=maps)


def _interval(size: int, cell: int, generator: torch.Generator) -> slice:
    """Draw a part of an axis, from and to whole cells."""
    cells = size // cell
    length = round(cells * uniform(*SIDES, generator))
    start = _below(cells - length + 1, generator)
    return slice(start * cell, (start + length) * cell)


def _below(stop: int, generator: torch.Generator) -> int:
    return int(torch.randint(stop, (), generator=generator))


def _blend(sample: Sample, other: Sample, share: float) -> Sample:
    maps = {key: values.blend(other.maps[key], share) for key, values in sample.maps.items()}
    image = blend_uint8(sample.image, other.image, share)
    return sample._replace(image=image, mask=torch.full_like(sample.mask, voc.VOID), maps=maps)


def blend_uint8(one: Tensor, other: Tensor, share: float) -> Tensor:
    """Return ``share`` of one plus ``1 - share`` of the other (uint8 both), rounded."""
    return torch.lerp(other.float(), one.float(), share).round_().to(torch.uint8)
