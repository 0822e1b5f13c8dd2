from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vocseg import voc
from vocseg.doctor.survey import find_legend, read_labelmap
from vocseg.errors import DataError

channel = st.integers(0, 255)
names = st.text("abcdefghij -_", min_size=1).filter(lambda name: name == name.strip())


different_colors = st.dictionaries(names, st.tuples(channel, channel, channel), min_size=1, max_size=20).filter(
    lambda colors: len(set(colors.values())) == len(colors)
)


@given(different_colors)
def test_round_trip(tmp_path_factory: pytest.TempPathFactory, colors: dict[str, tuple[int, int, int]]) -> None:
    path = tmp_path_factory.mktemp("map") / "labelmap.txt"
    path.write_text("# label:color_rgb:parts:actions\n\n" + "".join(f"{n}:{r},{g},{b}::\n" for n, (r, g, b) in colors.items()))
    read = read_labelmap(path)
    assert read == colors
    black = [name for name, color in colors.items() if not any(color)]
    assert list(read)[: len(black)] == black


@pytest.mark.parametrize("text", ["", "# nothing", "cat", "cat:1,2", "cat:1,2,x::", "cat:1,2,300::", "\udcff"])
def test_malformed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "labelmap.txt"
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(DataError, match=r"labelmap\.txt"):
        read_labelmap(path)


def test_legends(tmp_path: Path) -> None:
    plain = find_legend(tmp_path, voc.CLASSES)
    assert (plain.own, plain.renamed, plain.colors) == (True, False, voc.PALETTE[:21] + voc.PALETTE[255:])
    (tmp_path / "labelmap.txt").write_text("sky:1,2,3::\nbackground:0,0,0::\n")
    mapped = find_legend(tmp_path, voc.CLASSES)
    assert mapped.classes == ("background", "sky")
    assert mapped.colors == ((0, 0, 0), (1, 2, 3), voc.PALETTE[255])
    assert mapped.renamed
    (tmp_path / "classes.txt").touch()
    assert find_legend(tmp_path, ("sky", "background")).colors[0] == (1, 2, 3)
    other = find_legend(tmp_path, ("tree",))
    assert (other.classes, other.own, other.colors[0]) == (("tree",), False, (0, 0, 0))
