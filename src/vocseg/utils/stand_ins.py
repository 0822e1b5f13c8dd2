"""Local files and folders that stand in for remote ones, so that all else reads and writes paths.

:func:`mirror` and :func:`fetched` copy inputs to the disk; outputs are in :mod:`vocseg.utils.staging`. What stands in lies in
one folder of the process, deleted at its end.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from vocseg.errors import STAND_INS, shown
from vocseg.utils import remote
from vocseg.utils.temporary import temporary_beside
from vocseg.utils.urls import is_remote, join, path_of

TRANSFERS = 8
"""Files that are copied at a time."""

_numbers = count()
_roots: dict[int, Path] = {}
_mirrors: dict[str, tuple[Path, dict[str, str]]] = {}


def stand_ins_folder() -> Path:
    """Return this process's folder; what killed processes left is deleted."""
    if os.getpid() not in _roots:
        stack = ExitStack()
        folder = stack.enter_context(temporary_beside(Path(tempfile.gettempdir(), "vocseg"), is_folder=True))
        folder.chmod(0o700)
        _roots[os.getpid()] = folder
        atexit.register(_close, stack, os.getpid())
    return _roots[os.getpid()]


def _close(stack: ExitStack, process: int) -> None:
    if os.getpid() == process:  # not in a fork
        stack.close()


def stand_in(url: str) -> Path:
    """Return a new local path, in a new folder of its own, that errors call by its URL; nothing is there yet."""
    folder = stand_ins_folder() / str(next(_numbers))
    folder.mkdir()
    path = folder / (path_of(url).name or "remote")
    STAND_INS[str(path)] = url if url.endswith("://") else url.rstrip("/")
    return path


def url_of(path: str | os.PathLike[str]) -> str | None:
    """Return the URL of a path that is, or is below, one that stands in; None of all others."""
    found = Path(path)
    for top in (found, *found.parents):
        if url := STAND_INS.get(str(top)):
            return url if top == found else join(url, found.relative_to(top).as_posix())
    return None


def published(path: Path) -> Path | str:
    """Return what names an output in results: its URL, if it is staged."""
    return path if url_of(path) is None else shown(path)


def open_file(path: Path) -> io.BufferedReader:
    """Open a file for reading, or the remote one that it stands in for."""
    url = url_of(path)
    return open(path, "rb") if url is None else io.BufferedReader(remote.RemoteFile(url), 1 << 20)


def mirror(url: str, wanted: Callable[[str], bool] = lambda name: True) -> Path:
    """Return a local folder with the ``wanted`` files of a remote one; those that an earlier call copied are not copied again.

    The others are empty. The time of change of each tells contents apart, and is the same on all machines.
    """
    if local := remote.local_path(url):
        return local
    known = _mirrors.get(url)
    folder, stamps = known or (stand_in(url), {})
    if known is None:
        _mirrors[url] = folder, stamps
    folder.mkdir(exist_ok=True)
    found = {file.name: file for file in remote.find(url) if file.name}
    for name in stamps.keys() - found.keys():
        (folder / name).unlink(missing_ok=True)
        del stamps[name]
    for name, file in found.items():
        stamp, target = f"{file.stamp}|{file.size}", folder / name
        if stamps.get(name) == stamp or ".." in Path(name).parts:
            continue
        target.parent.mkdir(parents=True, exist_ok=True)
        if wanted(name):
            remote.fetch(join(url, name), target)
        else:
            target.write_bytes(b"")
        time = int.from_bytes(hashlib.blake2b(stamp.encode(), digest_size=7).digest(), "big")
        os.utime(target, ns=(time, time))
        stamps[name] = stamp
    return folder


def complete(folder: Path) -> None:
    """Copy to the disk the files that are empty in a folder of :func:`mirror`, or below one."""

    def copy(file: Path) -> None:
        found = file.stat()
        if not found.st_size:
            remote.fetch(str(url_of(file)), file)
            os.utime(file, ns=(found.st_mtime_ns, found.st_mtime_ns))

    with ThreadPoolExecutor(TRANSFERS) as pool:
        list(pool.map(copy, (file for file in folder.rglob("*") if file.is_file())))


def fetched(name: str | Path) -> Path:
    """Return a file as a path; one at a URL is copied to the disk, once."""
    if not is_remote(name):
        return Path(name)
    url = str(name)
    if local := remote.local_path(url):
        return local
    if url not in _mirrors:
        path = stand_in(url)
        _mirrors[url] = path, {"": remote.fetch(url, path)}
    return _mirrors[url][0]
