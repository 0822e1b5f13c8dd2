from __future__ import annotations

import json
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import vocseg
from vocseg import voc
from vocseg.data import packed as reading
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loader import samples
from vocseg.data.pack import pack
from vocseg.data.packed import INDEX, PackedFiles, find_packed, open_file
from vocseg.errors import DataError, ImageError


@pytest.fixture
def packed(synth: Path, tmp_path: Path) -> Path:
    """``synth`` in five shards."""
    return pack(synth, tmp_path / "shards", images_per_shard=2).folder


def test_a_packed_data_set_is_the_folder(synth: Path, packed: Path) -> None:
    one, two = VocFolder.find(synth), VocFolder.find(packed)
    assert (one.name, one.classes, one.splits, one.mask_dirs) == (two.name, two.classes, two.splits, two.mask_dirs)
    for split in one.splits:
        assert one.ids(split) == two.ids(split)
    assert two.image("synth_000000") == packed / "shard-000000.tar" / voc.IMAGES / "synth_000000.jpg"
    assert two.masks_of("synth_000009") == [packed / "shard-000004.tar" / voc.MASKS / "synth_000009.png"]
    for one_sample, two_sample in zip(SplitDataset(one, "train"), SplitDataset(two, "train"), strict=True):
        assert one_sample.name == two_sample.name
        assert torch.equal(one_sample.image, two_sample.image)
        assert torch.equal(one_sample.mask, two_sample.mask)


def test_the_public_data_set(synth: Path, packed: Path) -> None:
    one, two = (vocseg.VOCDataset(root, "val") for root in (synth, packed))
    assert two.images[0].endswith("shard-000003.tar/JPEGImages/synth_000006.jpg")
    for pair, other in zip(one, two, strict=True):
        assert torch.equal(pair[0], other[0])
        assert torch.equal(pair[1], other[1])


def test_loader_processes_read_it(packed: Path) -> None:
    dataset = SplitDataset(VocFolder.find(packed), "train")
    again = pickle.loads(pickle.dumps(dataset))  # what a process gets that is not forked
    for one, two, sample in zip(samples(dataset, 2), again, dataset, strict=True):
        assert torch.equal(one.image, sample.image)
        assert torch.equal(two.image, sample.image)


def test_a_shard_is_opened_once(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    original: Callable[..., int] = os.open
    monkeypatch.setattr(os, "open", lambda path, *rest: opened.append(Path(path).name) or original(path, *rest))
    dataset = SplitDataset(VocFolder.find(packed), "trainval")
    for _ in range(3):
        for index in (7, 1, 5, 9, 0, 2, 4, 3, 8, 6):
            dataset[index]
    assert sorted(opened) == [f"shard-{number:06d}.tar" for number in range(5)]


def test_few_shards_are_open_at_a_time(packed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "OPEN_SHARDS", 2)
    before = len(os.listdir("/proc/self/fd"))
    shards = PackedFiles(packed)
    for number in range(10):
        assert shards.read(f"{voc.IMAGES}/synth_{number:06d}.jpg")
        assert len(os.listdir("/proc/self/fd")) <= before + 2
    del shards
    assert len(os.listdir("/proc/self/fd")) == before


def test_errors_name_the_shard_and_the_image(packed: Path, damaged: Path, tmp_path: Path) -> None:
    (damaged / voc.IMAGES / "synth_000001.jpg").write_bytes((damaged / voc.IMAGES / "synth_000001.jpg").read_bytes()[:300])
    folder = VocFolder.find(pack(damaged, tmp_path / "bad").folder)
    with pytest.raises(ImageError, match=r"cannot decode image .*bad/shard-000000.tar/JPEGImages/synth_000001.jpg: "):
        SplitDataset(folder, "train")[1]
    with pytest.raises(DataError, match=r"id 'nobody' has no mask in "):
        folder.mask("nobody")
    with pytest.raises(DataError, match=r"no mask folder .*SegmentationClassAug"):
        VocFolder.find(packed, "SegmentationClassAug")
    with pytest.raises(FileNotFoundError):
        open_file(packed / "shard-000000.tar" / voc.IMAGES / "nobody.jpg")


def test_shards_that_are_not_those_of_the_index(packed: Path) -> None:
    dataset = SplitDataset(VocFolder.find(packed), "train")
    first, second, third = (packed / f"shard-{number:06d}.tar" for number in range(3))
    first.write_bytes(first.read_bytes()[:-1024])
    second.unlink()
    with pytest.raises(
        ImageError, match=r"synth_000000.jpg: shard shard-000000.tar has 9,216 bytes, not the 10,240 of shards.json"
    ):
        dataset[0]
    with pytest.raises(ImageError, match=r"synth_000002.jpg: No such file or directory"):
        dataset[2]
    dataset[4]
    os.truncate(third, 600)  # while it is open
    with pytest.raises(ImageError, match=r"synth_000005.jpg: the shard is cut off"):
        dataset[5]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, r"shards.json was written by a newer vocseg \(version 2\)"),
        ({"version": "x"}, "not the index of a packed data set"),
        ({"shards": 5}, "not the index of a packed data set"),
        ({"shards": [{}]}, "not the index of a packed data set"),
        ({"shards": [{"file": "../x.tar", "bytes": 9, "sha256": "", "files": []}]}, "not the index"),
        ({"shards": [{"file": "x.tar", "bytes": 9, "sha256": "", "files": [["a", -1, 2]]}]}, "not the index"),
        ({"shards": [{"file": "x.tar", "bytes": 9, "sha256": "", "files": [["a", 5, 5]]}]}, "not the index"),
        ({"shards": [{"file": "x.tar", "bytes": 9, "sha256": "", "files": ["abc"]}]}, "not the index"),
    ],
)
def test_damaged_indexes(packed: Path, change: dict[str, object], message: str) -> None:
    index = json.loads((packed / INDEX).read_text())
    (packed / INDEX).write_text(json.dumps(index | change))
    with pytest.raises(DataError, match=message):
        VocFolder.find(packed)
    (packed / INDEX).write_text("[")
    with pytest.raises(DataError, match=r"shards.json is not JSON"):
        VocFolder.find(packed)
    (packed / INDEX).write_text("[]")
    with pytest.raises(DataError, match="not the index"):
        VocFolder.find(packed)


def test_an_index_that_changes_is_read_again(synth: Path, packed: Path, tmp_path: Path) -> None:
    one = find_packed(packed)
    assert one is find_packed(packed)
    os.utime(packed / INDEX, (5, 5))
    assert find_packed(packed) is not one
    assert find_packed(synth) is None


def test_outputs_do_not_replace_packed_files(packed: Path) -> None:
    with pytest.raises(vocseg.OutputError, match="holds the data set's images"):
        vocseg.evaluate("two_layer_net", packed, json=packed / "new.json")
