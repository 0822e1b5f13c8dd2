"""Tar archives, against Python's tarfile."""

from __future__ import annotations

import gzip
import io
import tarfile
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vocseg.errors import DataError
from vocseg.utils.tar import DamagedTar, NotTar, members, write_tar_gz

NAMES = st.text(st.characters(codec="utf-8", exclude_characters="\0\\", exclude_categories=("Cc",)), min_size=1, max_size=300)
ENTRIES = st.dictionaries(NAMES.map(lambda name: name.strip("/") or "a"), st.binary(max_size=1500), max_size=6)


def written(entries: dict[str, bytes], path: Path, form: int = tarfile.PAX_FORMAT, mode: str = "w:gz") -> Path:
    with tarfile.open(path, mode, format=form) as archive:  # type: ignore[call-overload]
        for name, content in entries.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def read(path: Path) -> list[tuple[str, bytes]]:
    return [(member.name, member.read()) for member in members(path)]


@settings(max_examples=40, deadline=None)
@given(ENTRIES, st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.sampled_from(["w", "w:gz"]))
def test_members_are_those_that_tarfile_wrote(
    tmp_path_factory: pytest.TempPathFactory, entries: dict[str, bytes], form: int, mode: str
) -> None:
    path = written(entries, tmp_path_factory.mktemp("tar") / "a.tar", form, mode)
    assert read(path) == list(entries.items())
    assert [member.name for member in members(path)] == list(entries)  # without reading


@settings(max_examples=20, deadline=None)
@given(ENTRIES)
def test_tarfile_reads_what_is_written_and_equal_entries_give_equal_bytes(entries: dict[str, bytes]) -> None:
    files = [io.BytesIO(), io.BytesIO()]
    for file in files:
        write_tar_gz(file, entries.items())
    assert files[0].getvalue() == files[1].getvalue()
    assert b"made by vocseg" in files[0].getvalue()[:64]
    files[0].seek(0)
    with tarfile.open(fileobj=files[0]) as archive:
        found = archive.getmembers()
        assert {entry.name: archive.extractfile(entry).read() for entry in found} == entries  # type: ignore[union-attr]
        assert {(entry.mtime, entry.uid, entry.gid, entry.uname, entry.mode) for entry in found} <= {(0, 0, 0, "", 0o644)}


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_an_archive_cut_anywhere_is_damaged(tmp_path: Path, mode: str) -> None:
    whole = written({"a": b"x" * 700, "b": b"y" * 10}, tmp_path / "whole.tar", mode=mode).read_bytes()
    end = len(whole) if mode == "w:gz" else 512 * 5  # from there on a plain one has its first block of zeros
    for length in range(0, end, 1 if mode == "w:gz" else 64):
        (tmp_path / "cut.tar").write_bytes(whole[:length])
        with pytest.raises((DamagedTar, NotTar)):
            read(tmp_path / "cut.tar")


def test_what_is_no_archive(tmp_path: Path) -> None:
    for content, message in (
        (b"PK\x03\x04" + bytes(600), "zip"),
        (b"", "not a tar"),
        (b"text" * 500, "not a tar"),
        (b"BZh9", "bzip2"),
    ):
        (tmp_path / "a.tar").write_bytes(content)
        with pytest.raises(NotTar, match=message):
            read(tmp_path / "a.tar")
    with pytest.raises(NotTar, match="not a regular file"):
        read(tmp_path)
    with pytest.raises(DataError, match=r"cannot read .*none"):
        read(tmp_path / "none")


def test_hostile_headers_take_no_memory(tmp_path: Path) -> None:
    """An extended header, and a member, of 40 MB of zeros."""
    for kind in (tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.REGTYPE):
        entry = tarfile.TarInfo("a")
        entry.type, entry.size = kind, 40 << 20
        with gzip.open(tmp_path / "bomb.tar.gz", "wb", compresslevel=1) as file:
            file.write(entry.tobuf(tarfile.USTAR_FORMAT))
            for _ in range(40):
                file.write(bytes(1 << 20))
            file.write(bytes(1024))
        tracemalloc.start()
        if kind == tarfile.REGTYPE:
            assert [member.size for member in members(tmp_path / "bomb.tar.gz")] == [40 << 20]
        else:
            with pytest.raises(DamagedTar, match="extended header"):
                list(members(tmp_path / "bomb.tar.gz"))
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
        tracemalloc.stop()


def test_endless_archives_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vocseg.utils.tar.TOTAL_LIMIT", 1 << 20)
    path = written({"a": bytes(2 << 20)}, tmp_path / "a.tar.gz")
    with pytest.raises(DamagedTar, match="more than"):
        list(members(path))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 1023), st.integers(0, 255), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]))
def test_any_changed_byte_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, place: int, value: int, form: int) -> None:
    path = tmp_path_factory.mktemp("tar") / "a.tar"
    content = bytearray(written({"n" * 150 + "é": b"x" * 30}, path, form, "w").read_bytes())
    content[place] = value
    path.write_bytes(content)
    with suppress(DataError):
        read(path)
