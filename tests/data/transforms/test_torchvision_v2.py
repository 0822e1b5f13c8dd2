from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from maps import MaskCopy
from vocseg.data.dataset import Sample, SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loader import training_batches
from vocseg.data.transforms import from_v2
from vocseg.errors import DataError, SettingError

AUGMENT = v2.Compose([v2.RandomResizedCrop(32), v2.RandomHorizontalFlip(), v2.ColorJitter(0.4, 0.4, 0.4, 0.1)])


def sample(height: int = 40, width: int = 50) -> Sample:
    generator = torch.Generator().manual_seed(0)
    mask = torch.randint(0, 21, (height, width), dtype=torch.uint8, generator=generator)
    return Sample(mask.repeat(3, 1, 1), mask, "pair")


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def global_states() -> tuple[list[int], object, list[int]]:
    return torch.get_rng_state().tolist(), random.getstate(), np.random.get_state()[1].tolist()


def test_it_is_the_transform_seeded_by_the_samples_generator() -> None:
    before = global_states()
    one, again, other = (from_v2(AUGMENT)(sample(), generator(seed)) for seed in (1, 1, 2))
    assert global_states() == before
    assert torch.equal(one.image, again.image)
    assert not torch.equal(one.image, other.image)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(torch.randint(2**32, (), generator=generator(1))))
        image, mask = AUGMENT(tv_tensors.Image(sample().image), tv_tensors.Mask(sample().mask))
    assert torch.equal(one.image, image)
    assert torch.equal(one.mask, mask)
    assert type(one.image) is type(one.mask) is torch.Tensor
    assert one.name == "pair"


def test_randomness_of_numpy_and_python_is_the_samples_too() -> None:
    def noise(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full_like(image, random.randrange(256)), torch.full_like(mask, np.random.randint(20))

    one, again = (from_v2(noise)(sample(), generator(7)) for _ in range(2))
    assert torch.equal(one.image, again.image)
    assert torch.equal(one.mask, again.mask)
    seen = {int(from_v2(noise)(sample(), generator(seed)).image[0, 0, 0]) for seed in range(20)}
    assert len(seen) > 10


def test_masks_may_have_a_channel_and_be_of_any_whole_type() -> None:
    def widen(image: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return image, mask[None].long()

    assert torch.equal(from_v2(widen)(sample(), generator(0)).mask, sample().mask)


@pytest.mark.parametrize(
    ("transform", "message"),
    [
        (v2.ToDtype(torch.float32, scale=True), r"the image pair torch\.float32; leave out ToDtype and Normalize"),
        (v2.Grayscale(), r"the image pair of shape \(1, 40, 50\)"),
        (lambda image, mask: (image.numpy(), mask), "the image pair ndarray"),
        (lambda image, mask: (image[:, :9], mask), r"the mask of pair torch\.uint8 of shape \(40, 50\); .* size \(9, 50\)"),
        (lambda image, mask: (image, mask / 2), r"the mask of pair torch\.float32"),
    ],
)
def test_results_that_cannot_be_trained_on(transform: Callable[..., Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        from_v2(transform)(sample(), generator(0))


def test_extra_maps_cannot_follow() -> None:
    mapped = sample()._replace(maps={"copy": MaskCopy(sample().mask)})
    with pytest.raises(SettingError, match="copy of pair cannot follow a torchvision transform"):
        from_v2(AUGMENT)(mapped, generator(0))


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_repeat_and_sizes_that_differ_are_named(synth: Path, workers: int) -> None:
    dataset = SplitDataset(VocFolder.find(synth), "train", from_v2(AUGMENT))
    once, twice = (list(islice(training_batches(dataset, 3, workers, seed=1), 3)) for _ in range(2))
    assert all(torch.equal(one.images, two.images) for one, two in zip(once, twice, strict=True))
    dataset.transform = from_v2(v2.RandomHorizontalFlip())
    with pytest.raises(DataError, match=r"differ in size: synth_00000\d \d+x\d+, synth_00000\d \d+x\d+\. End the transform"):
        list(islice(training_batches(dataset, 6, workers, seed=1), 1))
