from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocseg import voc
from vocseg.errors import ModelError
from vocseg.models.base import Padding
from vocseg.models.info import ModelInfo


@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(1, 1000))
def test_input_size(height: int, width: int, short: int) -> None:
    assert ModelInfo("net", ("a",)).input_size(height, width) == (height, width)
    tall, wide = ModelInfo("net", ("a",), short_side=short).input_size(height, width)
    assert min(tall, wide) == short
    assert abs(tall * width - wide * height) <= max(height, width)


@given(st.integers(1, 2000), st.integers(1, 64), st.integers(0, 1), st.integers(0, 3))
def test_padded_sides_are_the_next_that_fit(length: int, multiple: int, extra: int, least: int) -> None:
    smallest = least * multiple + extra if least else 1
    fitting = (side for side in range(length, length + smallest + multiple + 2) if (side - extra) % multiple == 0)
    assert Padding(multiple, extra, smallest).side(length) == next(side for side in fitting if side >= smallest)


def test_info_survives_json() -> None:
    info = ModelInfo("net", ("a", "b"), short_side=77, trained_on="nothing", scores={"val": {"miou": 0.5}})
    assert ModelInfo.from_json(info.to_json(), "file") == info
    assert info.palette == voc.PALETTE[:2]


def test_other_classes_are_named() -> None:
    info = ModelInfo("net", ("background", "cat", "dog"))
    info.check_classes(("background", "cat", "dog"), "data")
    with pytest.raises(ModelError, match=r"^model net has 3 classes, data has 3; the first to differ: 'dog' against 'cow'$"):
        info.check_classes(("background", "cat", "cow"), "data")
    with pytest.raises(ModelError, match=r"^model net has 3 classes, data has 2$"):
        info.check_classes(("background", "cat"), "data")
