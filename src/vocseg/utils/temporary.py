"""Temporary files and folders beside what they will replace; those of killed processes are deleted by the next call."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from vocseg.errors import OutputError, VocsegError, cannot_write, shown
from vocseg.utils.urls import was_url

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

DAY = 86400.0
LEFTOVER = re.compile(r"\..+\.[0-9a-f]{16}\.part", re.DOTALL)
_swept: set[Path] = set()


@contextmanager
def temporary_beside(path: Path, *, is_folder: bool = False) -> Iterator[Path]:
    """Yield a new empty file or folder beside ``path``, deleted at the end unless it was moved.

    What killed processes left there is deleted too. Raises OutputError, naming ``path``, for an OSError in the block,
    and for any failure of a writer if the disk turns out to be full or broken.
    """
    temporary, lock = None, None
    try:
        if was_url(path):
            raise OutputError(f"cannot write {path}: a URL is not written here; choose a file or folder on a disk")
        if path.parent == Path("/dev") or (not is_folder and path.exists() and not path.is_file()):
            raise OutputError(f"cannot write {path}: it is a folder or a device, not a file; choose another name")
        path.parent.mkdir(parents=True, exist_ok=True)
        _sweep(path.parent)
        temporary, lock = _create(path, is_folder)
        yield temporary
    except VocsegError as error:
        if temporary is not None:
            error.args = (str(error).replace(shown(temporary), shown(path)),)
        raise
    except Exception as error:
        # Writers report a full disk in many ways: torch as a RuntimeError, Pillow without the system's error number.
        vague = not isinstance(error, OSError) or error.errno is None
        failure = (temporary and _disk_error(temporary) if vague else None) or error
        if not isinstance(failure, OSError):
            raise
        raise cannot_write(path, failure) from error
    finally:
        if temporary is not None:
            _delete(temporary)
        if lock is not None:
            os.close(lock)


def _create(path: Path, is_folder: bool) -> tuple[Path, int | None]:
    """Create a temporary file or folder of a random name; also return a descriptor that locks it, if locks work there."""
    while True:
        temporary = path.with_name(f".{path.name[:50]}.{secrets.token_hex(8)}.part")
        if is_folder:
            temporary.mkdir()
        else:  # O_EXCL follows no link
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o666))
        lock = None
        with suppress(OSError):
            lock = _lock(temporary, wait=True)
        if temporary.exists():  # nobody has swept it before it was locked
            return temporary, lock
        if lock is not None:
            os.close(lock)


def _lock(path: Path, wait: bool) -> int | None:
    """Lock a file or folder until the returned descriptor is closed or the process ends; OSError if locks do not work."""
    if fcntl is None:
        return None
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def _sweep(folder: Path) -> None:
    """Delete temporary files and folders whose lock is free or, where locks do not work, that are older than a day."""
    if folder not in _swept:
        _swept.add(folder)
        sweep(folder)


def sweep(folder: Path) -> None:
    """Delete what killed processes left in a folder."""
    for leftover in folder.iterdir():
        if not LEFTOVER.fullmatch(leftover.name):
            continue
        lock = None
        with suppress(OSError):
            try:
                lock = _lock(leftover, wait=False)
            except BlockingIOError:  # its process is alive
                continue
            except OSError:
                pass
            if lock is not None or max(path.lstat().st_mtime for path in (leftover, *leftover.rglob("*"))) < time.time() - DAY:
                _delete(leftover)
        if lock is not None:
            os.close(lock)


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def _disk_error(temporary: Path) -> OSError | None:
    """Return the error of writing one more megabyte, if any."""
    try:
        with open(temporary / "probe" if temporary.is_dir() else temporary, "ab") as file:
            file.write(bytes(1 << 20))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None
