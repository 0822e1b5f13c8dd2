from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import tv_tensors

from vocseg.errors import DataError
from vocseg.inference import images
from vocseg.inference.images import batches_by_size, stacked, to_pixels

SIZES = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 2)), max_size=60)


@given(SIZES, st.integers(1, 5), st.integers(1, 12))
def test_batches_by_size(sizes: list[tuple[int, int]], limit: int, window: int) -> None:
    before, images.WAITING = images.WAITING, window
    try:
        taken = 0
        batches = []
        for batch in batches_by_size(enumerate(sizes), lambda item: item[1], lambda size: limit * size[0]):
            taken += len(batch)
            batches.append(batch)
            assert len({size for _, size in batch}) == 1
            assert len(batch) <= limit * batch[0][1][0]
            assert [number for number, _ in batch] == sorted(number for number, _ in batch)
    finally:
        images.WAITING = before
    assert sorted(item for batch in batches for item in batch) == list(enumerate(sizes))


def test_no_image_waits_for_more_than_the_window() -> None:
    reached = -1

    def count(total: int) -> object:
        nonlocal reached
        for number in range(total):
            reached = number
            yield number, (9, 9) if number == 0 else (4, 4)

    batches = batches_by_size(count(10_000), lambda item: item[1], lambda size: 16)  # type: ignore[arg-type, var-annotated]
    assert any(batch[0][0] == 0 for batch in batches if reached <= images.WAITING + 1)
    assert reached < 10_000


def test_one_tensor_is_not_copied() -> None:
    one = torch.zeros(3, 4, 5)
    assert stacked([one]).data_ptr() == one.data_ptr()
    assert torch.equal(stacked([one, one + 1]), torch.stack([one, one + 1]))


RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
WANTED = torch.from_numpy(RGB).permute(2, 0, 1)


def encoded(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


@pytest.mark.parametrize(
    "image",
    [
        RGB,
        np.asfortranarray(RGB),
        np.ascontiguousarray(RGB[..., ::-1])[..., ::-1],  # OpenCV's order, turned
        np.dstack([RGB, RGB[..., :1]]),
        RGB / 255,
        (RGB / 255).astype(">f4"),
        WANTED,
        WANTED / 255,
        (WANTED.double() / 255).requires_grad_(),
        tv_tensors.Image(WANTED),
        torch.cat([WANTED, WANTED[:1]]),
        Image.fromarray(RGB),
        np.asarray(Image.fromarray(RGB)),  # not writable
        Image.fromarray(RGB).convert("RGBA"),
        encoded(Image.fromarray(RGB)),
        bytearray(encoded(Image.fromarray(RGB))),
        io.BytesIO(encoded(Image.fromarray(RGB))),
    ],
    ids=lambda image: type(image).__name__,
)
def test_images_of_every_kind(image: object, recwarn: pytest.WarningsRecorder) -> None:
    pixels = to_pixels(image)
    assert pixels.dtype == torch.uint8
    assert torch.equal(pixels, WANTED)
    assert not recwarn.list


@pytest.mark.parametrize("gray", [RGB[..., 0], RGB[..., :1], WANTED[0], WANTED[:1], WANTED[:1] / 255])
def test_gray_images(gray: object) -> None:
    assert torch.equal(to_pixels(gray), WANTED[:1].expand(3, -1, -1))


def test_sixteen_bits_of_a_pillow_image_are_scaled() -> None:
    deep = Image.fromarray(np.array([[0, 32768, 65535]], np.uint16))
    assert to_pixels(deep)[0].tolist() == [[0, 128, 255]]


def test_a_pillow_image_whose_file_is_cut(tmp_path: Path) -> None:
    (tmp_path / "cut.png").write_bytes(encoded(Image.effect_noise((200, 200), 50))[:2000])
    with Image.open(tmp_path / "cut.png") as image, pytest.raises(DataError, match=r"cannot decode image .*cut\.png"):
        to_pixels(image)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (3, "not int"),
        (None, "not NoneType"),
        (torch.zeros(2, 3, 4, 4), r"not (2, 3, 4, 4) torch.float32; pass a batch as a list: segment(list(images))"),
        (np.zeros((2, 4, 4, 3), np.uint8), "pass a batch as a list"),
        (np.zeros((3, 40, 50), np.uint8), "turn the axes: image.transpose(1, 2, 0)"),
        (torch.zeros(40, 50, 3, dtype=torch.uint8), "turn the axes: image.permute(2, 0, 1)"),
        (np.zeros((4, 4, 2), np.uint8), "not (4, 4, 2) uint8"),
        (np.zeros((0, 4, 3), np.uint8), "not (0, 4, 3) uint8"),
        (np.zeros((0, 4)), "not (0, 4) float64"),
        (np.zeros((4, 4, 3), np.int64), "not (4, 4, 3) int64"),
        (np.zeros((4, 4, 3), np.uint16), "not (4, 4, 3) uint16"),
        (np.zeros(4, np.uint8), "not (4,) uint8"),
        (torch.zeros((), dtype=torch.uint8), "not () torch.uint8"),
    ],
)
def test_what_is_not_an_image(value: object, message: str) -> None:
    wanted = "an image is a file, a Pillow image, or pixels (uint8, or floats in 0..1), H x W x 3 in numpy and 3 x H x W in torch, "
    with pytest.raises(DataError, match=re.escape(wanted) + ".*" + re.escape(message)):
        to_pixels(value)


@pytest.mark.parametrize(
    ("value", "advice"),
    [(255.0, "for 0..255 pass uint8"), (float("inf"), "for 0..255 pass uint8"), (-0.1, "pass the image before it is normalized")],
)
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_floats_outside_their_range(value: float, advice: str, dtype: type) -> None:
    pixels = np.zeros((4, 4, 3), dtype)
    pixels[0, 0, 0] = value
    message = f"pixels of torch.{np.dtype(dtype)} must lie in 0..1, not in "
    with pytest.raises(DataError, match=re.escape(message) + ".*" + re.escape(advice)):
        to_pixels(pixels)
    with pytest.raises(DataError, match=re.escape(message)):
        to_pixels(np.full_like(pixels, np.nan))


def test_bytes_that_are_not_an_image() -> None:
    for value in (b"no image", io.BytesIO(b""), io.StringIO("text")):
        with pytest.raises(DataError, match="cannot decode image in memory: "):
            to_pixels(value)
    for value in ("", " "):
        with pytest.raises(DataError, match="an empty path names no image"):
            to_pixels(value)
    kinds = {b"\n<!DOCTYPE HTML><html>": "a web page", b"\0\0\0\x20ftypisom": "a video", b"PK\3\4": "a ZIP archive"}
    for content, kind in kinds.items():
        with pytest.raises(DataError, match=f"cannot decode image in memory: it is {kind}, which is not supported"):
            to_pixels(content)
