"""Where the images of a prediction are. Does not import torch.

A source is any iterable of :class:`Item`; :func:`find_images` makes them of files, folders, patterns, lists, archives,
addresses and standard input.
"""

from __future__ import annotations

import csv
import glob
import logging
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlparse

from vocseg.download.content import download_bytes, is_url
from vocseg.errors import DataError, InputError, reason, shown
from vocseg.inference.archives import contents, is_archive, members, safe_name
from vocseg.inference.folders import VIDEO_SUFFIXES, Skipped, image_files, is_hidden, is_image, is_prediction, is_video, matches
from vocseg.inference.names import with_folders
from vocseg.utils.files import read_lines
from vocseg.utils.stand_ins import published, url_of
from vocseg.utils.text import counted
from vocseg.utils.urls import is_remote, join
from vocseg.voc import IMAGE_SUFFIXES

if TYPE_CHECKING:
    from vocseg.inference.video import Frame

log = logging.getLogger("vocseg.predict")

STDIN = ("-", "stdin:")
"""Names of standard input; the second is the first after the command line."""
STDIN_LABEL = "standard input"
STDIN_LIMIT = 1 << 30
"""Most bytes that are read from standard input."""
LIVE = ("rtsp://", "rtsps://", "rtmp://", "rtmps://", "srt://", "udp://", "rtp://")
LIST_SUFFIXES = (".txt", ".csv")
HEADERS = ("image", "images", "file", "filename", "file_name", "path")
"""Names of the first column in the first row of a table, which then is no image."""


class Item(NamedTuple):
    """An image of a source.

    ``path``: its file, or a name. ``relative``: where it is below the folder, archive or list that was searched, which
    names its outputs. ``read``: returns the image as a Segmenter takes it; by default the file at ``path``. ``member``:
    position in the archive at ``path``. ``label``: what names it in errors and results, if not ``path``. ``output``: path
    of its outputs below the output folder, without a suffix; ``predict`` sets it. ``is_video``: ``path`` is a video, whose
    images have a ``frame``. ``place``: position among the images of a call of ``predict``, which sets it.
    """

    path: Path
    relative: Path
    read: Callable[[], Any] | None = None
    member: int | None = None
    label: Path | str | None = None
    output: Path | None = None
    frame: Frame | None = None
    is_video: bool = False
    place: int = 0

    @property
    def is_live(self) -> bool:
        """Whether it is a camera or a stream, or a frame of one."""
        return self.is_video and (self.frame.is_live if self.frame else isinstance(self.key, str) and url_of(self.path) is None)

    @property
    def video(self) -> str:
        """What opens the video."""
        return str(self.key if self.is_live else self.path)

    @property
    def key(self) -> Path | str:
        """What names the image in errors and results."""
        return self.path if self.label is None else self.label


def find_images(
    sources: str | Path | Item | Iterable[str | Path | Item], out: Path | None = None, skipped: Skipped | None = None
) -> list[Item]:
    """Find the images of files, folders (searched with all below them), glob patterns, lists (``.txt``, or the first column
    of a ``.csv``; paths relative to the list), archives (zip, tar, tar.gz), addresses (http, https), URLs of all these
    in stores that fsspec knows (``s3://bucket/photos/``), and ``-``, standard input: an image, or a list of paths. Folders and
    patterns are sorted, all others keep their order.

    In a folder, hidden files and folders are passed over, archives with a note, and predictions: what is in ``out``, and masks
    and overlays that vocseg wrote elsewhere. A pattern finds what a shell would pass for it. A file, member or address that
    is named several times is one image; a link to a file is another. ``skipped`` gets what cannot be read in folders, patterns,
    lists and archives. Raises InputError for a path that does not exist, a pattern that matches nothing, or sources without
    images.
    """
    given: Sequence[Any] = [sources] if isinstance(sources, str | Path | Item) else list(sources)
    if not given:
        raise InputError("no images to segment; name files, folders or patterns")
    skipped = {} if skipped is None else skipped
    found = list[Item]()
    for source in given:
        found += [source] if isinstance(source, Item) else _find(source, out, skipped)
    if not found:
        raise InputError(str(next(iter(skipped.values()), f"no images in {', '.join(map(str, given))}")))
    return with_folders(_once(found, {id(source) for source in given if isinstance(source, Item)}))


def _once(found: list[Item], own: set[int]) -> list[Item]:
    """Leave out images that are named again: of one path, links to folders resolved, and one member, or of one address.

    ``own``: identities of items of a source of one's own, which may be anything.
    """
    folder = cache(Path.resolve)
    seen: dict[Any, Item] = {}
    for item in found:
        place: Any = (folder(item.path.parent) / item.path.name, item.member)
        if isinstance(item.read, partial):
            place = item.read.args[0]  # the address, whose label may not tell all of it
        elif isinstance(item.key, str):
            place = item.key
        seen.setdefault(id(item) if id(item) in own else place, item)
    if again := len(found) - len(seen):
        log.info("%s passed over: an image that is named several times is segmented once", counted(again, "repeat"))
    return list(seen.values())


def _find(source: str | Path, out: Path | None, skipped: Skipped, base: Path | str | None = None) -> list[Item]:
    """Find the images of one source; ``base``: the folder of the list that names it, or its URL."""
    text = str(source)
    if not text.strip():  # an unset variable of a shell; Path("") is the current folder
        raise InputError("an empty path names no image; name files, folders or patterns")
    if is_url(text):
        return [_address(text)]
    if is_remote(source) and not text.lower().startswith(LIVE):
        return _remote(text, out, skipped, base is not None)
    if text in STDIN and base is None:
        return _standard_input(out, skipped)
    if text.lower().startswith(LIVE) or _is_camera(text):
        return [Item(Path(safe_name(text)), Path(safe_name(text).name), label=text, is_video=True)]
    if isinstance(base, str) and not Path(source).is_absolute():
        return _remote(join(base, text), out, skipped, True)
    path = base / source if isinstance(base, Path) else Path(source)
    if path.is_dir():
        return _folder(path, out, skipped)
    if path.exists() and not path.is_file():
        raise InputError(f"{path} is neither a file nor a folder")
    if path.is_file() and path.suffix.lower() in VIDEO_SUFFIXES:
        return [Item(path, Path(path.name), is_video=True)]
    if path.is_file() and is_archive(path):
        return archive_items(path, skipped)
    if path.is_file() and base is None and path.suffix.lower() in LIST_SUFFIXES:
        return list_items(path, path.parent, f"list {path}", out, skipped)
    if path.is_file():
        return [Item(path, Path(path.name))]
    if glob.has_magic(str(path)):
        return _matching(path, out, skipped, base)
    raise InputError(f"no image or folder {path}")


def _matching(pattern: Path, out: Path | None, skipped: Skipped, base: Path | str | None) -> list[Item]:
    """Find the images of what a pattern matches, as a shell would name it, except predictions and, of ``**``, folders.

    Lists are passed over unless the pattern ends as they do: labels lie beside images, too.
    """
    matched = list(map(Path, sorted(matches(pattern))))
    found, passed, written = list[Item](), list[Path](), 0
    for path in matched:
        if path.is_dir() and "**" in pattern.parts:
            continue
        if path.is_file() and is_prediction(path):
            written += 1
            continue
        if path.suffix.lower() in LIST_SUFFIXES and pattern.suffix.lower() not in LIST_SUFFIXES:
            passed.append(path)
            continue
        try:
            found += _find(path.absolute() if base else path, out, skipped, base)
        except InputError as error:
            skipped[path] = DataError(str(error))
    log_passed(f"pattern {pattern}", passed, "list", "name lists to read them")
    if not found:
        what = "only masks or overlays that vocseg wrote" if written else "no images" if matched else "nothing"
        raise InputError(f"the pattern {pattern} matches {what}")
    return found


def _remote(url: str, out: Path | None, skipped: Skipped, in_list: bool) -> list[Item]:
    from vocseg.inference.remote_sources import find_remote  # it imports this module

    return find_remote(url, out, skipped, in_list)


def _is_camera(text: str) -> bool:
    return (text.isdigit() and not Path(text).exists()) or text.startswith("/dev/video")


def _folder(path: Path, out: Path | None, skipped: Skipped) -> list[Item]:
    before, written = len(skipped), 0
    inside, passed = [], list[Path]()
    for file in sorted(image_files(path, out, skipped, passed)):
        if is_prediction(file):
            written += 1
        else:
            inside.append(Item(file, file.relative_to(path), is_video=is_video(file)))
    log_passed(f"folder {path}", passed, "archive", "name archives to read them")
    if not inside:
        if len(skipped) > before:
            raise InputError(f"folder {path} holds no images that can be read: {list(skipped.values())[before]}")
        only = f" except {counted(written, 'mask')} or overlays that vocseg wrote" if written else ""
        raise InputError(f"folder {path} holds no images{only} ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return inside


def log_passed(where: str, passed: Sequence[Path | str], kind: str, advice: str) -> None:
    if passed:
        log.info("%s: %s passed over (%s, ...); %s", where, counted(len(passed), kind), passed[0], advice)


def archive_items(path: Path, skipped: Skipped) -> list[Item]:
    """Find the images in an archive, which may stand in for one at a URL; errors go to ``skipped``."""
    found, passed, named = [], list[Path | str](), published(path)
    before = len(skipped)
    try:
        for member in members(path):
            key = named / member.name if isinstance(named, Path) else f"{named}/{member.name.as_posix()}"
            if any(map(is_hidden, member.name.parts)):
                continue
            if is_video(member.name) or is_archive(member.name):
                passed.append(key)
            elif not is_image(member.name, key, skipped):
                continue
            elif member.fault:
                skipped[key] = DataError(f"cannot read {key}: {member.fault}")
            else:
                found.append(Item(path, member.name, member=member.position, label=key))
    except DataError as error:
        skipped[named] = error
        if found and isinstance(next(contents(path, [found[-1].member or 0])), DataError):
            found.pop()  # the archive is cut off in it
    log_passed(f"archive {named}", passed, "file", "unpack the archive to read videos and archives in it")
    if not found and len(skipped) == before:
        skipped[named] = DataError(f"archive {named} holds no images ({', '.join(sorted(IMAGE_SUFFIXES))})")
    return found


def _address(url: str) -> Item:
    parsed = urlparse(url)
    name = safe_name(unquote(parsed.path)).name or "image"
    if Path(name).suffix.lower() in (*VIDEO_SUFFIXES, *LIST_SUFFIXES) or is_archive(Path(name)):
        raise InputError(f"cannot read {shown(url)}: of http addresses, only images are read; download it and name the file")
    return Item(Path(safe_name(parsed.netloc), name), Path(name), partial(download_bytes, url), label=shown(url))


def _lines(path: Path) -> list[str]:
    """Return the entries of a list: lines, or the first column of a table, without its header."""
    lines = read_lines(path, "list")
    if path.suffix.lower() != ".csv":
        return lines
    rows = [row[0] for row in csv.reader(lines) if row]
    return rows[1:] if rows and rows[0].strip().lower() in HEADERS else rows


def list_items(file: Path, base: Path | str, what: str, out: Path | None, skipped: Skipped) -> list[Item]:
    """Find the images that a list names, whose paths are relative to ``base``, a folder or a URL; errors go to ``skipped``."""
    return _listed(_lines(file), base, what, out, skipped)


def _listed(lines: Iterable[str], base: Path | str, what: str, out: Path | None, skipped: Skipped) -> list[Item]:
    """Find the images that lines name; what cannot be found goes to ``skipped``, as one error if nothing is."""
    found: list[Item] = []
    lost: Skipped = {}
    for line in filter(None, map(str.strip, lines)):
        if line.startswith("#") and not (isinstance(base, Path) and (base / line).exists()):
            continue  # a comment
        try:
            found += _find(line, out, lost, base)
        except (InputError, OSError, ValueError) as error:
            lost[shown(line) if "://" in line else Path(line)] = DataError(f"{what}: {reason(error)}")
    if not found:
        first = f": {next(iter(lost.values()))}" if lost else ""
        lost = {Path(what): DataError(f"{what} names no image that can be read{first}")}
    skipped |= lost
    return found


def _standard_input(out: Path | None, skipped: Skipped) -> list[Item]:
    content = sys.stdin.buffer.read(STDIN_LIMIT + 1)
    if not content.strip() or len(content) > STDIN_LIMIT:
        raise InputError(
            f"standard input {'has more than 1 GB' if content.strip() else 'is empty'}; pass an image or a list of paths"
        )
    try:
        text = None if b"\0" in content else content.decode()
    except UnicodeDecodeError:
        text = None
    if text is not None:
        return _listed(text.splitlines(), Path(), STDIN_LABEL, out, skipped)
    return [Item(Path("stdin"), Path("stdin"), lambda: content, label=STDIN_LABEL)]
