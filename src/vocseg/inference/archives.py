"""Images in zip and tar archives: listed first, then read in their order. Nothing is unpacked to the disk."""

from __future__ import annotations

import re
import stat
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing
from pathlib import Path
from typing import NamedTuple

from vocseg.errors import DataError, reason
from vocseg.utils import tar
from vocseg.utils.stand_ins import open_file

SUFFIXES = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz", ".7z", ".rar")
"""Of archives; those that are not read are refused by name."""
MEMBER_LIMIT = 512 << 20
"""Most bytes of a member, decompressed."""
TOTAL_LIMIT = 1 << 40
"""Most bytes of a tar archive, decompressed."""


class Member(NamedTuple):
    """A file in an archive: its position, its name made safe, and what is wrong with it, if anything."""

    position: int
    name: Path
    fault: str = ""


def is_archive(path: Path) -> bool:
    """Tell by the suffix whether a file is an archive."""
    return path.name.lower().endswith(SUFFIXES)


def safe_name(name: str) -> Path:
    """Return a member's name as a path that stays below the folder it is written to, on any system.

    >>> safe_name("../../etc/a:b.jpg").as_posix(), safe_name("C:\\\\photos\\\\a.jpg").as_posix()
    ('etc/a_b.jpg', 'C_/photos/a.jpg')
    """
    parts = (re.sub(r'[\x00-\x1f\x7f<>:"|?*]', "_", part) for part in re.split(r"[/\\]", name))
    return Path(*(part for part in parts if part.strip(" .")))


def members(path: Path) -> Iterator[Member]:
    """List the files of an archive; raises DataError, perhaps after some of them, if it is damaged or of another kind."""
    try:
        if path.suffix.lower() == ".zip":
            with open_file(path) as file, zipfile.ZipFile(file) as archive:
                for position, info in enumerate(archive.infolist()):
                    if not info.is_dir():
                        yield Member(position, safe_name(info.filename), _zip_fault(info))
            return
        for position, member in enumerate(tar.members(path, TOTAL_LIMIT)):
            if not member.is_folder:
                yield Member(position, safe_name(member.name), _fault(member.is_file, member.size))
    except tar.NotTar as error:
        raise DataError(f"cannot read archive {path}: {error}; zip, tar and tar.gz are read") from error
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError, tar.DamagedTar) as error:
        raise DataError(f"cannot read archive {path}: {reason(error)}") from error


def contents(path: Path, positions: Sequence[int]) -> Iterator[bytes | DataError]:
    """Yield the contents of the members at ``positions``, which ascend, or why one cannot be read; only one is in memory."""
    if path.suffix.lower() == ".zip":
        yield from _zip_contents(path, positions)
        return
    wanted = iter(positions)
    following = next(wanted, None)
    try:
        with closing(tar.members(path, TOTAL_LIMIT)) as found:
            for position, member in enumerate(found):
                if following is None:
                    return
                if position == following:
                    yield member.read()
                    following = next(wanted, None)
    except DataError as error:
        failure = DataError(f"cannot read archive {path}: {error}")
        yield from ([] if following is None else [failure] * (1 + len(list(wanted))))


def _zip_contents(path: Path, positions: Sequence[int]) -> Iterator[bytes | DataError]:
    with ExitStack() as files:
        try:
            archive = files.enter_context(zipfile.ZipFile(files.enter_context(open_file(path))))
        except (OSError, ValueError, zipfile.BadZipFile, DataError) as error:
            yield from [DataError(f"cannot read archive {path}: {reason(error)}")] * len(positions)
            return
        rows = archive.infolist()
        for position in positions:
            try:
                with archive.open(rows[position]) as file:
                    yield file.read(MEMBER_LIMIT)  # never more than the size that the member states
            except Exception as error:  # damaged members raise all kinds of errors
                yield DataError(f"cannot read {path / safe_name(rows[position].filename)}: {reason(error)}")


def _zip_fault(info: zipfile.ZipInfo) -> str:
    if info.flag_bits & 1:
        return "it is encrypted"
    kind = stat.S_IFMT(info.external_attr >> 16)
    return _fault(kind in (0, stat.S_IFREG), info.file_size)


def _fault(is_file: bool, size: int) -> str:
    if not is_file:
        return "it is a link or a device"
    return f"it has {size:,} bytes, more than {MEMBER_LIMIT:,}" if size > MEMBER_LIMIT else ""
