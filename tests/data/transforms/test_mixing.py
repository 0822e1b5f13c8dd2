from __future__ import annotations

from collections import Counter

import torch
from hypothesis import given
from hypothesis import strategies as st

from maps import MaskCopy
from vocseg import voc
from vocseg.data.dataset import Sample
from vocseg.data.transforms.mixing import SHARES, SIDES, CopyPaste, Mixing

SIZE = 64


def samples(cell: int | None = 8, number: int = 4) -> list[Sample]:
    """Image, mask and map of place i are i * 10 throughout."""
    masks = [torch.full((SIZE, SIZE), 10 * place, dtype=torch.uint8) for place in range(number)]
    maps = [{"copy": MaskCopy(mask, cell)} if cell else {} for mask in masks]
    return [Sample(mask.repeat(3, 1, 1), mask, str(place), maps[place]) for place, mask in enumerate(masks)]


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_chances_nothing_is_mixed() -> None:
    given_ = samples()
    assert all(one is other for one, other in zip(Mixing()(given_, generator()), given_, strict=True))


@given(st.integers(0, 1000), st.sampled_from([8, 4, None]))
def test_a_rectangle_brings_its_mask_and_maps(seed: int, cell: int | None) -> None:
    given_ = samples(cell)
    for place, mixed in enumerate(Mixing(1.0, 0.0)(given_, generator(seed))):
        foreign = mixed.mask != 10 * place
        assert torch.equal(mixed.image, mixed.mask.expand(3, -1, -1))
        if foreign.any():
            rows, columns = foreign.any(1), foreign.any(0)
            assert torch.equal(foreign, rows[:, None] & columns)  # a rectangle
            for side in (int(rows.sum()), int(columns.sum())):
                assert SIDES[0] * SIZE - (cell or 1) <= side <= SIDES[1] * SIZE + (cell or 1)
                assert side % (cell or 1) == 0
            assert len(mixed.mask[foreign].unique()) == 1
        assert all(torch.equal(values.tensor, mixed.mask) for values in mixed.maps.values())
    assert all(torch.equal(one.mask, other.mask) for one, other in zip(given_, samples(cell), strict=True))  # not changed


@given(st.integers(0, 1000))
def test_a_blend_is_void_and_its_maps_blend_alike(seed: int) -> None:
    for place, mixed in enumerate(Mixing(0.0, 1.0)(samples(), generator(seed))):
        assert (mixed.mask == voc.VOID).all()
        (value,) = mixed.image.unique().tolist()
        assert mixed.maps["copy"].tensor.unique().tolist() == [value]
        shares = [abs(value - 10 * place) / abs(other - place) / 10 for other in range(4) if other != place]
        assert value == 10 * place or any(1 - SHARES[1] - 0.06 <= share <= 1 - SHARES[0] + 0.06 for share in shares)


def test_chances() -> None:
    mixed = [one for seed in range(400) for one in Mixing(0.25, 0.25)(samples(), generator(seed))]
    assert 0.2 < sum(int(one.mask[0, 0]) == voc.VOID for one in mixed) / 1600 < 0.3


def test_same_seed_same_batch() -> None:
    one, two = (Mixing(0.5, 0.5)(samples(), generator(3)) for _ in range(2))
    for first, second in zip(one, two, strict=True):
        assert torch.equal(first.image, second.image)
        assert torch.equal(first.mask, second.mask)


SIDE = 16


def with_object(label: int) -> Sample:
    """A gray image of its label's value; the object is the top left quarter, with a void row below it."""
    mask = torch.zeros(SIDE, SIDE, dtype=torch.uint8)
    mask[:8, :8] = label
    mask[8, :8] = 255
    return Sample(torch.full((3, SIDE, SIDE), label, dtype=torch.uint8), mask, str(label))


def unchanged(sample: Sample, generator: torch.Generator) -> Sample:
    return sample


def test_objects_cover_and_nothing_else_does() -> None:
    paste = CopyPaste(lambda index: with_object(2), [[0]], unchanged, 1.0)
    under = Sample(torch.full((3, SIDE, SIDE), 9, dtype=torch.uint8), torch.ones(SIDE, SIDE, dtype=torch.uint8), "under")
    got = paste(under, generator())
    corner = torch.zeros(SIDE, SIDE, dtype=torch.bool)
    corner[:8, :8] = True
    assert torch.equal(got.mask, torch.where(corner, 2, 1).to(torch.uint8))
    assert torch.equal(got.image, torch.where(corner, 2, 9).to(torch.uint8).expand(3, -1, -1))
    assert (got.name, dict(got.maps)) == ("under", {})
    assert int(under.mask.sum()) == SIDE * SIDE  # the sample that went in is as it was


def test_extra_maps_learn_what_was_pasted() -> None:
    under = with_object(1)
    under = under._replace(maps={"copy": MaskCopy(under.mask)})
    got = CopyPaste(lambda index: with_object(2), [[0]], unchanged, 1.0)(under, generator())
    assert torch.equal(got.maps["copy"].tensor, got.mask)
    assert not torch.equal(got.mask, under.mask)


def test_classes_are_drawn_alike_however_many_images_show_them() -> None:
    read: list[int] = []

    def reader(index: int) -> Sample:
        read.append(index)
        return with_object(1)

    paste = CopyPaste(reader, [[0], list(range(1, 100))], unchanged, 0.5)
    for seed in range(2000):
        paste(with_object(1), generator(seed))
    assert 900 < len(read) < 1100
    assert 0.44 < Counter(read)[0] / len(read) < 0.56


def test_nothing_to_paste() -> None:
    one = with_object(1)
    assert CopyPaste(lambda index: one, [], unchanged, 1.0)(one, generator()) is one
