"""Images of any kind as tensors, read ahead, and in batches of equal size."""

from __future__ import annotations

import io
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from typing import IO, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vocseg.data.image_io import read_image, rgb_pixels
from vocseg.download.content import download_bytes, is_url
from vocseg.errors import DataError
from vocseg.utils.remote import read_bytes
from vocseg.utils.urls import is_remote

ImageLike = str | Path | bytes | IO[bytes] | Image.Image | np.ndarray[Any, Any] | Tensor
"""A file, an address, a file's bytes, a Pillow image, or pixels: an array H x W x channels or a tensor channels x H x W."""

Item = TypeVar("Item")
Value = TypeVar("Value")
Size = tuple[int, ...]
"""Height and width."""

CHANNELS = (1, 3, 4)
"""Gray, RGB, RGB with alpha."""

WAITING = 128
"""How many later images an image may wait for others of its size."""


class NamedBytes(io.BytesIO):
    """A file in memory whose ``name`` is shown in errors."""

    def __init__(self, content: bytes, name: str) -> None:
        super().__init__(content)
        self.name = name


def to_pixels(image: Any, notes: list[str] | None = None) -> Tensor:
    """Return an image of any kind as a uint8 RGB tensor, 3 x H x W.

    Pixels are uint8, 0..255, or floats, 0..1; in one channel (gray; H x W too), three (RGB) or four (the last, alpha, is
    dropped). ``notes``: see :func:`vocseg.data.image_io.read_image`. Raises DataError for anything else, and for a file
    that cannot be read.
    """
    if is_url(image):
        return read_image(NamedBytes(download_bytes(str(image)), str(image)), notes)
    if is_remote(image):
        return read_image(NamedBytes(read_bytes(str(image)), str(image)), notes)
    if isinstance(image, str | Path):
        if not str(image).strip():
            raise DataError("an empty path names no image")
        if Path(image).is_dir():
            raise DataError(f"{image} is a folder; Segmenter.stream takes folders")
        return read_image(image, notes)
    if isinstance(image, bytes | bytearray | memoryview):
        return read_image(io.BytesIO(image), notes)
    if hasattr(image, "read") and not isinstance(image, Image.Image):
        return read_image(image, notes)
    pixels = _decoded(image, notes) if isinstance(image, Image.Image) else image
    if isinstance(pixels, np.ndarray) and pixels.dtype.kind in "uf" and pixels.ndim in (2, 3):
        # A copy of what torch cannot share: read-only arrays, negative strides, other byte orders.
        values = np.require(pixels.astype(pixels.dtype.newbyteorder("="), copy=False), requirements=["C", "W"])
        pixels = torch.from_numpy(values if values.ndim == 2 else values.transpose(2, 0, 1))
    if isinstance(pixels, Tensor) and (pixels.dtype == torch.uint8 or pixels.is_floating_point()):
        pixels = pixels.detach().as_subclass(Tensor)
        pixels = pixels[None] if pixels.dim() == 2 else pixels
        if pixels.dim() == 3 and len(pixels) in CHANNELS and pixels.numel():
            pixels = pixels[:3] if len(pixels) > 1 else pixels.expand(3, -1, -1)
            return (pixels if pixels.dtype == torch.uint8 else _scaled(pixels)).contiguous()
    raise DataError(_refusal(image))


def _decoded(image: Image.Image, notes: list[str] | None) -> NDArray[np.uint8]:
    """Return a Pillow image as uint8 RGB; it may be a file that is only now read."""
    name = getattr(image, "filename", "") or "in memory"
    try:
        return rgb_pixels(image, name, notes)
    except DataError:
        raise
    except Exception as error:
        raise DataError(f"cannot decode image {name}: {error}") from error


def _scaled(pixels: Tensor) -> Tensor:
    """Return float pixels, 0..1, as uint8."""
    low, high = (float(value) for value in pixels.aminmax())
    if not 0 <= low <= high <= 1:
        advice = "for 0..255 pass uint8" if low >= 0 else "pass the image before it is normalized"
        raise DataError(f"pixels of {pixels.dtype} must lie in 0..1, not in {low:.4g}..{high:.4g}; {advice}")
    return (pixels.float() * 255).round_().to(torch.uint8)


def _refusal(image: Any) -> str:
    """Say why an object is not an image."""
    wanted = "an image is a file, a Pillow image, or pixels (uint8, or floats in 0..1), H x W x 3 in numpy and 3 x H x W in torch"
    if not isinstance(image, Tensor | np.ndarray):
        return f"{wanted}, not {type(image).__name__}"
    shape, kind = tuple(image.shape), "torch" if isinstance(image, Tensor) else "numpy"
    refusal = f"{wanted}, not {shape} {image.dtype}"
    if len(shape) == 4:
        return f"{refusal}; pass a batch as a list: segment(list(images))"
    if len(shape) == 3 and 0 not in shape and shape[2 if kind == "torch" else 0] in CHANNELS:
        return f"{refusal}; turn the axes: {'image.permute(2, 0, 1)' if kind == 'torch' else 'image.transpose(1, 2, 0)'}"
    return refusal


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


def read_ahead(
    read: Callable[[Item], Value], items: Iterable[Item], threads: int, *, each: int = 2, share: bool = False
) -> Generator[Value]:
    """Apply ``read`` to the items in order, in threads that are at most ``each`` results ahead; with none, on demand.

    ``share``: torch computes in each of the threads with an equal share of the threads that it has here.
    """
    if not threads:
        yield from map(read, items)
        return
    waiting: deque[Future[Value]] = deque()
    pool = _sharing_pool(threads) if share else ThreadPoolExecutor(threads)
    try:
        for item in items:
            waiting.append(pool.submit(read, item))
            if len(waiting) > each * threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _sharing_pool(threads: int) -> ThreadPoolExecutor:
    """Start threads in which torch has an equal share of the threads that it has here, which keeps its own."""
    own, started = torch.get_num_threads(), Barrier(threads + 1)

    def start() -> None:
        torch.get_num_threads()  # a thread's first call takes the number of the process
        torch.set_num_threads(max(1, own // threads))
        started.wait()

    pool = ThreadPoolExecutor(threads, initializer=start)
    for _ in range(threads):
        pool.submit(int)  # or they would start later
    started.wait()
    torch.set_num_threads(own)  # for threads that start from now on
    return pool
