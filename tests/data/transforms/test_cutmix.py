from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from maps import MaskCopy
from vocseg import voc
from vocseg.data.dataset import Sample
from vocseg.data.transforms.cutmix import SHARES, SIDES, Mixing

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
