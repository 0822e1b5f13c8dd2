"""The seeded faults and the measure of benchmarks/label_errors.py."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import binary_average_precision

from benchmarks.scripts import load
from vocseg.data.image_io import read_mask
from vocseg.data.layout import VocFolder

script = load("label_errors")


def test_average_precision_is_torchmetrics() -> None:
    generator = torch.Generator().manual_seed(0)
    for _ in range(20):
        scores, truth = torch.rand(30, generator=generator), torch.rand(30, generator=generator) < 0.3
        truth[0] = True
        ranking = [str(place) for place in scores.argsort(descending=True).tolist()]
        found = script.average_precision(ranking, {str(place) for place in truth.nonzero()[:, 0].tolist()})
        assert found == pytest.approx(float(binary_average_precision(scores, truth.int())), abs=1e-6)


@pytest.mark.parametrize("fault", script.FAULTS)
def test_one_object_is_changed(fault: str) -> None:
    mask = np.zeros((40, 50), dtype=np.uint8)
    mask[10:20, 10:30], mask[25:35, 35:45], mask[0, :] = 1, 2, 255
    changed = script.damaged(mask, fault, np.random.default_rng(0), 3)
    differ = changed != mask
    assert differ.any()
    assert not differ[0].any()
    touched = [label for label in (1, 2) if differ[mask == label].any()]
    assert len(touched) == 1
    if fault != "shifted":
        assert differ[mask == touched[0]].all()
        assert not differ[mask == 0].any()
    assert script.damaged(np.zeros((9, 9), np.uint8), fault, np.random.default_rng(0), 3) is None


def test_a_share_of_the_images_is_faulty(synth: Path, tmp_path: Path) -> None:
    source = VocFolder.find(synth)
    names = source.ids("trainval")
    faulty = script.seeded(source, names, tmp_path / "VOC2012", 0, 0.3)
    assert len(faulty) == 3
    assert sorted(faulty.values()) == sorted(script.FAULTS)
    changed = VocFolder.find(tmp_path / "VOC2012")
    assert changed.ids("all") == names
    for name in names:
        assert torch.equal(read_mask(source.mask(name)), read_mask(changed.mask(name))) == (name not in faulty)
