from __future__ import annotations

import pytest
from torch import Tensor

from vocseg.data.dataset import SplitDataset
from vocseg.errors import ExportError
from vocseg.export.parity import Parity, compare
from vocseg.inference.segmenter import Segmenter
from vocseg.metrics import ConfusionMatrix
from vocseg.models import SegmentationModel


def test_pixels_are_counted_and_both_are_scored(model: SegmentationModel, val_set: SplitDataset) -> None:
    exact = Segmenter(model, exact=True, device="cpu")
    seen = [(sample.image, sample.mask) for sample in (val_set.read(0), val_set.read(1))]
    wrong = 0
    pixels = sum(mask.numel() for _, mask in seen)

    def masker(inputs: Tensor) -> Tensor:
        nonlocal wrong
        mask = exact(inputs[0]).mask.clone()
        mask[:3] = (mask[:3] + 1) % len(val_set.classes)
        wrong += mask[:3].numel()
        return mask[None]

    masker(seen[0][0][None])  # as often as compare() warms up
    warm = wrong
    wrong = 0
    parity = compare(masker, exact, exact, seen)
    assert parity.images == 2
    assert parity.same_pixels == pytest.approx(1 - (wrong - warm) / pixels)
    matrix = ConfusionMatrix(val_set.classes)
    for image, mask in seen:
        matrix.update(exact(image).mask, mask)
    assert parity.model_miou == matrix.compute().miou
    assert parity.miou != parity.model_miou


@pytest.mark.parametrize(("miou", "passes"), [(0.6971, True), (0.6969, False), (0.71, True)])
def test_int8_may_lose_so_many_points(miou: float, passes: bool) -> None:
    parity = Parity(335, 0.95, miou, 0.7, 0.01, 0.02)
    if passes:
        parity.check(0.3)
    else:
        with pytest.raises(ExportError, match=r"mIoU 69\.69, the model's is 70\.00: 0\.31 points lost, 0\.3 allowed"):
            parity.check(0.3)


@pytest.mark.parametrize(("same", "passes"), [(0.9991, True), (0.9989, False)])
def test_float_files_must_agree_in_999_of_1000_pixels(same: float, passes: bool) -> None:
    parity = Parity(4, same, 0.7, 0.7, 0.01, 0.02)
    if passes:
        parity.check(None)
    else:
        with pytest.raises(ExportError, match=r"class to only 99\.89% of the pixels; at least 99\.9% are required"):
            parity.check(None)
