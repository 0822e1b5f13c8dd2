"""Shards of predictions in one folder against one run."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import vocseg
from vocseg.errors import DataError, InputError, OutputError, SettingError
from vocseg.inference import run as running
from vocseg.inference.sinks import AreaSink, Sink
from vocseg.utils.shards import Manifest, Shard

FORMATS = ("mask", "areas", "coco", "cvat", "label-studio")


@pytest.fixture(scope="module")
def segmenter(network: vocseg.SegmentationModel) -> vocseg.Segmenter:
    return vocseg.Segmenter(network, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def photos(make_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images of two folders, one of three pages, and a damaged one."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    make_photos(folder, [f"{'left' if number % 2 else 'right'}/{number}.jpg" for number in range(6)])
    (folder / "left" / "damaged.png").write_bytes(b"damaged")
    return folder


def content(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files if "shard-" not in str(path.relative_to(folder))}


@pytest.mark.parametrize("total", [1, 2, 3, 11])
def test_shards_in_one_folder_give_the_files_of_one_run(
    segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path, total: int
) -> None:
    one = vocseg.predict(photos, tmp_path / "one", model=segmenter, formats=FORMATS)
    parts = [
        vocseg.predict(photos, tmp_path / "many", model=segmenter, formats=FORMATS, shard=f"{number}/{total}")
        for number in range(total, 0, -1)
    ]
    assert not (tmp_path / "many" / "areas.csv").exists()
    assert sorted(row.name for part in parts for row in part.images) == sorted(row.name for row in one.images)
    assert [*map(str, one.errors)] == [str(error) for part in parts for error in part.errors]
    merged = vocseg.merge(tmp_path / "many", tmp_path / "many", json=tmp_path / "merged.json")
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert merged == json.loads((tmp_path / "merged.json").read_text())
    assert isinstance(merged, dict)
    assert (merged["images"], len(merged["skipped"])) == (len(one.images), 1)
    assert merged.keys() == one.to_dict().keys()


def test_a_shard_that_is_started_again_segments_only_what_is_missing(
    segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    formats, out = ("mask", "areas"), tmp_path / "many"
    vocseg.predict(photos, tmp_path / "one", model=segmenter, formats=formats)
    for number in (1, 2):
        vocseg.predict(photos, out, model=segmenter, formats=formats, shard=f"{number}/2")
    lost = min((out / "right").glob("*.png"))
    lost.unlink()
    number = 1 if Shard(1, 2).holds(f"right/{lost.stem}.jpg") else 2
    totals = []
    real = running.Stream
    monkeypatch.setattr(running, "Stream", lambda *args: totals.append(args[6]) or real(*args))
    again = vocseg.predict(photos, out, model=segmenter, formats=formats, shard=f"{number}/2", skip_existing=True)
    assert [row.name for row in again.images] == [f"right/{lost.stem}.jpg"]
    assert totals == [8]  # the engine is that of the whole
    with pytest.raises(InputError, match="missing shard"):
        vocseg.merge(out / f"shard-{number}-of-2")
    vocseg.merge(out, out)
    assert content(out) == content(tmp_path / "one")


@pytest.mark.skipif(sys.platform != "linux", reason="names of other systems are text")
def test_a_name_that_is_no_text(segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    file = Path(os.fsdecode(os.fsencode(tmp_path / "odd") + b"/lat\xe9.jpg"))
    file.parent.mkdir()
    shutil.copy(min((photos / "left").glob("*.jpg")), file)
    formats = ("mask", "areas", "coco", "cvat", "label-studio")
    vocseg.predict(file.parent, tmp_path / "one", model=segmenter, formats=formats).check()
    vocseg.predict(file.parent, tmp_path / "many", model=segmenter, formats=formats, shard="1/1").check()
    vocseg.merge(tmp_path / "many", tmp_path / "many")
    assert content(tmp_path / "many") == content(tmp_path / "one")
    assert (tmp_path / "one" / "areas.csv").read_text().splitlines()[1].startswith(r"lat\udce9.jpg,")


def test_images_in_a_folder_of_a_shards_name_are_refused(segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "in" / "shard-1-of-2").mkdir(parents=True)
    shutil.copy(min((photos / "left").glob("*.jpg")), tmp_path / "in" / "shard-1-of-2" / "a.jpg")
    with pytest.raises(InputError, match=r"the folder shard-1-of-2 of image .*a\.jpg has the name of a shard's results: rename it"):
        vocseg.predict(tmp_path / "in", tmp_path / "out", model=segmenter, shard="2/2")
    assert not (tmp_path / "out").exists()


def test_results_of_another_verb_are_refused_before_work(segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    manifest = Manifest.of("evaluate", Shard(1, 2), {}, "", "", tmp_path)
    with manifest.writing(tmp_path / "out"):
        pass
    with pytest.raises(OutputError, match=r"shard-1-of-2: it has results of 'evaluate'; choose another folder"):
        vocseg.predict(photos, tmp_path / "out", model=segmenter, shard="1/2")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["shard-1-of-2"]


def test_other_images_and_settings_are_refused(segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path) -> None:
    vocseg.predict(photos, tmp_path, model=segmenter, shard="1/2", overlay=False)
    vocseg.predict(photos / "left", tmp_path, model=segmenter, shard="2/2", overlay=False)
    with pytest.raises(InputError, match=r"other lists of 8 images in .*1-of-2, but of 4 images in .*2-of-2"):
        vocseg.merge(tmp_path)
    vocseg.predict(photos, tmp_path, model=segmenter, shard="2/2", formats=("mask", "areas"))
    with pytest.raises(InputError, match=r"formats mask in .*1-of-2, but mask, areas in .*2-of-2"):
        vocseg.merge(tmp_path)
    vocseg.predict(photos, tmp_path, model=segmenter, shard="1/2", formats=("mask", "areas"))
    (tmp_path / "shard-1-of-2" / "areas.csv.part").write_text("damaged\n")
    with pytest.raises(DataError, match=r"cannot merge areas\.csv\.part"):
        vocseg.merge(tmp_path, tmp_path)

    class Own(AreaSink):
        shared = "own.csv"

    for kind in (Own, type("Other", (Sink,), {"shared": "x"})):
        with pytest.raises(SettingError, match="takes no shard"):
            vocseg.predict(photos, tmp_path, model=segmenter, shard="1/2", formats=[kind])
