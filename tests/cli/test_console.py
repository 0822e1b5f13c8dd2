"""Names are data: markup, control characters and the encoding of the output change nothing and end no verb."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from verbs import TRAIN, Run
from vocseg import voc
from vocseg.cli.main import main

NAMES = ["[/x]", "[red]a[/red]", "[link=x:y]c[/]", ":cat: \x1b[2J", "犬", "\u202etac"]


@pytest.fixture
def named(damaged: Path) -> Path:
    """The synthetic data set, with names of classes that a terminal or a markup language would obey."""
    (damaged / voc.CLASSES_FILE).write_text("".join(f"{name}\n" for name in NAMES), encoding="utf-8")
    return damaged


def encoded(monkeypatch: pytest.MonkeyPatch, encoding: str, *arguments: object) -> tuple[int, str]:
    """Run a verb whose output has an encoding, strictly; return exit code and output."""
    out = io.BytesIO()
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, io.TextIOWrapper(out, encoding=encoding, errors="strict", write_through=True))
    with pytest.raises(SystemExit) as stop:
        main([str(argument) for argument in arguments])
    sys.stdout.flush()
    return int(stop.value.code or 0), out.getvalue().decode(encoding, "backslashreplace")


def test_names_of_classes_are_shown_as_they_are(run: Run, named: Path, tmp_path: Path) -> None:
    best = tmp_path / "run" / "best.safetensors"
    assert run("train", "--data", named, *TRAIN, "--out", best.parent)[0] == 0
    mask = next((named / voc.MASKS).iterdir())
    image = (named / voc.IMAGES / mask.name).with_suffix(".jpg")
    for verb in (
        ["evaluate", best, "--data", named, "--json", tmp_path / "e.json", "--save-masks", tmp_path / "m"],
        ["score", tmp_path / "m", "--data", named],
        ["data", "stats", named],
        ["data", "doctor", named],
        ["predict", image, "--model", best, "--out", tmp_path / "out"],
    ):
        code, out, err = run(*verb)
        assert code == 0, err
        assert "\x1b" not in out + err
        assert "\u202e" not in out + err
        if verb[0] != "predict":
            assert all(name in out for name in [*NAMES[:3], ":cat: ␛", "犬", "\N{REPLACEMENT CHARACTER}tac"])
    assert set(json.loads((tmp_path / "e.json").read_text())["per_class"]) == set(NAMES)


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252", "utf-8"])
def test_output_of_any_encoding(monkeypatch: pytest.MonkeyPatch, named: Path, tmp_path: Path, encoding: str) -> None:
    labels = np.array(Image.open(named / voc.MASKS / "synth_000000.png"))
    labels[0] = 40  # no class: a finding, with an arrow before its advice
    Image.fromarray(labels).save(named / voc.MASKS / "synth_000000.png")
    code, text = encoded(monkeypatch, encoding, "data", "doctor", named, "--html", tmp_path / "doctor.html")
    assert code == 2
    assert ("→" if encoding == "utf-8" else "\\u2192") in text
    code, text = encoded(monkeypatch, encoding, "data", "doctor", tmp_path / "犬")
    assert code == 2
    assert ("犬" if encoding == "utf-8" else "\\u72ac") in text


@pytest.mark.skipif(sys.platform in ("win32", "darwin"), reason="file names are Unicode there")
def test_file_names_that_are_not_unicode(monkeypatch: pytest.MonkeyPatch, synth: Path, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    name = os.fsdecode(b"\xff\x1b[2Ja\nb.png")
    Image.new("RGB", (32, 24)).save(tmp_path / "in" / name)
    code, text = encoded(monkeypatch, "utf-8", "predict", tmp_path / "in", "--out", tmp_path / "out", "--json", tmp_path / "o.json")
    assert code == 0, text
    assert "\\udcff␛[2Ja" in text
    assert json.dumps(name)[1:-1] in (tmp_path / "o.json").read_text()


@pytest.mark.skipif(sys.platform == "win32", reason="pipes of Unix")
@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["models", "two_layer_net"], ["data", "doctor", "DATA"]])
def test_a_reader_that_ends(synth: Path, arguments: list[str]) -> None:
    """`vocseg VERB | head` ends quietly, with the exit code that a shell reports for SIGPIPE."""
    command = [sys.executable, "-m", "vocseg", *(str(synth) if word == "DATA" else word for word in arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
def test_a_full_disk_behind_standard_output() -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "vocseg", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, check=False
        )
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert "cannot write" in done.stderr
    assert "No space left on device" in done.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors of Unix")
@pytest.mark.parametrize("closed", [[0], [1], [2], [0, 1, 2]])
def test_closed_standard_streams(synth: Path, tmp_path: Path, closed: list[int]) -> None:
    image = next((synth / voc.IMAGES).iterdir())
    command = [sys.executable, "-m", "vocseg", "predict", image, "--model", "two_layer_net", "--weights", "none", "--out", tmp_path]
    shell = " ".join(f"{number}>&-" for number in closed)
    done = subprocess.run(["sh", "-c", f'"$@" {shell}', "sh", *map(str, command)], check=False)
    assert done.returncode == 0
    assert Image.open(tmp_path / f"{image.stem}.png").size == Image.open(image).size
