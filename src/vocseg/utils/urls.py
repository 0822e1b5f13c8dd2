"""URLs of files, as fsspec takes them: ``s3://bucket/a.jpg``, or chained, ``zip://a.jpg::s3://bucket/b.zip``."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath

from vocseg.errors import DataError, InputError, shown

URL = re.compile(r"(?:[a-z][a-z0-9+.-]+::)*[a-z][a-z0-9+.-]+://", re.IGNORECASE)
LOST_SLASH = re.compile(r"(?:s3a?|gc?s|hf|az|abfss?|memory|zip|https?|ftp):/[^/]")
"""How a path looks that was a URL."""


def is_remote(value: object) -> bool:
    """Tell whether a value is a URL of any scheme.

    Raises InputError for a path that was a URL: it has lost a slash.

    >>> is_remote("s3://bucket/a.jpg"), is_remote("a:b"), is_remote("C:/a.jpg"), is_remote("zip://a.jpg::gs://bucket/b.zip")
    (True, False, False, True)
    """
    if isinstance(value, Path) and was_url(value):
        raise InputError(f"pass the URL {value.as_posix()} as a string: a path loses a slash")
    return isinstance(value, str) and URL.match(value) is not None


def was_url(path: Path) -> bool:
    """Tell whether a path was a URL of a known scheme, and no folder has its name.

    >>> was_url(Path("s3://bucket/masks")), was_url(Path("a:b"))
    (True, False)
    """
    return LOST_SLASH.match(path.as_posix()) is not None and not Path(path.parts[0]).exists()


def refuse_url(path: Path, done: str) -> None:
    """Raise DataError for a path that was a URL; ``done``: what is not done with these."""
    if was_url(path):
        raise DataError(f"{path.as_posix()} is a URL, which is not {done}; copy it to a disk first")


def path_or_url(value: str | Path) -> str | Path:
    """Return a URL as it is, anything else as a path.

    >>> path_or_url("s3://bucket/a.jpg"), path_or_url("a.jpg").name
    ('s3://bucket/a.jpg', 'a.jpg')
    """
    return value if is_remote(value) else Path(value)


def below(folder: str | Path, name: str) -> str | Path:
    """Return the path or URL of a file in a folder."""
    return join(str(folder), name) if is_remote(folder) else Path(folder) / name


def join(url: str, name: str) -> str:
    """Return the URL of a file below another.

    >>> join("s3://bucket/photos/", "a.jpg"), join("zip://photos::s3://bucket/b.zip", "a.jpg")
    ('s3://bucket/photos/a.jpg', 'zip://photos/a.jpg::s3://bucket/b.zip')
    """
    parts = url.split("::")
    place = next(number for number, part in enumerate(parts) if "://" in part)
    head = parts[place]
    parts[place] = head + name if head.endswith("/") else f"{head}/{name}"
    return "::".join(parts)


def parent(url: str) -> str:
    """Return the URL of the folder of a file.

    >>> parent("s3://bucket/photos/a.jpg"), parent("memory://a.jpg")
    ('s3://bucket/photos/', 'memory://')
    """
    parts = url.split("::")
    place = next(number for number, part in enumerate(parts) if "://" in part)
    scheme, _, path = parts[place].partition("://")
    above, slash, _ = path.rpartition("/")
    parts[place] = f"{scheme}://{above}{slash}"
    return "::".join(parts)


def path_of(url: str) -> PurePosixPath:
    """Return the path of a URL, with the host or bucket.

    >>> str(path_of("s3://bucket/photos/")), str(path_of("zip://a.jpg::s3://bucket/b.zip"))
    ('bucket/photos', 'a.jpg')
    """
    scheme, _, path = next(part for part in url.split("::") if "://" in part).partition("://")
    if scheme.lower() in ("http", "https"):
        path = path.partition("?")[0]
    return PurePosixPath(shown(f"{scheme}://{path}").partition("://")[2].lstrip("/"))
