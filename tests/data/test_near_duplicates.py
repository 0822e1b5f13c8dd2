from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageEnhance
from torch import Tensor

from vocseg import voc
from vocseg.data.image_io import read_image
from vocseg.data.near_duplicates import MAX_BITS, Fingerprint, fingerprint, near_duplicates
from vocseg.data.synthetic import draw_sample


def scene(seed: int, size: tuple[int, int] = (96, 128)) -> Tensor:
    return torch.from_numpy(draw_sample(np.random.default_rng(seed), size)[0]).permute(2, 0, 1)


def pillow(pixels: Tensor) -> Image.Image:
    return Image.fromarray(pixels.permute(1, 2, 0).numpy())


def tensor(changed: Image.Image) -> Tensor:
    return torch.from_numpy(np.array(changed)).permute(2, 0, 1)


def encoded(changed: Image.Image, quality: int) -> Tensor:
    buffer = io.BytesIO()
    changed.save(buffer, "JPEG", quality=quality)
    return tensor(Image.open(buffer))


CHANGES = {
    "same": lambda im: tensor(im),
    "jpeg": lambda im: encoded(im, 40),
    "smaller": lambda im: tensor(im.resize((im.width // 2, im.height // 2), Image.Resampling.LANCZOS)),
    "larger": lambda im: tensor(im.resize((im.width * 2, im.height * 3 // 2), Image.Resampling.BICUBIC)),
    "mirrored": lambda im: encoded(im.transpose(Image.Transpose.FLIP_LEFT_RIGHT), 60),
    "brighter": lambda im: tensor(ImageEnhance.Brightness(im).enhance(1.1)),
    "contrast": lambda im: tensor(ImageEnhance.Contrast(im).enhance(1.2)),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_copies_are_found_and_nothing_else(change) -> None:
    originals = [scene(seed) for seed in range(12)]
    prints = [fingerprint(one) for one in originals] + [fingerprint(change(pillow(one))) for one in originals]
    assert near_duplicates(prints) == [(index, index + 12) for index in range(12)]


@given(st.integers(0, 10**6), st.integers(60, 95), st.integers(96, 300), st.integers(96, 300), st.booleans())
@settings(max_examples=40, deadline=None)
def test_a_copy_is_recognized(seed: int, quality: int, width: int, height: int, mirror: bool) -> None:
    one = scene(seed)
    copy = pillow(one).resize((width, height), Image.Resampling.LANCZOS)
    copy = copy.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if mirror else copy
    assert near_duplicates([fingerprint(scene(seed + 1)), fingerprint(one), fingerprint(encoded(copy, quality))]) == [(1, 2)]


def test_digest_is_of_pixels_and_shape() -> None:
    one = scene(1)
    assert fingerprint(one).digest == fingerprint(one.clone()).digest
    changed = one.clone()
    changed[0, 0, 0] ^= 1
    assert fingerprint(changed).digest != fingerprint(one).digest
    flat = torch.zeros(3, 4, 6, dtype=torch.uint8)
    assert fingerprint(flat).digest != fingerprint(flat.reshape(3, 6, 4)).digest
    assert fingerprint(one.flip(-1).flip(-1)).digest == fingerprint(one).digest  # not contiguous


def test_flat_images_only_when_identical() -> None:
    flats = [torch.full((3, 20, 30), value, dtype=torch.uint8) for value in (0, 0, 1, 200, 200)]
    assert near_duplicates([fingerprint(flat) for flat in flats]) == [(0, 1), (3, 4)]


def test_other_colors_are_another_image() -> None:
    one = scene(3)
    assert near_duplicates([fingerprint(one), fingerprint(255 - one)]) == []
    assert near_duplicates([fingerprint(one), fingerprint(one // 4)]) == []


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (50, 1), (2, 3)])
def test_tiny_images(size: tuple[int, int]) -> None:
    one = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    assert near_duplicates([fingerprint(one)] * 3) == [(0, 1, 2)]


def test_few() -> None:
    assert near_duplicates([]) == []
    assert near_duplicates([fingerprint(scene(0))]) == []


def test_groups_join() -> None:
    """An image is grouped through any other: its own copy, a mirrored one, a small one."""
    one, other = pillow(scene(5)), pillow(scene(6))
    flipped = one.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    images = [encoded(other, 50), tensor(one), tensor(other), encoded(one, 50), tensor(flipped), tensor(one), scene(7)]
    assert near_duplicates([fingerprint(item) for item in images]) == [(0, 2), (1, 3, 4, 5)]


def random_prints(count: int) -> list[Fingerprint]:
    rng = np.random.default_rng(0)
    signs = rng.choice(np.array([-1, 1], dtype=np.int8), (count, len(fingerprint(scene(0)).signs)))
    colors = rng.uniform(0, 255, (count, 4, 4, 3)).astype(np.float32)
    return [Fingerprint(str(index), signs[index], colors[index]) for index in range(count)]


def test_against_plain_loops_across_blocks() -> None:
    prints = random_prints(5000)
    rng = np.random.default_rng(1)
    expected = []
    for place in (3, 2047, 2048, 4500):
        signs = prints[place].signs.copy()
        signs[rng.choice(len(signs), MAX_BITS, replace=False)] *= -1
        expected.append((place, len(prints)))
        prints.append(replace(prints[place], digest=f"copy of {place}", signs=signs))
    far = prints[10].signs.copy()
    far[: MAX_BITS + 1] *= -1
    prints.append(replace(prints[10], digest="too far", signs=far))
    assert near_duplicates(prints) == expected


@pytest.mark.real_voc
def test_no_two_photographs_are_confused(real_voc: Path) -> None:
    folder = real_voc / "VOCdevkit" / "VOC2012" / voc.IMAGES
    paths = sorted(folder.glob("2007_*.jpg"))[:150]
    assert near_duplicates([fingerprint(read_image(path)) for path in paths]) == []
