from __future__ import annotations

from pathlib import Path

import pytest

from vocseg.training.config import TrainConfig


@pytest.fixture
def quick(synth: Path, tmp_path: Path) -> TrainConfig:
    """TrainConfig of a run of five steps, to be written to ``tmp_path / "run"``."""
    return TrainConfig(
        data=str(synth), model="simple_conv_net", crop=24, batch_size=4, epochs=3, lr=0.02, out=str(tmp_path / "run"),
        workers=0, precision="float32", device="cpu",
    )  # fmt: skip


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    """A checkpoint after each step."""
    monkeypatch.setattr("vocseg.training.loop.CHECKPOINT_SECONDS", 0.0)
