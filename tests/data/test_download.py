"""Downloading: the real host is not asked; a failing and a local one are."""

from __future__ import annotations

import functools
import hashlib
import http.server
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from torchvision.datasets import voc as torchvision_voc

from vocseg.data.download import download_voc
from vocseg.data.layout import VocFolder
from vocseg.errors import DataError


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address at which a server on this machine shows it."""
    folder = tmp_path / "served"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as httpd:
        threading.Thread(target=httpd.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{httpd.server_port}"
        httpd.shutdown()


@pytest.fixture
def archive(synth: Path, server: tuple[Path, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """torchvision's table of archives with VOC2012 and VOC2007 replaced by local ones."""
    folder, address = server
    table = {key: dict(value) for key, value in torchvision_voc.DATASET_YEAR_DICT.items()}
    for year in ("2012", "2007"):
        path = folder / f"VOC{year}.tar"
        with tarfile.open(path, "w") as tar:
            tar.add(synth, f"VOCdevkit/VOC{year}")
        digest = hashlib.md5(path.read_bytes()).hexdigest()
        table[year] |= {"url": f"{address}/{path.name}", "filename": path.name, "md5": digest}
    monkeypatch.setattr(torchvision_voc, "DATASET_YEAR_DICT", table)
    monkeypatch.setattr("vocseg.data.download.DATASET_YEAR_DICT", table)
    return table


def test_downloads_once(archive: dict[str, Any], tmp_path: Path) -> None:
    download_voc(tmp_path / "data")
    assert VocFolder.find(tmp_path / "data").root == tmp_path / "data" / "VOCdevkit" / "VOC2012"
    archive["2012"]["url"] += ".gone"
    download_voc(tmp_path / "data")


def test_year_of_the_folder(archive: dict[str, Any], tmp_path: Path) -> None:
    download_voc(tmp_path / "VOC2007")
    assert VocFolder.find(tmp_path / "VOC2007").root.name == "VOC2007"


def test_failure_says_what_was_tried(archive: dict[str, Any], tmp_path: Path) -> None:
    archive["2012"]["url"] += ".gone"
    with pytest.raises(
        DataError, match=r"VOC2012 not to be had from http://.*\.gone \(File not found\); unpack VOC2012\.tar below"
    ):
        download_voc(tmp_path / "data")
