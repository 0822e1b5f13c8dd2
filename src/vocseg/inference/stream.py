"""The results of many images, one after another."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar

from torch import Tensor

from vocseg.data.loader import evaluation_workers
from vocseg.errors import DataError
from vocseg.inference.images import batches_by_size, to_pixels
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import find_images

if TYPE_CHECKING:
    from vocseg.inference.segmenter import Segmenter

OnError = Literal["raise", "skip"]
Item = TypeVar("Item")
Value = TypeVar("Value")


class Loaded(NamedTuple):
    """An image in memory, uint8 RGB, 3 x H x W; its file, if it came from one; and the seconds that reading took."""

    pixels: Tensor
    source: Path | None
    seconds: float

    @property
    def size(self) -> tuple[int, int]:
        """Height and width."""
        return self.pixels.shape[1], self.pixels.shape[2]


def load(image: Any) -> Loaded:
    """Read an image; DataError if it is not one or cannot be read."""
    start = time.perf_counter()
    pixels = to_pixels(image)
    return Loaded(pixels, Path(image) if isinstance(image, str | Path) else None, time.perf_counter() - start)


class Stream(Iterator[Segmentation]):
    """Results in the order of the images, made by :meth:`vocseg.Segmenter.stream`.

    ``errors``: what was skipped so far, by file, or by position in the source.
    """

    def __init__(self, segmenter: Segmenter, sources: Any, batch_size: int | None = None, on_error: OnError = "raise") -> None:
        self.errors: dict[Path | int, DataError] = {}
        self._segmenter = segmenter
        self._skip = on_error == "skip"
        self._failure: DataError | None = None
        images = [found.path for found in find_images(sources)] if isinstance(sources, str | Path) else sources
        self._total = len(images) if hasattr(images, "__len__") else 1
        self._results = self._segment(images, batch_size)

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> Segmentation:
        return next(self._results)

    def close(self) -> None:
        """Stop reading ahead; the stream ends."""
        self._results.close()

    def _segment(self, images: Iterable[Any], batch_size: int | None) -> Any:
        done: dict[int, Segmentation] = {}
        following = 0
        items = enumerate(self._read(images))

        def limit(size: tuple[int, int]) -> int:
            return batch_size or self._segmenter.batch_size(size)

        for batch in batches_by_size(items, lambda item: item[1].size, limit):
            results = self._segmenter.segment_batch([item for _, item in batch], self._total)
            done.update(zip((number for number, _ in batch), results, strict=True))
            while following in done:
                yield done.pop(following)
                following += 1
        if self._failure is not None:
            raise self._failure

    def _read(self, images: Iterable[Any]) -> Iterator[Loaded]:
        """Read the images; stop at the first error unless errors are skipped."""
        read = read_ahead(_load_or_error, enumerate(images), evaluation_workers(self._segmenter.device))
        for key, item in read:
            if isinstance(item, Loaded):
                yield item
            elif self._skip:
                self.errors[key] = item
            else:
                self._failure = item  # raised after the results of the images before it
                return


def _load_or_error(numbered: tuple[int, Any]) -> tuple[Path | int, Loaded | DataError]:
    number, image = numbered
    key = Path(image) if isinstance(image, str | Path) else number
    try:
        return key, load(image)
    except DataError as error:
        return key, error


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
