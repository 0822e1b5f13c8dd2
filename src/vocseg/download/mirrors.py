"""The archives of VOC and SBD: names, sizes, checksums, and where to download them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from vocseg import voc
from vocseg.errors import InputError

MIRRORS_VARIABLE = "VOCSEG_MIRRORS"


@dataclass(frozen=True)
class Archive:
    """A published archive: ``size`` in bytes, None if uncertain; ``growth`` is its content's size over its own."""

    name: str
    md5: str
    urls: tuple[str, ...]
    size: int | None = None
    growth: float = 1.1


def _voc(year: str, name: str, md5: str, *others: str, size: int | None = None) -> Archive:
    # thor is the permanent address (its administrator in pytorch/vision#9216); host is the old one and redirects.
    official = [f"{top}/pascal/VOC/voc{year}/{name}" for top in ("https://thor.robots.ox.ac.uk", "http://host.robots.ox.ac.uk")]
    return Archive(name, md5, (*official, *others), size)


# Checksums: torchvision's datasets/voc.py and datasets/sbd.py.
VOC_ARCHIVES = {
    "2007": _voc(
        "2007",
        "VOCtrainval_06-Nov-2007.tar",
        "c52e279531787c972589f7e41ab4ae64",
        "https://data.pjreddie.com/files/VOCtrainval_06-Nov-2007.tar",
        size=460_032_000,
    ),
    "2008": _voc("2008", "VOCtrainval_14-Jul-2008.tar", "2629fa636546599198acfcfbfcf1904a"),
    "2009": _voc("2009", "VOCtrainval_11-May-2009.tar", "a3e00b113cfcfebf17e343f59da3caa1"),
    "2010": _voc("2010", "VOCtrainval_03-May-2010.tar", "da459979d0c395079b5c75ee67908abb"),
    "2011": _voc("2011", "VOCtrainval_25-May-2011.tar", "6c3384ef61512963050cb5d687e5bf1e"),
    "2012": _voc(
        "2012",
        "VOCtrainval_11-May-2012.tar",
        "6cd6e144f989b92b3379bac3b3de84fd",
        "https://data.pjreddie.com/files/VOCtrainval_11-May-2012.tar",
        "https://dataset.bj.bcebos.com/voc/VOCtrainval_11-May-2012.tar",
        "https://d2l-data.s3-accelerate.amazonaws.com/VOCtrainval_11-May-2012.tar",
        size=1_999_639_040,
    ),
}
assert tuple(VOC_ARCHIVES) == voc.YEARS

OFFICIAL = {
    year: {"train": train, "val": val}
    for year, train, val in (
        ("2007", 209, 213),
        ("2008", 511, 512),
        ("2009", 749, 750),
        ("2010", 964, 964),
        ("2011", 1112, 1111),
        ("2012", 1464, 1449),
    )
}
"""Images in the segmentation lists of each year.

From Everingham et al., "The Pascal VOC challenge: a retrospective", 2015, and each year's "Database statistics".
"""

SBD = Archive(
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
    (
        "https://www2.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
        "http://www.eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz",
    ),
    size=1_419_539_633,
    growth=0.1,  # only its masks are written, as PNG
)
"""The Semantic Boundaries Dataset (Hariharan et al., "Semantic contours from inverse detectors", ICCV 2011)."""


def user_mirrors(given: Sequence[str] = ()) -> list[str]:
    """Return the ``given`` mirrors, then those of ``VOCSEG_MIRRORS`` (separated by commas or white space).

    Raises InputError for one that is neither an http, https or file URL nor an existing path.
    """
    mirrors = [*filter(None, [*given, *re.split(r"[,\s]+", os.environ.get(MIRRORS_VARIABLE, ""))])]
    for mirror in mirrors:
        scheme = _scheme(mirror)
        if scheme not in ("http", "https", "file", ""):
            raise InputError(f"mirror {mirror}: {scheme} is not one of http, https, file or a path")
        if scheme.startswith("http") and not urlsplit(mirror).hostname:
            raise InputError(f"mirror {mirror} names no host")
        if not scheme.startswith("http") and not _path(mirror).exists():
            raise InputError(f"mirror {mirror}: there is no file or folder {_path(mirror)}")
    return mirrors


def sources(archive: Archive, mirrors: Sequence[str]) -> list[str | Path]:
    """List where to look for ``archive``, in order: the user's ``mirrors``, then its own URLs; paths are local files.

    A mirror is a folder that holds the archive under its name, or the archive itself under any name with the same kind
    of suffix (.tar, .tgz); one that is another of the known archives is skipped.
    """
    found: list[str | Path] = []
    for mirror in mirrors:
        remote = _scheme(mirror).startswith("http")
        path = Path(unquote(urlsplit(mirror).path)) if remote else _path(mirror)
        kind = _kind(path.name) if remote or path.is_file() else ""
        if kind and (kind != _kind(archive.name) or path.name in _NAMES - {archive.name}):
            continue
        if remote:
            found.append(mirror if kind else _below(mirror, archive.name))
        else:
            found.append(path if path.is_file() else path / archive.name)
    return [*dict.fromkeys([*found, *archive.urls])]


_NAMES = {archive.name for archive in (*VOC_ARCHIVES.values(), SBD)}


def _below(base: str, name: str) -> str:
    """Return the URL of a file in the folder ``base``; a query (such as a token) stays at the end."""
    parts = urlsplit(base)
    return parts._replace(path=f"{parts.path.rstrip('/')}/{quote(name)}").geturl()


def _kind(name: str) -> str:
    match = re.search(r"\.(?:(tar)|tgz|tar\.gz)$", name, re.IGNORECASE)
    return "" if match is None else ".tar" if match[1] else ".tgz"


def _scheme(mirror: str) -> str:
    scheme = mirror.partition("://")[0].lower() if "://" in mirror else ""
    return scheme or ("file" if mirror.lower().startswith("file:") else "")


def _path(mirror: str) -> Path:
    return Path(url2pathname(urlsplit(mirror).path) if _scheme(mirror) == "file" else mirror).expanduser()
