"""Road scenes with a stray void id and no lists, from the files to a score, as the help says it; and wrong use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg.data.samples import FOLDER
from vocseg.data.synthetic import draw_sample

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def roads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in frames, masks of ids 0 to 5 in labels, called _L, with 11 for what is not labeled."""
    root = tmp_path_factory.mktemp("in") / "roads"
    for folder in ("frames", "labels"):
        (root / folder).mkdir(parents=True)
    for number in range(12):
        image, mask = draw_sample(np.random.default_rng(number), (40, 48))
        Image.fromarray(image).save(root / "frames" / f"seq_{number:04d}.jpg")
        Image.fromarray(np.where(mask == 255, 11, mask).astype(np.uint8)).save(root / "labels" / f"seq_{number:04d}_L.png")
    return root


def test_from_files_to_a_score(run: Run, roads: Path, tmp_path: Path) -> None:
    out, trained = tmp_path / "voc_roads", tmp_path / "run"
    code, text, err = run("data", "convert", roads, out, "--void", 11, "--json", tmp_path / "c.json")
    assert code == 0, err
    assert f"folders: {roads / 'frames'} and {roads / 'labels'}" in text
    assert "6 classes, not named in the source: class_0" in text
    assert f"next: vocseg data doctor {out}, vocseg train --data {out} --config finetune\n" in text
    values = json.loads((tmp_path / "c.json").read_text())
    assert values["classes"] == [f"class_{number}" for number in range(6)]
    assert values["images"] == 12
    train, val = values["splits"]["train"], values["splits"]["val"]
    assert (train, val) in ((10, 2), (9, 3))
    assert f"splits: train {train}, val {val}" in text

    options = ["--model", "simple_conv_net", "--epochs", 1, "--crop", 32, "--batch-size", 4, "--workers", 0]
    code, text, err = run("train", "--data", out, "--out", trained, *options)
    assert code == 0, err
    # what it found, in two lines
    assert f"\ntrain: {train} images, " in text
    assert f"\nval: {val} images, " in text
    assert " s so far\n" in text
    code, text, err = run("evaluate", trained / "best.safetensors", "--data", out)
    assert code == 0, err
    assert "of 6 classes" in text


def test_data_of_the_classes_of_vocseg_s_are_for_refine(run: Run, tmp_path: Path) -> None:
    code, text, err = run("data", "convert", FOLDER, tmp_path / "out")
    assert (code, text.endswith("--config refine\n")) == (0, True), err


def test_class_names_in_every_way(run: Run, roads: Path, tmp_path: Path) -> None:
    names = ["sky", "road", "car", "tree", "sign", "person"]
    listed = tmp_path / "names.txt"
    listed.write_text("\n".join(names) + "\n")
    for number, given in enumerate((",".join(names), listed)):
        out = tmp_path / f"out{number}"
        assert run("data", "convert", roads, out, "--void", 11, "--classes", given)[0] == 0
        assert (out / "classes.txt").read_text().split() == names
        assert np.array_equal(
            np.array(Image.open(out / "SegmentationClass" / "seq_0000.png")) == 255,
            np.array(Image.open(roads / "labels" / "seq_0000_L.png")) == 11,
        )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--classes", "a,b,c,d,e,f"], ["seq_0000_L.png holds label 11", "--void 11"]),
        (["--classes", "a.txt"], ["classes 'a.txt' is neither a file nor names"]),
        (["--classes", "a,b,a"], ["classes names 'a' twice"]),
        (["--void", "sky"], ["void 'sky' is neither a label nor a class"]),
        (["--splits", "0.5"], ["splits '0.5' is neither a folder of lists nor fractions"]),
        (["--from", "xml"], ["--from"]),
        (["--from", "yolo"], ["no YAML file with 'names'"]),
        (["--from", "coco"], ["no COCO annotation file"]),
        (["--from", "label-studio"], ["no Label Studio export"]),
        (["--from", "labelme"], ["no LabelMe file"]),
        (["--from", "supervisely"], ["cannot read", "meta.json"]),
        (["--from", "voc"], ["not in VOC layout"]),
        (["--from", "coco", "--colors", "c.csv"], ["--colors is for masks in folders, not for coco"]),
        (["--colors", "gone.csv"], ["cannot read color table gone.csv"]),
        (["--images", "a", "--masks", "b"], ["a is not a folder"]),
    ],
)
def test_wrong_use_is_one_line(run: Run, roads: Path, tmp_path: Path, arguments: list[str], parts: list[str]) -> None:
    code, _, err = run("data", "convert", roads, tmp_path / "out", *arguments)
    assert code == 2
    assert err.startswith("vocseg: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert part in err
    assert not list(tmp_path.iterdir())


def test_many_classes(run: Run, tmp_path: Path) -> None:
    """Far beyond VOC's 21: 150 classes go through conversion, training and scoring."""
    root = tmp_path / "in"
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for number in range(5):
        rng = np.random.default_rng(number)
        Image.fromarray(rng.integers(0, 256, (48, 48, 3), dtype=np.uint8)).save(root / "images" / f"{number}.png")
        mask = rng.permutation(np.arange(48 * 48) % 150).astype(np.uint8).reshape(48, 48)
        Image.fromarray(mask).save(root / "masks" / f"{number}.png")
    assert run("data", "convert", root, tmp_path / "out")[0] == 0
    options = ["--model", "simple_conv_net", "--epochs", 1, "--crop", 32, "--batch-size", 2, "--workers", 0]
    code, text, err = run("train", "--data", tmp_path / "out", "--out", tmp_path / "run", *options)
    assert code == 0, err
    assert "train: 4 images, 150 of 150 classes, 0.0% void" in text
    code, _, err = run(
        "predict", root / "images", "--model", tmp_path / "run" / "best.safetensors", "--out", tmp_path / "predictions"
    )
    assert code == 0, err


def test_out_of_voc(run: Run, synth: Path, tmp_path: Path) -> None:
    assert run("data", "convert", synth, tmp_path / "coco", "--to", "coco", "--segments", "polygons", "--objects", "parts")[0] == 0
    assert sorted(path.name for path in (tmp_path / "coco" / "annotations").iterdir()) == [
        "train.json",
        "trainval.json",
        "val.json",
    ]
    code, text, _ = run("data", "convert", synth, tmp_path / "yolo", "--to", "yolo")
    assert code == 0
    assert "10 images in YOLO format" in text
    assert (tmp_path / "yolo" / "data.yaml").is_file()
