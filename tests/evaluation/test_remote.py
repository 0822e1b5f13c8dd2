"""``evaluate`` in blocks, as processes of a cluster do it, against one process."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import fsspec
import pytest
import torch

import vocseg
from vocseg.data.layout import VocFolder
from vocseg.errors import SettingError

pytest.importorskip("ray", reason="ray is not installed")  # for cloudpickle
from clusters import Here


@pytest.fixture(scope="module")
def network(synth: Path) -> vocseg.SegmentationModel:
    torch.manual_seed(0)
    return vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)


def content(folder: Path) -> dict[str, Any]:
    files = {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    scores = json.loads(files.pop("scores.json"))
    scores.pop("seconds")
    return files | {"scores.json": scores}


@pytest.mark.parametrize("block", [1, 4])
def test_blocks_give_the_record_of_one_process(network: vocseg.SegmentationModel, synth: Path, tmp_path: Path, block: int) -> None:
    options: dict[str, Any] = {"split": "trainval", "device": "cpu", "precision": "float32", "tta": "flip"}
    vocseg.evaluate(network, synth, out=tmp_path / "one", **options)
    many = vocseg.evaluate(network, synth, out=tmp_path / "many", cluster=Here(block), **options)
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert many.images == 10


def test_a_call_that_is_stopped_goes_on(network: vocseg.SegmentationModel, synth: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"split": "trainval", "device": "cpu", "save_masks": tmp_path / "masks"}
    cluster = Here(2, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        vocseg.evaluate(network, synth, cluster=cluster, **options)
    cluster.stop_after = None
    many = vocseg.evaluate(network, synth, cluster=cluster, **options)
    next((tmp_path / "masks").iterdir()).unlink()
    vocseg.evaluate(network, synth, cluster=cluster, **options)
    assert cluster.worked == [4, 6, 10]
    one = vocseg.evaluate(network, synth, split="trainval", device="cpu")
    assert many.per_image == one.per_image


def test_data_and_results_may_be_at_urls(network: vocseg.SegmentationModel, synth: Path, tmp_path: Path) -> None:
    memory, url = fsspec.filesystem("memory"), f"memory://{tmp_path.name}"
    vocseg.pack(synth, f"{url}/packed")
    options: dict[str, Any] = {"split": "trainval", "device": "cpu"}
    cluster = Here(2, stop_after=2)
    with pytest.raises(KeyboardInterrupt):
        vocseg.evaluate(network, f"{url}/packed", out=f"{url}/many", cluster=cluster, **options)
    cluster.stop_after = None
    vocseg.evaluate(network, f"{url}/packed", out=f"{url}/many", cluster=cluster, **options)
    assert cluster.worked == [4, 6]
    vocseg.evaluate(network, f"{url}/packed", out=tmp_path / "one", **options)
    memory.get(f"{tmp_path.name}/many", str(tmp_path / "many"), recursive=True)
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_what_a_cluster_cannot_do_is_said(network: vocseg.SegmentationModel, synth: Path, tmp_path: Path) -> None:
    for options, message in [
        ({"shard": "1/2"}, "takes no shard"),
        ({"fit_temperature": tmp_path / "m.safetensors"}, "a cluster scores a folder in VOC layout, and without fit_temperature"),
    ]:
        with pytest.raises(SettingError, match=message):
            vocseg.evaluate(network, synth, cluster=Here(), **options)
