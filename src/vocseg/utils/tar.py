"""Tar archives: read one of unknown origin member by member in bounded memory, and write one whose bytes are always the same.

Nothing is unpacked. Python's ``tarfile`` keeps every member in memory, and headers of any length.
"""

from __future__ import annotations

import gzip
import io
import re
import stat
import tarfile
import zlib
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from vocseg.errors import DataError, reason
from vocseg.utils.files import MARK
from vocseg.utils.stand_ins import open_file

BLOCK = 512
HEADER_LIMIT, TOTAL_LIMIT = 1 << 16, 4 << 30
"""Most bytes of an extended header, and of a whole archive when it is decompressed."""
MAGIC = {b"PK\x03\x04": "zip", b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"7z\xbc\xaf": "7z", b"Rar!": "RAR", b"\x28\xb5\x2f\xfd": "zstd"}
"""How files of other archivers begin."""


class NotTar(DataError):
    """A file is no tar archive, plain or compressed by gzip."""


class DamagedTar(DataError):
    """A tar archive ends too early, or cannot be read to its end."""


class Member:
    """A member of an archive: its ``name``, whether it is a regular ``file`` or a ``folder``, and its ``size`` in bytes.

    :meth:`read` works until the next member is asked for.
    """

    def __init__(self, name: str, kind: bytes, size: int, source: _Source) -> None:
        self.name, self.size, self._source, self._left = name, size, source, size
        self.is_file = kind in (b"0", b"\0", b"7") and not name.endswith("/")
        self.is_folder = kind == b"5" or (kind in (b"0", b"\0") and name.endswith("/"))

    def read(self) -> bytes:
        """Return the content; check ``size`` first."""
        content, self._left = self._source.exactly(self._left), 0
        return content

    def skip(self) -> None:
        """Pass over the rest of the content, and the padding after it."""
        self._source.discard(self._left + -self.size % BLOCK)


class _Source:
    """Reads whole numbers of bytes; DamagedTar if the file ends before, or is longer than ``limit``."""

    def __init__(self, file: IO[bytes], limit: int) -> None:
        self._file, self._total, self._limit = file, 0, limit

    def some(self, count: int) -> bytes:
        """Return up to ``count`` bytes, none at the end."""
        try:
            content = self._file.read(count)
        except EOFError as error:
            raise DamagedTar("it is cut off") from error
        except (OSError, zlib.error) as error:  # gzip's checksum too
            raise DamagedTar(f"it is damaged: {reason(error)}") from error
        self._total += len(content)
        if self._total > self._limit:
            raise DamagedTar(f"it holds more than {self._limit >> 30} GB")
        return content

    def exactly(self, count: int) -> bytes:
        parts = []
        while count:
            parts.append(self.some(min(count, 1 << 20)))
            if not parts[-1]:
                raise DamagedTar("it is cut off")
            count -= len(parts[-1])
        return b"".join(parts)

    def discard(self, count: int) -> None:
        while count:
            count -= len(self.exactly(min(count, 1 << 20)))


def members(path: Path, limit: int | None = None) -> Generator[Member]:
    """Yield the members of a tar archive, plain or compressed by gzip, in their order.

    ``limit``: of bytes, decompressed; by default TOTAL_LIMIT, a hundred times what VOC's masks take. Raises NotTar for any
    other file, DamagedTar for an archive that does not end as it should.
    """
    with _opened(path) as file:
        source = _Source(file, TOTAL_LIMIT if limit is None else limit)
        extended: dict[str, str] = {}
        first = True
        while any(header := _first_header(source) if first else source.exactly(BLOCK)):
            kind, size = header[156:157], _number(header[124:136])
            if size is None or not _has_checksum(header) or kind == b"S":
                raise NotTar("it is not a tar archive") if first else DamagedTar("it is damaged: a header is wrong")
            first = False
            if kind in b"xgLK":
                if size > HEADER_LIMIT:
                    raise DamagedTar(f"it is damaged: an extended header of {size} bytes")
                content = source.exactly(size)
                source.discard(-size % BLOCK)
                extended |= {"path": _text(content)} if kind == b"L" else _records(content) if kind == b"x" else {}
                continue
            name = extended.get("path") or _name(header)
            declared = extended.get("size", "")
            member = Member(name, kind, int(declared) if re.fullmatch(r"[0-9]{1,20}", declared) else size, source)
            extended = {}
            yield member
            member.skip()
        while source.some(1 << 20):  # gzip's checksum is at the end
            pass


@contextmanager
def _opened(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.exists() and not stat.S_ISREG(path.stat().st_mode):
            raise NotTar("it is not a regular file")
        file = open_file(path)
    except OSError as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    with file:
        head = file.read(8)
        file.seek(0)
        other = next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)
        if other:
            raise NotTar(f"it is a {other} file")
        yield gzip.GzipFile(fileobj=file) if head.startswith(b"\x1f\x8b") else file  # type: ignore[misc]


def _first_header(source: _Source) -> bytes:
    try:
        return source.exactly(BLOCK)
    except DamagedTar as error:
        raise NotTar("it is not a tar archive") from error


def _number(field: bytes) -> int | None:
    """Parse a size: octal digits, or GNU's binary form; None for anything else."""
    if field[:1] == b"\x80":
        return int.from_bytes(field[1:], "big")
    text = field.strip(b" \0")
    return int(text, 8) if text and not text.strip(b"01234567") else 0 if not text else None


def _has_checksum(header: bytes) -> bool:
    return _number(header[148:156]) == sum(header[:148]) + 8 * ord(" ") + sum(header[156:])


def _name(header: bytes) -> str:
    name, prefix = _text(header[:100]), _text(header[345:500]) if header[257:263] == b"ustar\0" else ""
    return f"{prefix}/{name}" if prefix else name


def _text(content: bytes) -> str:
    return content.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")


def _records(content: bytes) -> dict[str, str]:
    """Parse POSIX's extended header: lines "length key=value"; DamagedTar for anything else."""
    found = {}
    while content:
        length, _, _ = content.partition(b" ")
        if not re.fullmatch(rb"[0-9]{1,6}", length) or not len(length) + 3 <= int(length) <= len(content):
            raise DamagedTar("it is damaged: an extended header is wrong")
        key, _, value = content[len(length) + 1 : int(length) - 1].partition(b"=")
        found[_text(key)] = _text(value)
        content = content[int(length) :]
    return found


def write_tar_gz(file: IO[bytes], entries: Iterable[tuple[str, bytes]]) -> None:
    """Write a gzip-compressed tar archive of files, name and content, one after another.

    Equal entries give equal bytes: no times, no owners.
    """
    named = gzip.GzipFile(f"{MARK.decode()}.tar", "wb", compresslevel=6, fileobj=file, mtime=0)
    with named as packed, tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, content in entries:
            add_file(archive, name, content)


def add_file(archive: tarfile.TarFile, name: str, content: bytes) -> int:
    """Append a file without time and owner; return the offset of its content."""
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(content), 0o644
    archive.addfile(entry, io.BytesIO(content))
    return archive.offset - len(content) - -len(content) % BLOCK
