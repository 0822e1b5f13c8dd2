from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

from vocseg.app import demo

Run = Callable[..., tuple[int, str, str]]


def test_photographs(run: Run, tmp_path: Path) -> None:
    code, out, err = run("demo", "--no-train", "--out", tmp_path / "look", "--json", tmp_path / "demo.json")
    assert code == 0, err
    assert "page: " in out
    values = json.loads((tmp_path / "demo.json").read_text())
    areas = {row["image"]: row["areas"] for row in values["photographs"]}
    # The bundled network knows a cat, people and an image without any of its objects.
    assert areas["chelsea"]["cat"] > 0.6
    assert areas["astronaut"]["person"] > 0.3
    assert areas["camera"]["person"] > 0.2
    assert areas["rocket"]["background"] > 0.9
    assert values["score"]["miou"] > 0.4
    assert values["made_up"] is None
    page = (tmp_path / "look" / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * len(areas)
    assert "Training" not in page
    mask = Image.open(tmp_path / "look" / "photographs" / "chelsea.png")
    assert mask.mode == "P"
    assert mask.size == Image.open(tmp_path / "look" / "photographs" / "chelsea_overlay.jpg").size[:1] + (mask.height,)


def test_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "write_synthetic", lambda folder: demo_data(folder))
    trained = demo.train_made_up(tmp_path, iterations=2, batch_size=2, crop=32, workers=0)
    assert trained.run.best.is_file()
    assert len(trained.predictions) == 2
    assert trained.score.images == 2


def demo_data(folder: Path) -> None:
    from vocseg.data.synthetic import write_synthetic

    write_synthetic(folder, train=4, val=2, size=(40, 48))


def test_the_bundled_network_is_what_one_gets(tmp_path: Path) -> None:
    from vocseg import Segmenter
    from vocseg.models.zoo.vocseg_s import TRAINED

    assert TRAINED.stat().st_size < 8e6
    segmenter = Segmenter(device="cpu")
    assert segmenter.info.architecture == "vocseg-s"
    assert segmenter.info.scores["val"]["images"] == 335
    assert segmenter.info.trained_on
    assert segmenter(torch.zeros(3, 1, 1, dtype=torch.uint8)).mask.shape == (1, 1)
