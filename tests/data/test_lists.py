from __future__ import annotations

import contextlib
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocseg.data.lists import resolve_id
from vocseg.errors import DataError

LINES = [
    ("{}", "a line with the id"),
    ("{}.jpg", "a file name"),
    ("/JPEGImages/{}.jpg", "a path"),
    ("D:\\data\\JPEGImages\\{}.jpg", "a path of Windows"),
    ("/JPEGImages/{0}.jpg /SegmentationClass/{0}.png", "a path and its mask"),
    ("JPEGImages/{0}.jpg,SegmentationClass/{0}.png", "separated by a comma"),
    ("{0}.jpg;{0}.png", "by a semicolon"),
    ("{0}\t1", "a flag after a tab"),
    ("{} -1", "a flag"),
    ("/data/my images/{0}.JPG\t/data/my masks/{0}.png", "folders with blanks"),
]
IDS = ["weed", "weed (1)", "weed (1) copy", "2007_000032", "#1", "a.b", "0 1", "größe", "-x"]


@pytest.mark.parametrize("line", [line for line, _ in LINES], ids=[kind for _, kind in LINES])
@pytest.mark.parametrize("name", IDS)
def test_lines_of_lists(line: str, name: str) -> None:
    assert resolve_id(line.format(name), {*IDS}) == name


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1), st.sets(st.text(min_size=1)))
def test_any_line_is_an_id_or_one_error(line: str, ids: set[str]) -> None:
    line = line.strip()
    if not line:
        return
    with contextlib.suppress(DataError):
        assert resolve_id(line, ids | {line}) == line
    with contextlib.suppress(DataError):
        assert resolve_id(line, ids)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("weed,2007_000032", "the line 'weed,2007_000032' names 'weed' and '2007_000032'; write one id a line"),
        ("JPEGImages/weed.jpg masks/other.png", "names 'weed' and 'other'"),
        ("a.jpg", "'a.jpg' names the ids 'a' and 'a.jpg'"),
    ],
)
def test_ambiguous_lines(line: str, message: str) -> None:
    with pytest.raises(DataError, match=re.escape(message)):
        resolve_id(line, {*IDS, "a", "a.jpg"})


@pytest.mark.parametrize(
    ("line", "name"), [("new", "new"), ("new 1", "new"), ("x/new.jpg x/new.png", "new"), ("new (2)", "new (2)"), ("/", "/")]
)
def test_unknown_lines(line: str, name: str) -> None:
    assert resolve_id(line, {"weed"}) == name
