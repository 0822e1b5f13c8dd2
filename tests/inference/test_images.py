from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vocseg.errors import DataError
from vocseg.inference import images
from vocseg.inference.images import batches_by_size, stacked, to_pixels

SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), max_size=60)


@given(SIZES, st.integers(1, 5), st.integers(1, 12))
def test_batches_by_size(sizes: list[tuple[int, int]], limit: int, window: int) -> None:
    before, images.WAITING = images.WAITING, window
    try:
        taken = 0
        batches = []
        for batch in batches_by_size(enumerate(sizes), lambda item: item[1], lambda size: limit * size[0]):
            taken += len(batch)
            batches.append(batch)
            assert len({size for _, size in batch}) == 1
            assert len(batch) <= limit * batch[0][1][0]
            assert [number for number, _ in batch] == sorted(number for number, _ in batch)
    finally:
        images.WAITING = before
    assert sorted(item for batch in batches for item in batch) == list(enumerate(sizes))


def test_no_image_waits_for_more_than_the_window() -> None:
    reached = -1

    def count(total: int) -> object:
        nonlocal reached
        for number in range(total):
            reached = number
            yield number, (9, 9) if number == 0 else (4, 4)

    batches = batches_by_size(count(10_000), lambda item: item[1], lambda size: 16)  # type: ignore[arg-type, var-annotated]
    assert any(batch[0][0] == 0 for batch in batches if reached <= images.WAITING + 1)
    assert reached < 10_000


def test_one_tensor_is_not_copied() -> None:
    one = torch.zeros(3, 4, 5)
    assert stacked([one]).data_ptr() == one.data_ptr()
    assert torch.equal(stacked([one, one + 1]), torch.stack([one, one + 1]))


@pytest.mark.parametrize("value", [3, torch.zeros(3, 4, 4), torch.zeros(4, 4, dtype=torch.uint8), None])
def test_what_is_not_an_image(value: object) -> None:
    with pytest.raises(DataError, match="an image is a file, a Pillow image, or uint8 pixels"):
        to_pixels(value)
