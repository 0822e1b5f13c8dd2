"""Labels of masks of every kind, formats of JSON files, splits of paths, and images found by the names in annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from convert.scenes import photo, put
from vocseg import voc
from vocseg.convert.finder import ImageFinder
from vocseg.convert.source import json_kind, read_labels, split_of_path
from vocseg.data.color_table import read_colors
from vocseg.errors import DataError

names = st.text("abcdefghij xyz-_", min_size=1, max_size=8).map(str.strip).filter(lambda text: any(c.isalpha() for c in text))
colors = st.tuples(*[st.integers(0, 255)] * 3)


@given(
    st.dictionaries(colors, names, min_size=1, max_size=12),
    st.sampled_from(["labelmap", "plain", "header", "ids", "semicolon", "blanks", "bgr"]),
)
@settings(deadline=None)
def test_any_table_in_any_spelling(tmp_path_factory: pytest.TempPathFactory, table: dict, spelling: str) -> None:
    table = {color: " ".join(name.split()) for color, name in table.items() if name != "name"}
    if not table:
        return
    first: dict[str, int] = {}
    for name in table.values():
        first.setdefault(name, len(first))
    lines = {
        "labelmap": ["# label:color_rgb:parts:actions", *(f"{n}:{r},{g},{b}::" for (r, g, b), n in table.items())],
        "plain": [f"{n},{r},{g},{b}" for (r, g, b), n in table.items()],
        "header": ["name, r, g, b", *(f"{n}, {r}, {g}, {b}" for (r, g, b), n in table.items())],
        "ids": ["id,name,red,green,blue", *(f"{first[n] + 3},{n},{r},{g},{b}" for (r, g, b), n in table.items())],
        "semicolon": [f"{n};{r};{g};{b};" for (r, g, b), n in table.items()],
        "blanks": [f"{r} {g} {b}\t\t{n}" for (r, g, b), n in table.items()],
        "bgr": ["b,g,r,class", *(f"{b},{g},{r},{n}" for (r, g, b), n in table.items())],
    }[spelling]
    folder = tmp_path_factory.mktemp("t")
    (folder / "table.csv").write_text("\n".join(lines) + "\n\n")
    read = read_colors(folder / "table.csv")
    start = 3 if spelling == "ids" else 0
    assert read.names == {number + start: name for name, number in first.items()}
    palette = list(table)
    pixels = np.array([palette[place % len(palette)] for place in range(48)], dtype=np.uint8).reshape(6, 8, 3)
    wanted = np.array([first[table[palette[place % len(palette)]]] + start for place in range(48)]).reshape(6, 8)
    Image.fromarray(pixels).save(folder / "rgb.png")
    assert np.array_equal(read_labels(folder / "rgb.png", read), wanted)
    Image.fromarray(pixels).convert("RGBA").save(folder / "rgba.png")
    assert np.array_equal(read_labels(folder / "rgba.png", read), wanted)
    indexed = Image.new("P", (8, 6))
    indexed.putpalette(bytes(part for color in palette for part in color))
    indexed.putdata([place % len(palette) for place in range(48)])
    indexed.save(folder / "p.png")
    assert np.array_equal(read_labels(folder / "p.png", read), wanted)


def test_a_color_that_is_not_listed(tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text("sky,0,0,255\nsky,0,0,254\nroad,9,9,9\n")
    table = read_colors(tmp_path / "c.csv")
    pixels = np.zeros((5, 6, 3), dtype=np.uint8)
    pixels[..., 2] = 255
    pixels[0, 0] = voc.PALETTE[voc.VOID]
    pixels[1] = (0, 0, 254)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert sorted(np.unique(read_labels(tmp_path / "m.png", table)).tolist()) == [0, 255]
    pixels[3, 2:4] = (1, 2, 3)
    Image.fromarray(pixels).save(tmp_path / "m.png")
    with pytest.raises(DataError, match=r"m\.png has color \(1, 2, 3\), which is not in .*c\.csv: 2 pixels, the first at x=2, y=3"):
        read_labels(tmp_path / "m.png", table)


def test_labels_of_every_mode(tmp_path: Path) -> None:
    labels = (np.arange(48) % 7).astype(np.uint8).reshape(6, 8)
    for name, image in {
        "l": Image.fromarray(labels),
        "rgb": Image.fromarray(np.stack([labels] * 3, -1)),
        "rgba": Image.fromarray(np.dstack([labels, labels, labels, 255 - labels])),
        "16": Image.fromarray(labels.astype(np.uint16)),
        "32": Image.fromarray(labels.astype(np.int32)),
    }.items():
        path = tmp_path / f"{name}.{'tif' if name == '32' else 'png'}"
        image.save(path)
        assert np.array_equal(read_labels(path), labels), name
    Image.fromarray(labels > 3).save(tmp_path / "1.png")
    assert np.array_equal(read_labels(tmp_path / "1.png"), labels > 3)


def test_what_is_no_mask(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 300, dtype=np.uint16)).save(tmp_path / "wide.png")
    with pytest.raises(DataError, match=r"wide\.png holds label 300 at x=0, y=0"):
        read_labels(tmp_path / "wide.png")
    Image.new("RGB", (4, 4), (1, 2, 3)).save(tmp_path / "rgb.png")
    with pytest.raises(DataError, match=r"rgb\.png is a color image; map its colors to classes with --colors"):
        read_labels(tmp_path / "rgb.png")
    Image.new("L", (4, 4)).save(tmp_path / "m.jpg")
    with pytest.raises(DataError, match=r"m\.jpg is a JPEG"):
        read_labels(tmp_path / "m.jpg")
    (tmp_path / "no.png").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"cannot decode mask .*no\.png"):
        read_labels(tmp_path / "no.png")
    with pytest.raises(DataError, match=r"cannot read mask .*gone\.png: No such file"):
        read_labels(tmp_path / "gone.png")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ('{"shapes": [], "imagePath": "a.jpg"}', "labelme"),
        (' {"images": [], "annotations": [], "categories": []}', "coco"),
        ('[{"id": 1, "annotations": []}]', "label-studio"),
        ('[{"id": 1, "completions": []}]', "label-studio"),
        ('{"what": 1}', None),
        ('["annotations"', "label-studio"),
        ("", None),
    ],
)
def test_json_kind(tmp_path: Path, text: str, kind: str | None) -> None:
    assert json_kind(put(tmp_path / "a.json", text)) == kind


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("annotations/instances_train2017.json", "train"),
        ("train/_annotations_valid.json", "val"),
        ("val/images", "val"),
        ("training", "train"),
        ("trainaug", None),
        ("images", None),
    ],
)
def test_split_of_path(path: str, split: str | None) -> None:
    assert split_of_path(Path(path)) == split


def test_image_finder_prefers_the_same_folders(tmp_path: Path) -> None:
    one, other = put(tmp_path / "a" / "x" / "1.jpg", photo(0)), put(tmp_path / "b" / "x" / "1.jpg", photo(1))
    finder = ImageFinder(tmp_path)
    assert finder.find("b\\x\\1.jpg") == other
    assert finder.find("1.jpg", near=tmp_path / "a" / "1.json") == one
    assert finder.find("1.jpg", near=tmp_path / "b" / "1.json") == other
    assert finder.find("2.jpg") is None
    assert finder.find("") is None
