"""`vocseg bench`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from verbs import Run, fails


@pytest.mark.slow
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
