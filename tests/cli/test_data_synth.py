"""`vocseg data synth`."""

from __future__ import annotations

import json
from pathlib import Path

from verbs import Run


def test_synth(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "data", "synth", tmp_path / "d", "--train", 3, "--val", 2, "--size", "32x32", "--json", tmp_path / "s.json"
    )
    assert code == 0, err
    assert "3 train and 2 val images" in out
    assert json.loads((tmp_path / "s.json").read_text())["images_per_class"]["background"] == 5
