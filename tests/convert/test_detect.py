"""Folders and files that are not a data set give one clear error."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from convert.readers.test_hostile import write
from convert.scenes import photo, put
from vocseg.convert import convert
from vocseg.errors import VocsegError


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "does not exist"),
        (lambda root: root.mkdir(), "no images below"),
        (lambda root: put(root / "images" / "a.jpg", photo(0)), "images, but no masks, below"),
        (lambda root: [put(root / f / "a.jpg", photo(0)) for f in ("x", "y", "z")], r"cannot tell .* \(folders: x, y, z\)"),
        (lambda root: [put(root / "images" / "a.jpg", photo(0)), put(root / "masks" / "qqq7.png", photo(0)),
                       put(root / "images" / "b.jpg", photo(0)), put(root / "masks" / "zzz8.png", photo(0))],
         r"no mask in .*masks matches the name of an image in .*images \(images: .*; masks: qqq7"),
        (lambda root: [put(root / f / "a.png", np.zeros((24, 32), dtype=np.uint8)) for f in ("images", "masks", "labels")],
         "have masks in several folders"),
        (lambda root: put(root, "no json"), r"not an annotation file of COCO \(JSON\), Label Studio"),
        (lambda root: put(root / "a.json", {"what": 1}), "no images below"),
    ],
)  # fmt: skip
def test_what_is_no_data_set(tmp_path: Path, make: Callable[[Path], object], message: str) -> None:
    make(tmp_path / "in")
    with pytest.raises(VocsegError, match=message):
        convert(tmp_path / "in", tmp_path / "out")


def test_a_url(tmp_path: Path) -> None:
    with pytest.raises(VocsegError, match="s3:/bucket/data is a URL, which is not converted; copy it to a disk first"):
        convert("s3://bucket/data", tmp_path / "out")


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
@pytest.mark.parametrize("kind", ["coco", "labelme", "label-studio"])
def test_json_with_a_byte_order_mark(tmp_path: Path, kind: str, encoding: str) -> None:
    file = write(kind, tmp_path / "in")
    file.write_text(file.read_text(), encoding=encoding)
    report = convert(tmp_path / "in", tmp_path / "out", allow_skipped=True)
    assert (report.kind, report.images) == (kind, 2)
