"""`vocseg evaluate` and `vocseg score`."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verbs import Run, fails
from vocseg import voc


def test_train_evaluate_score_predict(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    scores, masks = tmp_path / "scores.json", tmp_path / "masks"
    code, out, err = run("evaluate", model, "--data", synth, "--save-masks", masks, "--json", scores)
    assert code == 0, err
    values = json.loads(scores.read_text())
    assert {"miou", "pixel_accuracy", "mean_accuracy", "loss", "per_class", "images", "split"} <= set(values)
    assert values["images"] == 4
    assert f"mIoU {100 * values['miou']:.2f}" in out
    assert "mean over" in out
    assert "of 6 classes" in out
    assert out.splitlines()[-1] == f"written: {masks}, {scores}"

    again = tmp_path / "again.json"
    assert run("score", masks, "--data", synth, "--json", again)[0] == 0
    assert json.loads(again.read_text())["per_class"] == values["per_class"]

    areas = tmp_path / "areas.json"
    code, out, err = run("predict", synth / voc.IMAGES, "--model", model, "--out", tmp_path / "p", "--json", areas)
    assert code == 0, err
    rows = json.loads(areas.read_text())["predictions"]
    assert len(rows) == 10
    for row in rows:
        with Image.open(row["image"]) as image, Image.open(row["mask"]) as mask:
            assert mask.mode == "P"
            assert mask.size == image.size
        assert sum(row["areas"].values()) == pytest.approx(1)
        assert Path(row["overlay"]).is_file()
    name = "synth_000006.png"
    assert np.array_equal(np.array(Image.open(masks / name)), np.array(Image.open(tmp_path / "p" / name)))


def test_a_name_with_a_weights_file_is_the_model_of_that_file(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    """The classes come from the file as well."""
    for name, arguments in (("file", [model]), ("name", ["simple_conv_net", "--weights", model])):
        code, _, err = run("evaluate", *arguments, "--data", synth, "--json", tmp_path / f"{name}.json")
        assert code == 0, err
    of_file, of_name = (json.loads((tmp_path / f"{name}.json").read_text()) for name in ("file", "name"))
    assert of_name["per_class"] == of_file["per_class"]


@pytest.mark.parametrize("verb", [("predict", "photo.jpg"), ("evaluate",), ("export",)])
def test_untrained_networks_are_refused(run: Run, synth: Path, tmp_path: Path, verb: tuple[str, ...]) -> None:
    files = [min((synth / voc.IMAGES).iterdir()) if part == "photo.jpg" else part for part in verb[1:]]
    name = [*files, "--model", "unet:resnet18"] if files else ["unet:resnet18"]
    more = ["--data", synth] if verb[0] == "evaluate" else ["--out", tmp_path / "out.onnx"]
    fails(run(verb[0], *name, *more), "unet:resnet18 has no pretrained segmentation weights; train it, or give weights: a file")
    assert not any(tmp_path.iterdir())
