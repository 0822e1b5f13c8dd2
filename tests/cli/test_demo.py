from __future__ import annotations

import json
from pathlib import Path

from PIL import Image

from verbs import Run, fails


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
    assert values["synthetic"] is None
    page = (tmp_path / "look" / "index.html").read_text()
    assert page.count("data:image/jpeg;base64,") == 2 * len(areas)
    assert "Training" not in page
    assert "<p>300x451 pixels: " in page  # height x width, as everywhere
    mask = Image.open(tmp_path / "look" / "photographs" / "chelsea.png")
    assert mask.mode == "P"
    assert mask.size == Image.open(tmp_path / "look" / "photographs" / "chelsea_overlay.jpg").size[:1] + (mask.height,)


def test_files_of_others_are_not_replaced(run: Run, tmp_path: Path) -> None:
    (tmp_path / "synthetic_data").mkdir()
    fails(run("demo", "--no-train", "--out", tmp_path), tmp_path / "synthetic_data", "no demo wrote it")
    (tmp_path / "index.html").write_text("<!doctype html><title>mine</title>")
    fails(run("demo", "--no-train", "--out", tmp_path), tmp_path / "index.html", "vocseg did not write it")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["index.html", "synthetic_data"]
