"""The scripts behind published tables still run."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

import vocseg
from benchmarks.scripts import FOLDER, load
from vocseg.data.layout import VocFolder
from vocseg.data.samples import FOLDER as SAMPLES
from vocseg.evaluation.counts import count_image
from vocseg.models import create_model


def run(name: str, *arguments: object, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a script in this process, as ``python benchmarks/NAME.py ARGUMENTS`` does."""
    monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
    load(name).main()


@pytest.mark.parametrize("name", sorted(path.stem for path in FOLDER.glob("*.py")))
def test_scripts_have_a_help(name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.syspath_prepend(FOLDER)  # a script finds the scripts beside it
    with pytest.raises(SystemExit) as stop:
        run(name, "--help", monkeypatch=monkeypatch)
    assert stop.value.code == 0
    assert "usage:" in capsys.readouterr().out


def test_evaluate(synth: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    run("evaluate", synth, "--model", "two_layer_net", "--split", "val", monkeypatch=monkeypatch)
    assert "forward passes" in capsys.readouterr().out


def test_count_images(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("vocseg.evaluation.evaluate.count_image", count_image)  # the script replaces it
    run("count_images", SAMPLES, "--split", "samples", "--rounds", "1", monkeypatch=monkeypatch)
    assert "evaluation of 4 images" in capsys.readouterr().out


def test_interval_coverage(
    synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        model = create_model("two_layer_net", VocFolder.find(synth).classes, "none")
        vocseg.evaluate(model, synth, device="cpu", out=folder)
    run("interval_coverage", *folders, "--sizes", "3", "--draws", "4", "--resamples", "20", monkeypatch=monkeypatch)
    assert capsys.readouterr().out.splitlines()[-1].startswith("| 3 |")


def test_tiles(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    script = load("tiles")
    cells = [(torch.full((3, 40, 60), value, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8)) for value in range(8)]
    monkeypatch.setattr(script, "cells", lambda dataset: iter(cells))
    segment = vocseg.Segmenter("two_layer_net", device="cpu", max_short_side=0)
    script.measure_scores(None, segment, 8, [64], False)
    rows = capsys.readouterr().out.splitlines()[4:]
    assert [row.split("|")[1].strip() for row in rows] == ["each photograph by itself", "one piece", "tiles of 64"]
    pytest.importorskip("tifffile")
    monkeypatch.setattr(script, "WIDTH", 60)
    script.measure_memory(None, segment, 100, 300, 64, True)
    out = capsys.readouterr().out
    assert "300 x 100 pixels" in out
    assert " corners" in out


def test_large_images(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--model", "two_layer_net", "--images", "2", "--factors", "1", "2", "--sides", "30", "0")
    run("large_images", SAMPLES, "--split", "samples", *options, monkeypatch=monkeypatch)
    rows = capsys.readouterr().out.splitlines()[2:]
    assert [row.split("|")[1].strip() for row in rows] == ["shorter side", "---", "30", "not shrunk"]


def test_transforms(synth: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    threads = torch.get_num_threads()
    try:
        run("transforms", synth, "--images", "2", monkeypatch=monkeypatch)
    finally:
        torch.set_num_threads(threads)
    assert "of 2 images" in capsys.readouterr().out


def test_gallery(synth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = sorted((synth / "JPEGImages").iterdir())[:2]
    run("gallery", *images, "--out", tmp_path / "gallery.jpg", monkeypatch=monkeypatch)
    assert (tmp_path / "gallery.jpg").is_file()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_check_without_a_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(SystemExit) as stop:
        run("gpu_check", monkeypatch=monkeypatch)
    assert stop.value.code == "torch finds no device cuda on this machine; nothing was checked"


@pytest.mark.slow
@pytest.mark.parametrize("device", [pytest.param("cuda", marks=pytest.mark.gpu), "cpu"])
def test_gpu_check(device: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        run("gpu_check", "--device", device, "--steps", "6", monkeypatch=monkeypatch)
    out = capsys.readouterr().out
    assert stop.value.code == 0, out
    assert "| resume | passed | from step 6 to 12" in out


def test_rate_of_files_does_not_count_the_start() -> None:
    late = [100 + 0.25 * number for number in range(50)]
    assert load("processes").rate([0.0, *late]) == pytest.approx(4)
