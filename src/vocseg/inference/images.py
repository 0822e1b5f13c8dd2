"""Images of any kind as tensors, read ahead, and in batches of equal size."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vocseg.data.image_io import read_image
from vocseg.errors import DataError

ImageLike = str | Path | Image.Image | np.ndarray[Any, Any] | Tensor
"""A file, a Pillow image, or uint8 RGB pixels: an array H x W x 3 or a tensor 3 x H x W."""

Item = TypeVar("Item")
Value = TypeVar("Value")
Size = tuple[int, ...]
"""Height and width."""

WAITING = 128
"""How many later images an image may wait for others of its size."""


def to_pixels(image: Any) -> Tensor:
    """Return an image as a uint8 RGB tensor, 3 x H x W; DataError if it is not one or cannot be read."""
    if isinstance(image, str | Path):
        return read_image(image)
    if isinstance(image, Image.Image):
        image = np.array(image.convert("RGB"))
    if isinstance(image, np.ndarray) and image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3:
        return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1).contiguous()
    if isinstance(image, Tensor) and image.dtype == torch.uint8 and image.dim() == 3 and image.shape[0] == 3:
        return image
    described = f"{tuple(image.shape)} {image.dtype}" if isinstance(image, Tensor | np.ndarray) else type(image).__name__
    raise DataError(
        f"an image is a file, a Pillow image, or uint8 pixels, H x W x 3 in numpy and 3 x H x W in torch, not {described}"
    )


def stacked(images: Sequence[Tensor]) -> Tensor:
    """Return tensors of one shape as a batch; a single one is not copied."""
    return images[0][None] if len(images) == 1 else torch.stack(tuple(images))


def batches_by_size(
    items: Iterable[Item], size_of: Callable[[Item], Size], batch_size: Callable[[Size], int]
) -> Iterator[list[Item]]:
    """Group items of equal size into batches of ``batch_size(size)``, each yielded when it is full.

    No item waits for more than ``WAITING`` later ones, so memory is bounded.

    >>> list(batches_by_size([(4, 4), (2, 9), (4, 4), (2, 9), (2, 9)], lambda item: item, lambda size: 2))
    [[(4, 4), (4, 4)], [(2, 9), (2, 9)], [(2, 9)]]
    """
    waiting: dict[Size, list[Item]] = {}  # in the order of their first items
    since: dict[Size, int] = {}
    for number, item in enumerate(items):
        size = size_of(item)
        since.setdefault(size, number)
        waiting.setdefault(size, []).append(item)
        oldest = next(iter(waiting))
        if len(waiting[size]) >= batch_size(size):
            oldest = size
        elif number - since[oldest] < WAITING:
            continue
        del since[oldest]
        yield waiting.pop(oldest)
    yield from waiting.values()


def read_ahead(read: Callable[[Item], Value], items: Iterable[Item], threads: int) -> Iterator[Value]:
    """Apply ``read`` to the items in order, in threads that are at most two results each ahead; with none, on demand."""
    if not threads:
        yield from map(read, items)
        return
    waiting: deque[Future[Value]] = deque()
    pool = ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > 2 * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)
