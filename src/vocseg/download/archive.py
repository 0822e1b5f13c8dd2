"""Archives opened with distrust: nothing outside the folder, no links, no devices."""

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

    Files get the user's own default rights and owner. Raises DataError, naming the member, for one that is no plain file or
    folder or would lie outside ``folder``, and where the archive is damaged; OutputError where the disk will not take it.
    What was written until then stays: the caller unpacks aside and throws it away.
    """
    with open_tar(archive) as tar, bar(total=archive.stat().st_size, desc="unpack", unit="B", unit_scale=True) as shown:
        for member in checked(tar, archive):
            target = folder.joinpath(*PurePosixPath(member.name).parts)
            with _writing(target):
                if member.isdir():
                    target.mkdir(parents=True, exist_ok=True)
                    continue
                target.parent.mkdir(parents=True, exist_ok=True)
                file = open(target, "wb")  # noqa: SIM115
            content = tar.extractfile(member)
            assert content is not None
            with content, _writing(target), file:
                shutil.copyfileobj(content, file, 1 << 20)
            shown.update(member.size)


@contextmanager
def open_tar(archive: Path) -> Iterator[tarfile.TarFile]:
    """A tar archive to be read from start to end; DataError where it cannot be opened or, inside the block, read on."""
    try:
        with tarfile.open(archive, "r|*") as tar:
            yield tar
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError) as error:
        raise DataError(f"archive {archive} is damaged: {error}") from error
    except OSError as error:
        raise DataError(f"cannot read archive {archive}: {reason(error)}") from error


def checked(tar: tarfile.TarFile, archive: Path) -> Iterator[tarfile.TarInfo]:
    """The members of ``tar`` in order; DataError at the first that is not to be trusted."""
    for member in tar:
        kind = _fault(member)
        if kind:
            raise DataError(f"archive {archive} is not to be trusted: '{member.name}' {kind}")
        yield member


def _fault(member: tarfile.TarInfo) -> str:
    """What is wrong with a member, or an empty string."""
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


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise cannot_write(path, error) from error
