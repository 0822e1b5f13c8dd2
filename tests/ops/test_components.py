"""Components against SciPy's, label by label."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from vocseg.ops.components import components, piece_starts


@given(st.integers(0, 9999), st.integers(1, 12), st.integers(1, 12), st.integers(1, 4))
@settings(max_examples=150, deadline=None)
def test_components_are_those_of_each_label(seed: int, height: int, width: int, labels: int) -> None:
    image = np.random.default_rng(seed).integers(0, labels, (height, width)).astype(np.uint8)
    got = components(image).at(np.arange(image.size)).reshape(image.shape)
    want, number = np.zeros(image.shape, dtype=int), 0
    for label in range(labels):
        numbered, count = ndimage.label(image == label, np.ones((3, 3)))
        want += np.where(numbered > 0, numbered + number, 0)
        number += count
    assert len(set(zip(got.ravel(), want.ravel(), strict=True))) == number == got.max() + 1


def test_pieces_of_two_maps() -> None:
    one, two = np.array([[1, 1, 0, 0]], np.uint8), np.array([[5, 5, 5, 6]], np.uint8)
    assert piece_starts(one, two).tolist() == [0, 2, 3]
