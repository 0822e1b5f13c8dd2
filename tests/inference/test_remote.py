"""``predict`` in blocks, as processes of a cluster do it, against one process."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import pytest
from PIL import Image

import vocseg
from vocseg.errors import OutputError, SettingError
from vocseg.inference.predictions import Predictions
from vocseg.inference.remote import RemoteNetwork
from vocseg.inference.sinks import Sink

pytest.importorskip("ray", reason="ray is not installed")  # for cloudpickle
from clusters import Here

FORMATS = ("mask", "overlay", "areas", "coco", "geojson", "cvat")


@pytest.fixture(scope="module")
def photos(make_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of one name in two folders, one of three pages, an archive, and two damaged ones."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    make_photos(folder, [f"{'left' if number % 2 else 'right'}/{number // 2}.jpg" for number in range(7)])
    for name in ("left/damaged.png", "no.jpg"):
        (folder / name).write_bytes(b"damaged")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def same(one: Predictions, other: Predictions, folder: Path) -> None:
    """Assert that results differ only in their folders and times."""

    def moved(result: Predictions) -> Any:
        rows = [replace(row, seconds=0.0) for row in result.images]
        errors = {str(key): str(error) for key, error in result.errors.items()}
        text = repr((rows, errors, result.total, result.shared, result.simplified, result.model))
        return text.replace(str(folder / "one"), "").replace(str(folder / "many"), "")

    assert moved(one) == moved(other)


@pytest.mark.parametrize("block", [1, 4, 100])
def test_blocks_give_the_files_and_the_result_of_one_process(
    network: vocseg.SegmentationModel, photos: Path, tmp_path: Path, block: int
) -> None:
    sources = [photos, photos / "right" / "0.jpg", photos / "right" / "0.jpg"]
    options: dict[str, Any] = {"model": network, "formats": FORMATS, "device": "cpu", "simplify": 1.0, "precision": "float32"}
    one = vocseg.predict(sources, tmp_path / "one", **options)
    many = vocseg.predict(sources, tmp_path / "many", cluster=Here(block), json=tmp_path / "r.json", **options)
    assert content(tmp_path / "many") == content(tmp_path / "one")
    same(one, many, tmp_path)
    assert len(many.errors) == 2
    assert json.loads((tmp_path / "r.json").read_text())["images"] == len(one.images)


def test_a_call_that_is_stopped_goes_on(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": network, "formats": FORMATS, "device": "cpu"}
    one, cluster = vocseg.predict(photos, tmp_path / "one", **options), Here(2, stop_after=2)
    with pytest.raises(KeyboardInterrupt, match=r"[3-6] of 10 images done, in .*many"):
        vocseg.predict(photos, tmp_path / "many", cluster=cluster, **options)
    cluster.stop_after = None
    same(one, vocseg.predict(photos, tmp_path / "many", cluster=cluster, **options), tmp_path)
    assert cluster.worked == [4, 6]
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_what_has_changed_is_done_again(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    folder, cluster = Path(shutil.copytree(photos, tmp_path / "photos")), Here()
    options: dict[str, Any] = {"model": network, "device": "cpu", "cluster": cluster, "overlay": False}
    vocseg.predict(folder, tmp_path / "out", **options)
    vocseg.predict(folder, tmp_path / "out", **options)
    Image.new("RGB", (20, 20)).save(folder / "no.jpg")
    vocseg.predict(folder, tmp_path / "out", **options)
    vocseg.predict(folder, tmp_path / "out", **options | {"max_short_side": 30})
    (tmp_path / "out" / "no.png").unlink()
    vocseg.predict(folder, tmp_path / "out", **options | {"max_short_side": 30})
    vocseg.predict(folder, tmp_path / "out", **options | {"max_short_side": 30, "skip_existing": True})
    assert cluster.worked == [10, 0, 1, 10, 10, 10]


def test_existing_results_are_skipped(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    options: dict[str, Any] = {"model": network, "formats": ("mask", "areas"), "device": "cpu", "skip_existing": True}
    one = vocseg.predict(photos, tmp_path / "one", **options)
    vocseg.predict(photos / "left", tmp_path / "many" / "left", **options)
    (tmp_path / "many" / "left" / "areas.csv").unlink()
    many = vocseg.predict(photos, tmp_path / "many", cluster=Here(), **options)
    assert (many.existing, many.total) == (3, one.total - 3)
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_outputs_at_a_url_are_uploaded_block_by_block(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    memory, url = fsspec.filesystem("memory"), f"memory://{tmp_path.name}"
    options: dict[str, Any] = {"model": network, "formats": ("mask", "labelme", "areas", "coco"), "device": "cpu"}
    vocseg.predict(photos, f"memory://one/{tmp_path.name}", **options)
    cluster = Here(2, stop_after=2)
    with pytest.raises(KeyboardInterrupt, match=rf"[3-6] of 10 images done, in {url}"):
        vocseg.predict(photos, url, cluster=cluster, **options)
    masks = [name for name in memory.find(tmp_path.name) if name.endswith(".png")]
    assert 3 <= len(masks) <= 6
    cluster.stop_after = None
    vocseg.predict(photos, url, cluster=cluster, **options)
    memory.rm_file(f"{tmp_path.name}/left/0.png")
    vocseg.predict(photos, url, cluster=cluster, **options)
    vocseg.predict(photos, url, cluster=cluster, **options, skip_existing=True)
    assert cluster.worked == [4, 6, 10, 10]
    one, many = (
        {name.removeprefix(f"/{top}"): memory.cat(name) for name in memory.find(top)}
        for top in (f"one/{tmp_path.name}", tmp_path.name)
    )
    assert many == one


def test_files_of_others_at_a_url_stay(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    url = f"memory://{tmp_path.name}"
    fsspec.filesystem("memory").pipe(f"{tmp_path.name}/left/0.png", b"a drawing")
    with pytest.raises(OutputError, match=rf"cannot write {url}/left/0.png: it exists, and vocseg did not write it"):
        vocseg.predict(photos, url, model=network, device="cpu", overlay=False, cluster=Here())


def test_what_a_cluster_cannot_do_is_said(network: vocseg.SegmentationModel, photos: Path, tmp_path: Path) -> None:
    segmenter = vocseg.Segmenter(network, device="cpu")
    with pytest.raises(SettingError, match="a Segmenter stays in its process"):
        vocseg.predict(photos, tmp_path, model=segmenter, cluster=Here())
    for options in ({"shard": "1/2"}, {"watch": True}):
        with pytest.raises(SettingError, match=r"takes no shard .* watches no folder"):
            vocseg.predict(photos, tmp_path, model=network, cluster=Here(), **options)
    with pytest.raises(SettingError, match="writes x of all images"):
        vocseg.predict(photos, tmp_path, model=network, cluster=Here(), formats=[type("Other", (Sink,), {"shared": "x"})])


@pytest.mark.parametrize(("device", "engine", "uses"), [("auto", "auto", 1), ("cpu", "auto", 0), ("auto", "openvino", 0)])
def test_a_network_uses_a_gpu_unless_it_is_told_not_to(device: str, engine: str, uses: int) -> None:
    assert RemoteNetwork("vocseg-s", {"device": device, "engine": engine}).uses_gpu == bool(uses)
