"""Archives: every image in order, and what is hostile in them is skipped by name."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import vocseg
from vocseg.errors import DataError, InputError
from vocseg.inference import archives
from vocseg.inference.archives import contents, safe_name
from vocseg.inference.sources import find_images


def png(color: str = "red", size: tuple[int, int] = (24, 20)) -> bytes:
    content = io.BytesIO()
    Image.new("RGB", size, color).save(content, "PNG")
    return content.getvalue()


def packed(path: Path, files: dict[str, bytes]) -> Path:
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(name, content)
    else:
        with tarfile.open(path, "w:gz" if path.name.endswith("gz") else "w") as archive:
            for name, content in files.items():
                entry = tarfile.TarInfo(name)
                entry.size = len(content)
                archive.addfile(entry, io.BytesIO(content))
    return path


def test_videos_and_archives_in_archives_are_named(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = packed(tmp_path / "a.zip", {"b.png": png(), "deep/c.MP4": b"", "d.zip": b"", "e.ts": b"", ".f.mp4": b""})
    with caplog.at_level("INFO"):
        assert [item.relative for item in find_images(path)] == [Path("b.png")]
    advice = "unpack the archive to read videos and archives in it"
    assert caplog.messages == [f"archive {path}: 2 files passed over ({path / 'deep' / 'c.MP4'}, ...); {advice}"]


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    return vocseg.Segmenter("two_layer_net", device="cpu")


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz"])
def test_members_are_predicted_in_order_as_files_are(segment: vocseg.Segmenter, tmp_path: Path, name: str) -> None:
    files = {"b.png": png("blue"), "notes.md": b"x", "deep/a.png": png("red", (30, 10)), ".hidden.png": b"", "bad.png": b"no"}
    path = packed(tmp_path / name, files)
    before = sorted(tmp_path.iterdir())
    result = vocseg.predict(path, tmp_path / "out", model=segment, overlay=False)
    assert [(row.image, row.name) for row in result.images] == [
        (path / "b.png", "b.png"), (path / "deep" / "a.png", str(Path("deep", "a.png")))
    ]  # fmt: skip
    assert list(result.errors) == [path / "bad.png"]
    assert str(path / "bad.png") in str(result.errors[path / "bad.png"])
    assert [row.mask.relative_to(tmp_path).as_posix() for row in result.images] == ["out/b.png", "out/deep/a.png"]
    assert sorted(tmp_path.iterdir()) == [*before, tmp_path / "out"]
    stream = segment.stream(path, on_error="skip")
    for found, row in zip(stream, result.images, strict=True):
        assert found.source == row.image
        assert found.areas() == segment(files[row.image.relative_to(path).as_posix()]).areas() == row.areas


def test_hostile_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archives, "MEMBER_LIMIT", 2000)
    files = {"../../up.png": png(), "/etc/root.png": png(), "C:\\x\\y.png": png(), "big.png": bytes(2001), "x.heic": b""}
    for name in ("a.zip", "a.tar.gz"):
        skipped: dict[Path, DataError] = {}
        found = find_images(packed(tmp_path / name, files), skipped=skipped)
        assert [row.relative.as_posix() for row in found] == ["up.png", "etc/root.png", "C_/x/y.png"]
        assert "big.png: it has 2,001 bytes, more than 2,000" in str(skipped[tmp_path / name / "big.png"])
        assert list(contents(tmp_path / name, [row.member or 0 for row in found])) == [png()] * 3
    with tarfile.open(tmp_path / "link.tar", "w") as archive:
        entry = tarfile.TarInfo("a.png")
        entry.type, entry.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(entry)
    with pytest.raises(InputError, match=r"link\.tar.a\.png: it is a link or a device"):
        find_images(tmp_path / "link.tar")


def test_damaged_archives(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    for name, message in (("a.zip", "File is not a zip file"), ("a.tar", "not a tar archive"), ("a.tar.bz2", "it is a bzip2 file")):
        (tmp_path / name).write_bytes(b"BZh9" if "bz2" in name else b"text")
        with pytest.raises(InputError, match=rf"cannot read archive .*{message}"):
            find_images(tmp_path / name)
    path = packed(tmp_path / "cut.tar", {"a.png": png(), "b.png": png()})
    path.write_bytes(path.read_bytes()[:1600])  # in the second member
    result = vocseg.predict(path, tmp_path / "out", model=segment)
    assert [row.name for row in result.images] == ["a.png"]
    assert [*result.errors] == [path]  # once
    assert "cut off" in str(result.errors[path])
    path = packed(tmp_path / "crc.zip", {"a.png": png("red"), "b.png": png("blue")})
    content = bytearray(path.read_bytes())
    content[60] ^= 255
    path.write_bytes(content)
    result = vocseg.predict(path, tmp_path / "out2", model=segment)
    assert [row.name for row in result.images] == ["b.png"]
    assert str(path / "a.png") in str(result.errors[path / "a.png"])


@given(st.text(st.sampled_from("./\\:a\0\n *?~"), max_size=12))
def test_names_stay_below_the_folder(name: str) -> None:
    path = safe_name(name)
    assert not path.is_absolute()
    assert ".." not in path.parts
    assert not set(str(path)) & set("\0\n:*?\\")
