"""Unpack tar archives that may be hostile: no path outside the folder, no links, no devices."""

from __future__ import annotations

import lzma
import shutil
import tarfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath

from vocseg.errors import DataError, reason
from vocseg.utils.files import cannot_write
from vocseg.utils.progress import bar


def unpack(archive: Path, folder: Path) -> None:
    """Unpack the files of a tar archive (compressed or not) into the new folder ``folder``.

    Files get the user's default permissions and owner. Raises DataError, naming the member, if one is not a plain file
    or folder or would land outside ``folder``, and if the archive is damaged; OutputError if a file cannot be written.
    What was written before the error stays: callers unpack into a temporary folder and delete it.
    """
    with open_tar(archive) as tar, bar(total=archive.stat().st_size, desc="unpack", unit="B", unit_scale=True) as shown:
        for member in trusted_members(tar, archive):
            target = folder / member.name
            try:
                (target if member.isdir() else target.parent).mkdir(parents=True, exist_ok=True)
                if content := tar.extractfile(member):
                    with content, open(target, "wb") as file:
                        shutil.copyfileobj(content, file, 1 << 20)
            except OSError as error:
                raise cannot_write(target, error) from error
            shown.update(member.size)


@contextmanager
def open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar archive as a stream; raises DataError if it cannot be opened or, inside the block, read."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"archive {archive} is damaged: {error}; delete it and download it again") from error
    except OSError as error:
        raise DataError(f"cannot read archive {archive}: {reason(error)}") from error


def trusted_members(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """Yield the members of ``tar``; raises DataError at the first that VOC's and SBD's archives would not hold.

    Stricter than tarfile's own ``data_filter``, which strips leading slashes and accepts sparse files and inner links.
    """
    for member in tar:
        if fault := _fault(member):
            raise DataError(f"archive {archive} is not trusted: '{member.name}' {fault}")
        yield member


def _fault(member: tarfile.TarInfo) -> str:
    """Say what makes a member unsafe; empty if nothing does."""
    name = member.name
    if member.issym() or member.islnk():
        return "is a link"
    if not (member.isreg() or member.isdir()):
        return "is neither a file nor a folder"
    if member.issparse():
        return "is a sparse file"
    if name.startswith("/") or "\\" in name or PureWindowsPath(name).drive or ".." in PurePosixPath(name).parts:
        return "lies outside the folder"
    if member.isreg() and not PurePosixPath(name).parts:
        return "is a file without a name"
    return ""
