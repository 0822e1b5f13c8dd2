"""The archives of VOC and SBD: names, sizes, checksums, and where to download them."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, urlsplit
from urllib.request import url2pathname

from vocseg.errors import InputError

MIRRORS_VARIABLE = "VOCSEG_MIRRORS"


@dataclass(frozen=True)
class Archive:
    """A published archive: ``size`` in bytes, None if uncertain; ``growth`` is its content's size over its own.

    A file must have the checksum ``md5``, and ``sha256`` unless it is empty.
    """

    name: str
    md5: str
    urls: tuple[str, ...]
    size: int | None = None
    growth: float = 1.1
    sha256: str = ""


def _voc(name: str, md5: str, sha256: str, size: int | None = None, others: Sequence[str] = ()) -> Archive:
    # thor is the permanent address (its administrator in pytorch/vision#9216); host is the old one and redirects.
    official = [f"{host}.robots.ox.ac.uk/pascal/VOC/voc{name[-8:-4]}" for host in ("https://thor", "http://host")]
    return Archive(name, md5, tuple(f"{folder}/{name}" for folder in (*official, *others)), size, sha256=sha256)


_PJREDDIE = "https://data.pjreddie.com/files"
_OTHERS = [_PJREDDIE, "https://dataset.bj.bcebos.com/voc", "https://d2l-data.s3-accelerate.amazonaws.com"]
# Checksums: torchvision's datasets/voc.py and sbd.py (MD5), prototype/datasets/_builtin/voc.py and sbd.py (SHA-256).
VOC_ARCHIVES = {
    "2007": _voc(
        "VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64",
        "7d8cd951101b0957ddfd7a530bdc8a94f06121cfc1e511bb5937e973020c7508", 460_032_000, [_PJREDDIE],
    ),
    "2008": _voc(
        "VOCtrainval_14-Jul-2008.tar", "2629fa636546599198acfcfbfcf1904a",
        "7f0ca53c1b5a838fbe946965fc106c6e86832183240af5c88e3f6c306318d42e",
    ),
    "2009": _voc(
        "VOCtrainval_11-May-2009.tar", "a3e00b113cfcfebf17e343f59da3caa1",
        "11cbe1741fb5bdadbbca3c08e9ec62cd95c14884845527d50847bc2cf57e7fd6",
    ),
    "2010": _voc(
        "VOCtrainval_03-May-2010.tar", "da459979d0c395079b5c75ee67908abb",
        "1af4189cbe44323ab212bff7afbc7d0f55a267cc191eb3aac911037887e5c7d4",
    ),
    "2011": _voc(
        "VOCtrainval_25-May-2011.tar", "6c3384ef61512963050cb5d687e5bf1e",
        "0a7f5f5d154f7290ec65ec3f78b72ef72c6d93ff6d79acd40dc222a9ee5248ba",
    ),
    "2012": _voc(
        "VOCtrainval_11-May-2012.tar", "6cd6e144f989b92b3379bac3b3de84fd",
        "e14f763270cf193d0b5f74b169f44157a4b0c6efa708f4dd0ff78ee691763bcb", 1_999_639_040, _OTHERS,
    ),
}  # fmt: skip
_COUNTS = [(209, 213), (511, 512), (749, 750), (964, 964), (1112, 1111), (1464, 1449)]
OFFICIAL = {year: {"train": train, "val": val} for year, (train, val) in zip(VOC_ARCHIVES, _COUNTS, strict=True)}
"""Images in the segmentation lists of each year.

From Everingham et al., "The Pascal VOC challenge: a retrospective", 2015, and each year's "Database statistics".
"""

_SBD_PATH = "eecs.berkeley.edu/Research/Projects/CS/vision/grouping/semantic_contours/benchmark.tgz"
SBD = Archive(
    "benchmark.tgz",
    "82b4d87ceb2ed10f6038a1cba92111cb",
    (f"https://www2.{_SBD_PATH}", f"http://www.{_SBD_PATH}"),
    size=1_419_539_633,
    sha256="6a5a2918d5c73ce032fdeba876574d150d9d04113ab87540a1304cbcc715be53",
    growth=0.1,  # only its masks are written, as PNG
)
"""The Semantic Boundaries Dataset (Hariharan et al., "Semantic contours from inverse detectors", ICCV 2011)."""
_NAMES = {archive.name for archive in (*VOC_ARCHIVES.values(), SBD)}


def user_mirrors(given: Sequence[str] = ()) -> list[str | Path]:
    """Return the ``given`` mirrors, then those of ``VOCSEG_MIRRORS`` (separated by commas or white space).

    Those on the web are strings, those on this machine paths. Raises InputError for one that is neither an http, https
    or file URL nor an existing path.
    """
    return [_parse(text) for text in (*given, *re.split(r"[,\s]+", os.environ.get(MIRRORS_VARIABLE, ""))) if text]


def _parse(mirror: str) -> str | Path:
    is_url = "://" in mirror or mirror.lower().startswith("file:")
    scheme = mirror.partition(":")[0].lower() if is_url else ""
    if scheme not in ("http", "https", "file", ""):
        raise InputError(f"mirror {mirror}: {scheme} is not one of http, https, file or a path")
    try:
        url = urlsplit(mirror if is_url else "")
        host, _ = url.hostname, url.port
    except ValueError as error:
        raise InputError(f"mirror {mirror} is not a URL: {error}") from error
    if scheme.startswith("http"):
        if not host:
            raise InputError(f"mirror {mirror} names no host")
        return mirror
    path = Path(url2pathname(url.path) if is_url else mirror).expanduser()
    if not path.exists():
        raise InputError(f"mirror {mirror}: there is no file or folder {path}")
    return path


def sources(archive: Archive, mirrors: Sequence[str | Path]) -> list[str | Path]:
    """List where to look for ``archive``, in order: the user's ``mirrors``, then its own URLs; paths are local files.

    A mirror is a folder that holds the archive under its name, or the archive itself under any name with the same kind
    of suffix (.tar, .tgz); one that is another of the known archives is skipped.
    """
    found: list[str | Path] = []
    for mirror in mirrors:
        inside: str | Path
        if isinstance(mirror, Path):
            name, is_file, inside = mirror.name, mirror.is_file(), mirror / archive.name
        else:
            url = urlsplit(mirror)
            name = Path(unquote(url.path)).name
            is_file = _kind(name) != ""
            # A query (such as a token) stays at the end.
            inside = url._replace(path=f"{url.path.rstrip('/')}/{quote(archive.name)}").geturl()
        if not is_file:
            found.append(inside)
        elif _kind(name) in ("", _kind(archive.name)) and name not in _NAMES - {archive.name}:
            found.append(mirror)
    return [*dict.fromkeys([*found, *archive.urls])]


def _kind(name: str) -> str:
    return "tgz" if name.lower().endswith((".tgz", ".tar.gz")) else "tar" if name.lower().endswith(".tar") else ""
