"""Masks whose numbers are not class ids: lossy files under any name, ids in one channel, palettes that contradict each other."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from vocseg import voc
from vocseg.data.image_io import decode_mask, read_mask
from vocseg.data.label_checks import check_labels_of_split, id_channel, palette_conflict, split_fault, used_colors
from vocseg.errors import DataError

LABELS = (np.arange(320) % 3).astype(np.uint8).reshape(16, 20)


@pytest.mark.parametrize(
    ("suffix", "options", "lossy"),
    [
        ("png", {"format": "PNG"}, ""),
        ("png", {"format": "JPEG"}, "JPEG"),
        ("png", {"format": "WEBP", "lossless": True}, ""),
        ("png", {"format": "WEBP", "lossless": False}, "lossy WebP"),
        ("png", {"format": "WEBP", "lossless": False, "exif": Image.Exif().tobytes() or b"Exif\0\0"}, "lossy WebP"),
        ("tif", {"format": "TIFF"}, ""),
        ("tif", {"format": "TIFF", "compression": "tiff_lzw"}, ""),
        ("tif", {"format": "TIFF", "compression": "jpeg"}, "TIFF with JPEG compression"),
        ("gif", {"format": "GIF"}, ""),
        ("bmp", {"format": "BMP"}, ""),
    ],
)
def test_lossy_files_under_any_name(tmp_path: Path, suffix: str, options: dict, lossy: str) -> None:
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(LABELS).save(path, **options)
    assert decode_mask(path).lossy == lossy
    if lossy:
        with pytest.raises(DataError, match=rf"mask .*a\.{suffix} is a {lossy}, whose compression changes labels"):
            read_mask(path)


def test_a_lossy_animation(tmp_path: Path) -> None:
    frames = [Image.fromarray(LABELS), Image.fromarray(2 - LABELS)]
    for lossless in (False, True):
        frames[0].save(tmp_path / "a.webp", save_all=True, append_images=frames[1:], lossless=lossless)
        assert decode_mask(tmp_path / "a.webp").lossy == ("" if lossless else "lossy WebP")


@pytest.mark.parametrize("channel", [0, 1, 2])
@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
def test_ids_in_one_channel(tmp_path: Path, channel: int, mode: str) -> None:
    pixels = np.zeros((16, 20, 3), dtype=np.uint8)
    pixels[..., channel] = LABELS
    Image.fromarray(pixels).convert(mode).save(tmp_path / "a.png")
    mask = decode_mask(tmp_path / "a.png")
    assert (mask.kind, mask.channel) == ("channel", ("red", "green", "blue")[channel])
    assert np.array_equal(mask.labels, LABELS)
    assert not mask.foreign.any()
    with pytest.raises(DataError, match=f"color image with class ids in its {mask.channel} channel"):
        read_mask(tmp_path / "a.png")


def test_colors_are_not_taken_for_ids(tmp_path: Path) -> None:
    for color in ((128, 0, 0), (0, 0, 142), (64, 0, 0)):
        pixels = np.zeros((4, 4, 3), dtype=np.uint8)
        pixels[1:3] = color
        assert id_channel(pixels) is None
    pixels[0, 0] = (0, 1, 0)
    pixels[1:3] = (1, 0, 0)
    assert id_channel(pixels) is None
    assert id_channel(np.zeros((4, 4, 3), dtype=np.uint8)) is None
    red = np.zeros((4, 4, 3), dtype=np.uint8)
    red[2, 2, 0] = 5
    Image.fromarray(red).save(tmp_path / "a.png")
    assert decode_mask(tmp_path / "a.png", {5 << 16: 1, 0: 0}).kind == "color"  # the table has these colors


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_labels_in_alpha_only(tmp_path: Path, mode: str) -> None:
    bands = [np.zeros_like(LABELS)] * (len(mode) - 1)
    Image.fromarray(np.dstack([*bands, LABELS]), mode=mode).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"cannot decode mask .*a\.png: only its alpha channel varies"):
        decode_mask(tmp_path / "a.png")
    Image.fromarray(np.dstack([LABELS] * len(mode)), mode=mode).save(tmp_path / "a.png")
    assert np.array_equal(decode_mask(tmp_path / "a.png").labels, LABELS)


def indexed(path: Path, labels: np.ndarray, colors: list[tuple[int, int, int]]) -> Path:
    image = Image.fromarray(labels)
    image.putpalette([part for color in colors for part in color])
    image.save(path)
    return path


@given(st.permutations(range(4)), st.permutations(range(4)))
def test_palettes_conflict_if_and_only_if_a_shown_label_changes_its_color(
    tmp_path_factory: pytest.TempPathFactory, one: list[int], other: list[int]
) -> None:
    folder = tmp_path_factory.mktemp("palettes")
    colors = [(0, 0, 0), (200, 0, 0), (0, 200, 0), (0, 0, 200)]
    shown = [
        (name, decode_mask(indexed(folder / name, LABELS, [colors[place] for place in order])).used_colors())
        for name, order in (("a.png", one), ("b.png", other))
    ]
    assert (palette_conflict(shown) is None) == (one[:3] == other[:3])  # label 3 does not occur


def test_palettes_that_say_nothing(tmp_path: Path) -> None:
    with_void = LABELS.copy()
    with_void[0] = voc.VOID
    usual = decode_mask(indexed(tmp_path / "a.png", with_void, list(voc.PALETTE)))
    white = decode_mask(indexed(tmp_path / "b.png", with_void, [*voc.PALETTE[:255], (255, 255, 255)]))
    ramp = decode_mask(indexed(tmp_path / "c.png", LABELS, [(value, value, value) for value in range(256)]))
    assert palette_conflict([("a.png", usual.used_colors()), ("b.png", white.used_colors()), ("c.png", ramp.used_colors())]) is None
    assert used_colors(LABELS, None) == ramp.used_colors() == {}
    # one color, black, is a palette and no ramp
    assert used_colors(np.zeros((2, 2), dtype=np.uint8), [0, 0, 0]) == {0: (0, 0, 0)}


@pytest.mark.parametrize(
    ("pixels", "classes", "kind"),
    [
        ({0: 9, 255: 1}, 2, "one-class"),
        ({0: 9}, 2, "one-class"),
        ({1: 9, 255: 1}, 2, "one-class"),
        ({255: 9}, 2, "void-split"),
        ({}, 2, "void-split"),
        ({0: 9, 255: 9}, 1, "one-name"),
        ({0: 9}, 1, "one-name"),
        ({0: 9, 1: 1}, 2, None),
        ({0: 9, 1: 1, 255: 1}, 21, None),
        ({0: 9, 30: 1}, 21, None),  # a label without class: others say so
    ],
)
def test_splits_whose_scores_mean_nothing(pixels: dict[int, int], classes: int, kind: str | None) -> None:
    counts = np.bincount([*pixels], weights=[*pixels.values()], minlength=256).astype(np.int64) if pixels else np.zeros(256)
    names = [f"class_{label}" for label in range(classes)]
    fault = split_fault(counts, names)
    assert (fault and fault[0]) == kind
    if kind is not None:
        with pytest.raises(DataError, match=rf"^val: {re.escape(fault[1])}$" if fault else ""):
            check_labels_of_split(torch.from_numpy(counts), names, "val")
    without_void = split_fault(counts[:classes], names)  # as a confusion matrix counts
    assert (without_void is None) == (kind is None) or 30 in pixels
