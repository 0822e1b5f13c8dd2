"""Write files atomically, read text, and refuse to overwrite inputs and ground truth."""

from __future__ import annotations

import itertools
import json
import os
import stat
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vocseg import voc
from vocseg.errors import DataError, OutputError, reason
from vocseg.errors import cannot_write as cannot_write  # rooms import it from here
from vocseg.utils.temporary import temporary_beside
from vocseg.utils.urls import was_url
from vocseg.utils.user_code import imported_user_code

TEXT_LIMIT, JSON_LIMIT, YAML_LIMIT = 64 << 20, 2 << 30, 1 << 20
"""Largest files that are read, in bytes. COCO's annotations have 450 MB; the YAML parser takes seconds for one MB."""
YAML_VALUES = 1_000_000
"""Most values of a YAML file, with its aliases written out."""

MARK = b"made by vocseg"
"""A note in the head of images and pages that are written: they may be replaced, and are no input of a prediction."""

AREAS_HEAD = b"image,class,id,pixels,share\r\n"
"""First line of the table of areas that a prediction writes."""

SCORES = "scores.json"
"""Scores in a folder of results."""
RECORD_FILES = ("per_image.npz", "per_image.csv")
"""Counts of each image in a folder of results."""
MODEL_SUFFIXES = (".safetensors", ".pth", ".pt", ".bin", ".ckpt")
VOC_FOLDERS = (voc.IMAGES, "ImageSets", "Segmentation", "Annotations")
"""How the names of the folders of a VOC layout begin."""


def is_file_name(text: str) -> bool:
    """Return whether a ``--model`` or ``--weights`` value is a file rather than a name."""
    return Path(text).suffix in MODEL_SUFFIXES or Path(text).is_file() or "/" in text


def scores_file(folder: Path) -> Path:
    """Return the scores of a folder of results; raise DataError if there are none."""
    if not (folder / SCORES).exists():
        raise DataError(f"no {folder / SCORES}; evaluate or score with --out writes it")
    return folder / SCORES


@contextmanager
def replacing(path: Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary file beside ``path`` and rename it to ``path`` if the block succeeds.

    The parent folder is created if missing. Raises OutputError if the file cannot be written (no permission, disk full,
    a folder or device of that name), and leaves nothing behind. ``durable``: wait until the content is on the disk, which takes
    milliseconds; without it, a failure of power (not the end of the process) may leave an empty file.
    """
    path = Path(path)
    with temporary_beside(path) as temporary:
        mode = temporary.stat().st_mode
        yield temporary
        if durable:
            synchronize(temporary)
        if temporary.stat().st_mode != mode:  # some writers make private files
            os.chmod(temporary, mode)
        os.replace(temporary, path)


def synchronize(path: Path) -> None:
    """Have a file's content on the disk before it is renamed."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())


@contextmanager
def building(folder: Path) -> Iterator[Path]:
    """Yield a new folder beside ``folder`` and rename it to ``folder`` if the block succeeds; otherwise remove it.

    Raises OutputError if ``folder`` exists and is not empty, or cannot be written.
    """
    given, folder = folder, Path(folder).absolute()
    with temporary_beside(folder, is_folder=True) as temporary:
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise OutputError(f"{given} is not an empty folder; choose another, or remove it")
        yield temporary
        if hasattr(os, "sync"):
            os.sync()  # many files
        if folder.is_dir():
            folder.rmdir()
        os.replace(temporary, folder)


def refuse_to_replace(
    outputs: Iterable[Path | None], inputs: Iterable[str | Path | None] = (), folders: Iterable[Path] = ()
) -> None:
    """Raise OutputError if an output would replace an input, ground truth, or what vocseg did not write.

    ``inputs`` are files, whatever path names them, besides those of ``--import``; names of models and None are ignored.
    ``folders`` hold images, masks or lists: no output may be written directly into one, or replace the target of a link
    in one. No output may be written into the folders of any other data set in VOC layout, or replace one of its masks
    if they are in a folder of another name. No two outputs may be one file.
    """
    written = [path for path in outputs if path is not None]
    if twice := [path for path, count in Counter(map(os.path.abspath, written)).items() if count > 1]:
        raise _refused(Path(twice[0]), "two outputs have this name; choose another for one")
    existing = {key: path for path in written if (key := _identity(path))}
    parents = {path.parent: path for path in written}
    for folder, path in parents.items():
        if own := _voc_folder(folder):
            raise _refused(path, f"{own} holds a data set's images, masks or lists; choose another folder")
    for path in existing.values():
        if _belongs_to_data(path):
            raise _refused(path, "it belongs to the data set in that folder; choose another name or folder")
    parent_keys = {key: path for folder, path in parents.items() if (key := _identity(folder))}
    for folder in folders:
        if (key := _identity(folder)) in parent_keys:
            raise _refused(parent_keys[key], f"{folder} holds the data set's images, masks or lists; choose another folder")
    if not existing:
        return
    inside = (file for folder in folders if folder.is_dir() for file in folder.iterdir())
    for source in itertools.chain(inputs, imported_user_code(), inside):
        if source is not None and (key := _identity(source)) in existing:
            raise _refused(existing[key], f"it would replace the input {source}; choose another name or folder")
    for path in existing.values():
        if path.name == SCORES and (counts := path.with_name(RECORD_FILES[0])).exists() and counts not in written:
            raise _refused(path, f"it belongs to the result in that folder, as {counts.name} does; choose another name or folder")
        if not _is_output(path):
            raise _refused(path, "it exists, and vocseg did not write it; choose another name or folder, or delete it")


def _refused(path: Path, why: str) -> OutputError:
    return OutputError(f"cannot write {path}: {why}")


def _identity(path: str | Path) -> tuple[int, int] | None:
    """Return what all paths of one file or folder share, or None if it does not exist."""
    try:
        found = os.stat(path)
    except (OSError, ValueError):
        return None
    return found.st_dev, found.st_ino


def _is_output(path: Path) -> bool:
    if not path.is_file():
        return True
    with suppress(OSError), open(path, "rb") as file:

        def read(start: int, end: int) -> bytes:
            file.seek(start)
            return file.read(end - start)

        return is_output(path, path.stat().st_size, read)
    return True  # the writer says why


def is_output(path: Path, size: int, read: Callable[[int, int], bytes]) -> bool:
    """Return whether a file looks as if vocseg had written it: JSON, a network, nothing yet, or marked.

    ``read`` returns its bytes from a position to another.
    """
    is_network = path.suffix.lower() in (".onnx", ".xml", ".bin") and path.name != "cvat.xml"
    if is_network or path.name in RECORD_FILES:
        return True
    start = max(0, size - 4096) if path.suffix.lower() == ".mp4" else 0  # its notes are at the end
    head = read(start, min(size, start + 4096))
    return not head or MARK in head or head.startswith(AREAS_HEAD) or head.lstrip().startswith(b"{")


def _voc_folder(folder: Path) -> Path | None:
    """Return the folder of a VOC layout that is or contains ``folder``, as spelled or with links followed."""
    for path in (Path(os.path.abspath(folder)), folder.resolve()):
        for part in (path, *path.parents):
            if part.name.startswith(VOC_FOLDERS) and _is_layout(part.parent):
                return part
    return None


def _belongs_to_data(path: Path) -> bool:
    roots = {Path(os.path.abspath(path.parent)).parent, path.parent.resolve().parent}
    if path.name in (voc.CLASSES_FILE, "labelmap.txt") and _is_layout(path.parent):
        return True
    images = [root / voc.IMAGES / path.stem for root in roots if path.suffix.lower() == ".png" and _is_layout(root)]
    return any(image.with_name(image.name + suffix).exists() for image in images for suffix in voc.IMAGE_SUFFIXES)


def _is_layout(root: Path) -> bool:
    return (root / voc.IMAGES).is_dir() and (root / "ImageSets").is_dir()


def read_text(path: str | Path, limit: int = TEXT_LIMIT, what: str = "") -> str:
    """Read a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark; lines end with ``\\n``.

    Raises DataError, naming the file and ``what`` it is, if it cannot be read, is not a regular file (a pipe or a device
    may block or never end), is larger than ``limit`` bytes, or is not text.
    """
    named = f"{what} {path}" if what else str(path)
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise DataError(f"cannot read {named}: it is not a regular file")
        with open(path, "rb") as file:
            content = file.read(min(max(found.st_size, 1 << 16), limit) + 1)
        if len(content) > limit:
            raise DataError(f"cannot read {named}: it has more than {limit >> 20} MB; is it the right file?")
        text = content.decode(json.detect_encoding(content))
    except UnicodeDecodeError as error:
        raise DataError(f"cannot read {named}: it is not UTF-8 text ({error.reason} at byte {error.start})") from error
    except (OSError, ValueError) as error:  # ValueError: a null character in the path
        raise DataError(f"cannot read {named}: {reason(error)}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: str | Path, what: str) -> list[str]:
    """Read the lines of a text file as :func:`read_text` does."""
    text = read_text(path, what=what)
    return text.removesuffix("\n").split("\n") if text else []


def read_json(path: str | Path, limit: int = JSON_LIMIT) -> Any:
    """Read a JSON file; DataError "PATH is not JSON: ..." for whatever the parser raises."""
    return _parsed(path, "JSON", json.loads, limit)


def read_yaml(path: str | Path, limit: int = YAML_LIMIT) -> Any:
    """Read a YAML file of plain values; DataError "PATH is not YAML: ..." for whatever the parser raises.

    Also refuses merge keys, and aliases that contain themselves or stand for more values than memory may have room for.
    """
    import yaml

    class Loader(yaml.SafeLoader):  # type: ignore[misc]
        def flatten_mapping(self, node: Any) -> None:  # it would copy what they stand for while it parses
            if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
                raise ValueError("merge keys (<<) are not supported")

    def parse(text: str) -> Any:
        content = yaml.load(text, Loader)
        _count(content, {})
        return content

    return _parsed(path, "YAML", parse, limit)


def _parsed(path: str | Path, kind: str, parse: Callable[[str], Any], limit: int) -> Any:
    text = read_text(path, limit)
    try:
        return parse(text)
    except Exception as error:
        raise DataError(f"{path} is not {kind}: {' '.join(str(error).split())[:200]}") from error


def _count(value: Any, counts: dict[int, int]) -> int:
    """Count the values in nested lists and dicts, shared ones each time; ``counts`` are those known, by identity."""
    if not isinstance(value, dict | list | tuple):
        return 1
    if id(value) not in counts:
        counts[id(value)] = YAML_VALUES  # a value inside itself counts too many
        counts[id(value)] = 1 + sum(_count(part, counts) for part in (value.values() if isinstance(value, dict) else value))
    if counts[id(value)] >= YAML_VALUES:
        raise ValueError(f"its aliases stand for more than {YAML_VALUES:,} values")
    return counts[id(value)]


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file atomically."""
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: Any, beside: Iterable[Path] = ()) -> None:
    """Write ``value`` as indented JSON atomically, if it replaces nothing but outputs; ValueError for NaN, not in JSON.

    ``beside``: other files that are written with it.
    """
    refuse_to_replace([path, *beside])
    write_text(path, json.dumps(value, indent=2, allow_nan=False) + "\n")


def writable_folder(path: Path) -> Path:
    """Create the folder ``path`` if missing and check that files can be created in it; raise OutputError if not."""
    path = Path(path)
    if was_url(path):
        raise OutputError(f"cannot write {path}: a URL is not written here; choose a folder on a disk")
    if file := next((place for place in (path, *path.parents) if place.exists() and not place.is_dir()), None):
        raise OutputError(f"cannot write {path}: {'it' if file == path else file} is a file, not a folder")
    try:
        path.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise cannot_write(path, error) from error
    return path
