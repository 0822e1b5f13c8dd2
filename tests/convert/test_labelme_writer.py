"""LabelMe's files: read back exactly, by our reader and by a plain drawing of theirs."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageDraw

from convert.scenes import masks_of, same
from vocseg import voc
from vocseg.convert import convert
from vocseg.convert.labelme_writer import border, shapes
from vocseg.data.layout import VocFolder

CLASSES = ("background", "cat", "dog")


def drawn(found: list[dict], height: int, width: int, classes: tuple[str, ...] = CLASSES) -> np.ndarray:
    """The mask that LabelMe's own scripts draw: Pillow's polygons, outline included, the later on top."""
    labels = {name: label for label, name in enumerate(classes)} | {"__ignore__": 255}
    mask = Image.new("L", (width, height))
    for shape in found:
        label = labels[shape["label"]]
        if shape["shape_type"] == "polygon":
            ImageDraw.Draw(mask).polygon([tuple(point) for point in shape["points"]], label, label)
        else:
            stamp = Image.open(io.BytesIO(base64.b64decode(shape["mask"])))
            mask.paste(label, tuple(map(int, shape["points"][0])), stamp)
    return np.array(mask)


@settings(max_examples=150, deadline=None)
@given(arrays(np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 1, 2, 255])))
def test_any_mask_is_drawn_exactly(mask: np.ndarray) -> None:
    found = json.loads(json.dumps(shapes(mask, CLASSES)))
    assert np.array_equal(drawn(found, *mask.shape), mask)


def test_nested_rings() -> None:
    mask = np.zeros((20, 20), np.uint8)
    for label, inset in ((1, 1), (0, 3), (2, 5), (255, 7), (1, 9)):
        mask[inset : 20 - inset, inset : 20 - inset] = label
    found = shapes(mask, CLASSES)
    assert [shape["label"] for shape in found] == ["cat", "background", "dog", "__ignore__", "cat"]
    assert {shape["shape_type"] for shape in found} == {"polygon"}
    assert [len(shape["points"]) for shape in found] == [4] * 5
    assert np.array_equal(drawn(found, 20, 20), mask)


def test_the_walk_along_a_border() -> None:
    pixels = np.array([[0, 1, 0], [1, 1, 1], [0, 1, 0]], dtype=bool)
    assert border(pixels).tolist() == [[1, 0], [2, 1], [1, 2], [0, 1]]
    assert border(np.ones((1, 1), dtype=bool)).tolist() == [[0, 0]]


def test_voc_to_labelme_and_back_is_exact(synth: Path, tmp_path: Path) -> None:
    convert(synth, tmp_path / "labelme", to="labelme")
    content = json.loads(next((tmp_path / "labelme" / "images").glob("*.json")).read_text())
    assert (tmp_path / "labelme" / "images" / content["imagePath"]).is_file()
    report = convert(tmp_path / "labelme", tmp_path / "voc", classes=tmp_path / "labelme" / "classes.txt")
    assert report.kind == "labelme"
    names = tmp_path / "labelme" / "classes.txt"
    note = f"classes get other ids than in {names}; --classes {names} takes those"
    assert [note in one.notes for one in (report, convert(tmp_path / "labelme", tmp_path / "without"))] == [False, True]
    assert same(masks_of(tmp_path / "voc"), masks_of(synth))
    assert VocFolder.find(tmp_path / "voc").classes == VocFolder.find(synth).classes
    assert VocFolder.find(tmp_path / "voc").ids("val") == VocFolder.find(synth).ids("val")


@pytest.mark.real_voc
def test_real_masks_are_drawn_exactly(real_few: Path) -> None:
    for path in [VocFolder.find(real_few).mask(name) for name in VocFolder.find(real_few).ids("val")][:5]:
        mask = np.array(Image.open(path))
        assert np.array_equal(drawn(shapes(mask, voc.CLASSES), *mask.shape, voc.CLASSES), mask)
