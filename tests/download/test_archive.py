from __future__ import annotations

import contextlib
import io
import os
import tarfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vocseg.download.archive import unpack
from vocseg.errors import DataError, OutputError


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "", content: bytes = b"x") -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    info.mode, info.uid = 0o7777, 0
    return info, content


def pax(**headers: str) -> tuple[tarfile.TarInfo, bytes]:
    info, content = member("f")
    info.pax_headers = headers
    return info, content


def write(path: Path, *members: tuple[tarfile.TarInfo, bytes], mode: str = "w") -> Path:
    with tarfile.open(path, mode) as tar:  # type: ignore[call-overload]
        for info, content in members:
            tar.addfile(info, io.BytesIO(content) if info.isreg() else None)
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_unpacks(tmp_path: Path, mode: str) -> None:
    folder = member("a", tarfile.DIRTYPE)
    archive = write(
        tmp_path / "x.tar", folder, member("./a/b/c.txt", content=b"1" * 5000), member("a/b/c.txt", content=b"2"), mode=mode
    )
    unpack(archive, tmp_path / "out")
    assert (tmp_path / "out" / "a" / "b" / "c.txt").read_bytes() == b"2"  # the later of two, as tar does
    assert (tmp_path / "out" / "a" / "b" / "c.txt").stat().st_mode & 0o7111 == 0


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (member("../evil"), "lies outside the folder"),
        (member("a/../../evil"), "lies outside the folder"),
        (member("/tmp/evil"), "lies outside the folder"),
        (member("//evil"), "lies outside the folder"),
        (member("..\\evil"), "lies outside the folder"),
        (member("C:\\evil"), "lies outside the folder"),
        (member("C:evil"), "lies outside the folder"),
        (member("link", tarfile.SYMTYPE, "/etc"), "is a link"),
        (member("link", tarfile.SYMTYPE, "good"), "is a link"),
        (member("link", tarfile.LNKTYPE, "good"), "is a link"),
        (member("link", tarfile.LNKTYPE, "/etc/passwd"), "is a link"),
        (member("zero", tarfile.CHRTYPE), "is neither a file nor a folder"),
        (member("disk", tarfile.BLKTYPE), "is neither a file nor a folder"),
        (member("pipe", tarfile.FIFOTYPE), "is neither a file nor a folder"),
    ],
    ids=lambda value: value[0].name if isinstance(value, tuple) else value,
)
def test_hostile_members(tmp_path: Path, bad: tuple[tarfile.TarInfo, bytes], reason: str) -> None:
    archive = write(tmp_path / "x.tar", member("good"), bad, member("link/passwd"))
    with pytest.raises(DataError) as caught:
        unpack(archive, tmp_path / "deep" / "out")
    assert str(caught.value) == f"archive {archive} is not trusted: '{bad[0].name}' {reason}"
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["deep", "good", "out", "x.tar"]


def test_odd_headers(tmp_path: Path) -> None:
    sparse = {"GNU.sparse.major": "1", "GNU.sparse.minor": "0"}
    for bad, reason in (
        (member("a/" * 2000 + "f"), "'a/a/.* is nested too deeply"),
        (member("n" * 300), "'nnn.* has a name that no file can have"),
        (pax(path="a\0b"), "has a name that no file can have"),
        (pax(**{"GNU.sparse.map": "a,b"}), "is damaged: invalid literal"),
        (pax(**sparse), "is damaged: not enough values"),
    ):
        with pytest.raises(DataError, match=reason):
            unpack(write(tmp_path / "x.tar", member("good"), bad), tmp_path / "out")


def test_sparse_bomb(tmp_path: Path) -> None:
    # An old GNU sparse header: 512 bytes that claim a terabyte.
    info = tarfile.TarInfo("bomb")
    info.type = tarfile.GNUTYPE_SPARSE
    block = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    block[386:398], block[398:410] = b"00000000000\0", b"00000000000\0"
    block[483:495] = b"10000000000\0"
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    (tmp_path / "x.tar").write_bytes(bytes(block) + bytes(1024))
    with pytest.raises(DataError, match="'bomb' is a sparse file"):
        unpack(tmp_path / "x.tar", tmp_path / "out")


@pytest.mark.parametrize("mode", ["w", "w:gz"])
def test_truncated_and_damaged(tmp_path: Path, mode: str) -> None:
    archive = write(tmp_path / "x.tar", member("a", content=os.urandom(50_000)), member("b", content=os.urandom(50_000)), mode=mode)
    content = archive.read_bytes()
    archive.write_bytes(content[:70_000])
    with pytest.raises(DataError, match=r"x\.tar is damaged: "):
        unpack(archive, tmp_path / "out")
    archive.write_bytes(b"not an archive at all" * 100)
    with pytest.raises(DataError, match=r"x\.tar is damaged: "):
        unpack(archive, tmp_path / "out2")
    with pytest.raises(DataError, match="cannot read archive"):
        unpack(tmp_path / "none.tar", tmp_path / "out3")


def test_file_where_a_folder_should_be(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        unpack(write(tmp_path / "x.tar", member("a"), member("a/b")), tmp_path / "out")


PARTS = st.lists(st.sampled_from(["..", ".", "a", "b", "", "~", "C:", "\\"]), min_size=1, max_size=6)


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=PARTS, prefix=st.sampled_from(["", "/", "./"]))
def test_no_name_gets_out(tmp_path_factory: pytest.TempPathFactory, parts: list[str], prefix: str) -> None:
    base = tmp_path_factory.mktemp("names")
    archive = write(base / "x.tar", member(prefix + "/".join(parts)))
    out = base / "1" / "2" / "out"
    out.parent.mkdir(parents=True)
    with contextlib.suppress(DataError, OutputError):
        unpack(archive, out)
    assert [path for path in base.rglob("*") if path.is_file() and out not in path.parents] == [archive]
