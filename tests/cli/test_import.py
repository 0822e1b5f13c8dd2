"""`vocseg --import`: a network of the user's own works in every verb."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from vocseg import voc

Run = Callable[..., tuple[int, str, str]]

NETWORK = """
from torch import nn
from vocseg import register_model

@register_model(class_layers=["head"])
class tiny_net(nn.Module):
    def __init__(self, num_classes):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.ReLU())
        self.head = nn.Conv2d(8, num_classes, 1)

    def forward(self, images):
        return self.head(self.body(images))
"""

SEVERAL = """
import json, sys
from vocseg.cli.main import main
for verb in json.loads(sys.argv[1]):
    try:
        main(verb)
    except SystemExit as stop:
        assert not stop.code, (verb, stop.code)
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    path = tmp_path / "code" / "my_nets.py"
    path.parent.mkdir()
    path.write_text(NETWORK)
    return path


def vocseg(folder: Path, *verbs: list[str]) -> str:
    """Run verbs one after another in a new process."""
    command = [sys.executable, "-c", SEVERAL, json.dumps(verbs)]
    environment = os.environ | {"PYTHONPATH": str(Path(importlib.import_module("vocseg").__file__ or "").parents[1])}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_a_users_network_in_every_verb(synth: Path, tmp_path: Path, nets: Path, run: Run) -> None:
    own, image = ["--import", "code/my_nets.py"], str(min((synth / voc.IMAGES).iterdir()))
    best = "run/best.safetensors"
    train = ["train", "--data", str(synth), "--model", "tiny_net", "--crop", "16", "--batch-size", "2", "--workers", "1"]
    vocseg(tmp_path, [*train, "--epochs", "1", "--out", "run", *own])
    verbs = [
        ["train", "--resume", "run", "--epochs", "2"],
        ["evaluate", best, "--data", str(synth), "--json", "evaluate.json"],
        ["predict", image, "--model", best],
        ["models", "tiny*", "--json", "models.json"],
        ["bench", best, "--size", "32x32", "--rounds", "1", "--json", "bench.json"],
    ]
    if all(importlib.util.find_spec(name) for name in ("onnx", "onnxscript", "onnxruntime")):
        verbs.append(["export", best, "--out", "tiny.onnx"])
    out = vocseg(tmp_path, *([*own, *verb] for verb in verbs))
    assert "resumed at iteration 3 of 6" in out
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == 2
    assert 0 <= json.loads((tmp_path / "evaluate.json").read_text())["miou"] <= 1
    assert (tmp_path / "predictions" / Path(image).with_suffix(".png").name).is_file()
    assert [row["name"] for row in json.loads((tmp_path / "models.json").read_text())["models"]] == ["tiny_net"]
    assert set(json.loads((tmp_path / "bench.json").read_text())["ratios"]) == {"torchvision"}
    if verbs[-1][0] == "export":
        assert (tmp_path / "tiny.onnx").is_file()
    code, _, err = run("evaluate", tmp_path / best, "--data", synth)
    assert (code, err.count("\n")) == (2, 1)
    assert "tiny_net" in err
    assert "--import" in err


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("missing.py", None, "cannot import {}: there is no such file"),
        ("broken_nets.py", "import torch\nnets = nothing\n", "cannot import {}: NameError: name 'nothing' is not defined"),
        ("json.py", "", "cannot import {}: 'json' is another module's name or not a valid one; rename the file"),
        ("my-nets.py", "", "cannot import {}: 'my-nets' is another module's name or not a valid one; rename the file"),
    ],
)
def test_code_that_cannot_be_imported(run: Run, tmp_path: Path, name: str, text: str | None, message: str) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    code, _, err = run("models", "two_layer_net", "--import", path)
    assert (code, err) == (2, f"vocseg: error: {message.format(path)}\n")


def test_modules_by_name(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("vocseg.utils.user_code._imported", [])  # or other tests' processes would import these too
    (tmp_path / "user_package").mkdir()
    (tmp_path / "user_package" / "nets.py").write_text("loaded = True\n")
    assert run("--import", "user_package.nets", "--import=json", "--version")[0] == 0
    assert sys.modules["user_package.nets"].loaded
    code, _, err = run("--import", "no_such_module", "--version")
    assert (code, err) == (
        2,
        "vocseg: error: cannot import no_such_module: ModuleNotFoundError: No module named 'no_such_module'\n",
    )
    code, _, err = run("models", "--import")
    assert (code, err) == (2, "vocseg: error: --import needs a Python file or the name of a module\n")
