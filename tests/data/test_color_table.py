"""Malformed color tables give an error that names the line; how tables are used: tests/convert/test_masks.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from vocseg.data.color_table import read_colors
from vocseg.errors import DataError


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no line 'name,r,g,b'"),
        ("name,r,g,b\n", "no line 'name,r,g,b'"),
        ("car,1,2\n", "line 1: 'car,1,2' is not a name and three numbers"),
        ("1,2,3\n", "is not a name"),
        ("car,1,2,256\n", "has a color above 255"),
        ("car,1,2,3\nbus,1,2,3\n", r"line 2: color \(1, 2, 3\) is both 'car' and 'bus'"),
        ("0,car,1,2,3\n0,bus,1,2,4\n", "label 0 is both 'car' and 'bus'"),
        ("255,car,1,2,3\n", "has label 255"),
        ("name,r,g,b\ncar,1,2\n", "fewer columns"),
        ("name,r,g,b\ncar,1,2,x\n", "is not a name"),
    ],
)
def test_bad_tables(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "c.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        read_colors(tmp_path / "c.csv")
    with pytest.raises(DataError, match="cannot read color table"):
        read_colors(tmp_path / "missing.csv")
