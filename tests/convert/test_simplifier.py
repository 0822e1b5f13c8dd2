from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from convert.scenes import whole
from vocseg.convert import simplifier
from vocseg.convert.outlines import Traced, trace
from vocseg.convert.regions import fill
from vocseg.convert.simplify import simplified
from vocseg.metrics import ConfusionMatrix

CLASSES = ("background", "a", "b")
LABELS = hnp.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9)), elements=st.sampled_from([0, 1, 2, 255]))


def _drawn(traced: Traced, labels: np.ndarray) -> np.ndarray:
    """Each part filled by itself, its holes cleared."""
    found = np.zeros_like(labels)
    for label, parts in traced.items():
        for part in parts:
            pixels = np.zeros(labels.shape, bool)
            for ring in part.rings:
                pixels ^= whole(fill(ring, *labels.shape), *labels.shape)
            found[pixels] = label
    return found


@settings(deadline=None, max_examples=50)
@given(st.lists(LABELS, min_size=1, max_size=3), st.sampled_from([0.8, 2]))
def test_loss_is_that_of_masks_drawn_one_by_one(maps: list[np.ndarray], pixels: float) -> None:
    matrix, corners = ConfusionMatrix((*CLASSES, "void")), np.zeros(2, int)
    simplify = simplifier.Simplifier(pixels, CLASSES)
    for labels in maps:
        exact = trace(labels)
        fewer = simplify(exact, labels.shape)
        assert str(fewer) == str(simplified(exact, labels.shape, pixels))
        drawn, true = (torch.from_numpy(np.where(each == 255, 3, each)) for each in (_drawn(fewer, labels), labels))
        matrix.update(drawn, true)
        for number, traced in enumerate((exact, fewer)):
            parts = [part for label in (1, 2, 255) for part in traced.get(label, [])]
            corners[number] += sum(len(part.outline) + sum(map(len, part.holes)) for part in parts)
    loss = simplify.loss()
    assert loss is not None
    assert loss.miou == pytest.approx(matrix.compute().miou)
    assert loss.corners == tuple(corners)
    assert loss.to_dict() == {"pixels": pixels, "corners": {"before": corners[0], "after": corners[1]}, "miou": loss.miou}


def test_strips_and_threads_do_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    y, x = np.mgrid[:40, :50]
    maps = [((y - 20) ** 2 + (x - 20 - number) ** 2 < 200).astype(np.uint8) for number in range(8)]
    one = simplifier.Simplifier(1.5, CLASSES)
    for labels in maps:
        one(trace(labels), labels.shape)
    monkeypatch.setattr(simplifier, "STRIP", 333)
    other = simplifier.Simplifier(1.5, CLASSES)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda labels: other(trace(labels), labels.shape), maps))
    assert one.loss() == other.loss()
    assert str(one.loss()).startswith("polygons simplified by up to 1.5 px: ")


def test_nothing_simplified_lost_nothing() -> None:
    exact = trace(np.eye(3, dtype=np.uint8))
    simplify = simplifier.Simplifier(0, CLASSES)
    assert simplify(exact, (3, 3)) is exact
    assert simplify.loss() is None
