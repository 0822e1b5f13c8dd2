from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw

import vocseg
from vocseg.data.samples import FOLDER
from vocseg.errors import OutputError, SettingError
from vocseg.inference.result import Segmentation
from vocseg.models import ModelInfo

INFO = ModelInfo("net", ("background", "cat", "dog"))


@pytest.fixture(scope="module")
def segment() -> vocseg.Segmenter:
    torch.manual_seed(0)
    return vocseg.Segmenter("simple_conv_net", device="cpu")


def of(mask: list[list[int]] | np.ndarray) -> Segmentation:
    labels = torch.tensor(mask, dtype=torch.uint8)
    return Segmentation(torch.zeros(3, *labels.shape, dtype=torch.uint8), labels, INFO)


def test_areas_overlay_and_files(segment: vocseg.Segmenter, tmp_path: Path) -> None:
    result = segment(FOLDER / "JPEGImages" / "astronaut.jpg")
    areas = result.areas()
    assert sum(areas.values()) == pytest.approx(1)
    assert list(areas.values()) == sorted(areas.values(), reverse=True)
    assert {result.classes[label] for label in result.mask.unique().tolist()} == set(areas)
    assert result.overlay().width >= 512
    assert result.overlay().height > 512
    result.save(tmp_path / "m.png")
    result.save_mask(tmp_path / "n.png")
    assert (tmp_path / "m.png").read_bytes() == (tmp_path / "n.png").read_bytes()
    with Image.open(tmp_path / "m.png") as mask:
        assert mask.mode == "P"
        assert np.array_equal(np.array(mask), result.mask.numpy())
    result.save(tmp_path / "o.jpg")
    result.save(tmp_path / "o.png", "overlay")
    for name in ("o.jpg", "o.png"):
        with Image.open(tmp_path / name) as drawn:
            assert (drawn.mode, drawn.size) == ("RGB", result.overlay().size)
    with pytest.raises(OutputError, match=r"cannot write .*m\.bmp: unknown suffix; use one of \.png, \.jpg, \.jpeg, \.json"):
        result.save(tmp_path / "m.bmp")


def test_probabilities_are_those_of_the_logits(segment: vocseg.Segmenter) -> None:
    path = FOLDER / "JPEGImages" / "chelsea.jpg"
    one, (other,) = segment(path), segment([path])
    want = segment.logits(path)[0].softmax(0)
    for result in (one, other):
        found = result.probabilities()
        assert found.dtype == torch.float32
        assert found.shape == (21, 300, 451)
        torch.testing.assert_close(found, want)
        torch.testing.assert_close(found.sum(0), torch.ones(300, 451))
        # The softmax may round two classes to the same probability.
        torch.testing.assert_close(found.gather(0, result.mask[None].long())[0], found.amax(0), rtol=0, atol=1e-6)
    with pytest.raises(ValueError, match="no probabilities"):
        of([[0]]).probabilities()


def test_polygons_of_a_hand_made_mask(tmp_path: Path) -> None:
    result = of([[1, 1, 1, 0, 2], [1, 0, 1, 0, 0], [1, 1, 1, 0, 2]])
    ring, *corners = result.polygons()
    assert ring == {
        "class": "cat", "id": 1, "area": 8,
        "polygon": [[0, 0], [3, 0], [3, 3], [0, 3]], "holes": [[[1, 2], [2, 2], [2, 1], [1, 1]]],
    } or _turned(ring)  # fmt: skip
    assert [(part["class"], part["area"], part["holes"]) for part in corners] == [("dog", 1, [])] * 2
    result.save(tmp_path / "p.json")
    assert json.loads((tmp_path / "p.json").read_text()) == {"width": 5, "height": 3, "polygons": result.polygons()}


def test_classes_without_a_background() -> None:
    labels = torch.zeros(4, 4, dtype=torch.uint8)
    labels[2:] = 1
    image = torch.full((3, 4, 4), 100, dtype=torch.uint8)
    surfaces = Segmentation(image, labels, ModelInfo("net", ("sky", "ground"), ((0, 0, 200), (200, 0, 0))))
    assert [part["class"] for part in surfaces.polygons()] == ["sky", "ground"]
    assert surfaces.overlay(0.5).getpixel((0, 0)) == (50, 50, 150)
    last = Segmentation(image, labels, ModelInfo("net", ("cat", "Background"), ((0, 0, 200), (200, 0, 0))))
    assert [part["class"] for part in last.polygons()] == ["cat"]
    assert last.overlay(0.5).getpixel((0, 3)) == (100, 100, 100)
    with pytest.raises(SettingError, match=r"opacity 1.5 must lie in 0\.\.1"):
        last.overlay(1.5)


def test_the_repr_names_four_classes() -> None:
    names = tuple("abcdefg")
    result = Segmentation(
        torch.zeros(3, 1, 7, dtype=torch.uint8), torch.arange(7, dtype=torch.uint8)[None], ModelInfo("net", names)
    )
    assert repr(result) == "Segmentation(1x7 pixels by net: a 14.3%, b 14.3%, c 14.3%, d 14.3%, 3 more)"


def _turned(part: dict[str, object]) -> bool:
    outline, (hole,) = part["polygon"], part["holes"]  # type: ignore[misc]
    return sorted(outline) == [[0, 0], [0, 3], [3, 0], [3, 3]] and sorted(hole) == [[1, 1], [1, 2], [2, 1], [2, 2]]


@given(hnp.arrays("uint8", hnp.array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2)))
@settings(max_examples=60, deadline=None)
def test_filling_the_polygons_gives_the_mask_back(mask: np.ndarray) -> None:
    result = of(mask)
    found = np.zeros_like(mask)
    for part in result.polygons():
        filled = _filled(part["polygon"], mask.shape)
        for hole in part["holes"]:
            filled &= ~_filled(hole, mask.shape)
        assert int(filled.sum()) == part["area"]
        assert not found[filled].any()
        found[filled] = part["id"]
    assert np.array_equal(found, mask)


def _filled(ring: list[list[int]], shape: tuple[int, ...]) -> np.ndarray:
    """Fill a ring by Pillow on a grid eight times as fine, and read it at the pixels' centers."""
    fine = Image.new("1", (8 * shape[1], 8 * shape[0]))
    ImageDraw.Draw(fine).polygon([(8 * x - 0.5, 8 * y - 0.5) for x, y in ring], fill=1)
    return np.array(fine)[4::8, 4::8]


def test_the_image_itself_is_not_replaced(tmp_path: Path) -> None:
    Image.new("RGB", (30, 20)).save(tmp_path / "a.jpg")
    before = (tmp_path / "a.jpg").read_bytes()
    result = vocseg.Segmenter("two_layer_net", device="cpu")(tmp_path / "a.jpg")
    for save in (result.save, result.save_mask):
        with pytest.raises(OutputError, match="would replace the input"):
            save(tmp_path / "a.jpg")
    assert (tmp_path / "a.jpg").read_bytes() == before
    for _ in range(2):
        result.save(tmp_path / "a.png")
