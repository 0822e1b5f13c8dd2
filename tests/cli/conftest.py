from __future__ import annotations

from pathlib import Path

import pytest

from vocseg.cli.main import main


@pytest.fixture(scope="session")
def model(synth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder's best model, trained a little through the command line."""
    out = tmp_path_factory.mktemp("run") / "run"
    arguments = ["train", "--data", str(synth), "--model", "simple_conv_net", "--crop", "32", "--batch-size", "3", "--epochs", "2"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--lr", "0.02", "--out", str(out), "--workers", "0"])
    assert not stop.value.code
    return out / "best.safetensors"
