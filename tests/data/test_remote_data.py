"""Packed data sets at URLs against the folders that they were made of."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

import vocseg
from s3_server import INTERNAL, S3Server
from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError, OutputError
from vocseg.utils.remote import find, read_bytes, remove, upload
from vocseg.utils.urls import join


@pytest.fixture
def shards(bucket: str, synth: Path, s3: S3Server) -> str:
    """The URL of the packed data set ``synth``, in shards of 4 images."""
    vocseg.pack(synth, f"{bucket}/shards", images_per_shard=4)
    s3.seen.clear()
    return f"{bucket}/shards"


@pytest.fixture(params=["packed", "folder"])
def data(request: pytest.FixtureRequest, bucket: str, synth: Path) -> str:
    """The URL of the data set ``synth``, packed or as it is."""
    if request.param == "packed":
        return str(request.getfixturevalue("shards"))
    for path in synth.rglob("*.*"):
        upload(path, join(f"{bucket}/data", path.relative_to(synth).as_posix()))
    return f"{bucket}/data"


def test_packed_at_a_url_are_the_files_of_a_folder(bucket: str, shards: str, synth: Path, tmp_path: Path) -> None:
    packed = vocseg.pack(synth, tmp_path / "shards", images_per_shard=4)
    mine = {found.name: read_bytes(join(shards, found.name)) for found in find(shards)}
    assert mine == {path.relative_to(packed.folder).as_posix(): path.read_bytes() for path in Path(packed.folder).rglob("*.*")}
    with pytest.raises(OutputError, match=rf"^{shards} is not an empty folder"):
        vocseg.pack(synth, shards)
    remove([join(shards, "shards.json"), join(shards, "shard-000001.tar")])  # as an upload that was killed leaves it
    assert vocseg.pack(synth, shards, images_per_shard=4).folder == shards
    assert {found.name for found in find(shards)} == set(mine)
    upload(tmp_path / "shards" / "shards.json", f"{bucket}/other/photo.jpg")
    with pytest.raises(OutputError, match=rf"^{bucket}/other is not an empty folder"):
        vocseg.pack(synth, f"{bucket}/other")


@pytest.mark.parametrize("start", ["fork", "spawn"])
def test_samples_in_loader_processes(data: str, synth: Path, start: str) -> None:
    remote, local = (SplitDataset(VocFolder.find(source), "train") for source in (data, synth))
    list(map(remote.__getitem__, range(2)))  # the parent process has read from the store
    loader = DataLoader(remote, batch_size=None, num_workers=2, multiprocessing_context=start, persistent_workers=True)
    for _ in range(2):
        for sample, expected in zip(loader, map(local.__getitem__, range(len(local))), strict=True):
            assert sample.name == expected.name
            assert torch.equal(sample.image, expected.image)
            assert torch.equal(sample.mask, expected.mask)


def test_an_image_and_its_mask_are_one_request(s3: S3Server, shards: str) -> None:
    dataset = SplitDataset(VocFolder.find(shards), "train")
    s3.seen.clear()
    for number in range(len(dataset)):
        dataset[number]
    assert len(s3.seen) <= len(dataset)
    assert all(method == "GET" and ".tar" in path for method, path in s3.seen)
    s3.seen.clear()
    dataset[len(dataset) - 1]
    assert s3.seen == []


def test_scores_are_equal_bit_for_bit(bucket: str, data: str, synth: Path, tmp_path: Path) -> None:
    model = vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)
    one = vocseg.evaluate(model, synth, out=tmp_path / "one", device="cpu")
    two = vocseg.evaluate(
        model, data, out=f"{bucket}/two", save_masks=f"{bucket}/masks", json=f"{bucket}/scores.json", device="cpu", workers=2
    )
    assert (two.miou, two.loss) == (one.miou, one.loss)
    for name in ("per_image.npz", "per_image.csv", "reliability.svg"):
        assert read_bytes(f"{bucket}/two/{name}") == (tmp_path / "one" / name).read_bytes()
    masks = {path.name: path.read_bytes() for path in (tmp_path / "one" / "masks").iterdir()}
    assert {found.name: read_bytes(f"{bucket}/masks/{found.name}") for found in find(f"{bucket}/masks")} == masks
    assert two.about["data"] == data
    again = vocseg.score(f"{bucket}/masks", data, out=f"{bucket}/again")
    assert (again.miou, again.about["masks"]) == (one.miou, f"{bucket}/masks")


def test_shards_of_an_evaluation(s3: S3Server, bucket: str, data: str, synth: Path, caplog: pytest.LogCaptureFixture) -> None:
    model = vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)
    one = vocseg.evaluate(model, synth, device="cpu")
    for number in (1, 2):
        vocseg.evaluate(model, data, out=f"{bucket}/results", shard=f"{number}/2", device="cpu")
        caplog.clear()
        caplog.set_level("INFO")
        s3.seen.clear()
        vocseg.evaluate(model, data, out=f"{bucket}/results", shard=f"{number}/2", device="cpu")
        assert f"shard {number}/2 is finished: {bucket}/results/shard-{number}-of-2" in caplog.text
        assert not any(method == "PUT" for method, _ in s3.seen)
    merged = vocseg.merge(f"{bucket}/results", f"{bucket}/results")
    assert merged.miou == one.miou
    names = {found.name for found in find(f"{bucket}/results")}
    assert {"scores.json", "per_image.npz", "shard-1-of-2/shard.json", "shard-2-of-2/shard.json"} <= names
    # What says that a shard is complete is there last, and away first.
    model = vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)
    torch.nn.init.normal_(next(model.parameters()))
    s3.seen.clear()
    vocseg.evaluate(model, data, out=f"{bucket}/results", shard="1/2", device="cpu")
    changes = [(method, path) for method, path in s3.seen if method in ("PUT", "DELETE") and "shard-1-of-2/" in path]
    assert re.search(r"shard-1-of-2/shard\.json", changes[0][1]) and changes[0][0] == "DELETE"  # noqa: PT018
    assert re.search(r"shard-1-of-2/shard\.json", changes[-1][1]) and changes[-1][0] == "PUT"  # noqa: PT018


def test_training_is_equal_bit_for_bit(data: str, synth: Path, tmp_path: Path) -> None:
    options = {"epochs": 2, "crop": 32, "batch_size": 2, "workers": 1, "device": "cpu"}
    one = vocseg.train(synth, "two_layer_net", out=tmp_path / "one", **options)
    two = vocseg.train(data, "two_layer_net", out=tmp_path / "two", **options)
    assert (tmp_path / "one" / "steps.csv").read_bytes() == (tmp_path / "two" / "steps.csv").read_bytes()
    assert all(map(torch.equal, one.model.state_dict().values(), two.model.state_dict().values()))
    assert f'data = "{data}"' in (tmp_path / "two" / "config.toml").read_text()


def test_reads_are_tried_again(s3: S3Server, shards: str, synth: Path) -> None:
    dataset, local = (SplitDataset(VocFolder.find(data), "train") for data in (shards, synth))
    s3.times(INTERNAL, 2, lambda method, path: path.endswith(".tar"))
    assert torch.equal(dataset[0].image, local[0].image)
    dataset = SplitDataset(VocFolder.find(shards), "val")
    s3.times(INTERNAL, 99, lambda method, path: path.endswith(".tar"))
    with pytest.raises(
        DataError, match=rf"^cannot read image {shards}/shard-00000.\.tar/JPEGImages/.*: We encountered .* \(4 tries\)$"
    ):
        dataset[3]


def test_what_is_no_data_set_or_must_be_on_a_disk(bucket: str, synth: Path, tmp_path: Path) -> None:
    upload(next(VocFolder.find(synth).root.glob("JPEGImages/*")), f"{bucket}/data/VOCdevkit/VOC2012/JPEGImages/a.jpg")
    with pytest.raises(DataError, match=rf"^{bucket}/none/? is not in VOC layout"):
        VocFolder.find(f"{bucket}/none/")
    with pytest.raises(DataError, match=rf"^no mask folder {bucket}/data/VOCdevkit/VOC2012/SegmentationClass"):
        VocFolder.find(f"{bucket}/data")
    with pytest.raises(DataError, match=rf"^{bucket}/data is not a packed data set: it has no shards.json"):
        vocseg.unpack(f"{bucket}/data", tmp_path / "out")


def test_packed_and_unpacked_from_a_url_to_a_url(s3: S3Server, bucket: str, data: str, synth: Path, tmp_path: Path) -> None:
    local = vocseg.pack(synth, tmp_path / "shards", images_per_shard=4)
    for out in (f"{bucket}/out", tmp_path / "out"):
        if data.endswith("shards"):
            s3.seen.clear()
            assert vocseg.unpack(data, out).to_dict() == local.to_dict() | {"folder": str(out)}
            expected = synth
        else:
            assert vocseg.pack(data, out, images_per_shard=4).to_dict() == local.to_dict() | {"folder": str(out)}
            expected = tmp_path / "shards"
        files = {path.relative_to(expected).as_posix(): path.read_bytes() for path in expected.rglob("*.*")}
        url = out if isinstance(out, str) else out.as_uri()
        assert {found.name: read_bytes(join(url, found.name)) for found in find(url)} == files
    changes = [path for method, path in s3.seen if method == "PUT"]
    assert data.endswith("shards") or changes[-1].endswith("shards.json")
    with pytest.raises(OutputError, match=rf"^{bucket}/out is not an empty folder"):
        vocseg.unpack(tmp_path / "shards", f"{bucket}/out")


def test_a_folder_in_memory(synth: Path, tmp_path: Path) -> None:
    """Below VOCdevkit; an image that is damaged or away is called by its URL."""
    url = "memory://devkit/VOCdevkit/VOC2007"
    for path in synth.rglob("*.*"):
        upload(path, join(url, path.relative_to(synth).as_posix()))
    dataset, local = (SplitDataset(VocFolder.find(source), "val") for source in ("memory://devkit", synth))
    assert all(map(torch.equal, dataset[3][:2], local[3][:2]))
    assert dataset.folder.name == "VOC2007"
    with pytest.raises(DataError, match=r"^folds are made of links to the images; copy memory://devkit to a disk first"):
        vocseg.train_folds("memory://devkit", out=tmp_path / "folds")
    (tmp_path / "empty").touch()
    image = f"{url}/JPEGImages/{dataset.names[0]}.jpg"
    upload(tmp_path / "empty", image)
    case = next(finding for finding in vocseg.examine("memory://devkit").findings if finding.kind == "unreadable-image").cases[0]
    assert (case.file, case.detail) == (f"JPEGImages/{dataset.names[0]}.jpg", "the file is empty")
    with pytest.raises(DataError, match=rf"^cannot decode image {image}: the file is empty"):
        dataset[0]
    remove([image])
    with pytest.raises(DataError, match=rf"^cannot read image {image}: there is no such file"):
        dataset[0]


def test_label_errors_are_reviewed(data: str, synth: Path, tmp_path: Path) -> None:
    model = vocseg.create_model("two_layer_net", VocFolder.find(synth).classes)
    for source in (data, synth):
        out = tmp_path / ("local" if source == synth else "remote")
        found = vocseg.find_label_errors(source, model, split="val", limit=5, device="cpu")
        found.save(out / "review.json")
        reviewed = type(found).load(out / "review.json", source)
        reviewed.suggest(out / "fixes")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name / "fixes").rglob("*.*")} for name in ("local", "remote"))
    assert one == two
    assert any(name.endswith(".jpg") for name in one)


def test_a_doctor_examines_it(data: str, synth: Path) -> None:
    found, expected = vocseg.examine(data), vocseg.examine(synth)
    assert found.to_dict()["findings"] == expected.to_dict()["findings"]
    assert data in repr(found)
