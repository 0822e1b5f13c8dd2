"""Outputs at URLs: local files and folders that are uploaded as they become complete.

:func:`staged` gives a function local outputs, whose files are uploaded and deleted; :func:`kept` a folder whose files stay.
"""

from __future__ import annotations

import inspect
import os
import re
import shutil
import stat
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property, partial, wraps
from pathlib import Path, PurePosixPath
from typing import ParamSpec, TypeVar

from vocseg.errors import STAND_INS, OutputError, VocsegError
from vocseg.utils import remote
from vocseg.utils.files import is_output
from vocseg.utils.stand_ins import TRANSFERS, stand_in, stand_ins_folder, url_of
from vocseg.utils.temporary import LEFTOVER
from vocseg.utils.urls import is_remote, join

P = ParamSpec("P")
T = TypeVar("T")
PICTURES = (".png", ".jpg", ".tif", ".mp4")
"""Files that are looked at before they are replaced: one that vocseg did not write stays."""
LAST = re.compile(r"shards?\.json|state-\d+\.pt")
"""Names of files that say that those beside them are complete."""

_stagings: dict[Path, Staging] = {}


class Staging:
    """A local file or folder, ``path``, that is uploaded to ``url`` file by file, as they are complete; then they are deleted."""

    def __init__(self, url: str) -> None:
        self.url, self.path = url.rstrip("/"), stand_in(url)
        self._pool, self._waiting = ThreadPoolExecutor(TRANSFERS), deque[Future[None]]()
        self._taken: dict[Path, tuple[int, int] | None] = {}

    @cached_property
    def listing(self) -> dict[str, int]:
        """Sizes of the files that were at the URL, by name."""
        return {found.name: found.size for found in remote.find(self.url)}

    def upload(self, files: Iterable[Path]) -> None:
        """Begin to upload files that are complete; raise OutputError if an earlier one failed."""
        for file in files:
            known, state = self._taken.get(file), _state(file)
            if state not in (None, known):
                self._taken[file] = state
                self._waiting.append(self._pool.submit(self._upload, file))
        while self._waiting and (len(self._waiting) > 2 * TRANSFERS or self._waiting[0].done()):
            self._waiting.popleft().result()

    def wait(self) -> None:
        """Upload what is left, and wait for it; last, what says that all is there."""
        for is_last in (False, True):
            self.upload(self._files(is_last))
            while self._waiting:
                self._waiting.popleft().result()

    def finish(self) -> None:
        """Upload what is left; nothing comes after it."""
        try:
            self.wait()
        finally:
            self._pool.shutdown(cancel_futures=True)

    def keep_up(self) -> None:
        """Upload the files that have changed, and keep them; delete at the URL those that have been deleted here."""
        for is_last in (False, True):
            changed = [file for file in self._files(is_last) if _state(file) not in (None, self._taken.get(file))]
            list(self._pool.map(self._put, changed))
        for file in [file for file in self._taken if not file.exists()]:
            remote.remove([join(self.url, self._name(file))])
            del self._taken[file]

    def _files(self, is_last: bool) -> list[Path]:
        found = [self.path]
        for parent, folders, names in os.walk(self.path):
            folders[:] = sorted(name for name in folders if not LEFTOVER.fullmatch(name))
            found += [Path(parent, name) for name in sorted(names) if not LEFTOVER.fullmatch(name)]
        return [file for file in found if bool(LAST.fullmatch(file.name)) is is_last]

    def _upload(self, file: Path) -> None:
        self._put(file)
        file.unlink()
        del self._taken[file]

    def _put(self, file: Path) -> None:
        state, name = _state(file), self._name(file)
        target = join(self.url, name) if name else self.url
        size = self.listing.get(name)
        if size and file.suffix in PICTURES and not is_output(file, size, partial(remote.read_range, target)):
            raise OutputError(f"cannot write {target}: it exists, and vocseg did not write it; choose another folder, or delete it")
        remote.upload(file, target)
        self._taken[file] = state

    def _name(self, path: Path) -> str:
        return "" if path == self.path else path.relative_to(self.path).as_posix()

    def has(self, path: Path) -> bool:
        """Tell whether a file was at the URL before, or has been written."""
        return self._name(path) in self.listing or path.is_file()

    def size(self, path: Path) -> int | None:
        """Return the size of the file that was at the URL before, if there was one."""
        return self.listing.get(self._name(path))

    def pull(self, folder: Path) -> None:
        """Copy to the disk what was in a remote folder."""
        for name in self._below(folder):
            (file := self.path / name).parent.mkdir(parents=True, exist_ok=True)
            remote.fetch(join(self.url, name), file)
            self._taken[file] = _state(file)

    def clear(self, folder: Path) -> None:
        """Delete what was in a remote folder, first what says that all is there."""
        names = sorted(self._below(folder), key=lambda name: not LAST.fullmatch(PurePosixPath(name).name))
        remote.remove([join(self.url, name) for name in names])
        for name in names:
            del self.listing[name]

    def _below(self, folder: Path) -> list[str]:
        top = f"{self._name(folder)}/".lstrip("/")
        return [name for name in self.listing if name.startswith(top) and ".." not in name.split("/")]


def _state(file: Path) -> tuple[int, int] | None:
    """Return size and time of change of a file; None if it is a folder, or has been uploaded and deleted."""
    try:
        found = file.stat()
    except FileNotFoundError:
        return None
    return None if stat.S_ISDIR(found.st_mode) else (found.st_size, found.st_mtime_ns)


def staging_of(path: Path) -> Staging | None:
    """Return what uploads a path; None if it is local."""
    return next((_stagings[top] for top in (path, *path.parents) if top in _stagings), None) if _stagings else None


def stage(url: str) -> Path:
    """Stage a folder until this process ends, one of several that write there.

    The first process lists what was there, and tells the others what was at the names that they write: their ``listing``.
    """
    path = kept(url)
    _stagings[path].listing = {}
    return path


def wait(path: Path) -> None:
    """Upload what is complete below a path, if that is staged, and wait for it."""
    if staging := staging_of(path):
        staging.wait()


def upload(files: Iterable[Path]) -> None:
    """Begin to upload those of some complete files that are staged, all in one folder."""
    files = list(files)
    if files and (staging := staging_of(files[0])):
        staging.upload(file for file in files if not LAST.fullmatch(file.name))


def kept(url: str) -> Path:
    """Return a local folder for a remote one, which stays until the process ends; :meth:`Staging.keep_up` uploads what it gets."""
    staging = Staging(url)
    _stagings[staging.path] = staging
    return staging.path


def is_there(path: Path) -> bool:
    """Tell whether a file exists; of a staged one, whether it is at its URL."""
    staging = staging_of(path)
    return path.is_file() if staging is None else staging.has(path)


@contextmanager
def pulled(path: Path) -> Iterator[Path]:
    """Yield a path whose content can be read: of a staged file, that of a copy."""
    staging = staging_of(path)
    if staging is None or path.is_file():
        yield path
        return
    with tempfile.TemporaryDirectory(dir=stand_ins_folder()) as folder:
        copy = Path(folder, path.name)
        remote.fetch(str(url_of(path)), copy)
        yield copy


@contextmanager
def _staging(url: str) -> Iterator[Path]:
    staging = _stagings[kept(url)]
    try:
        yield staging.path
    except BaseException as error:
        with suppress(Exception):
            staging.finish()  # as on a disk, what is complete stays
        if isinstance(error, VocsegError):
            error.args = (str(error),)  # with the URL
        raise
    else:
        staging.finish()
    finally:
        del _stagings[staging.path], STAND_INS[str(staging.path)]
        shutil.rmtree(staging.path.parent, ignore_errors=True)


def staged(*names: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Let the arguments ``names`` of a function be URLs: it gets paths, and what it writes there is uploaded.

    Whole files, each of which appears at its URL when it is complete.
    """

    def decorate(function: Callable[P, T]) -> Callable[P, T]:
        signature = inspect.signature(function)

        @wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            given = signature.bind(*args, **kwargs)
            values = {name: given.arguments.get(name) for name in names}
            urls = {name: str(value) for name, value in values.items() if is_remote(value)}
            with ExitStack() as stack:
                for name, url in urls.items():
                    given.arguments[name] = remote.local_path(url) or stack.enter_context(_staging(url))
                return function(*given.args, **given.kwargs)

        return run

    return decorate
