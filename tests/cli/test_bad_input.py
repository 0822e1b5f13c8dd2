"""Bad input and outputs that would replace something: one line that names the file and the value, exit code 2."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verbs import TRAIN, Run, fails
from vocseg import voc


def both(run: Run, data: Path, model: Path, out: Path, *parts: object) -> None:
    """Training and evaluation on damaged data both fail, naming ``parts``, and leave nothing behind."""
    fails(run("train", "--data", data, "--out", out, "--split", "val", *TRAIN), *parts)
    fails(run("evaluate", model, "--data", data, "--json", out / "x.json"), *parts)
    assert not out.exists()


def test_missing_data(run: Run, model: Path, tmp_path: Path) -> None:
    both(run, tmp_path / "nowhere", model, tmp_path / "out", tmp_path / "nowhere", "does not exist")


def test_missing_and_empty_split_lists(run: Run, damaged: Path, model: Path, tmp_path: Path) -> None:
    path = damaged / voc.SPLITS / "val.txt"
    path.write_text("\n")
    both(run, damaged, model, tmp_path / "out", path, "is empty")
    path.unlink()
    both(run, damaged, model, tmp_path / "out", path, "no split list")


@pytest.mark.parametrize(("folder", "suffix", "kind"), [(voc.IMAGES, "jpg", "image"), (voc.MASKS, "png", "mask")])
def test_id_without_its_file(run: Run, damaged: Path, model: Path, tmp_path: Path, folder: str, suffix: str, kind: str) -> None:
    (damaged / folder / f"synth_000008.{suffix}").unlink()
    both(run, damaged, model, tmp_path / "out", f"id 'synth_000008' has no {kind}", damaged / folder)


def test_defective_files(run: Run, damaged: Path, model: Path, tmp_path: Path) -> None:
    image, mask = damaged / voc.IMAGES / "synth_000008.jpg", damaged / voc.MASKS / "synth_000008.png"
    content, truth = image.read_bytes(), Image.open(mask).copy()
    image.write_bytes(content[: len(content) // 2])
    both(run, damaged, model, tmp_path / "out", image, "truncated")
    Image.open(damaged / voc.IMAGES / "synth_000007.jpg").resize((20, 20)).save(image)
    both(run, damaged, model, tmp_path / "out", image, "is 20x20", mask)
    image.write_bytes(content)
    truth.convert("RGB").save(mask)
    both(run, damaged, model, tmp_path / "out", mask, "RGB color image")
    labels = np.array(truth)
    labels[0, 0] = 77
    Image.fromarray(labels).save(mask)
    both(run, damaged, model, tmp_path / "out", mask, "label 77", "0..5")


def test_files_that_are_not_models(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.safetensors"
    text.write_text("no model")
    for verb in (["evaluate", text, "--data", synth], ["predict", synth / voc.IMAGES, "--model", text]):
        fails(run(*verb), text, "is not a model file")
    fails(run("evaluate", "fcn_resnet", "--data", synth), "unknown model 'fcn_resnet'", "did you mean 'fcn_resnet")
    fails(
        run("evaluate", "two_layer_net", "--weights", "none", "--data", synth),
        "model two_layer_net has 21 classes",
        synth,
        "'aeroplane' against 'disc'",
    )


def test_inputs_are_never_replaced(run: Run, damaged: Path, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", True)  # Python's cache beside code that is imported
    images, masks, lists = (damaged / name for name in (voc.IMAGES, voc.MASKS, voc.SPLITS))
    image, mask, val, classes = images / "synth_000008.jpg", masks / "synth_000008.png", lists / "val.txt", damaged / "classes.txt"
    ours, photo = tmp_path / "model.safetensors", tmp_path / "photo.png"
    shutil.copy(model, ours)
    Image.new("RGB", (20, 20)).save(photo)
    (tmp_path / "link").symlink_to(masks)
    (damaged / "hand").mkdir()
    shutil.copy(mask, damaged / "hand")
    scored = tmp_path / "scored"
    shutil.copytree(masks, scored)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    code, palette, own = (tmp_path / name for name in ("own_code.py", "colors.txt", "own.png"))
    code.write_text("x = 1\n")
    palette.write_text("disc 1 2 3\n")
    shutil.copy(photo, own)
    before |= {path: path.read_bytes() for path in (code, palette, own)}
    evaluate, on = ("evaluate", ours, "--data", damaged), ("--model", ours)
    for folder in (masks, images, tmp_path / "link", masks / ".." / masks.name, tmp_path / "link" / "deep"):
        fails(run(*evaluate, "--save-masks", folder), "cannot write", folder)
        fails(run("predict", photo, *on, "--out", folder), "cannot write", folder)
    fails(run("predict", image, *on, "--out", damaged / "hand"), damaged / "hand" / "synth_000008.png", "belongs to the data set")
    for output in (image, mask, val, classes, ours):
        fails(run(*evaluate, "--json", output), "cannot write", output)
    for output in (image, mask, val, classes, scored / mask.name):
        fails(run("score", scored, "--data", damaged, "--json", output), "cannot write", output)
    for output in (photo, mask, ours):
        fails(run("predict", photo, *on, "--out", tmp_path / "out", "--json", output), "cannot write", output)
    for output in (image, images / "synth_000008.png", mask):
        fails(run("data", "show", damaged, "synth_000008", "--out", output), "cannot write", output)
    for output in (image, classes, val):
        fails(run("data", "stats", damaged, "--json", output), "cannot write", output)
        fails(run("data", "doctor", damaged, "--html", output), "cannot write", output)
        fails(run("data", "convert", damaged, tmp_path / "new", "--json", output), "cannot write", output)
        fails(run("train", "--data", damaged, *TRAIN, "--out", tmp_path / "run", "--json", output), "cannot write", output)
        fails(run("data", "synth", tmp_path / "s", "--json", output), "cannot write", output)
        fails(run("models", "two_layer_net", "--json", output), "cannot write", output)
    fails(run("data", "stats", damaged, "--out", masks), "cannot write", masks)
    fails(run("data", "show", damaged, "--out", own), "cannot write", own, "vocseg did not write it")
    with_palette = ("predict", photo, *on, "--palette", palette, "--import", code, "--out", tmp_path / "out")
    for output in (palette, code, own, tmp_path / "out" / "photo.png"):
        fails(run(*with_palette, "--json", output), "cannot write", output)
    for folder in (damaged, images, masks / "run"):
        fails(run("train", "--data", damaged, *TRAIN, "--out", folder), "cannot write", folder)
    run_folder = tmp_path / "r"
    fails(run("train", "--data", damaged, *TRAIN, "--out", run_folder, "--json", run_folder / model.name), "a file of the run")
    fails(run("export", ours, "--out", tmp_path / "a.onnx", "--json", tmp_path / "a.onnx"), "two outputs have this name")
    fails(run("data", "doctor", damaged, "--json", tmp_path / "a", "--html", tmp_path / "a"), "two outputs have this name")
    fails(run("bench", ours, "--json", ours), "cannot write", ours)
    fails(run("export", ours, "--out", tmp_path / "a.onnx", "--json", ours), "cannot write", ours)
    shutil.copy(ours, tmp_path / "b.bin")  # a weights file, and where OpenVINO's weights would go
    fails(run("export", tmp_path / "b.bin", "--to", "openvino", "--out", tmp_path / "b.xml"), "cannot write", tmp_path / "b.bin")
    (tmp_path / "b.bin").unlink()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_memory_is_no_place_for_the_outputs_of_a_command(run: Run, synth: Path) -> None:
    fails(run("predict", synth, "--out", "memory://a"), "memory://a would be gone when the command ends")


def test_unwritable_outputs(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    block = tmp_path / "file"
    block.touch()
    fails(run("train", "--data", synth, "--out", block / "run", *TRAIN), "cannot write", block / "run")
    fails(run("evaluate", model, "--data", synth, "--save-masks", block), "cannot write", block)
    fails(run("evaluate", model, "--data", synth, "--json", block / "x.json"), "cannot write", block / "x.json")
    fails(run("predict", synth / voc.IMAGES, "--model", model, "--out", block), "cannot write", block)
    fails(run("data", "synth", block), block, "is not an empty folder")
