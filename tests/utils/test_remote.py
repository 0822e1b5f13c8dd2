"""Files at URLs, against moto's S3 server on this machine and fsspec's memory: what fails, what is tried again, what is hidden."""

from __future__ import annotations

import errno
import http.client
import os
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_server import DENIED, INTERNAL, SLOW_DOWN, S3Server
from vocseg.errors import DataError, OutputError, shown
from vocseg.utils import remote
from vocseg.utils.remote import fetch, find, matches, read_bytes, read_range, upload
from vocseg.utils.remote_failures import is_transient
from vocseg.utils.urls import is_remote

BIG = 101 << 20
"""s3fs uploads files of 100 MB and more in parts."""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ftp://jane:secret@host/a.jpg", "ftp://***@host/a.jpg"),
        ("cannot read s3://KEY:sec/ret+x@bucket/a.jpg: gone", "cannot read s3://***@bucket/a.jpg: gone"),
        ("https://token@host/a", "https://***@host/a"),
        (
            "https://h/a?X-Amz-Credential=AK&X-Amz-Date=1&X-Amz-Signature=ab",
            "https://h/a?X-Amz-Credential=***&X-Amz-Date=1&X-Amz-Signature=***",
        ),
        ("az://c/a.jpg?sv=1&sig=ab%3D: denied", "az://c/a.jpg?sv=1&sig=***: denied"),
        ("gs://b/a?access_token=ya29.x, gs://b/c", "gs://b/a?access_token=***, gs://b/c"),
        ("zip://a.jpg::https://u:p@h/b.zip?token=x", "zip://***@h/b.zip?token=***"),
        ("abfs://container@account.dfs.core.windows.net/a", "abfs://container@account.dfs.core.windows.net/a"),
        ("hf://datasets/me/photos@main/a.jpg", "hf://datasets/me/photos@main/a.jpg"),
        ("http://host:8080/a@b.jpg?size=3", "http://host:8080/a@b.jpg?size=3"),
        ("s3://bucket/photo?.jpg", "s3://bucket/photo?.jpg"),
        ("a local file named a:b@c?key=1", "a local file named a:b@c?key=1"),
    ],
)
def test_secrets_in_urls_are_hidden(text: str, expected: str) -> None:
    assert shown(text) == expected
    assert shown(expected) == expected
    assert str(DataError(text)) == expected


SECRET = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters=""), min_size=8, max_size=40)


@given(
    SECRET,
    st.sampled_from(["s3", "https", "ftp", "sftp", "webhdfs", "zip://x.jpg::ftp"]),
    st.sampled_from(["sig", "token", "X-Amz-Signature"]),
)
@example("aa@bb/cc:dd", "s3", "sig")
def test_no_secret_survives(secret: str, scheme: str, name: str) -> None:
    encoded = quote(secret, safe="")
    for url in (
        f"{scheme}://user:{encoded}@host/a.jpg",
        f"{scheme}://host/a.jpg?{name}={encoded}&x=1",
        f"{scheme}://user:zz{secret}@host/a.jpg",
    ):
        assert secret not in shown(f"cannot read {url}: timed out")
        assert encoded not in shown(url)


def test_what_is_a_url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert all(map(is_remote, ("s3://b/a", "memory://a", "zip://a::s3://b/c.zip", "simplecache::gs://b/a")))
    assert not any(map(is_remote, ("a.jpg", "a:b", "C:\\a.jpg", "C:/a.jpg", "c://a", "/a//b", "", None, 3, Path("a:b/c"))))
    with pytest.raises(DataError.__base__, match="pass the URL s3:/b/a as a string"):
        is_remote(Path("s3://b/a"))
    Path("s3:").mkdir()
    assert not is_remote(Path("s3:/b/a"))


class Answer(Exception):
    def __init__(self, status: int) -> None:
        self.status = status


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.ECONNRESET, "reset"), True), (ConnectionResetError(), True), (TimeoutError(), True),
        (OSError(errno.EBUSY, "slow"), True),
        (http.client.IncompleteRead(b""), True), (Answer(503), True), (Answer(500), True), (Answer(429), True), (Answer(408), True),
        (Answer(403), False), (Answer(404), False), (FileNotFoundError(), False), (PermissionError(), False),
        (ValueError("x"), False),
        (OSError(errno.EINVAL, "x"), False), (NotImplementedError(), False),
    ],
)  # fmt: skip
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert is_transient(error) is passes


@pytest.mark.parametrize("failure", [SLOW_DOWN, INTERNAL])
def test_a_read_is_tried_again(s3: S3Server, bucket: str, tmp_path: Path, failure: tuple[int, str, str]) -> None:
    (tmp_path / "a").write_bytes(b"0123456789" * 100)
    upload(tmp_path / "a", f"{bucket}/deep/a")
    for action, expected in (
        (lambda: read_bytes(f"{bucket}/deep/a"), b"0123456789" * 100),
        (lambda: read_range(f"{bucket}/deep/a", 5, 15), b"5678901234"),
        (lambda: [found.name for found in find(bucket)], ["deep/a"]),
        (lambda: matches(f"{bucket}/*/a*"), [f"{bucket}/deep/a"]),
        (lambda: remote.RemoteFile(f"{bucket}/deep/a").read(10), b"0123456789"),
    ):
        s3.times(failure, 2, lambda method, path: method == "GET")
        assert action() == expected


def test_a_write_is_tried_again(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"content")
    s3.times(INTERNAL, 3, lambda method, path: method == "PUT")
    upload(tmp_path / "a", f"{bucket}/a")
    s3.times(INTERNAL, 99, lambda method, path: method == "PUT")
    with pytest.raises(OutputError, match=rf"^cannot write {bucket}/b: We encountered an internal error.* \(4 tries\)$") as failed:
        upload(tmp_path / "a", f"{bucket}/b")
    assert failed.value.exit_code == 1
    s3.fail = lambda method, path: None
    assert [found.name for found in find(bucket)] == ["a"]


def test_tries_are_bounded_and_only_for_what_may_pass(s3: S3Server, bucket: str) -> None:
    s3.times(INTERNAL, 99, lambda method, path: path.endswith("/a"))
    with pytest.raises(
        DataError, match=rf"^cannot read {bucket}/a: We encountered an internal error. Please try again. \(4 tries\)$"
    ):
        read_bytes(f"{bucket}/a")
    assert len(s3.seen) == 4
    for failure, reason in ((DENIED, r"access denied \(Access Denied\)"), (None, "there is no such file, folder or bucket")):
        s3.times(failure or DENIED, 99 if failure else 0, lambda method, path: path.endswith("/a"))
        s3.seen.clear()
        with pytest.raises(DataError, match=rf"^cannot read {bucket}/a: {reason}$") as failed:
            read_bytes(f"{bucket}/a")
        assert failed.value.exit_code == 2
        assert len(s3.seen) == 1


def test_a_connection_that_breaks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "DELAYS", (0.0,) * 3)
    monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    pytest.importorskip("s3fs")
    import s3fs

    s3fs.S3FileSystem.clear_instance_cache()
    monkeypatch.setattr(s3fs.S3FileSystem, "retries", 1)
    with pytest.raises(DataError, match=r"^cannot read s3://b/a: Could not connect to the endpoint URL.* \(4 tries\)$"):
        read_bytes("s3://b/a")
    s3fs.S3FileSystem.clear_instance_cache()


@pytest.mark.parametrize(
    ("url", "module", "package"),
    [
        ("gs://b/a.jpg", "gcsfs", "gcsfs"), ("s3://b/a.jpg", "s3fs", "s3fs"),
        ("hf://datasets/me/a.jpg", "huggingface_hub", "huggingface_hub"),
        ("abfs://c/a.jpg", "adlfs", "adlfs"), ("sftp://h/a.jpg", "paramiko", "paramiko"),
    ],
)  # fmt: skip
def test_a_missing_package_is_named(url: str, module: str, package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    import fsspec.core  # noqa: F401

    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, url.partition(":")[0], raising=False)
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(sys.modules, "fsspec.implementations.sftp", raising=False)
    with pytest.raises(DataError, match=rf"^cannot use {url}: a package is missing: pip install {package}$"):
        read_bytes(url)


def test_an_unknown_scheme_is_named() -> None:
    with pytest.raises(DataError, match=r"^cannot use foo://a.jpg: Protocol not known: foo; s3://.* are known$"):
        read_bytes("foo://a.jpg")


def test_an_archive_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    for name, why in (("none.zip", "there is no such file, folder or bucket"), ("bad.zip", "File is not a zip file")):
        with pytest.raises(DataError, match=f"^cannot read zip://a::file://{tmp_path / name}: {why}$"):
            remote.check(f"zip://a::file://{tmp_path / name}")


def test_archives_and_web_servers_are_not_written_to(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    for url in ("https://example.org/a", "zip://a::memory://b.zip", "zip://a"):
        with pytest.raises(OutputError, match=r"^cannot write .*: files are written to stores"):
            upload(tmp_path / "a", url)


def test_a_file_system_with_half_written_files_gets_whole_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "ATOMIC", set())
    names: list[str] = []
    from fsspec.implementations.memory import MemoryFileSystem

    original = MemoryFileSystem.put_file
    monkeypatch.setattr(MemoryFileSystem, "put_file", lambda self, local, path: (names.append(path), original(self, local, path)))
    (tmp_path / "a").write_bytes(b"x")
    upload(tmp_path / "a", "memory://aside/a")
    assert read_bytes("memory://aside/a") == b"x"
    assert names[0].startswith("/aside/.a.")
    assert [found.name for found in find("memory://aside")] == ["a"]


def test_a_copy_is_complete(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from fsspec.implementations.memory import MemoryFileSystem

    monkeypatch.setattr(remote, "DELAYS", (0.0,) * 3)
    MemoryFileSystem().pipe_file("/whole/a", b"x" * 1000)
    original, cut = MemoryFileSystem.get_file, [2]

    def get(self: Any, path: str, local: str, **options: Any) -> None:
        original(self, path, local, **options)
        if cut[0]:
            cut[0] -= 1
            os.truncate(local, 500)

    monkeypatch.setattr(MemoryFileSystem, "get_file", get)
    fetch("memory://whole/a", tmp_path / "a")
    assert (tmp_path / "a").stat().st_size == 1000
    cut[0] = 99
    with pytest.raises(DataError, match=r"^cannot read memory://whole/a: 500 bytes instead of 1,000 \(4 tries\)$"):
        fetch("memory://whole/a", tmp_path / "b")


def multipart(bucket: str) -> list[str]:
    import s3fs

    return [found["Key"] for found in s3fs.S3FileSystem().list_multipart_uploads(bucket.removeprefix("s3://"))]


def big_file(tmp_path: Path) -> Path:
    file = tmp_path / "big"
    with open(file, "wb") as opened:
        opened.truncate(BIG)
    return file


def test_an_upload_in_parts_is_all_or_nothing(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    file = big_file(tmp_path)
    s3.times(DENIED, 1, lambda method, path: "partNumber=2" in path)
    with pytest.raises(OutputError, match="access denied"):
        upload(file, f"{bucket}/big")
    assert find(bucket) == [] and multipart(bucket) == []  # noqa: PT018
    s3.times(INTERNAL, 1, lambda method, path: "partNumber=2" in path)
    upload(file, f"{bucket}/big")
    assert [(found.name, found.size) for found in find(bucket)] == [("big", BIG)]
    assert multipart(bucket) == []


def test_uploads_in_parts_that_may_be_at_work_are_kept() -> None:
    aborted, now = list[str](), datetime.now(UTC)
    begun = [("key", "young", 0.5), ("key", "old", 1.5), ("other", "another", 9.0)]
    store = SimpleNamespace(
        split_path=lambda path: ("bucket", "key", None), abort_mpu=lambda bucket, key, upload: aborted.append(upload),
        list_multipart_uploads=lambda bucket: [
            {"Key": key, "UploadId": name, "Initiated": now - timedelta(hours=hours)} for key, name, hours in begun
        ],
    )  # fmt: skip
    remote._abort_older(store, "bucket/key")
    assert aborted == ["old"]


def test_an_empty_file_has_no_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 and Google's store say so in two ways."""
    for error in (OSError(errno.EINVAL, "range"), Answer(416)):

        def read(path: str, start: int | None = None, error: Exception = error) -> bytes:
            if start is not None:
                raise error
            return b""

        monkeypatch.setattr(remote, "_filesystem", lambda url, read=read: (SimpleNamespace(cat_file=read), url))
        assert read_bytes("s3://b/empty") == b""


def test_kill_9_of_an_upload_leaves_nothing_and_a_rerun_completes(s3: S3Server, bucket: str, tmp_path: Path) -> None:
    file, started, end = big_file(tmp_path), threading.Event(), threading.Event()

    def hold(method: str, path: str) -> None:
        if "partNumber=2" in path:
            started.set()
            end.wait(30)

    s3.fail = hold
    code = f"from pathlib import Path; from vocseg.utils.remote import upload; upload(Path({str(file)!r}), '{bucket}/big')"
    process = subprocess.Popen([sys.executable, "-c", code])
    assert started.wait(60)
    process.kill()
    process.wait()
    end.set()
    s3.fail = lambda method, path: None
    assert find(bucket) == []
    assert multipart(bucket) == ["big"]
    upload(file, f"{bucket}/big")
    assert [(found.name, found.size) for found in find(bucket)] == [("big", BIG)]
    assert multipart(bucket) == []
