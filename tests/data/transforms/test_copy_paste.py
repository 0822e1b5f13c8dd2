from __future__ import annotations

from collections import Counter

import torch

from maps import MaskCopy
from vocseg.data.dataset import Sample
from vocseg.data.transforms.copy_paste import CopyPaste

SIZE = 16


def sample(label: int) -> Sample:
    """A gray image of its label's value; the object is the top left quarter, with a void row below it."""
    mask = torch.zeros(SIZE, SIZE, dtype=torch.uint8)
    mask[:8, :8] = label
    mask[8, :8] = 255
    return Sample(torch.full((3, SIZE, SIZE), label, dtype=torch.uint8), mask, str(label))


def unchanged(sample: Sample, generator: torch.Generator) -> Sample:
    return sample


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_objects_cover_and_nothing_else_does() -> None:
    paste = CopyPaste(lambda index: sample(2), [[0]], unchanged, 1.0)
    under = Sample(torch.full((3, SIZE, SIZE), 9, dtype=torch.uint8), torch.ones(SIZE, SIZE, dtype=torch.uint8), "under")
    got = paste(under, generator())
    corner = torch.zeros(SIZE, SIZE, dtype=torch.bool)
    corner[:8, :8] = True
    assert torch.equal(got.mask, torch.where(corner, 2, 1).to(torch.uint8))
    assert torch.equal(got.image, torch.where(corner, 2, 9).to(torch.uint8).expand(3, -1, -1))
    assert (got.name, dict(got.maps)) == ("under", {})
    assert int(under.mask.sum()) == SIZE * SIZE  # the sample that went in is as it was


def test_extra_maps_learn_what_was_pasted() -> None:
    under = sample(1)
    under = under._replace(maps={"copy": MaskCopy(under.mask)})
    got = CopyPaste(lambda index: sample(2), [[0]], unchanged, 1.0)(under, generator())
    assert torch.equal(got.maps["copy"].tensor, got.mask)
    assert not torch.equal(got.mask, under.mask)


def test_classes_are_drawn_alike_however_many_images_show_them() -> None:
    read: list[int] = []

    def reader(index: int) -> Sample:
        read.append(index)
        return sample(1)

    paste = CopyPaste(reader, [[0], list(range(1, 100))], unchanged, 0.5)
    for seed in range(2000):
        paste(sample(1), generator(seed))
    assert 900 < len(read) < 1100
    assert 0.44 < Counter(read)[0] / len(read) < 0.56


def test_nothing_to_paste() -> None:
    one = sample(1)
    assert CopyPaste(lambda index: one, [], unchanged, 1.0)(one, generator()) is one
