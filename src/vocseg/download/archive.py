"""Unpack tar archives that may be hostile: no path outside the folder, no links, no devices."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from vocseg.errors import DataError, reason
from vocseg.utils.files import cannot_write
from vocseg.utils.progress import bar

MAX_DEPTH = 32
"""Folders within each other; VOC's and SBD's archives have four."""


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a tar archive (compressed or not) into the new folder ``folder``.

    Files get the user's default permissions and owner. Raises DataError, naming the member, if one is not a plain file
    or folder or would land outside ``folder``, and if the archive is damaged; OutputError if a file cannot be written.
    What was written before the error stays: callers unpack into a temporary folder and delete it.
    """
    with open_tar(archive) as members, bar(total=archive.stat().st_size, desc="unpack", unit="B", unit_scale=True) as shown:
        for member, content in members:
            target = folder / member.name
            try:
                (target.parent if content else target).mkdir(parents=True, exist_ok=True)
                if content:
                    with content, open(target, "wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
            except OSError as error:
                raise cannot_write(target, error) from error
            shown.update(member.size)


@contextmanager
def open_tar(archive: Path) -> Iterator[Iterator[tuple[tarfile.TarInfo, IO[bytes] | None]]]:
    """Read a tar archive as a stream: its members, and the content of those that are files.

    Raises DataError if the archive cannot be opened or, inside the block, read, and at the first member that VOC's and
    SBD's archives would not hold. Stricter than tarfile's own ``data_filter``, which strips leading slashes and accepts
    sparse files and inner links.
    """
    try:
        with tarfile.open(archive, "r|*") as tar:
            yield ((member, tar.extractfile(member)) for member in tar if _is_trusted(member, archive))
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, ArithmeticError, RecursionError) as error:
        raise DataError(f"archive {archive} is damaged: {error}; delete it and download it again") from error
    except OSError as error:
        raise DataError(f"cannot read archive {archive}: {reason(error)}") from error


def _is_trusted(member: tarfile.TarInfo, archive: Path) -> bool:
    """Return True, or raise DataError for an unsafe member."""
    name, parts = member.name, PurePosixPath(member.name).parts
    faults = {
        "is a link": member.issym() or member.islnk(),
        "is neither a file nor a folder": not (member.isreg() or member.isdir()),
        "is a sparse file": member.issparse(),
        "lies outside the folder": name.startswith("/") or "\\" in name or PureWindowsPath(name).drive or ".." in parts,
        "is a file without a name": member.isreg() and not parts,
        "is nested too deeply": len(parts) > MAX_DEPTH,
        "has a name that no file can have": "\0" in name or any(len(part.encode(errors="replace")) > 255 for part in parts),
    }
    if fault := next((fault for fault, found in faults.items() if found), None):
        raise DataError(f"archive {archive} is not trusted: '{name[:80]}' {fault}")
    return True
