from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.evaluation.evaluate import evaluate_split as evaluate
from vocseg.inference.segmenter import Segmenter
from vocseg.models.zoo.vocseg_s import TRAINED

RESULTS = Path(__file__).parents[3] / "docs" / "results.md"


@pytest.mark.real_voc
def test_the_tables_score_is_that_of_the_file(real_voc: Path) -> None:
    row = re.search(r"^\| vocseg-s \| val_2007 \| (\d+) \|.*\| ([\d.]+) \|$", RESULTS.read_text(encoding="utf-8"), re.MULTILINE)
    assert row is not None
    dataset = SplitDataset(VocFolder.find(real_voc), "val_2007")
    if len(dataset) != int(row[1]):
        pytest.skip(f"the table is of {row[1]} images, there are {len(dataset)}")
    result = evaluate(Segmenter(), dataset, workers=1)
    assert 100 * result.scores.miou == pytest.approx(float(row[2]), abs=0.2)


def test_the_included_network_is_the_default() -> None:
    assert TRAINED.stat().st_size < 8e6
    segmenter = Segmenter(device="cpu")
    assert segmenter.info.architecture == "vocseg-s"
    assert segmenter.info.scores["val"]["images"] == 335
    assert segmenter.info.trained_on
    assert segmenter(torch.zeros(3, 1, 1, dtype=torch.uint8)).mask.shape == (1, 1)
