"""Write files atomically, and refuse to overwrite inputs and ground truth."""

from __future__ import annotations

import glob
import itertools
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vocseg import voc
from vocseg.errors import DataError, OutputError, reason

VOC_FOLDERS = (voc.IMAGES, "ImageSets", "Segmentation", "Annotations")
"""How the names of the folders of a VOC layout begin."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` if the block succeeds.

    The parent folder is created if missing. Raises OutputError if the file cannot be written (no permission, disk full,
    a folder of that name), and leaves nothing behind.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        with open(temporary, "rb") as file:
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # some writers make private files
        os.replace(temporary, path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True) if path.parent.is_dir() else None


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside ``folder`` and rename it to ``folder`` if the block succeeds; otherwise remove it.

    Raises OutputError if ``folder`` exists and is not empty, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not an empty folder; choose another, or remove it")
    for leftover in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        if not _is_alive(leftover.name.split(".")[-2]):  # its process was killed
            shutil.rmtree(leftover, ignore_errors=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    try:
        temporary.mkdir(parents=True)
        yield temporary
        os.chmod(temporary, 0o777 & ~_umask())
        if folder.is_dir():
            folder.rmdir()
        os.replace(temporary, folder)
    except OSError as error:
        raise cannot_write(folder, error) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _is_alive(process: str) -> bool:
    if os.name == "nt":  # signal 0 means Ctrl-C there
        return True
    try:
        os.kill(int(process), 0)
    except (ProcessLookupError, ValueError, OverflowError):
        return False
    except OSError:  # a process of another user
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path, error: OSError) -> OutputError:
    """Return the OutputError for a failed write to ``path``."""
    return OutputError(f"cannot write {path}: {error.strerror or error}")


def refuse_to_replace(
    outputs: Iterable[Path | None], inputs: Iterable[str | Path | None] = (), folders: Iterable[Path] = ()
) -> None:
    """Raise OutputError if an output would replace an input or ground truth, whatever path names it.

    ``inputs`` are files; names of models and None are ignored. ``folders`` hold images, masks or lists: no output may
    be written directly into one, or replace the target of a link in one. No output may be written into the folders of
    any other data set in VOC layout, or replace one of its masks if they are in a folder of another name.
    """
    written = [path for path in outputs if path is not None]
    existing = {key: path for path in written if (key := _identity(path))}
    parents = {path.parent: path for path in written}
    for folder, path in parents.items():
        if own := _voc_folder(folder):
            raise _refused(path, f"{own} holds a data set's images, masks or lists; choose another folder")
    for path in existing.values():
        if _is_mask_of_data(path):
            raise _refused(path, "it would replace a mask of the data set in that folder; choose another folder")
    parent_keys = {key: path for folder, path in parents.items() if (key := _identity(folder))}
    for folder in folders:
        if (key := _identity(folder)) in parent_keys:
            raise _refused(parent_keys[key], f"{folder} holds the data set's images, masks or lists; choose another folder")
    if not existing:
        return
    inside = (file for folder in folders if folder.is_dir() for file in folder.iterdir())
    for source in itertools.chain(inputs, inside):
        if source is not None and (key := _identity(source)) in existing:
            raise _refused(existing[key], f"it would replace the input {source}; choose another name or folder")


def _refused(path: Path, why: str) -> OutputError:
    return OutputError(f"cannot write {path}: {why}")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what all paths of one file or folder share, or None if it does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _voc_folder(folder: Path) -> Path | None:
    """Return the folder of a VOC layout that is or contains ``folder``, as spelled or with links followed."""
    for path in (Path(os.path.abspath(folder)), folder.resolve()):
        for part in (path, *path.parents):
            if part.name.startswith(VOC_FOLDERS) and _is_layout(part.parent):
                return part
    return None


def _is_mask_of_data(path: Path) -> bool:
    roots = {Path(os.path.abspath(path.parent)).parent, path.parent.resolve().parent}
    images = [root / voc.IMAGES / path.stem for root in roots if path.suffix.lower() == ".png" and _is_layout(root)]
    return any(image.with_name(image.name + suffix).exists() for image in images for suffix in voc.IMAGE_SUFFIXES)


def _is_layout(root: Path) -> bool:
    return (root / voc.IMAGES).is_dir() and (root / "ImageSets").is_dir()


def read_lines(path: Path, what: str) -> list[str]:
    """Read the lines of a UTF-8 text file; raise DataError, naming ``what`` it is, if it cannot be read."""
    try:
        return path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {what} {path}: {reason(error)}") from error


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON atomically; raise ValueError for NaN, which JSON does not have."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def writable_folder(path: Path) -> Path:
    """Create the folder ``path`` if missing and check that files can be created in it; raise OutputError if not."""
    path = Path(path)
    if path.is_file():
        raise OutputError(f"cannot write {path}: it is a file, not a folder")
    probe = path / f".probe.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
