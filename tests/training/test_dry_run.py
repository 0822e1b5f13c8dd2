from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.split_summary import check_split
from vocseg.training.config import TrainConfig
from vocseg.training.dry_run import dry_run
from vocseg.training.setup import prepare


@pytest.fixture
def quick(synth: Path) -> TrainConfig:
    return TrainConfig(
        data=str(synth), model="simple_conv_net", crop=24, batch_size=4, workers=0, precision="float32", device="cpu"
    )


def test_dry_run_reports_the_run_and_writes_nothing(quick: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = "\n".join(dry_run(prepare(replace(quick, epochs=10))))
    assert "15 iterations of 4 images, 10 epochs" in lines
    assert "learning rate 0.002" in lines
    assert "s per step" in lines
    assert "share of the pixels that are not void" in lines
    summary = check_split(SplitDataset(VocFolder.find(quick.data), "train"))
    for label, name in enumerate(summary.classes):
        share = int(summary.pixels[label]) / int(summary.pixels[: len(summary.classes)].sum())
        assert re.search(rf"^{name} +{summary.images_per_class[label]} +{100 * share:.2f}% ", lines, re.MULTILINE)
    assert "memory:" in lines
    assert not list(tmp_path.iterdir())
