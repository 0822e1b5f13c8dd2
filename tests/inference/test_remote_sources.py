"""Prediction from URLs to URLs against the same from folder to folder."""

from __future__ import annotations

import io
import itertools
import json
import logging
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import vocseg
from s3_server import INTERNAL, S3Server
from vocseg.errors import DataError, InputError, OutputError
from vocseg.inference.sources import find_images
from vocseg.utils import remote
from vocseg.utils.remote import find, read_bytes, upload
from vocseg.utils.stand_ins import stand_ins_folder
from vocseg.utils.urls import join

FORMATS = ("mask", "overlay", "cutout", "probabilities", "areas", "coco", "labelme", "yolo", "geojson", "cvat", "label-studio")
NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def segmenter(network: vocseg.SegmentationModel) -> vocseg.Segmenter:
    return vocseg.Segmenter(network, device="cpu", precision="float32")


@pytest.fixture(scope="module")
def photos(make_photos: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Images in three folders, a page of three images, a damaged one, a hidden one, and what is no image."""
    folder = tmp_path_factory.mktemp("photos") / "photos"
    make_photos(folder, ("b.jpg", "a/z.jpg", "a/b/c.jpg", "a-c.jpg", "a/.hidden.jpg"))
    (folder / "a" / "damaged.png").write_bytes(b"damaged")
    (folder / "notes.txt").write_text("b.jpg\na/z.jpg\n")
    return folder


def put(folder: Path, url: str) -> str:
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        upload(file, join(url, file.relative_to(folder).as_posix()))
    return url


def local(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def stored(url: str) -> dict[str, bytes]:
    return {found.name: read_bytes(join(url, found.name)) for found in find(url)}


@pytest.fixture(params=["s3", "memory"])
def store(request: pytest.FixtureRequest) -> str:
    """An empty folder at a URL."""
    return request.getfixturevalue("bucket") if request.param == "s3" else f"memory://store-{next(NUMBERS)}"


def test_a_bucket_gives_the_files_of_a_folder(segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path) -> None:
    put(photos, f"{store}/photos")
    before = set(stand_ins_folder().iterdir())
    one = vocseg.predict(photos, tmp_path / "masks", model=segmenter, formats=FORMATS, json=tmp_path / "all.json")
    two = vocseg.predict(f"{store}/photos", f"{store}/masks", model=segmenter, formats=FORMATS, json=f"{store}/all.json")
    mine, theirs = stored(f"{store}/masks"), local(tmp_path / "masks")
    for files in (mine, theirs):  # LabelMe's name the image, by its path from theirs
        found = {
            name: json.loads(files.pop(name)) for name in list(files) if name.startswith("labelme/") and name.endswith(".json")
        }
        files["labelme"] = json.dumps({name: values | {"imagePath": ""} for name, values in found.items()}).encode()
    assert mine == theirs
    assert [row.name for row in two.images] == [row.name for row in one.images]
    assert [row.image for row in two.images] == [f"{store}/photos/{row.name}" for row in one.images]
    assert [row.mask for row in two.images] == [
        f"{store}/masks/{Path(row.mask).relative_to(tmp_path / 'masks')}" for row in one.images
    ]
    errors = [{str(key): str(error) for key, error in result.errors.items()} for result in (one, two)]
    assert json.loads(json.dumps(errors[1]).replace(store, str(photos.parent))) == errors[0]
    assert two.shared == tuple(f"{store}/masks/{Path(file).name}" for file in one.shared)
    written = json.loads(read_bytes(f"{store}/all.json"))
    assert [row["mask"] for row in written["predictions"]] == [row.mask for row in two.images]
    assert str(stand_ins_folder()) not in json.dumps(written)
    assert set(stand_ins_folder().iterdir()) == before


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.jpg", ["a-c.jpg", "b.jpg"]), ("**/*.jpg", ["a-c.jpg", "a/b/c.jpg", "a/z.jpg", "b.jpg"]), ("?.jpg", ["b.jpg"]),
        ("a/", ["a/b/c.jpg", "a/z.jpg"]), ("a", ["a/b/c.jpg", "a/z.jpg"]), ("b.jpg", ["b.jpg"]),
        ("notes.txt", ["b.jpg", "a/z.jpg"]),
    ],
)  # fmt: skip
def test_the_grammar_of_sources(
    segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path, pattern: str, names: list[str]
) -> None:
    put(photos, store)
    found = segmenter.stream(join(store, pattern), on_error="skip")
    assert [result.source for result in found] == [join(store, name) for name in names]
    mine = segmenter.stream(str(photos / pattern), on_error="skip")
    assert [result.source for result in mine if result.source.suffix == ".jpg"] == [photos / name for name in names]


def test_lists_name_urls_and_lists_at_urls_name_their_neighbors(
    segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path
) -> None:
    put(photos, store)
    (tmp_path / "list.csv").write_text(f"image\n{store}/b.jpg\n{photos / 'a-c.jpg'}\n{store}/none.jpg\n")
    stream = segmenter.stream(tmp_path / "list.csv", on_error="skip")
    assert [result.source for result in stream] == [f"{store}/b.jpg", photos / "a-c.jpg"]
    expected = f"cannot read {store}/none.jpg: there is no such file, folder or bucket"
    assert {key: str(error) for key, error in stream.errors.items()} == {f"{store}/none.jpg": expected}
    (tmp_path / "list.txt").write_text(f"a-c.jpg\n{photos / 'b.jpg'}\n{store}/b.jpg\n")
    upload(tmp_path / "list.txt", f"{store}/list.txt")
    assert [result.source for result in segmenter.stream(f"{store}/list.txt")] == [
        f"{store}/a-c.jpg",
        photos / "b.jpg",
        f"{store}/b.jpg",
    ]


@pytest.mark.parametrize("suffix", [".zip", ".tar", ".tar.gz"])
def test_archives_at_urls(segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path, suffix: str) -> None:
    file = tmp_path / f"photos{suffix}"
    if suffix == ".zip":
        with zipfile.ZipFile(file, "w") as archive:
            for path in sorted(photos.rglob("*.*")):
                archive.write(path, path.relative_to(photos))
    else:
        with tarfile.open(file, "w:gz" if suffix == ".tar.gz" else "w") as packed:
            packed.add(photos, ".")
    upload(file, f"{store}/photos{suffix}")
    one = vocseg.predict(file, tmp_path / "masks", model=segmenter)
    two = vocseg.predict(f"{store}/photos{suffix}", f"{store}/masks", model=segmenter)
    assert stored(f"{store}/masks") == local(tmp_path / "masks")
    assert [str(row.image) for row in two.images] == [str(row.image).replace(str(tmp_path), store) for row in one.images]
    assert [*map(str, two.errors.values())] == [str(error).replace(str(tmp_path), store) for error in one.errors.values()]
    if suffix == ".zip":
        inside = f"zip://::{store}/photos.zip"
        names = [str(result.source) for result in segmenter.stream(inside, on_error="skip")]
        assert names[:4] == [f"zip://{name}::{store}/photos.zip" for name in ("a/b/c.jpg", "a/z.jpg", "a-c.jpg", "b.jpg")]
        assert segmenter(f"zip://a/z.jpg::{store}/photos.zip").areas() == segmenter(photos / "a/z.jpg").areas()


def test_an_archive_that_is_cut_off(segmenter: vocseg.Segmenter, photos: Path, bucket: str, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar", "w") as packed:
        packed.add(photos, ".")
    content = (tmp_path / "a.tar").read_bytes()
    (tmp_path / "cut.tar").write_bytes(content[: len(content) // 2])
    upload(tmp_path / "cut.tar", f"{bucket}/cut.tar")
    stream = segmenter.stream(f"{bucket}/cut.tar", on_error="skip")
    list(stream)
    assert any(str(error) == f"cannot read archive {bucket}/cut.tar: it is cut off" for error in stream.errors.values())


def test_skip_existing_lists_once(s3: S3Server, segmenter: vocseg.Segmenter, photos: Path, bucket: str) -> None:
    put(photos / "a", f"{bucket}/photos")
    again = {"model": segmenter, "formats": ("mask", "areas"), "skip_existing": True}
    first = vocseg.predict(f"{bucket}/photos/", f"{bucket}/masks", **again)
    expected = stored(f"{bucket}/masks")
    s3.seen.clear()
    second = vocseg.predict(f"{bucket}/photos/", f"{bucket}/masks", **again)
    assert (len(first.images), second.existing, len(second.images)) == (2, 2, 0)
    assert stored(f"{bucket}/masks") == expected
    remote.remove([f"{bucket}/masks/z.png"])
    s3.seen.clear()
    third = vocseg.predict(f"{bucket}/photos/", f"{bucket}/masks", **again | {"formats": ("mask",)})
    assert [row.name for row in third.images] == ["z.jpg"]
    gets = [path for method, path in s3.seen if method == "GET" and "list-type" not in path]
    assert gets.count(f"/{bucket.removeprefix('s3://')}/photos/z.jpg") == 1
    assert len(gets) == 2  # and the damaged one
    assert sum("list-type" in path for _, path in s3.seen) == 2
    assert stored(f"{bucket}/masks") == expected


def test_an_image_is_one_request(s3: S3Server, segmenter: vocseg.Segmenter, photos: Path, bucket: str) -> None:
    put(photos / "a" / "b", f"{bucket}/photos")
    s3.seen.clear()
    vocseg.predict(f"{bucket}/photos/", f"{bucket}/masks", model=segmenter, overlay=False)
    requests = [(method, path.partition("?")[0]) for method, path in s3.seen if "list-type" not in path and method != "HEAD"]
    name = bucket.removeprefix("s3://")
    assert requests == [("GET", f"/{name}/photos/c.jpg"), ("PUT", f"/{name}/masks/c.png")]


def test_shards_in_a_bucket_give_the_files_of_one_run(
    segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path
) -> None:
    put(photos, f"{store}/photos")
    formats = ("mask", "areas", "coco", "cvat")
    vocseg.predict(photos, tmp_path / "masks", model=segmenter, formats=formats)
    options = {"model": segmenter, "formats": formats, "skip_existing": True}
    vocseg.predict(f"{store}/photos", f"{store}/masks", shard="2/2", **options)
    with pytest.raises(InputError, match=r"^missing shard 1 of 2"):
        vocseg.merge(f"{store}/masks")
    for number in (1, 2):  # one of them twice
        vocseg.predict(f"{store}/photos", f"{store}/masks", shard=f"{number}/2", **options)
    done = vocseg.merge(f"{store}/masks", f"{store}/masks")
    assert isinstance(done, dict)
    assert sorted(done["files"]) == sorted(f"{store}/masks/{name}" for name in ("areas.csv", "coco.json", "cvat.xml"))
    mine = {name: content for name, content in stored(f"{store}/masks").items() if not name.startswith("shard-")}
    assert mine == local(tmp_path / "masks")


def test_outputs_do_not_replace_inputs_and_what_others_wrote(
    segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path
) -> None:
    put(photos / "a" / "b", f"{store}/photos")
    for out in (f"{store}/photos", f"{store}/photos/"):
        with pytest.raises(OutputError, match=r"^the folder .* of the images cannot be that of their masks too"):
            vocseg.predict(f"{store}/photos", out, model=segmenter)
    Image.new("L", (8, 8)).save(tmp_path / "a.png")
    upload(tmp_path / "a.png", f"{store}/a.png")
    with pytest.raises(OutputError, match=rf"^cannot write {store}/a.png: it would replace the input"):
        vocseg.predict(f"{store}/a.png", store, model=segmenter)
    upload(tmp_path / "a.png", f"{store}/masks/c.png")
    with pytest.raises(OutputError, match=rf"^cannot write {store}/masks/c.png: it exists, and vocseg did not write it"):
        vocseg.predict(f"{store}/photos", f"{store}/masks", model=segmenter)
    assert read_bytes(f"{store}/masks/c.png") == (tmp_path / "a.png").read_bytes()
    # Outputs below the images are no images, nor are those of an earlier call elsewhere.
    vocseg.predict(f"{store}/photos", f"{store}/photos/masks", model=segmenter)
    result = vocseg.predict(f"{store}/photos", f"{store}/photos/masks", model=segmenter)
    assert [row.name for row in result.images] == ["c.jpg"]
    result = vocseg.predict(f"{store}/photos", f"{store}/elsewhere", model=segmenter)
    assert [row.name for row in result.images] == ["c.jpg"]
    assert all("is a mask or an overlay that vocseg wrote" in str(error) for error in result.errors.values())
    assert len(result.errors) == 2


def test_a_failed_upload_is_one_line(s3: S3Server, segmenter: vocseg.Segmenter, photos: Path, bucket: str) -> None:
    put(photos, f"{bucket}/photos")
    s3.times(INTERNAL, 99, lambda method, path: method == "PUT" and "b.png" in path)
    with pytest.raises(OutputError, match=rf"^cannot write {bucket}/masks/b.png: .* \(4 tries\)$") as failed:
        vocseg.predict(f"{bucket}/photos", f"{bucket}/masks", model=segmenter, overlay=False)
    assert failed.value.exit_code == 1
    assert "b.png" not in stored(f"{bucket}/masks")
    s3.fail = lambda method, path: None
    result = vocseg.predict(f"{bucket}/photos", f"{bucket}/masks", model=segmenter, overlay=False, skip_existing=True)
    assert result.existing + len(result.images) == 7


@pytest.mark.slow
def test_kill_9_in_the_middle_and_a_rerun(s3: S3Server, photos: Path, bucket: str, tmp_path: Path) -> None:
    """At the third mask, whose upload has not ended."""
    put(photos, f"{bucket}/photos")
    third, end, masks = threading.Event(), threading.Event(), set[str]()

    def hold(method: str, path: str) -> None:
        if method == "PUT" and "/masks/" in path:
            masks.add(path)
            if len(masks) > 2:
                third.set()
                end.wait(30)

    s3.fail = hold
    options = ["--model", "two_layer_net", "--weights", "none", "--device", "cpu", "--no-overlay", "--skip-existing"]
    command = [sys.executable, "-m", "vocseg", "predict", f"{bucket}/photos/", "--out", f"{bucket}/masks", *options]
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONPATH": os.pathsep.join(sys.path)}
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    assert third.wait(60)
    process.kill()
    process.wait()
    there = stored(f"{bucket}/masks")
    assert len(there) <= 2
    assert all(Image.open(io.BytesIO(content)).verify() is None for content in there.values())
    left = set(tmp_path.glob(".vocseg.*"))
    assert left
    end.set()
    s3.fail = lambda method, path: None
    s3.seen.clear()
    assert subprocess.run(command, env=environment, stdout=subprocess.DEVNULL).returncode == 2  # of the damaged image
    after = stored(f"{bucket}/masks")
    assert len(after) == 7
    assert there.items() <= after.items()
    assert sum(method == "PUT" for method, _ in s3.seen) <= 7 - len(there)  # nothing twice
    assert not list(tmp_path.glob(".vocseg.*"))


def test_what_is_not_read(segmenter: vocseg.Segmenter, store: str) -> None:
    for url, message in (
        (f"{store}/none/", f"no files in {store}/none/: there is no such"), (f"{store}/none", f"no image or folder {store}/none"),
        (f"{store}/*.jpg", rf"no image or folder {store}/\*\.jpg"),
        ("foo://bar/a.jpg", "cannot use foo://bar/a.jpg: Protocol not known: foo"),
    ):  # fmt: skip
        with pytest.raises(InputError, match=f"^{message}"):
            find_images(url)
    with pytest.raises(DataError, match="there is no such file"):
        segmenter(f"{store}/none.jpg")


def test_local_names_with_colons(
    segmenter: vocseg.Segmenter, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a:b.jpg", "C:/x.jpg", "s3:/bucket/x.jpg"):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / "b.jpg", name)
        result = vocseg.predict(name, "out:1", model=segmenter, overlay=False)
        assert result.images[0].mask == Path("out:1") / f"{Path(name).stem}.png"
    assert [row.name for row in vocseg.predict("s3:/bucket", "m", model=segmenter).images] == ["x.jpg"]
    with pytest.raises(InputError, match="pass the URL memory:/x as a string"):
        vocseg.predict("C:", Path("memory://x"), model=segmenter)


def test_a_model_at_a_url(segmenter: vocseg.Segmenter, photos: Path, store: str, tmp_path: Path, s3: S3Server) -> None:
    from vocseg.models import save_model

    model = vocseg.create_model("two_layer_net", ("background", "a"))
    save_model(tmp_path / "best.safetensors", model)
    upload(tmp_path / "best.safetensors", f"{store}/best.safetensors")
    mine, theirs = (
        vocseg.Segmenter(tmp_path / "best.safetensors", device="cpu"),
        vocseg.Segmenter(f"{store}/best.safetensors", device="cpu"),
    )
    assert torch.equal(mine(photos / "b.jpg").mask, theirs(photos / "b.jpg").mask)
    s3.seen.clear()
    vocseg.Segmenter(f"{store}/best.safetensors", device="cpu")
    assert not s3.seen  # fetched once
    shards = [vocseg.predict(photos / "b.jpg", tmp_path / name, model=path, shard="1/1").model for name, path in (
        ("one", tmp_path / "best.safetensors"), ("two", f"{store}/best.safetensors"))]  # fmt: skip
    assert shards == [str(tmp_path / "best.safetensors"), f"{store}/best.safetensors"]
    settings = [json.loads((tmp_path / name / "shard-1-of-1" / "shard.json").read_text())["settings"] for name in ("one", "two")]
    assert settings[0] == settings[1]
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "best.safetensors").read_bytes()[:-100])
    upload(tmp_path / "cut.safetensors", f"{store}/cut.safetensors")
    with pytest.raises(InputError, match=rf"^{store}/cut.safetensors is not a model file"):
        vocseg.Segmenter(f"{store}/cut.safetensors")


def test_no_secret_is_shown(
    run: Callable[..., tuple[int, str, str]],
    photos: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of URLs in arguments, lists, results and errors; the store forgets who asks."""
    from fsspec.implementations.memory import MemoryFileSystem

    original = MemoryFileSystem._strip_protocol
    monkeypatch.setattr(
        MemoryFileSystem, "_strip_protocol", classmethod(lambda cls, path: original(path.rpartition("@")[2].partition("?")[0]))
    )
    monkeypatch.setattr("vocseg.cli.options.MEMORY", "none:")  # commands may write there: they run in this process
    put(photos / "a" / "b", "memory://secrets/photos")
    user, query = "memory://jane:TOPSECRET@secrets", "?X-Amz-Signature=TOPSECRET"
    (tmp_path / "list.txt").write_text(
        f"{user}/photos/c.jpg\n{user}/none.jpg{query}\nhttp://u:TOPSECRET@127.0.0.1:9/a.jpg{query}\n"
    )
    caplog.set_level(logging.DEBUG)
    calls = [
        ("predict", f"{user}/photos/", "--out", f"{user}/masks", "--json", f"{user}/all.json"),
        ("predict", tmp_path / "list.txt", "--out", f"{user}/more", "--json", tmp_path / "all.json"),
        ("predict", f"{user}/photos/c.jpg", "--out", f"{user}/masks", "--shard", "1/1", "--format", "mask", "--format", "areas"),
        ("merge", f"{user}/masks", "--out", f"{user}/masks"),
        ("predict", f"{user}/photos/", "--model", f"{user}/none.safetensors{query}"),
        ("evaluate", "two_layer_net", "--data", f"{user}/none{query}"),
        ("train", "--data", f"{user}/none", "--out", f"{user}/run"),
        ("--debug", "predict", f"https://u:TOPSECRET@127.0.0.1:9/a.jpg{query}"),
    ]
    options = ("--model", "two_layer_net", "--weights", "none", "--device", "cpu")
    codes = []
    for call in calls:
        own = options if "predict" in call and "--model" not in call else ()
        code, out, err = run(*call, *own)
        codes.append(code)
        assert "TOPSECRET" not in out + err + caplog.text, call
    assert codes[:4] == [0, 2, 0, 0]
    assert set(codes[4:]) == {2}
    texts = [
        read_bytes(f"memory://secrets/{found.name}") for found in find("memory://secrets") if found.name.endswith((".json", ".csv"))
    ]
    assert len(texts) >= 4
    assert not any(b"TOPSECRET" in text for text in [*texts, (tmp_path / "all.json").read_bytes()])


def test_contents_are_read_a_bounded_number_ahead(
    segmenter: vocseg.Segmenter, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = (photos / "b.jpg").read_bytes()
    from fsspec.implementations.memory import MemoryFileSystem

    for number in range(40):
        MemoryFileSystem().pipe_file(f"/many/{number:02d}.jpg", content)
    reads: list[str] = []
    original = MemoryFileSystem.cat_file
    monkeypatch.setattr(
        MemoryFileSystem, "cat_file", lambda self, path, **limits: (reads.append(path), original(self, path, **limits))[1]
    )
    stream = segmenter.stream("memory://many/")
    for number, _ in enumerate(stream):
        assert len(reads) <= number + 12
    assert len(reads) == 40


def test_bytes_of_a_pipe_are_no_url() -> None:
    with pytest.raises(DataError):
        vocseg.Segmenter("two_layer_net", weights="none", device="cpu")(io.BytesIO(b"s3://bucket/a.jpg"))
