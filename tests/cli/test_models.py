"""`vocseg models`."""

from __future__ import annotations

import json
from pathlib import Path

from verbs import Run, fails


def test_models_lists_sizes(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("models", "*_net", "--size", "64x64", "--json", tmp_path / "m.json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "m.json").read_text())["models"]}
    assert set(rows) == {"two_layer_net", "simple_conv_net"}
    assert rows["two_layer_net"]["multiply_adds"] == 64 * 64 * (243 * 100 + 100 * 21)
    assert "0.03" in out
    assert rows["two_layer_net"]["miou"] is rows["two_layer_net"]["miou_on"] is None
    fails(run("models", "nothing*"), "no model matches 'nothing*'")
    fails(run("models", "two_layer"), "unknown model 'two_layer'")
    fails(run("models", "--size", "big"), "size 'big' is not HEIGHTxWIDTH")


def test_scores_name_the_data_that_they_were_measured_on(run: Run, tmp_path: Path) -> None:
    """Scores on other data are not comparable."""
    for name, score in (("vocseg-s", "75.0"), ("lraspp_*", "57.9")):
        code, out, _ = run("models", name, "--size", "64x64", "--json", tmp_path / "m.json")
        assert code == 0
        [row] = json.loads((tmp_path / "m.json").read_text())["models"]
        assert f"{100 * row['miou']:.1f}" == score
        assert all(word in out for word in (score, "mIoU %", row["miou_on"], "[1]"))
