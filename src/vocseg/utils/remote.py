"""Files at URLs, by fsspec, which no other module imports: read, list and write them, with retries.

A URL is what fsspec takes: ``s3://bucket/a.jpg``, ``memory://a.jpg``, or a chain such as ``zip://a.jpg::s3://bucket/b.zip``.
Credentials come from where the package of a file system looks for them: the environment, its files, or fsspec's settings.
"""

from __future__ import annotations

import errno
import io
import logging
import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple, TypeVar

from vocseg.errors import DataError, InputError, OutputError, reason, shown
from vocseg.utils.remote_failures import is_transient, status_of

T = TypeVar("T")
log = logging.getLogger("vocseg")

DELAYS = (0.25, 1.0, 4.0)
"""Seconds between tries. The packages of file systems try again by themselves too."""
ATOMIC = {"s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "adl", "hf", "oss", "oci", "memory"}
"""Schemes of stores in which a file appears when it is complete; in others it gets its name when it is."""
IN_PARTS = 16 << 20
"""Bytes of a file from which on it may be uploaded in parts."""
_jitter = Random()
_chains: dict[tuple[int, str], Any] = {}


class Found(NamedTuple):
    """A file below a URL: its name there, its size in bytes (-1: not known), and what tells its contents apart."""

    name: str
    size: int
    stamp: str


def local_path(url: str) -> Path | None:
    """Return the path of a URL of the local disk, ``file://``; None of all others."""
    return Path(_filesystem(url)[1]) if url.lower().startswith(("file://", "local://")) else None


def check(url: str) -> None:
    """Raise DataError for a URL of an unknown scheme, of a package that is missing, or in an archive that cannot be opened."""
    attempt(url, lambda fs, path: None)


def uncached(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, which sees what other processes have written there, and the path in it."""
    from fsspec.core import url_to_fs

    return url_to_fs(url, use_listings_cache=False)


def is_store(system: Any) -> bool:
    """Tell whether a file system is an object store, in which a file is there when it is complete, and folders are not."""
    protocols = {system.protocol} if isinstance(system.protocol, str) else {*system.protocol}
    return bool(protocols & ATOMIC)


def _filesystem(url: str) -> tuple[Any, str]:
    """Return the file system of a URL, and the path there; DataError if fsspec does not know it, or a package is missing."""
    from fsspec.core import url_to_fs

    try:
        head, _, tail = url.partition("::")
        if not tail or "://" not in head:
            return url_to_fs(url)
        scheme, _, path = head.partition("://")
        key = os.getpid(), f"{scheme}://::{tail}"
        if key not in _chains:  # fsspec would read an archive's list again for each of its files
            _chains[key] = url_to_fs(key[1])[0]
        return _chains[key], path
    except ImportError as error:
        package = getattr(error.__cause__, "name", None) or getattr(error, "name", None)
        advice = f"pip install {package.partition('.')[0]}" if package else reason(error)
        raise DataError(f"cannot use {url}: a package is missing: {advice}") from None
    except ValueError as error:
        if "not known" not in str(error):
            raise
        raise DataError(f"cannot use {url}: {reason(error)}; s3://, gs://, hf://, zip:// and others of fsspec are known") from None


def attempt(url: str, action: Callable[[Any, str], T], verb: str = "read") -> T:
    """Call ``action`` with the file system and the path of a URL, again after a failure that may pass.

    Raises DataError, or OutputError if ``verb`` is "write": one line that names the URL and the reason.
    """
    for delay in (*DELAYS, None):
        try:
            return action(*_filesystem(url))
        except InputError:
            raise
        except Exception as error:
            passing = is_transient(error)
            if delay is None or not passing:
                failure = (OutputError if verb == "write" else DataError)(f"cannot {verb} {url}: {_why(error, passing)}")
                failure.exit_code = 1 if passing else failure.exit_code
                raise failure from None  # errors of HTTP clients hold signed URLs
            log.debug("%s", shown(f"cannot {verb} {url}: {reason(error)}; trying again"))
            time.sleep(delay * _jitter.uniform(0.75, 1.25))
    raise AssertionError


def _why(error: Exception, passing: bool) -> str:
    if isinstance(error, FileNotFoundError):
        return "there is no such file, folder or bucket"
    if isinstance(error, PermissionError):
        return f"access denied ({reason(error)})"
    return reason(error) + (f" ({1 + len(DELAYS)} tries)" if passing else "")


def read_bytes(url: str) -> bytes:
    """Return the content of a file; DataError if it cannot be read."""

    def read(fs: Any, path: str) -> bytes:
        try:
            return fs.cat_file(path, start=0)  # without a start, s3fs asks for the size first
        except Exception as error:
            if getattr(error, "errno", None) != errno.EINVAL and status_of(error) != 416:
                raise
            return fs.cat_file(path)  # an empty file has no range

    return attempt(url, read)


def read_range(url: str, start: int, end: int) -> bytes:
    """Return some bytes of a file; DataError if they cannot be read, or it is shorter."""

    def read(fs: Any, path: str) -> bytes:
        content = fs.cat_file(path, start=start, end=end)
        if len(content) != end - start:
            raise OSError(errno.EIO, f"{len(content):,} bytes instead of {end - start:,}")
        return content

    return attempt(url, read)


def find(url: str) -> list[Found]:
    """List the files below a URL, in the order of local folders; of a file, itself with the name "". Empty if there are none."""

    def listed(fs: Any, path: str) -> list[Found]:
        fs.invalidate_cache()
        top = path.rstrip("/")
        try:
            found = fs.find(path, detail=True)
        except FileNotFoundError:
            return []
        fs.invalidate_cache()  # millions of names
        names = ((name.removeprefix(top).removeprefix("/"), info) for name, info in found.items() if not name.endswith("/"))
        return [Found(name, -1 if info.get("size") is None else int(info["size"]), _stamp(info)) for name, info in names]

    return sorted(attempt(url, listed), key=lambda found: found.name.split("/"))


def _stamp(info: dict[str, Any]) -> str:
    keys = ("ETag", "etag", "md5Hash", "blob_id", "mtime", "LastModified", "last_modified", "created", "CRC", "size")
    return "|".join(str(info[key]) for key in keys if info.get(key) is not None)


def matches(pattern: str) -> list[str]:
    """Return the URLs of the files that a pattern with ``*``, ``?``, ``[...]`` or ``**`` matches, in order, except hidden ones."""

    def listed(fs: Any, path: str) -> list[str]:
        fs.invalidate_cache()
        found = fs.glob(path, detail=True)
        names = [name for name, info in found.items() if info.get("type") != "directory"]
        scheme, _, rest = pattern.partition("://")
        start = scheme + "://" + ("/" if rest.startswith("/") else "")
        chain = rest.partition("::")[1:]
        shown_names = (name for name in names if not name.rpartition("/")[2].startswith("."))
        return [start + name.lstrip("/") + "".join(chain) for name in sorted(shown_names)]

    return attempt(pattern, listed)


def kind_of(url: str) -> str:
    """Return whether a URL is a ``file``, a ``folder``, or nothing ("")."""

    def look(fs: Any, path: str) -> str:
        fs.invalidate_cache()
        try:
            return "folder" if fs.info(path)["type"] == "directory" else "file"
        except FileNotFoundError:
            return ""

    return attempt(url, look)


class RemoteFile(io.RawIOBase):
    """A file at a URL, for reading in blocks, from any position; a read that fails is tried again. DataError if it fails."""

    def __init__(self, url: str) -> None:
        self.url = self.name = url
        self._file = attempt(url, lambda fs, path: fs.open(path, "rb"))

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        position = self._file.tell()

        def read(_: Any, __: str) -> bytes:
            self._file.seek(position)
            return self._file.read(len(buffer))

        content = attempt(self.url, read)
        buffer[: len(content)] = content
        return len(content)

    def close(self) -> None:
        with suppress(Exception):
            self._file.close()
        super().close()


def fetch(url: str, file: Path) -> str:
    """Copy a file to the disk, complete, and return what tells its content apart; DataError if it cannot be read."""

    def copy(fs: Any, path: str) -> str:
        fs.invalidate_cache()
        info = fs.info(path)
        if info["type"] == "directory":
            raise DataError(f"{url} is a folder, not a file")
        fs.get_file(path, str(file))
        if info.get("size") is not None and file.stat().st_size != info["size"]:
            raise OSError(errno.EIO, f"{file.stat().st_size:,} bytes instead of {info['size']:,}")
        return _stamp(info)

    return attempt(url, copy)


def upload(file: Path, url: str) -> None:
    """Copy a file from the disk to a URL, where it appears when it is complete; OutputError if it cannot be written."""
    scheme = url.partition("://")[0].lower()
    if "::" in url or scheme in ("http", "https", "zip", "tar"):
        raise OutputError(f"cannot write {url}: files are written to stores such as s3:// and gs://, not by {scheme}://")

    def put(fs: Any, path: str) -> None:
        if scheme in ATOMIC:
            fs.put_file(str(file), path)
            if file.stat().st_size >= IN_PARTS:
                _abort_older(fs, path)
            return
        parent, _, name = path.rpartition("/")
        aside = f"{parent}/.{name[:50]}.{secrets.token_hex(8)}.part"
        with suppress(FileExistsError):
            fs.makedirs(parent, exist_ok=True)
        try:
            fs.put_file(str(file), aside)
            fs.mv(aside, path)
        except BaseException:
            with suppress(Exception):
                fs.rm_file(aside)
            raise

    attempt(url, put, "write")


def _abort_older(fs: Any, path: str) -> None:
    """Have S3 delete the parts of uploads of this file that killed processes left, which cost money and are never shown.

    Younger ones than an hour may be at work.
    """
    old = datetime.now(UTC) - timedelta(hours=1)
    with suppress(Exception):  # other stores do it by themselves; without permission, a rule of the bucket does it
        bucket, key, _ = fs.split_path(path)
        for found in fs.list_multipart_uploads(bucket):
            if found["Key"] == key and found["Initiated"] < old:
                fs.abort_mpu(bucket, key, found["UploadId"])


def remove(urls: list[str]) -> None:
    """Delete files, those that are there; OutputError if that fails."""
    for url in urls:

        def delete(fs: Any, path: str) -> None:
            with suppress(FileNotFoundError):
                fs.rm_file(path)

        attempt(url, delete, "write")
