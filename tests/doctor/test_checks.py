from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from vocseg import voc
from vocseg.data.image_io import image_size, read_image
from vocseg.data.synthetic import draw_sample
from vocseg.doctor.checks import INTERPOLATED, in_between, inspect_image, inspect_mask

COLORS = voc.PALETTE[:21] + voc.PALETTE[255:]


def objects(seed: int, void: bool) -> np.ndarray:
    """A synthetic mask with ids spread over 0..20."""
    mask = draw_sample(np.random.default_rng(seed), (120, 160))[1]
    spread = np.array([0, 5, 9, 12, 15, 20], dtype=np.uint8)
    ids = spread[np.minimum(mask, 5)]
    return np.where(mask == voc.VOID, voc.VOID if void else 0, ids).astype(np.uint8)


@given(st.integers(0, 10**6), st.booleans(), st.sampled_from([0.4, 0.7, 1, 2, 3]))
@settings(max_examples=30, deadline=None)
def test_sound_masks_do_not_look_interpolated(seed: int, void: bool, factor: float) -> None:
    image = Image.fromarray(objects(seed, void))
    size = (round(image.width * factor), round(image.height * factor))
    assert in_between(np.array(image.resize(size, Image.Resampling.NEAREST))) < INTERPOLATED


@pytest.mark.parametrize("resampling", [Image.Resampling.BILINEAR, Image.Resampling.BICUBIC, Image.Resampling.LANCZOS])
@pytest.mark.parametrize("factor", [0.6, 1.7, 4])
def test_interpolated_masks_do(resampling: Image.Resampling, factor: float) -> None:
    for seed in range(5):
        image = Image.fromarray(objects(seed, void=False))
        size = (round(image.width * factor), round(image.height * factor))
        assert in_between(np.array(image.resize(size, resampling))) >= INTERPOLATED


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (200, 2), (4, 4)])
def test_tiny_masks(shape: tuple[int, int]) -> None:
    assert in_between(np.random.default_rng(0).integers(0, 20, shape, np.uint8)) >= 0


def test_thin_objects_are_none() -> None:
    """A pole of two pixels between sky and road, whose id lies between theirs, that is thicker elsewhere."""
    mask = np.zeros((60, 80), dtype=np.uint8)
    mask[:, 40:] = 9
    mask[:, 39:41] = 5
    mask[45:, 20:60] = 5
    assert in_between(mask) == 0


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_sizes_agree_with_reading(tmp_path: Path, suffix: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"a.{suffix}"
    Image.new("RGB", (30, 20)).save(path, exif=exif)
    assert image_size(path) == inspect_image(path).size == tuple(read_image(path).shape[1:])


def test_missing_files(tmp_path: Path) -> None:
    assert "cannot read image" in str(inspect_image(tmp_path / "no.jpg").error)
    assert re.fullmatch(
        r"cannot read mask .*no\.png: No such file or directory", str(inspect_mask(tmp_path / "no.png", COLORS).error)
    )


@given(st.integers(0, 10**6))
@settings(max_examples=15, deadline=None)
def test_all_kinds_hold_the_same_labels(tmp_path_factory: pytest.TempPathFactory, seed: int) -> None:
    ids = objects(seed, void=True)
    folder = tmp_path_factory.mktemp("kinds")
    palette = Image.fromarray(ids, mode="P")
    palette.putpalette([part for color in voc.PALETTE for part in color])
    kinds = {"palette": palette, "gray": Image.fromarray(ids), "deep": Image.fromarray(ids.astype(np.uint16))}
    kinds |= {"color": palette.convert("RGB")}
    for kind, image in kinds.items():
        image.save(folder / f"{kind}.png")
        facts = inspect_mask(folder / f"{kind}.png", COLORS, trust_palette=True)
        assert facts.kind == kind
        assert (facts.foreign, facts.order, facts.error) == ("", None, None)
        assert np.array_equal(facts.counts, np.bincount(ids.ravel(), minlength=256))
