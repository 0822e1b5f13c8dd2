from __future__ import annotations

import json
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg import voc

Run = Callable[..., tuple[int, str, str]]


class Page(HTMLParser):
    """Tags that are open, and what was seen: images, links, text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def test_sound(run: Run, synth: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "doctor", synth, "--splits", "train", "--json", tmp_path / "d.json")
    assert code == 0, err
    assert "1 split, 6 image-mask pairs" in out
    assert "0 errors" in out
    assert "\nimages, share of pixels; class weights for train" in out  # wider than the table below it
    assert list(json.loads((tmp_path / "d.json").read_text())["splits"]) == ["train"]
    assert run("data", "doctor", synth, "--splits", "train", "val")[1].count("2 splits, 10 image-mask pairs") == 1


def test_errors_and_page(run: Run, damaged: Path, tmp_path: Path) -> None:
    path = damaged / voc.MASKS / "synth_000001.png"
    ids = np.array(Image.open(path))
    ids[0] = 99
    Image.fromarray(ids).save(path)
    (damaged / voc.IMAGES / "synth_000002.jpg").write_bytes(b"no image")
    (damaged / voc.SPLITS / "<b>&.txt").write_text("synth_000001\nnope\n")
    values, html = tmp_path / "d.json", tmp_path / "d.html"
    code, out, _ = run("data", "doctor", damaged, "--json", values, "--html", html)
    assert code == 2
    assert "synth_000001.png  label 99" in out
    assert "→ --fix OUT --void ID" in out
    findings = {row["kind"]: row for row in json.loads(values.read_text())["findings"]}
    assert findings["stray-label"]["count"] == 1
    page = Page()
    page.feed(html.read_text())
    assert page.open == []
    assert page.sources
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)  # needs no other file
    for text in ("synth_000001.png", "label 99", "nope", "<b>&", "class weight"):
        assert text in page.text


def test_strict(run: Run, damaged: Path) -> None:
    with open(damaged / "classes.txt", "a") as file:
        file.write("unicorn\n")
    assert run("data", "doctor", damaged)[0] == 0
    code, out, _ = run("data", "doctor", damaged, "--strict")
    assert code == 1
    assert "unicorn" in out


def test_fix(run: Run, damaged: Path, tmp_path: Path) -> None:
    path = damaged / voc.MASKS / "synth_000001.png"
    ids = np.array(Image.open(path))
    ids[0] = 99
    Image.fromarray(ids).save(path)
    code, out, _ = run("data", "doctor", damaged, "--fix", tmp_path / "out", "--void", 99)
    assert code == 0
    assert "1 x palette added; label 99 to void" in out
    assert "the copy: 0 errors" in out
    assert run("data", "doctor", tmp_path / "out")[0] == 0
    code, _, err = run("data", "doctor", damaged, "--fix", tmp_path / "out")
    assert code == 2
    assert "not an empty folder" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--void", "3"], "--void needs --fix"),
        (["--fix", "x", "--void", "255"], "--void takes labels 0 to 254, not 255"),
        (["--splits", "vall"], "did you mean 'val'"),
        (["--mask-dir", "nowhere"], "no mask folder"),
    ],
)
def test_bad_use(run: Run, synth: Path, arguments: list[str], message: str) -> None:
    code, _, err = run("data", "doctor", synth, *arguments)
    assert code == 2
    assert err.startswith("vocseg: error: ")
    assert message in err


def test_no_layout(run: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    Image.new("RGB", (4, 4)).save(tmp_path / "images" / "a.png")
    code, _, err = run("data", "doctor", tmp_path)
    assert code == 2
    assert "images (1 .png)" in err
