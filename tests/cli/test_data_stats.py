from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from PIL import Image

Run = Callable[..., tuple[int, str, str]]


def test_stats(run: Run, synth: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "stats", synth, "--split", "val", "--json", tmp_path / "s.json", "--out", tmp_path / "plots")
    assert code == 0, err
    assert "val: 4 images" in out
    assert "triangle" in out
    assert json.loads((tmp_path / "s.json").read_text())["images"] == 4
    assert len(list((tmp_path / "plots").glob("*.png"))) == 4


def test_show(run: Run, synth: Path, tmp_path: Path) -> None:
    code, out, err = run("data", "show", synth, "synth_000001", "synth_000008.jpg", "--out", tmp_path / "two.png")
    assert code == 0, err
    assert "2 images in" in out
    assert "synth_000001, synth_000008" in out
    with Image.open(tmp_path / "two.png") as image:
        assert image.width > 600
    drawn = [
        run("data", "show", synth, "--split", "val", "--count", 3, "--seed", seed, "--out", tmp_path / "o.jpg")[1]
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1]
    assert drawn[0].startswith("3 images")


def test_show_a_class(run: Run, synth: Path, tmp_path: Path) -> None:
    _, out, _ = run("data", "show", synth, "--class", "disc", "--out", tmp_path / "o.png")
    statistics = tmp_path / "s.json"
    run("data", "stats", synth, "--json", statistics)
    assert out.startswith(f"{json.loads(statistics.read_text())['per_class']['disc']['images']} images")


def test_show_what_is_broken(run: Run, damaged: Path, tmp_path: Path) -> None:
    (damaged / "JPEGImages" / "synth_000000.jpg").write_bytes(b"")
    (damaged / "SegmentationClass" / "synth_000001.png").write_bytes(b"")
    for folder, suffix in (("JPEGImages", "jpg"), ("SegmentationClass", "png")):
        (damaged / folder / f"synth_000002.{suffix}").write_bytes(b"")
    Image.new("L", (9, 90), 77).save(damaged / "SegmentationClass" / "synth_000003.png")
    ids = [f"synth_{number:06d}" for number in range(5)]
    code, out, err = run("data", "show", damaged, *ids, "--out", tmp_path / "o.png")
    assert code == 0, err
    assert out.startswith("5 images")


def test_bad_use(run: Run, synth: Path, tmp_path: Path) -> None:
    for arguments, message in (
        (["synth_00001"], "did you mean 'synth_0000"),
        (["--class", "dics"], "did you mean 'disc'"),
        (["--split", "vall"], "did you mean 'val'"),
        (["--count", "0"], 'Invalid value "0" for --count. Must be >= 1.'),
        (["--out", "a.pdf"], "must end in .png or .jpg"),
    ):
        code, _, err = run("data", "show", synth, *arguments)
        assert code == 2
        assert message in err
    (tmp_path / "file").touch()
    assert run("data", "stats", synth, "--out", tmp_path / "file")[0] == 2
