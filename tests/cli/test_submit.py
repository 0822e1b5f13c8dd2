"""`vocseg submit`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verbs import Run, fails
from vocseg import voc
from vocseg.data.synthetic import write_synthetic
from vocseg.models import create_model, save_model


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_synthetic(tmp_path / "data", train=2, val=3, size=(24, 32), seed=1)
    (tmp_path / "data" / voc.CLASSES_FILE).unlink()
    return tmp_path / "data"


def test_make_rehearse_and_check(run: Run, data: Path, tmp_path: Path) -> None:
    model = tmp_path / "net.safetensors"
    save_model(model, create_model("simple_conv_net", voc.CLASSES))
    out, scores = tmp_path / "val.tar.gz", tmp_path / "scores.json"
    code, text, err = run("submit", model, "--data", data, "--on", "val", "--out", out, "--json", tmp_path / "a.json")
    assert code == 0, err
    assert "3 masks of val for comp6" in text
    assert run("evaluate", model, "--data", data, "--json", scores)[0] == 0
    ours = json.loads((tmp_path / "a.json").read_text())["scores"]
    assert ours["per_class"] == json.loads(scores.read_text())["per_class"]
    assert f"mIoU {100 * ours['miou']:.2f}" in text
    assert run("submit", "--check", out, "--data", data, "--split", "val")[0] == 0
    code, text, _ = run("submit", "--check", out, "--data", data, "--split", "train", "--json", tmp_path / "check.json")
    assert code == 2
    assert "missing-id (2)" in text
    assert "extra-id (3)" in text
    assert not json.loads((tmp_path / "check.json").read_text())["ok"]


def test_wrong_use(run: Run, data: Path) -> None:
    fails(run("submit", "--data", data), "give a model or a folder of masks, or --check FILE")
    fails(run("submit", "m", "--check", "f", "--data", data), "not both")
    fails(run("submit", "vocseg-s", "--data", data), "no split list")
    fails(run("submit", "vocseg-s", "--data", data, "--on", "val", "--task", "comp5"), "comp5 is for models trained on VOC's own")
