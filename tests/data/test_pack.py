from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vocseg import voc
from vocseg.data.layout import VocFolder
from vocseg.data.pack import pack, unpack
from vocseg.errors import DataError, OutputError, SettingError


@pytest.fixture
def rich(damaged: Path) -> Path:
    """A data set with all that folders may hold: more masks, annotations, dots and accents in names, lists of other tasks."""
    for folder, suffix in (("SegmentationClassAug", "png"), (voc.OBJECTS, "png"), ("Annotations", "xml")):
        (damaged / folder).mkdir()
        for number in range(3):
            (damaged / folder / f"synth_{number:06d}.{suffix}").write_bytes(f"{folder} {number}".encode() * 100)
    for folder, suffix in ((voc.IMAGES, "jpg"), (voc.MASKS, "png")):
        for name in ("a.b.c", "gro\u0308ße", "50%", "two words"):
            shutil.copy(damaged / folder / f"synth_000001.{suffix}", damaged / folder / f"{name}.{suffix}")
    (damaged / voc.IMAGES / ".DS_Store").write_bytes(b"hidden")
    (damaged / voc.IMAGES / "empty").touch()
    (damaged / voc.MASKS / "orphan.png").write_bytes(b"no image")
    (damaged / "ImageSets" / "Main").mkdir()
    (damaged / "ImageSets" / "Main" / "cat_val.txt").write_bytes(b"synth_000001 -1\r\n")
    (damaged / voc.SPLITS / "odd.txt").write_bytes("gr\u00f6ße\r\na.b.c 1\n\n".encode())
    (damaged / "labelmap.txt").write_bytes(b"background:0,0,0::\n")
    return damaged


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("images_per_shard", [None, 1, 3])
def test_unpacked_is_the_folder_bit_for_bit(rich: Path, tmp_path: Path, images_per_shard: int | None) -> None:
    packed = pack(rich, tmp_path / "shards", images_per_shard=images_per_shard)
    assert unpack(tmp_path / "shards", tmp_path / "data") == packed.__class__(**packed.__dict__ | {"folder": tmp_path / "data"})
    assert contents(tmp_path / "data") == contents(rich)
    assert {path.name for path in tmp_path.iterdir()} == {"damaged", "shards", "data"}


def test_shards_are_tar_files_that_the_index_describes(rich: Path, tmp_path: Path) -> None:
    """Python's tarfile is the reference."""
    packed = pack(rich, tmp_path / "shards", images_per_shard=4)
    index = json.loads((tmp_path / "shards" / "shards.json").read_text())
    assert (index["version"], index["name"]) == (1, "damaged")
    assert json.loads((tmp_path / "shards" / "classes.json").read_text()) == list(VocFolder.find(rich).classes)
    assert len(index["shards"]) == packed.shards == 5
    seen: list[str] = []
    for entry in index["shards"]:
        path = tmp_path / "shards" / entry["file"]
        assert (path.stat().st_size, hashlib.sha256(path.read_bytes()).hexdigest()) == (entry["bytes"], entry["sha256"])
        with tarfile.open(path) as archive:
            members = archive.getmembers()
            assert [[member.offset_data, member.size] for member in members] == [rest for _, *rest in entry["files"]]
            for member, (file, _, _) in zip(members, entry["files"], strict=True):
                assert archive.extractfile(member).read() == (rich / file).read_bytes()  # type: ignore[union-attr]
                assert (member.mtime, member.uid, member.gid, member.uname, member.mode) == (0, 0, 0, "", 0o644)
            keys = [member.name.partition(".")[0] for member in members]
            assert keys == sorted(keys, key=keys.index)  # files of an image are neighbors
            assert len(set(keys)) <= 4
            seen += keys
    assert len(set(seen)) == packed.ids == 17


def test_a_reader_of_webdataset_finds_images_and_masks(rich: Path, tmp_path: Path) -> None:
    webdataset = pytest.importorskip("webdataset")
    pack(rich, tmp_path / "shards", images_per_shard=6)
    samples = webdataset.WebDataset(str(tmp_path / "shards" / "shard-{000000..000002}.tar"), shardshuffle=False, empty_check=False)
    found = {sample["__key__"]: sample for sample in samples if "jpg" in sample}
    assert len(found) == 14
    folder = VocFolder.find(rich)
    for name in folder.ids("trainval"):
        assert found[name]["jpg"] == folder.image(name).read_bytes()
        assert np.array_equal(Image.open(io.BytesIO(found[name]["seg.png"])), Image.open(folder.mask(name)))
    assert found["synth_000000"]["segmentationclassaug.png"] == (rich / "SegmentationClassAug/synth_000000.png").read_bytes()
    assert found["a%2Eb%2Ec"]["seg.png"] == folder.mask("a.b.c").read_bytes()


def test_equal_files_give_equal_bytes(rich: Path, tmp_path: Path) -> None:
    """Wherever they are, whenever they were written, and if folders are links."""
    other = tmp_path / "other" / "damaged"
    (other / "ImageSets").parent.mkdir(parents=True)
    for name in (path.name for path in rich.iterdir()):
        (other / name).symlink_to(rich / name)
    pack(rich, tmp_path / "one", images_per_shard=5)
    for path in rich.rglob("*"):
        os.utime(path, (1, 1))
        path.chmod(0o700)
    pack(other, tmp_path / "two", images_per_shard=5)
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


def test_splits_leave_out_other_images(rich: Path, tmp_path: Path) -> None:
    packed = pack(rich, tmp_path / "shards", splits=["val"])
    assert packed.ids == 4
    folder = VocFolder.find(tmp_path / "shards")
    assert folder.splits == ["val"]
    assert folder.ids("val") == VocFolder.find(rich).ids("val")
    unpack(tmp_path / "shards", tmp_path / "data")
    with pytest.raises(DataError, match=r"no split list .*traim.txt; did you mean 'train'"):
        pack(rich, tmp_path / "none", splits=["traim"])


def test_a_shard_has_at_most_so_many_bytes(damaged: Path, tmp_path: Path) -> None:
    for number in range(6):
        (damaged / voc.IMAGES / f"synth_{number:06d}.jpg").write_bytes(bytes(300_000 if number else 1_200_000))
    pack(damaged, tmp_path / "shards", shard_size=1)
    index = json.loads((tmp_path / "shards" / "shards.json").read_text())
    sizes = [sum(size for _, _, size in shard["files"]) for shard in index["shards"]]
    assert [size <= 1_000_000 for size in sizes] == [False, True, True]  # an image larger than the limit has its own
    assert len(index["shards"][0]["files"]) == 2


def test_what_cannot_be_packed(damaged: Path, tmp_path: Path) -> None:
    out = tmp_path / "shards"
    with pytest.raises(SettingError, match="at least 1 megabyte"):
        pack(damaged, out, shard_size=0)
    with pytest.raises(DataError, match="is not in VOC layout"):
        pack(tmp_path, out)
    with pytest.raises(OutputError, match="not an empty folder"):
        pack(damaged, tmp_path)
    with pytest.raises(OutputError, match="packed lies inside the data set"):
        pack(damaged, damaged / "packed")
    shutil.copy(damaged / voc.IMAGES / "synth_000000.jpg", damaged / voc.IMAGES / "synth_000000.JPG")
    with pytest.raises(DataError, match=r"synth_000000.jpg and .*synth_000000.JPG of 'synth_000000' would both be|rename one"):
        pack(damaged, out)
    (damaged / voc.IMAGES / "synth_000000.JPG").unlink()
    (damaged / "shards.json").touch()
    with pytest.raises(DataError, match=r"shards.json is not|shards.json has a name that packed data uses"):
        pack(damaged, out)
    (damaged / "shards.json").unlink()
    os.mkfifo(damaged / voc.IMAGES / "pipe.jpg")
    with pytest.raises(DataError, match=r"pipe.jpg: it is not a regular file"):
        pack(damaged, out)
    (damaged / voc.IMAGES / "pipe.jpg").unlink()
    (damaged / voc.IMAGES / "gone.jpg").symlink_to("nowhere")
    with pytest.raises(DataError, match=r"cannot read .*gone.jpg: No such file"):
        pack(damaged, out)
    assert [path.name for path in tmp_path.iterdir()] == ["damaged"]


def test_packed_data_is_not_packed_again(synth: Path, tmp_path: Path) -> None:
    pack(synth, tmp_path / "shards")
    with pytest.raises(DataError, match=r"shards is packed: `vocseg data unpack"):
        pack(tmp_path / "shards", tmp_path / "again")


@pytest.mark.parametrize(
    "path", ["../x.jpg", "/etc/x.jpg", "JPEGImages/../../x.jpg", "C:\\x.jpg", "..\\x.jpg", "\\x.jpg", "", "a\0"]
)
def test_no_file_is_written_outside(synth: Path, tmp_path: Path, path: str) -> None:
    pack(synth, tmp_path / "shards")
    index = json.loads((tmp_path / "shards" / "shards.json").read_text())
    index["shards"][0]["files"][3][0] = path
    (tmp_path / "shards" / "shards.json").write_text(json.dumps(index))
    with pytest.raises(DataError, match="is outside of the data set"):
        unpack(tmp_path / "shards", tmp_path / "data")
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]


def test_damaged_shards_are_not_unpacked(synth: Path, tmp_path: Path) -> None:
    pack(synth, tmp_path / "shards")
    shard = tmp_path / "shards" / "shard-000000.tar"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-000000.tar is damaged: its SHA-256"):
        unpack(tmp_path / "shards", tmp_path / "data")
    shard.unlink()
    with pytest.raises(DataError, match=r"cannot read shard .*shard-000000.tar: No such file"):
        unpack(tmp_path / "shards", tmp_path / "data")
    with pytest.raises(DataError, match=r"is not a packed data set: it has no shards.json"):
        unpack(synth, tmp_path / "data")
    assert not (tmp_path / "data").exists()


SLOWLY = """
import sys, time
from vocseg.data import pack
content = pack._content
pack._content = lambda path: time.sleep(0.02) or content(path)
print(flush=True)
(pack.pack if sys.argv[1] == "pack" else pack.unpack)(*sys.argv[2:])
"""


@pytest.mark.parametrize("after", [0.0, 0.2])
def test_kill_9_leaves_nothing_half_written(synth: Path, tmp_path: Path, after: float) -> None:
    arguments = [sys.executable, "-c", SLOWLY, "pack", str(synth), str(tmp_path / "shards")]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        while not list(tmp_path.glob(".shards.*.part/shard-*")) and process.poll() is None:
            time.sleep(0.01)
        time.sleep(after)
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    assert not (tmp_path / "shards").exists()
    script = f"from vocseg.data.pack import pack; pack({str(synth)!r}, {str(tmp_path / 'shards')!r})"
    subprocess.run([sys.executable, "-c", script], check=True)
    assert [path.name for path in tmp_path.iterdir()] == ["shards"]  # what was left is gone
    unpack(tmp_path / "shards", tmp_path / "data")
    assert contents(tmp_path / "data") == contents(synth)


@pytest.mark.real_voc
def test_real_images(real_few: Path, tmp_path: Path) -> None:
    packed = pack(real_few, tmp_path / "shards", splits=["train", "val"], images_per_shard=10)
    assert (packed.ids, packed.shards) == (34, 4)
    unpack(tmp_path / "shards", tmp_path / "data")
    for path in (tmp_path / "data").rglob("*.*"):
        assert path.read_bytes() == (real_few / "VOCdevkit/VOC2012" / path.relative_to(tmp_path / "data")).read_bytes()
