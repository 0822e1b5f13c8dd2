"""README's commands run; those of docs/ at least parse; links lead somewhere."""

from __future__ import annotations

import ast
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import vocseg
from vocseg import voc
from vocseg.cli.main import app, split_common
from vocseg.data.samples import FOLDER
from vocseg.data.synthetic import write_synthetic
from vocseg.training.config import TrainConfig, read_config

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]


def blocks(path: Path, language: str) -> list[tuple[bool, str]]:
    """Pairs (marked to be run, text) of the code blocks of a document."""
    found = re.findall(rf"(<!-- run -->\n)?```{language}\n(.*?)```", path.read_text(encoding="utf-8"), re.DOTALL)
    return [(bool(mark), text) for mark, text in found]


def commands() -> list[tuple[str, str]]:
    lines = [(path.name, line) for path in DOCUMENTS for _, text in blocks(path, "sh") for line in text.splitlines()]
    return [(name, line) for name, line in lines if line.startswith("vocseg ")]


@pytest.mark.parametrize(("document", "line"), commands(), ids=lambda text: text[:60])
def test_commands_parse(document: str, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    TrainConfig().save(tmp_path / "runs" / "deeplabv3_resnet101" / "config.toml")  # for --resume
    tokens, _ = split_common(shlex.split(line, comments=True)[1:])
    app.parse_args(tokens, exit_on_error=False, print_error=False)


@pytest.mark.parametrize("document", ["README.md", "docs/serve.md"])
def test_areas_shown_are_those_of_the_network(document: str) -> None:
    [shown] = re.findall(r"# (\{'cat': .*\})", (ROOT / document).read_text(encoding="utf-8"))
    areas = vocseg.Segmenter(device="cpu")(FOLDER / voc.IMAGES / "chelsea.jpg").areas()
    assert ast.literal_eval(shown) == pytest.approx(areas, abs=0.005)  # engines and precisions differ a little


def test_index_names_each_page_once() -> None:
    names = [
        line
        for text in re.findall(r"```\{toctree\}(.*?)```", (ROOT / "docs/index.md").read_text(), re.DOTALL)
        for line in text.split()
    ]
    pages = [name for name in names if (ROOT / "docs" / f"{name}.md").is_file()]
    assert sorted(pages) == sorted(path.stem for path in (ROOT / "docs").glob("*.md") if path.stem != "index")


@pytest.mark.slow
def test_readme_runs(tmp_path: Path) -> None:
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    readme = ROOT / "README.md"
    shell = "\n".join(text for run, text in blocks(readme, "sh") if run)
    code = "\n".join(text for run, text in blocks(readme, "python") if run)
    assert "vocseg train" in shell
    assert "Segmenter(" in code
    done = subprocess.run(["bash", "-euc", shell], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    best = max(float(value) for value in re.findall(r"val: loss .*mIoU ([\d.]+)", done.stdout))
    assert best > 90  # the promise of `data synth`: a small network learns it
    # evaluate and score, the last two tables, agree
    assert len(set(re.findall(r"^mIoU ([\d.]+)", done.stdout, re.MULTILINE))) == 1
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True)
    assert (tmp_path / "demo" / "mask.png").is_file()
    assert (tmp_path / "demo" / "overlay.jpg").is_file()


def test_readme_on_voc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]) -> None:
    """README's lines for VOC itself, with a tiny data set in its place, random weights, and one step of training."""
    from vocseg.models import create_model
    from vocseg.training import api

    write_synthetic(tmp_path / "data" / "VOCdevkit" / "VOC2012", train=4, val=2, size=(40, 48))
    (tmp_path / "data" / "VOCdevkit" / "VOC2012" / "classes.txt").unlink()
    monkeypatch.chdir(tmp_path)
    shutil.copy(next((tmp_path / "data").rglob("*.jpg")), "photo.jpg")
    weights = create_model("deeplabv3_resnet101", weights="none").network.state_dict()
    monkeypatch.setattr("vocseg.models.zoo.torchvision._download", lambda _: weights)
    real = api.train
    monkeypatch.setattr(api, "train", lambda **given: real(**given, crop=32, batch_size=2, iterations=1))
    [block] = [text for marked, text in blocks(ROOT / "README.md", "sh") if not marked and "--download" in text]
    lines = block.splitlines()
    assert len(lines) == 3
    for line in lines:
        code, _, err = run(*shlex.split(line)[1:])
        assert code == 0, err
    assert (tmp_path / "predictions" / "photo.png").is_file()
    assert (tmp_path / "predictions" / "photo_overlay.jpg").is_file()


def test_readme_on_own_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run: Callable[..., tuple[int, str, str]]) -> None:
    """README's lines for images and masks of one's own, with one step of training."""
    from vocseg.training import api

    write_synthetic(tmp_path / "source", train=6, val=2, size=(40, 48))
    for name, kind in (("images", "JPEGImages"), ("masks", "SegmentationClass")):
        shutil.copytree(tmp_path / "source" / kind, tmp_path / "photographs" / name)
    shutil.copy(tmp_path / "source" / "classes.txt", tmp_path / "names.txt")
    shutil.copy(next((tmp_path / "source" / "JPEGImages").iterdir()), tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    real = api.train
    monkeypatch.setattr(api, "train", lambda **given: real(**given, crop=32, batch_size=2, iterations=1))
    [block] = [text for marked, text in blocks(ROOT / "README.md", "sh") if not marked and "data convert" in text]
    for line in block.splitlines():
        code, _, err = run(*shlex.split(line)[1:])
        assert code == 0, err
    assert (tmp_path / "predictions" / "photo.png").is_file()


def test_every_line_of_readme_runs_in_a_test() -> None:
    """Those that are not marked are in the three blocks of the other tests, or make's."""
    unmarked = [text.split()[:3] for marked, text in blocks(ROOT / "README.md", "sh") if not marked]
    assert [words[:2] for words in unmarked] == [["make", "demo"], ["vocseg", "train"], ["vocseg", "data"]]
    assert all(marked for marked, _ in blocks(ROOT / "README.md", "python"))
    done = subprocess.run(["make", "-n", "demo", "test"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("path", "text"), [(path, text) for path in DOCUMENTS for _, text in blocks(path, "toml")], ids=lambda part: str(part)[:60]
)
def test_settings_shown_are_settings(path: Path, text: str, tmp_path: Path) -> None:
    (tmp_path / path.with_suffix(".toml").name).write_text(text)
    assert TrainConfig(**read_config(tmp_path / path.with_suffix(".toml").name))


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_links(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?://)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_results_table(tmp_path: Path) -> None:
    import json

    run = tmp_path / "net"
    run.mkdir()
    (run / "scores_val.json").write_text(
        json.dumps({"split": "val", "images": 5, "pixel_accuracy": 0.5, "loss": None, "miou": 0.25})
    )
    document = tmp_path / "doc.md"
    document.write_text("before\n<!-- results -->\nold\n<!-- /results -->\nafter\n")
    script = ROOT / "benchmarks" / "results_table.py"
    subprocess.run([sys.executable, script, run, "--write", document], check=True, capture_output=True)
    text = document.read_text()
    assert "| net | val | 5 | 50.0 | - | 25.0 |" in text
    assert text.startswith("before\n<!-- results -->\n|")
    assert text.endswith("<!-- /results -->\nafter\n")
    assert "old" not in text
    card = tmp_path / "card.md"
    card.write_text("<!-- few-results -->\n<!-- /few-results -->\n")
    other = tmp_path / "other"
    shutil.copytree(run, other)
    subprocess.run([sys.executable, script, run, other, "--of", "net", "--write", card], check=True, capture_output=True)
    assert "| net | val |" in card.read_text()
    assert "other" not in card.read_text()
