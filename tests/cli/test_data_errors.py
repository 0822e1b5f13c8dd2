"""`vocseg data errors`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from verbs import Run, fails
from vocseg import draw, voc
from vocseg.data.image_io import read_mask
from vocseg.data.pack import pack
from vocseg.data.samples import FOLDER


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = Path(shutil.copytree(FOLDER, tmp_path / "samples"))
    path = root / voc.MASKS / "chelsea.png"
    mask = read_mask(path).numpy()
    draw.save_mask(torch.from_numpy(np.where(mask == 8, 0, mask).astype(np.uint8)), path)
    return root


def test_find_review_and_take_back(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "errors"
    code, text, err = run("data", "errors", data, "--split", "samples", "--min-area", 0.1, "--out", out)
    assert code == 0, err
    assert "predicted objects that the labels do not have: 1" in text
    assert "probabilities perhaps in sample for 4 images" in text
    assert "most doubtful images: chelsea" in text
    assert (out / "index.html").is_file()
    values = json.loads((out / "review.json").read_text())
    assert values["objects"][0]["suggested"] == "cat"
    fixes = tmp_path / "fixes"
    code, text, err = run("data", "errors", data, "--review", out / "review.json", "--suggest", fixes)
    assert code == 0, err
    assert (fixes / "images" / "chelsea.json").is_file()
    code, _, err = run("data", "convert", data, tmp_path / "new", "--corrections", fixes)
    assert code == 0, err
    assert (read_mask(tmp_path / "new" / voc.MASKS / "chelsea.png") == 8).any()
    pack(data, tmp_path / "shards")
    code, text, _ = run("data", "errors", tmp_path / "shards", "--review", out / "review.json", "--suggest", tmp_path / "more")
    commands = [line.removeprefix("then: ") for line in text.splitlines() if line.startswith("then: ")]
    assert commands == [
        f"vocseg data unpack {tmp_path / 'shards'} --out COPY",
        f"vocseg data convert COPY NEW --corrections {tmp_path / 'more'}",
    ]


def test_folds(run: Run, synth: Path, tmp_path: Path) -> None:
    (tmp_path / "quick.toml").write_text('model = "two_layer_net"\niterations = 1\ncrop = 32\nbatch_size = 2\nworkers = 0\n')
    options = ("--folds", 2, "--config", tmp_path / "quick.toml", "--out", tmp_path / "errors")
    code, text, err = run("data", "errors", synth, "--split", "trainval", *options)
    assert code == 0, err
    assert "probabilities out of sample: no image was scored by a model that was trained on it" in text


def test_wrong_use(run: Run, data: Path) -> None:
    fails(run("data", "errors", data, "--review", "r.json", "--model", "vocseg-s"), "--review takes what an earlier call found")
    fails(run("data", "errors", data, "--config", "finetune"), "--config is for --folds")
    fails(run("data", "errors", data, "--folds", "2", "--model", "a", "b"), "--folds trains one model")
    fails(run("data", "errors", "none"), "does not exist")
    fails(run("data", "errors", data, "--out", data), f"cannot write {data}", "choose another folder")
