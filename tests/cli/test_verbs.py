"""The main job through the command line, and each kind of bad input: one line that names the file and the value, exit 2."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg import voc

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def model(synth: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder's best model, trained a little through the command line."""
    from vocseg.cli.main import main

    out = tmp_path_factory.mktemp("run") / "run"
    arguments = ["train", "--data", str(synth), "--model", "simple_conv_net", "--crop", "32", "--batch-size", "3", "--epochs", "2"]
    with pytest.raises(SystemExit) as stop:
        main([*arguments, "--lr", "0.02", "--out", str(out), "--workers", "0"])
    assert not stop.value.code
    return out / "best.safetensors"


def fails(result: tuple[int, str, str], *parts: object) -> None:
    code, _, err = result
    assert code == 2, err
    assert err.startswith("vocseg: error: ")
    assert err.count("\n") == 1
    for part in parts:
        assert str(part) in err


@pytest.mark.parametrize("verb", [("predict", "photo.jpg"), ("evaluate",), ("export",)])
def test_untrained_networks_are_refused(run: Run, synth: Path, tmp_path: Path, verb: tuple[str, ...]) -> None:
    files = [min((synth / voc.IMAGES).iterdir()) if part == "photo.jpg" else part for part in verb[1:]]
    name = [*files, "--model", "unet:resnet18"] if files else ["unet:resnet18"]
    more = ["--data", synth] if verb[0] == "evaluate" else ["--out", tmp_path / "out.onnx"]
    fails(run(verb[0], *name, *more), "unet:resnet18 has no pretrained segmentation weights; train it or pass --weights FILE")
    assert not any(tmp_path.iterdir())


def test_more_epochs_lengthen_a_run_of_so_many_iterations(run: Run, synth: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert run("train", "--data", synth, *TRAIN, "--iterations", 2, "--out", out)[0] == 0
    assert run("train", "--resume", out, "--epochs", 2)[0] == 0
    assert [json.loads(line)["iteration"] for line in (out / "metrics.jsonl").read_text().splitlines()] == [2, 3, 6]


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


def test_evaluate_takes_a_name_with_weights(run: Run, synth: Path, model: Path) -> None:
    code, out, err = run("evaluate", "simple_conv_net", "--weights", model, "--data", synth)
    # a bare name predicts VOC's classes, the data has others
    fails((code, out, err), "21 classes", "has 6")


def test_predict_names_and_folders(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    images = tmp_path / "in"
    (images / "deep").mkdir(parents=True)
    source = synth / voc.IMAGES / "synth_000000.jpg"
    shutil.copy(source, images / "a.jpg")
    shutil.copy(source, images / "deep" / "a.JPG")
    Image.open(source).save(images / "a.png")
    (images / "notes.txt").touch()
    assert run("predict", images, source, source, "--model", model, "--out", tmp_path / "out", "--no-overlay")[0] == 0
    found = sorted(path.relative_to(tmp_path / "out").as_posix() for path in (tmp_path / "out").rglob("*.png"))
    assert found == ["a.jpg.png", "a.png.png", "deep/a.png", "synth_000000-2.png", "synth_000000.jpg.png"]


def test_train_json_config_and_resume(run: Run, synth: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text('model = "two_layer_net"\ncrop = 16\nbatch_size = 2\nepochs = 1\nworkers = 0\n')
    out = tmp_path / "run"
    code, text, err = run("train", "--config", config, "--data", synth, "--crop", 24, "--out", out, "--json", tmp_path / "t.json")
    assert code == 0, err
    assert "epoch 1/1  |  train: loss" in text
    result = json.loads((tmp_path / "t.json").read_text())
    assert result["settings"]["crop"] == 24  # the flag wins
    assert result["settings"]["batch_size"] == 2
    assert len(result["epochs"]) == 1
    code, text, err = run("train", "--resume", out, "--epochs", 2)
    assert code == 0, err
    assert "resumed at iteration 3 of 6, epoch 2" in text
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 2
    # the resolved settings of a run are themselves a config
    assert run("train", "--config", out / "config.toml", "--out", tmp_path / "second")[0] == 0


def test_train_bad_use(run: Run, synth: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("lr = 0.1\nbatchsize = 2\n")
    fails(run("train", "--config", config, "--data", synth), config, "unknown setting 'batchsize'", "did you mean 'batch_size'")
    config.write_text('lr = "fast"\n')
    fails(run("train", "--config", config, "--data", synth), "lr", "fast")
    fails(run("train", "--config", "orginal", "--data", synth), "no recipe 'orginal'; did you mean 'original'")
    fails(run("train", "--resume", tmp_path), f"cannot resume {tmp_path}", "not a run folder")
    fails(run("train", "--resume", tmp_path, "--config", "original"), "--resume", "--config")
    fails(run("train", "--resume", tmp_path, "--out", tmp_path), "cannot be combined with --out")
    fails(
        run("train", "--data", synth, "--dry-run", "--json", tmp_path / "t.json"), "--dry-run has no results to write with --json"
    )
    config.write_text("tuned_batch_size = 8\n")
    fails(run("train", "--config", config, "--data", synth), "the setting 'tuned_batch_size' was removed; set lr")
    fails(run("train", "--data", synth, "--split", "trian", "--out", tmp_path / "run", *TRAIN), "trian")
    assert not (tmp_path / "run").exists()
    fails(run("train", "--data", synth, "--batch-size", 0), "batch_size must be at least 1, not 0")
    fails(
        run("train", "--data", synth, "--model", "two_layer_nett", "--batch-size", 2),
        "two_layer_nett",
        "did you mean 'two_layer_net'",
    )


TRAIN = ["--model", "two_layer_net", "--crop", "16", "--batch-size", "2", "--epochs", "1", "--workers", "0"]


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


def test_models_that_are_none(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
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


def test_predict_bad_input(run: Run, model: Path, tmp_path: Path) -> None:
    fails(run("predict", tmp_path / "none.jpg", "--model", model), "no image or folder", tmp_path / "none.jpg")
    (tmp_path / "empty").mkdir()
    fails(run("predict", tmp_path / "empty", "--model", model), tmp_path / "empty", "holds no images")
    (tmp_path / "bad.jpg").write_text("no image")
    fails(run("predict", tmp_path / "bad.jpg", "--model", model, "--out", tmp_path / "out"), tmp_path / "bad.jpg")
    assert list((tmp_path / "out").iterdir()) == []
    Image.new("RGB", (20, 20)).save(tmp_path / "good.png")
    (tmp_path / "worse.gif").write_bytes(b"GIF89a")
    files = [tmp_path / name for name in ("bad.jpg", "good.png", "worse.gif")]
    result = run("predict", *files, "--model", model, "--out", tmp_path / "out", "--json", tmp_path / "areas.json")
    fails(result, "2 of 3 images skipped", files[0], files[2])
    assert (tmp_path / "out" / "good.png").is_file()
    skipped = json.loads((tmp_path / "areas.json").read_text())["skipped"]
    assert [row["image"] for row in skipped] == [str(files[0]), str(files[2])]


def test_predict_goes_on_after_formats_that_are_not_read(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 3\n%%EndComments\nshowpage\n%%EOF\n")
    Image.new("RGB", (20, 20)).save(tmp_path / "in" / "b.png")
    result = run("predict", tmp_path / "in", "--model", model, "--out", tmp_path / "out")
    fails(result, "1 of 2 images skipped", tmp_path / "in" / "a.jpg", "not supported (JPEG, PNG, GIF, BMP, WEBP, TIFF are)")
    assert (tmp_path / "out" / "b.png").is_file()


def test_predict_replaces_no_image(run: Run, model: Path, tmp_path: Path) -> None:
    for name in ("a.png", "b_overlay.jpg", "b.jpg"):
        Image.new("RGB", (20, 20), "red").save(tmp_path / name)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    for image in (tmp_path, tmp_path / "a.png"):
        fails(run("predict", image, "--model", model, "--out", tmp_path), "would replace ", tmp_path / "a.png")
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before
    overlay = tmp_path / "b_overlay.jpg"
    alone = ("predict", tmp_path / "b.jpg", overlay, "--model", model, "--out", tmp_path)
    fails(run(*alone), "would replace ", overlay)
    assert run(*alone, "--no-overlay")[0] == 0
    assert overlay.read_bytes() == before[overlay]
    for name in ("b.png", "b_overlay.png"):
        (tmp_path / name).unlink()
    for _ in range(2):  # predictions of the first are no images to the second
        assert run("predict", tmp_path, "--model", model, "--out", tmp_path / "deep" / "out")[0] == 0
        assert len(list((tmp_path / "deep" / "out").iterdir())) == 6


def test_nothing_that_is_read_is_replaced(run: Run, damaged: Path, model: Path, tmp_path: Path) -> None:
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

    evaluate, on = ("evaluate", ours, "--data", damaged), ("--model", ours)
    for folder in (masks, images, tmp_path / "link", masks / ".." / masks.name, tmp_path / "link" / "deep"):
        fails(run(*evaluate, "--save-masks", folder), "cannot write", folder)
        fails(run("predict", photo, *on, "--out", folder), "cannot write", folder)
    fails(run("predict", image, *on, "--out", damaged / "hand"), damaged / "hand" / "synth_000008.png", "a mask of the data set")
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
    fails(run("data", "stats", damaged, "--out", masks), "cannot write", masks)
    fails(run("bench", ours, "--json", ours), "cannot write", ours)
    fails(run("export", ours, "--out", tmp_path / "a.onnx", "--json", ours), "cannot write", ours)
    shutil.copy(ours, tmp_path / "b.bin")  # a weights file, and where OpenVINO's weights would go
    fails(run("export", tmp_path / "b.bin", "--to", "openvino", "--out", tmp_path / "b.xml"), "cannot write", tmp_path / "b.bin")
    (tmp_path / "b.bin").unlink()
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_predict_shows_names_as_they_are(run: Run, model: Path, tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (20, 20)).save(tmp_path / "deep" / "a[red]b.png")
    code, out, _ = run("predict", tmp_path, "--model", model, "--out", tmp_path / "[x]")
    assert code == 0
    assert "deep/a[red]b.png" in out
    assert f"masks and overlays in {tmp_path / '[x]'}" in out


def test_unwritable_outputs(run: Run, synth: Path, model: Path, tmp_path: Path) -> None:
    block = tmp_path / "file"
    block.touch()
    fails(run("train", "--data", synth, "--out", block / "run", *TRAIN), "cannot write", block / "run")
    fails(run("evaluate", model, "--data", synth, "--save-masks", block), "cannot write", block)
    fails(run("evaluate", model, "--data", synth, "--json", block / "x.json"), "cannot write", block / "x.json")
    fails(run("predict", synth / voc.IMAGES, "--model", model, "--out", block), "cannot write", block)
    fails(run("data", "synth", block), block, "is not an empty folder")


FULL_DISK = """
import json, resource, sys
from vocseg.cli.main import main
resource.setrlimit(resource.RLIMIT_FSIZE, (65536, 65536))
main(json.loads(sys.argv[1]))
"""


def test_full_disk(synth: Path, tmp_path: Path) -> None:
    """The system refuses to write more than 64 KB to a file, as it does on a full disk."""
    pytest.importorskip("resource")
    arguments = ["train", "--data", str(synth), "--out", "run", *TRAIN]
    done = subprocess.run(
        [sys.executable, "-c", FULL_DISK, json.dumps(arguments)], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
    assert "cannot write" in done.stderr
    assert "File too large" in done.stderr or "os error 27" in done.stderr
    assert not list(tmp_path.rglob("*.part"))
    assert not (tmp_path / "run" / "best.safetensors").exists()


def test_models_lists_sizes(run: Run, tmp_path: Path) -> None:
    code, out, _ = run("models", "*_net", "--size", "64x64", "--json", tmp_path / "m.json")
    assert code == 0
    rows = {row["name"]: row for row in json.loads((tmp_path / "m.json").read_text())["models"]}
    assert set(rows) == {"two_layer_net", "simple_conv_net"}
    assert rows["two_layer_net"]["multiply_adds"] == 64 * 64 * (243 * 100 + 100 * 21)
    assert "0.03" in out
    fails(run("models", "nothing*"), "no model matches 'nothing*'")
    fails(run("models", "two_layer"), "unknown model 'two_layer'")
    fails(run("models", "--size", "big"), "size 'big' is not HEIGHTxWIDTH")


def test_synth(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "data", "synth", tmp_path / "d", "--train", 3, "--val", 2, "--size", "32x32", "--json", tmp_path / "s.json"
    )
    assert code == 0, err
    assert "3 train and 2 val images" in out
    assert json.loads((tmp_path / "s.json").read_text())["images_per_class"]["background"] == 5


def test_bench(run: Run, tmp_path: Path) -> None:
    code, out, err = run(
        "bench", "two_layer_net", "--size", "32x48", "--rounds", 2, "--precision", "float32", "--json", tmp_path / "b.json"
    )
    assert code == 0, err
    values = json.loads((tmp_path / "b.json").read_text())
    assert set(values["ratios"]) == {"torchvision"}
    assert set(values["same_precision"]) == {"torchvision float32"}
    assert [row["name"] for row in values["results"]] == ["vocseg float32", "torchvision float32"]
    assert all(row["peak_mb"] > 0 for row in values["results"] if row["peak_mb"] is not None)
    assert values["multiply_adds"] > 0
    assert "2 rounds on" in out
    fails(run("bench", "two_layer_net", "--against", "caffe"), "unknown peer 'caffe'")
    fails(run("bench", "two_layer_net", "--rounds", 0), "--rounds")
    fails(run("bench", "two_layer_net", "--size", "big"), "size 'big' is not HEIGHTxWIDTH")


def test_bench_of_a_training_step(run: Run, tmp_path: Path) -> None:
    options = ("--train", "--batch-size", 2, "--crop", 16, "--rounds", 1, "--precision", "float32", "--no-memory")
    code, out, err = run("bench", "two_layer_net", *options, "--json", tmp_path / "b.json")
    assert code == 0, err
    values = json.loads((tmp_path / "b.json").read_text())
    assert set(values["ratios"]) == {"torchvision", "autocast"}
    assert [row["peak_mb"] for row in values["results"]] == [None] * 3
    assert "training step of 2 x 16x16" in out
    fails(run("bench", "two_layer_net", *options, "--against", "openvino"), "unknown peer 'openvino' of a training step")
