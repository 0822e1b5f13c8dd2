"""torchvision's transforms as transforms of samples."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from vocseg.data.dataset import Sample, Transform
from vocseg.errors import DataError, SettingError


def from_v2(transform: Callable[..., Any]) -> Transform:
    """Adapt a joint transform of torchvision.transforms.v2 to samples.

    ``transform`` gets ``(tv_tensors.Image, tv_tensors.Mask)`` (uint8, 3 x H x W and H x W) and returns such a pair; any
    callable that does will do. Networks normalize images themselves, so the image must stay uint8: leave out
    ``ToDtype`` and ``Normalize``. The sample's generator alone decides its randomness, if it comes from torch, numpy or
    ``random``.

    Raises DataError, naming the sample, for any other result, and SettingError for samples with extra maps, which
    cannot follow an unknown transform.

    >>> from torchvision.transforms import v2
    >>> sample = Sample(torch.zeros(3, 40, 60, dtype=torch.uint8), torch.zeros(40, 60, dtype=torch.uint8), "black")
    >>> from_v2(v2.RandomResizedCrop(32))(sample, torch.Generator().manual_seed(0)).image.shape
    torch.Size([3, 32, 32])
    """
    return partial(_apply, transform)  # unlike a closure, it can be sent to a loader process


def _apply(transform: Callable[..., Any], sample: Sample, generator: torch.Generator) -> Sample:
    from torchvision import tv_tensors

    if sample.maps:
        raise SettingError(f"{', '.join(sample.maps)} of {sample.name} cannot follow a torchvision transform; use our own")
    with _seeded(generator):
        image, mask = transform(tv_tensors.Image(sample.image), tv_tensors.Mask(sample.mask))
    made = f"the transform made the image {sample.name}"
    if not isinstance(image, Tensor) or image.ndim != 3 or image.shape[0] != 3:
        raise DataError(f"{made} {_kind(image)}; a tensor of 3 x H x W is needed")
    if image.dtype != torch.uint8:
        raise DataError(f"{made} {image.dtype}; leave out ToDtype and Normalize, networks normalize")
    size = tuple(image.shape[1:])
    if not isinstance(mask, Tensor) or tuple(mask.shape) not in (size, (1, *size)) or mask.is_floating_point():
        kind = f"{mask.dtype} {_kind(mask)}" if isinstance(mask, Tensor) else _kind(mask)
        raise DataError(f"the transform made the mask of {sample.name} {kind}; class ids of the image's size {size} are needed")
    image, mask = image.as_subclass(Tensor).contiguous(), mask.as_subclass(Tensor).reshape(size).to(torch.uint8)
    return sample._replace(image=image, mask=mask)


def _kind(value: Any) -> str:
    return f"of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__


@contextmanager
def _seeded(generator: torch.Generator) -> Iterator[None]:
    """Seed the global generators of the processor from ``generator`` within the block, and restore them."""
    seed = int(torch.randint(2**32, (), generator=generator))
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)  # torch.manual_seed would seed GPUs too
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
