from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vocseg.data.sampling import median_frequency_weights


@given(st.lists(st.tuples(st.integers(0, 10**9), st.floats(1, 50)), min_size=1, max_size=40))
def test_against_numpy(rows: list[tuple[int, float]]) -> None:
    pixels = np.array([count for count, _ in rows], dtype=np.int64)
    shown_in = np.array([int(count * factor) for count, factor in rows], dtype=np.int64)
    weights = median_frequency_weights(torch.from_numpy(pixels), torch.from_numpy(shown_in))
    frequency = pixels[pixels > 0] / shown_in[pixels > 0]
    expected = np.ones(len(rows))
    if frequency.size:
        expected[pixels > 0] = np.sort(frequency)[(len(frequency) - 1) // 2] / frequency
    assert weights.dtype == torch.float32
    assert weights.numpy() == pytest.approx(expected, rel=1e-5)


def test_nothing_shown() -> None:
    assert median_frequency_weights(torch.zeros(3, dtype=torch.int64), torch.zeros(3, dtype=torch.int64)).tolist() == [1, 1, 1]
