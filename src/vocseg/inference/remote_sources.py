"""Images and videos at URLs of object stores and other remote file systems. Their contents are fetched when they are read."""

from __future__ import annotations

import os
import re
from functools import cache, partial
from pathlib import Path, PurePosixPath

from vocseg.errors import DataError, InputError, OutputError, shown
from vocseg.inference.archives import is_archive, safe_name
from vocseg.inference.folders import VIDEO_SUFFIXES, Skipped, is_hidden, is_image, is_video
from vocseg.inference.sources import Item, archive_items, list_items, log_passed
from vocseg.utils import remote
from vocseg.utils.files import MARK
from vocseg.utils.staging import staging_of
from vocseg.utils.stand_ins import fetched, stand_in
from vocseg.utils.urls import join, parent, path_of
from vocseg.voc import IMAGE_SUFFIXES

MAGIC = re.compile(r"[*?\[]")


def find_remote(url: str, out: Path | None, skipped: Skipped, in_list: bool) -> list[Item]:
    """Find the images at a URL: a file, a folder, a pattern, a list or an archive.

    What has the suffix of an image is taken for one, without a request; names in an archive are listed, and a tar file is read
    for that. Raises InputError for a URL without images.
    """
    remote.check(url)
    path = path_of(url)
    suffix = path.suffix.lower()
    is_pattern = MAGIC.search(str(path)) is not None
    if suffix in VIDEO_SUFFIXES and not is_pattern:
        return [_video(stand_in(parent(url)) / path.name, Path(path.name))]
    if not is_pattern and suffix in IMAGE_SUFFIXES and not url.endswith("/"):
        return [_item(url)]
    if is_archive(Path(path.name)) and not is_pattern:
        return archive_items(stand_in(url), skipped)
    if suffix in (".txt", ".csv") and not in_list and not is_pattern:
        return list_items(fetched(url), parent(url), f"list {shown(url)}", out, skipped)
    kind = "folder" if url.endswith("/") else remote.kind_of(url)
    if kind == "file":
        return [_item(url)]
    if kind == "folder":
        return _folder(url, out, skipped)
    found = [item for match in (remote.matches(url) if is_pattern else ()) for item in _match(match)]
    if not found:
        raise InputError(f"no image or folder {url}")
    return found


def _item(url: str, relative: Path | None = None, *, is_search: bool = False) -> Item:
    path = safe_name(str(path_of(url)))
    return Item(path, relative or Path(path.name or "image"), partial(_read, url, is_search), label=shown(url))


def _video(path: Path, relative: Path) -> Item:
    return Item(path, relative, label=shown(path), is_video=True)


def _match(url: str) -> list[Item]:
    name = Path(path_of(url).name)
    if not is_video(name):
        return [_item(url, is_search=True)]
    return [] if _is_overlay(url) else [_video(stand_in(parent(url)) / name, name)]


def _is_overlay(url: str) -> bool:
    """Tell whether a video has the note of those that vocseg writes, at its end."""
    with remote.RemoteFile(url) as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 4096))
        return MARK in file.read()


def _read(url: str, is_search: bool) -> bytes:
    content = remote.read_bytes(url)
    if is_search and MARK in content[:4096]:  # no request of its own, as while the folder is listed
        raise DataError(f"image {url} is a mask or an overlay that vocseg wrote; name it to segment it")
    return content


def _folder(url: str, out: Path | None, skipped: Skipped) -> list[Item]:
    before, excluded = len(skipped), _excluded(url, out)
    inside, archives, top = [], list[str](), cache(stand_in)
    if not (names := [found.name for found in remote.find(url)]):
        raise InputError(f"no files in {url}: there is no such folder or bucket, or it is empty")
    for name in names:
        parts = PurePosixPath(name).parts
        if any(map(is_hidden, parts)) or ".." in parts or (excluded is not None and parts[: len(excluded)] == excluded):
            continue
        path, file = safe_name(name), join(url, name)
        if is_archive(path):
            archives.append(shown(file))
        elif is_video(path):
            inside += [] if _is_overlay(file) else [_video(top(url) / name, path)]
        elif is_image(path, shown(file), skipped):
            inside.append(_item(file, path, is_search=True))
    log_passed(f"folder {shown(url)}", archives, "archive", "name archives to read them")
    if not inside:
        first = f": {list(skipped.values())[before]}" if len(skipped) > before else f" ({', '.join(sorted(IMAGE_SUFFIXES))})"
        raise InputError(f"folder {url} holds no images that can be read{first}")
    return inside


def _excluded(url: str, out: Path | None) -> tuple[str, ...] | None:
    """Return where the outputs are below a URL that is searched; OutputError if they are that folder."""
    staging = None if out is None else staging_of(out)
    if staging is None:
        return None
    top, target = (text.rstrip("/").removesuffix(":") for text in (url, staging.url))
    if top == target:
        raise OutputError(f"the folder {url} of the images cannot be that of their masks too; choose another for these")
    return PurePosixPath(target[len(top) + 1 :]).parts if target.startswith(f"{top}/") else None
