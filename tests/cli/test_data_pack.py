"""`vocseg data pack` and `vocseg data unpack`."""

from __future__ import annotations

import json
from pathlib import Path

from verbs import Run, fails


def test_pack_and_unpack(run: Run, synth: Path, tmp_path: Path) -> None:
    shards, data = tmp_path / "shards", tmp_path / "data"
    code, out, err = run("data", "pack", synth, "--out", shards, "--images-per-shard", 4, "--json", tmp_path / "p.json")
    assert code == 0, err
    assert "20 files of 10 ids in 3 shards, " in out
    assert json.loads((tmp_path / "p.json").read_text())["shards"] == 3
    code, out, err = run("data", "unpack", shards, "--out", data, "--json", tmp_path / "u.json")
    assert (code, "20 files of 10 ids" in out) == (0, True), err
    assert (data / "ImageSets/Segmentation/val.txt").read_bytes() == (synth / "ImageSets/Segmentation/val.txt").read_bytes()
    code, out, err = run("data", "pack", synth, "--out", tmp_path / "val", "--splits", "val")
    assert (code, "of 4 ids in 1 shard," in out) == (0, True), err


def test_bad_use(run: Run, synth: Path, tmp_path: Path) -> None:
    fails(run("data", "pack", synth), "--out")
    assert "one packed" not in run("data", "pack", "--help")[1]
    fails(run("data", "pack", synth, "--out", tmp_path / "s", "--shard-size", 0), "--shard-size")
    fails(run("data", "unpack", synth, "--out", tmp_path / "s"), "is not a packed data set")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    fails(run("data", "pack", synth, "--out", tmp_path / "full"), "is not an empty folder")
