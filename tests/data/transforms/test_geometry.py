from __future__ import annotations

from unittest.mock import patch

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from maps import MaskCopy
from vocseg.data.dataset import Sample, Transform
from vocseg.data.transforms import geometry as transforms
from vocseg.data.transforms.geometry import (
    MEAN_COLOR,
    CenterSquare,
    RandomFlip,
    RandomScaleCrop,
    resize_image,
    resize_mask,
    training_transform,
)

sides = st.integers(1, 90)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def apply(transform: Transform, image: torch.Tensor, mask: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    sample = transform(Sample(image, mask, "name"), generator(seed))
    assert sample.name == "name"
    assert not sample.maps
    return sample.image, sample.mask


def pair(height: int, width: int) -> tuple[torch.Tensor, torch.Tensor]:
    """An image whose red channel equals its mask, so that both must stay aligned."""
    mask = torch.randint(0, 21, (height, width), generator=torch.Generator().manual_seed(height * 100 + width)).to(torch.uint8)
    return torch.stack([mask, mask // 2, mask // 3]), mask


@given(sides, sides, st.integers(1, 64), st.integers(0, 2**31), st.sampled_from(["scale-crop", "center-square"]))
@settings(max_examples=120, deadline=None)
def test_size_dtype_and_labels(height: int, width: int, crop: int, seed: int, name: str) -> None:
    image, mask = pair(height, width)
    got_image, got_mask = apply(training_transform(name, crop), image, mask, seed)
    assert got_image.shape == (3, crop, crop)
    assert got_mask.shape == (crop, crop)
    assert got_image.dtype == got_mask.dtype == torch.uint8
    assert set(got_mask.unique().tolist()) <= {*mask.unique().tolist(), 255}


@given(sides, sides, st.integers(4, 64), st.integers(0, 2**31))
@settings(max_examples=80, deadline=None)
def test_padding_is_mean_color_exactly_where_the_mask_is_void(height: int, width: int, crop: int, seed: int) -> None:
    image, mask = pair(height, width)
    got_image, got_mask = apply(RandomScaleCrop(crop), image, mask, seed)
    padded = (got_image == torch.tensor(MEAN_COLOR)[:, None, None]).all(0)
    assert torch.equal(padded, got_mask == 255)


def test_image_and_mask_stay_aligned() -> None:
    image, mask = pair(70, 50)
    transform = RandomScaleCrop(40, scale=(1.0, 1.0))
    for seed in range(20):
        got_image, got_mask = apply(transform, image, mask, seed)
        assert torch.equal(got_image[0][got_mask != 255], got_mask[got_mask != 255])


def test_scale_crop_is_the_scaled_image_cut() -> None:
    """Against scaling the whole image first and cropping then: equal away from the window's edge."""
    rows, columns = torch.meshgrid(torch.arange(60.0), torch.arange(80.0), indexing="ij")
    smooth = torch.stack([rows * 4, columns * 3, rows + columns]).to(torch.uint8)
    mask = torch.zeros(60, 80, dtype=torch.uint8)
    got, _ = apply(RandomScaleCrop(32, scale=(2.0, 2.0)), smooth, mask, 1)
    whole = resize_image(smooth, (120, 160))
    windows = whole.unfold(1, 32, 1).unfold(2, 32, 1).permute(1, 2, 0, 3, 4).float()
    difference = (windows - got.float())[..., 3:-3, 3:-3].abs().amax((2, 3, 4))
    assert float(difference.min()) <= 2


def test_random_scale_covers_its_range() -> None:
    image = torch.zeros(3, 100, 100, dtype=torch.uint8)
    mask = torch.zeros(100, 100, dtype=torch.uint8)
    shares = []
    for seed in range(200):
        _, got = apply(RandomScaleCrop(200, scale=(0.5, 2.0)), image, mask, seed)
        shares.append(float((got == 0).float().mean()) ** 0.5 * 2)
    assert 0.5 <= min(shares) < 0.6
    assert 1.9 < max(shares) <= 2.0


def test_flip_happens_half_the_time_and_flips_both() -> None:
    image, mask = pair(5, 9)
    flips = 0
    for seed in range(400):
        got_image, got_mask = apply(RandomFlip(), image, mask, seed)
        assert torch.equal(got_image[0], got_mask)
        flips += not torch.equal(got_mask, mask)
    assert 160 < flips < 240


def test_same_seed_same_sample() -> None:
    image, mask = pair(70, 90)
    transform = training_transform("scale-crop", 32)
    first, again, other = (apply(transform, image, mask, seed) for seed in (5, 5, 6))
    assert torch.equal(first[0], again[0])
    assert not torch.equal(first[0], other[0])


def test_center_square_takes_the_center() -> None:
    mask = torch.zeros(4, 10, dtype=torch.uint8)
    mask[:, 3:7] = 1
    _, got = apply(CenterSquare(4), mask.expand(3, -1, -1), mask, 0)
    assert torch.equal(got, torch.ones(4, 4, dtype=torch.uint8))


@given(sides, sides, sides, sides, st.booleans())
@example(2, 3, 5, 1, False)
@settings(deadline=None)
def test_resizing_is_torchvisions(height: int, width: int, to_height: int, to_width: int, uint8_kernel: bool) -> None:
    from torchvision.transforms.v2 import functional as F

    image = torch.randint(0, 256, (3, height, width), dtype=torch.uint8)
    size = [to_height, to_width]
    with patch.object(transforms, "UINT8_KERNEL", uint8_kernel):
        got = resize_image(image, size)
    assert got.shape == (3, *size)
    if size != [1, 1]:  # for which torch's kernel fails
        want = F.resize_image(image, size, antialias=True)
        assert int((got.int() - want.int()).abs().max()) <= (0 if uint8_kernel and transforms.UINT8_KERNEL else 1)
    mask = image[0]
    want = F.resize_image(mask[None], size, interpolation=F.InterpolationMode.NEAREST_EXACT)[0]
    assert torch.equal(resize_mask(mask, size), want)


@pytest.mark.parametrize("factor", [2, 3])
def test_masks_are_resized_on_the_half_pixel_grid(factor: int) -> None:
    mask = torch.randint(0, 255, (5, 6)).to(torch.uint8)
    enlarged = mask.repeat_interleave(factor, 0).repeat_interleave(factor, 1)
    assert torch.equal(resize_mask(mask, (5 * factor, 6 * factor)), enlarged)
    assert torch.equal(resize_mask(enlarged, (5, 6)), mask)


@given(sides, sides, st.integers(1, 64), st.integers(0, 2**31), st.sampled_from(["scale-crop", "center-square"]))
@settings(max_examples=60, deadline=None)
def test_extra_maps_go_where_the_mask_goes(height: int, width: int, crop: int, seed: int, name: str) -> None:
    image, mask = pair(height, width)
    sample = training_transform(name, crop)(Sample(image, mask, "name", {"copy": MaskCopy(mask)}), generator(seed))
    assert torch.equal(sample.maps["copy"].tensor, sample.mask)
