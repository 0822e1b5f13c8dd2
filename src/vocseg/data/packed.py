"""Read a packed data set: images and masks in tar files (shards), found by the offsets of an index.

A file in a shard has a path as if the shard were a folder, such as ``shards/shard-000000.tar/JPEGImages/a.jpg``, which
:func:`open_file` opens. A shard is opened once, and read in any order.
"""

from __future__ import annotations

import errno
import io
import os
import re
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from vocseg import voc
from vocseg.errors import STAND_INS, DataError
from vocseg.utils import remote
from vocseg.utils.files import read_json
from vocseg.utils.stand_ins import mirror, url_of
from vocseg.utils.urls import join

INDEX = "shards.json"
LISTS = re.compile(rf"(^|/)({voc.SPLITS}/[^/]+\.txt|{re.escape(voc.CLASSES_FILE)}|labelmap\.txt)$")
"""Files of a folder in VOC layout that are read before its images."""
VERSION = 1
OPEN_SHARDS = 256
"""Most shards that are open at a time in a process; systems allow 1,024 files and more."""
REMOTE_SHARDS = 64
"""Most shards at a URL of which a process keeps a block."""
BLOCK, LONGEST_BLOCK = 256 << 10, 2 << 20
"""Bytes of a shard at a URL that are read at once: at first, and when reads follow each other."""


class ShardFile(NamedTuple):
    """A tar file of a packed data set: its name, size in bytes, SHA-256, and (path, offset, size) of each file in it."""

    file: str
    bytes: int
    sha256: str
    files: list[tuple[str, int, int]]


class _Place(NamedTuple):
    shard: int
    offset: int
    size: int


class PackedFiles:
    """A packed data set, read from its index. Copies in other processes read the index again and open files of their own."""

    def __init__(self, folder: Path, url: str | None = None) -> None:
        self.folder = folder
        if url is not None:  # another process made the folder
            STAND_INS[str(folder)] = url
        index = read_json(folder / INDEX)
        try:
            if index["version"] > VERSION:
                raise DataError(f"{folder / INDEX} was written by a newer vocseg (version {index['version']}): upgrade vocseg")
            self.name = str(index["name"])
            self.shards = [_shard(values) for values in index["shards"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{folder / INDEX} is not the index of a packed data set: pack it again") from error
        self._places: dict[str, _Place] = {}
        self._folders: dict[str, list[str]] = {}
        for number, shard in enumerate(self.shards):
            for path, offset, size in shard.files:
                self._places[path] = _Place(number, offset, size)
                parent, _, name = path.rpartition("/")
                self._folders.setdefault(parent, []).append(name)
        most = OPEN_SHARDS if url_of(folder) is None else REMOTE_SHARDS
        self._open = lru_cache(most)(partial(_open_shard, folder, self.shards))

    def __reduce__(self) -> tuple[type[PackedFiles], tuple[Path, str | None]]:
        return PackedFiles, (self.folder, url_of(self.folder))

    @property
    def folders(self) -> list[str]:
        """Names of the folders whose files are packed."""
        return sorted(self._folders)

    def files(self, folder: str) -> list[Path]:
        """Return the paths of a folder's files by name, except hidden ones."""
        return [self.path(f"{folder}/{name}") for name in sorted(self._folders.get(folder, ())) if not name.startswith(".")]

    def __contains__(self, name: str) -> bool:
        return name in self._places

    def path(self, name: str) -> Path:
        """Return the path of a packed file, named as in the data set's folder: ``JPEGImages/a.jpg``."""
        return self.folder / self.shards[self._places[name].shard].file / name

    def place(self, path: Path) -> tuple[int, int]:
        """Return the number of the shard of a packed file, and its offset there."""
        return self._places["/".join(path.parts[-2:])][:2]

    def read(self, name: str) -> bytes:
        """Read a packed file; OSError if its shard cannot be read, or is not the one that the index describes."""
        place = self._places.get(name)
        if place is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return self._open(place.shard).read(place.offset, place.size)


def _shard(values: Any) -> ShardFile:
    """Return an entry of an index, checked; ValueError or TypeError if it cannot be one."""
    files = [(str(path), int(offset), int(size)) for path, offset, size in values["files"]]
    shard = ShardFile(str(values["file"]), int(values["bytes"]), str(values["sha256"]), files)
    if Path(shard.file).name != shard.file or not shard.file.endswith(".tar"):
        raise ValueError(shard.file)
    if any(offset < 0 or size < 0 or offset + size > shard.bytes for _, offset, size in files):
        raise ValueError("a file outside its shard")
    return shard


class _OpenShard:
    """An open shard. Threads and forked processes may read from it at the same time."""

    def __init__(self, path: Path, size: int) -> None:
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        found = os.fstat(self._file).st_size
        if found != size:
            raise OSError(errno.EIO, f"shard {path.name} has {found:,} bytes, not the {size:,} of {INDEX}: copy it again")

    def read(self, offset: int, size: int) -> bytes:
        content = os.pread(self._file, size, offset)
        while len(content) < size:  # at most 2 GB come at a time
            more = os.pread(self._file, size - len(content), offset + len(content))
            if not more:
                raise OSError(errno.EIO, "the shard is cut off")
            content += more
        return content

    def __del__(self) -> None:  # not before the last thread that reads from it is done
        if hasattr(self, "_file"):
            os.close(self._file)


class _RemoteShard:
    """A shard at a URL. A block is kept, since an image's mask stands next to it; reads in sequence are of longer blocks."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size = url, size
        self._block, self._ahead = (0, b""), BLOCK  # one value, which threads replace without a lock

    def read(self, offset: int, size: int) -> bytes:
        start, content = self._block
        if not start <= offset <= offset + size <= start + len(content):
            self._ahead = min(2 * self._ahead, LONGEST_BLOCK) if start < offset <= start + len(content) else BLOCK
            end = min(self._size, offset + max(size, self._ahead))
            content = _received(partial(remote.read_range, self._url, offset, end))
            start, self._block = offset, (offset, content)
        return content[offset - start : offset - start + size]


def _received(read: Callable[[], bytes]) -> bytes:
    try:
        return read()
    except DataError as error:
        raise OSError(errno.EIO, str(error).partition(": ")[2]) from None


def _open_shard(folder: Path, shards: list[ShardFile], number: int) -> _OpenShard | _RemoteShard:
    file, size = shards[number][:2]
    url = url_of(folder)
    return _OpenShard(folder / file, size) if url is None else _RemoteShard(join(url, file), size)


def remote_folder(url: str) -> Path:
    """Return a local folder with the lists of a data set at a URL, in VOC layout or packed.

    The other files are empty there; :func:`open_file` reads them at the URL. Raises DataError, naming the URL, if a packed one
    cannot be listed.
    """
    if (local := remote.local_path(url)) is not None:
        return local
    is_packed = remote.kind_of(join(url, INDEX)) == "file"
    folder = mirror(url, lambda name: not name.endswith(".tar") if is_packed else LISTS.search(name) is not None)
    if is_packed and not (folder / INDEX).is_file():
        raise DataError(f"{url} has {INDEX}, but its server lists no files, as s3://, gs:// and others do: copy the data to a disk")
    return folder


_known: dict[str, tuple[tuple[int, ...], PackedFiles]] = {}


def find_packed(folder: Path) -> PackedFiles | None:
    """Return the packed data set in a folder, None if there is none; DataError for a damaged index."""
    try:
        found = os.stat(folder / INDEX)
    except (OSError, ValueError):
        return None
    state = (found.st_ino, found.st_size, found.st_mtime_ns)
    key = str(folder)
    if key not in _known or _known[key][0] != state:
        _known[key] = state, PackedFiles(folder)
    return _known[key][1]


def open_file(path: str | Path) -> IO[bytes]:
    """Open a file of a data set, which may be in a shard or at a URL, for reading; OSError if it cannot be read."""
    parts = os.fspath(path).rsplit(os.sep, 3)  # pathlib would take a fifth of the time that reading takes
    if len(parts) > 2 and parts[-3].endswith(".tar"):
        folder = (parts[0] or os.sep) if len(parts) == 4 else "."
        packed = _known[folder][1] if folder in _known else find_packed(Path(folder))
        if packed is not None:
            return io.BytesIO(packed.read(f"{parts[-2]}/{parts[-1]}"))
    if STAND_INS and not os.stat(path).st_size and (url := url_of(path)):
        return io.BytesIO(_received(partial(remote.read_bytes, url)))
    return open(path, "rb")


def read_bytes(path: str | Path) -> bytes:
    """Read a file as :func:`open_file` opens it."""
    with open_file(path) as file:
        return file.read()
