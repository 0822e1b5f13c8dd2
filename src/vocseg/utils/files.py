"""Files that are either the old or the new one, never half."""

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
from vocseg.errors import OutputError

OWN_FOLDERS = (voc.IMAGES, "ImageSets", "Segmentation", "Annotations")
"""How the names of a VOC layout's own folders begin."""


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path`` and rename it to ``path`` when the block succeeds.

    The folder is made where missing. Raises OutputError where it cannot be written (no permission, disk full, a
    folder in the way), and leaves nothing behind.
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
    """Yield a new folder beside ``folder`` and rename it to ``folder`` when the block succeeds; else remove it.

    Raises OutputError where ``folder`` is there and not empty, or cannot be written.
    """
    folder = Path(folder).absolute()
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise OutputError(f"{folder} is not an empty folder; choose another, or remove it")
    for left in folder.parent.glob(f".{glob.escape(folder.name)}.*.part"):
        if not _is_alive(left.name.split(".")[-2]):  # of a process that was killed
            shutil.rmtree(left, ignore_errors=True)
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
    except OSError:  # another user's
        return True
    return True


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The OutputError for a failed write to ``path``."""
    return OutputError(f"cannot write {path}: {error.strerror or error}")


def refuse_to_replace(
    outputs: Iterable[Path | None], inputs: Iterable[str | Path | None] = (), folders: Iterable[Path] = ()
) -> None:
    """Raise OutputError where an output would replace what the same call reads, or ground truth, by whatever path it is named.

    ``inputs`` may be names that are no files. ``folders`` hold images, masks or lists: no output may lie right in them, nor be
    one of their files that is linked elsewhere. Outputs may neither lie in the folders of any other data set in VOC layout,
    nor replace a mask in one whose masks lie in a folder of another name.
    """
    written = [path for path in outputs if path is not None]
    there = {key: path for path in written if (key := _identity(path))}  # what is not there cannot be replaced
    parents = {path.parent: path for path in written}
    for folder, path in parents.items():
        if own := _own_folder(folder):
            raise _refused(path, f"{own} holds a data set's images, masks or lists; choose another folder")
    for path in there.values():
        if _is_mask_of_data(path):
            raise _refused(path, "it would replace a mask of the data set that its folder lies in; choose another folder")
    around = {key: path for folder, path in parents.items() if (key := _identity(folder))}
    for folder in folders:
        if (key := _identity(folder)) in around:
            raise _refused(around[key], f"{folder} holds the data set's images, masks or lists; choose another folder")
    if not there:
        return
    inside = (file for folder in folders if folder.is_dir() for file in folder.iterdir())
    for source in itertools.chain(inputs, inside):
        if source is not None and (key := _identity(source)) in there:
            raise _refused(there[key], f"it would replace {source}, which is read; choose another name or folder")


def _refused(path: Path, why: str) -> OutputError:
    return OutputError(f"cannot write {path}: {why}")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """What all names of a file or folder have in common, None where there is none."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _own_folder(folder: Path) -> Path | None:
    """The folder of a VOC layout that ``folder`` is or lies in, as it is spelled or where links lead."""
    for path in (Path(os.path.abspath(folder)), folder.resolve()):
        for part in (path, *path.parents):
            if part.name.startswith(OWN_FOLDERS) and _is_layout(part.parent):
                return part
    return None


def _is_mask_of_data(path: Path) -> bool:
    roots = {Path(os.path.abspath(path.parent)).parent, path.parent.resolve().parent}
    images = [root / voc.IMAGES / path.stem for root in roots if path.suffix.lower() == ".png" and _is_layout(root)]
    return any(image.with_name(image.name + suffix).exists() for image in images for suffix in voc.IMAGE_SUFFIXES)


def _is_layout(root: Path) -> bool:
    return (root / voc.IMAGES).is_dir() and (root / "ImageSets").is_dir()


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON atomically; NaN is refused, since JSON has none."""
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def writable_folder(path: Path) -> Path:
    """Make the folder ``path`` where missing and prove that files can be made in it; OutputError if not."""
    path = Path(path)
    probe = path / f".probe.{os.getpid()}"
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
