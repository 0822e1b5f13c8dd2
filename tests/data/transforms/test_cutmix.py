from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st

from vocseg import voc
from vocseg.data.loader import Batch
from vocseg.data.transforms.cutmix import SHARES, SIDES, Mixing
from vocseg.data.transforms.geometry import SOFT_CELL

SIZE = 64


def batch(soft: bool = True, number: int = 4) -> Batch:
    """Image, mask and soft labels of place i are i * 10 throughout."""
    value = 10 * torch.arange(number, dtype=torch.uint8)
    images = value[:, None, None, None].expand(-1, 3, SIZE, SIZE).clone()
    cells = SIZE // SOFT_CELL
    soft_labels = value[:, None, None, None].expand(-1, 5, cells, cells).clone() if soft else None
    return Batch(images, images[:, 0].clone(), [str(place) for place in range(number)], soft_labels)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_without_chances_nothing_is_mixed() -> None:
    given_ = batch()
    mixed = Mixing(0.0, 0.0)(given_, generator())
    assert torch.equal(mixed.images, given_.images)
    assert torch.equal(mixed.masks, given_.masks)


@given(st.integers(0, 1000), st.booleans())
def test_a_rectangle_brings_its_mask_and_soft_labels(seed: int, soft: bool) -> None:
    given_ = batch(soft)
    mixed = Mixing(1.0, 0.0)(given_, generator(seed))
    for place in range(4):
        foreign = mixed.masks[place] != 10 * place
        assert torch.equal(mixed.images[place], mixed.masks[place].expand(3, -1, -1))
        if foreign.any():
            rows, columns = foreign.any(1), foreign.any(0)
            assert torch.equal(foreign, rows[:, None] & columns)  # a rectangle
            for side in (int(rows.sum()), int(columns.sum())):
                assert SIDES[0] * SIZE - SOFT_CELL <= side <= SIDES[1] * SIZE + SOFT_CELL
                assert side % SOFT_CELL == 0
            assert len(mixed.masks[place][foreign].unique()) == 1
        if mixed.soft is not None:
            wide = mixed.soft[place, 0].repeat_interleave(SOFT_CELL, 0).repeat_interleave(SOFT_CELL, 1)
            assert torch.equal(wide, mixed.masks[place])
    assert torch.equal(given_.masks, batch().masks)  # as it was


@given(st.integers(0, 1000))
def test_a_blend_is_void_and_its_soft_labels_blend_alike(seed: int) -> None:
    mixed = Mixing(0.0, 1.0)(batch(), generator(seed))
    assert (mixed.masks == voc.VOID).all()
    assert mixed.soft is not None
    for place in range(4):
        (value,) = mixed.images[place].unique().tolist()
        assert mixed.soft[place].unique().tolist() == [value]
        shares = [abs(value - 10 * place) / abs(other - place) / 10 for other in range(4) if other != place]
        assert value == 10 * place or any(1 - SHARES[1] - 0.06 <= share <= 1 - SHARES[0] + 0.06 for share in shares)


def test_chances() -> None:
    mixed = [Mixing(0.25, 0.25)(batch(), generator(seed)) for seed in range(400)]
    void = sum(int((one.masks[:, 0, 0] == voc.VOID).sum()) for one in mixed) / 1600
    assert 0.2 < void < 0.3


def test_same_seed_same_batch() -> None:
    one, two = (Mixing(0.5, 0.5)(batch(), generator(3)) for _ in range(2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.masks, two.masks)
