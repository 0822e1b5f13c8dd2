from __future__ import annotations

from pathlib import Path

import pytest

from vocseg.app import demo


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "write_synthetic", lambda folder: demo_data(folder))
    trained = demo.train_synthetic(tmp_path, iterations=2, batch_size=2, crop=32, workers=0)
    assert trained.run.best.is_file()
    assert len(trained.predictions) == 2
    assert trained.score.images == 2


def demo_data(folder: Path) -> None:
    from vocseg.data.synthetic import write_synthetic

    write_synthetic(folder, train=4, val=2, size=(40, 48))
