"""Many images, one after another, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from vocseg.data.loader import evaluation_workers
from vocseg.errors import DataError, reason
from vocseg.inference.images import read_ahead, to_pixels
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import find_images

if TYPE_CHECKING:
    from vocseg.inference.segmenter import Segmenter

OnError = Literal["raise", "skip"]


class Loaded(NamedTuple):
    """An image in memory, uint8 RGB, 3 x H x W; its file, or its number; the seconds that reading took; notes on it."""

    pixels: Tensor
    key: Path | int
    seconds: float
    notes: list[str]

    @property
    def source(self) -> Path | None:
        return self.key if isinstance(self.key, Path) else None


def load(number: int, image: Any) -> Loaded:
    start, notes = time.perf_counter(), list[str]()
    pixels = to_pixels(image, notes)
    return Loaded(pixels, Path(image) if isinstance(image, str | Path) else number, time.perf_counter() - start, notes)


def load_or_error(numbered: tuple[int, Any]) -> tuple[Path | int, Loaded | DataError]:
    number, image = numbered
    key = Path(image) if isinstance(image, str | Path) else number
    try:
        return key, load(number, image)
    except DataError as error:
        return key, error
    except Exception as error:  # one image never ends a stream
        return key, DataError(f"cannot read image {key}: {type(error).__name__}: {reason(error)}")


class Stream(Iterator[Segmentation]):
    """Results in the order of the images, made by :meth:`Segmenter.stream`.

    ``errors``: of the images that could not be read so far, by file, or by position in the source.
    """

    def __init__(self, segmenter: Segmenter, sources: Any, batch_size: int | None, on_error: OnError) -> None:
        self.errors: dict[Path | int, DataError] = {}
        if isinstance(sources, str | Path):
            sources = [found.path for found in find_images(sources, skipped=self.errors)]
        self._results: Any = self._segment(segmenter, sources, batch_size, on_error)

    def __next__(self) -> Segmentation:
        return next(self._results)

    def close(self) -> None:
        """Stop reading ahead; the stream ends."""
        self._results.close()

    def _segment(self, segmenter: Segmenter, images: Any, batch_size: int | None, on_error: OnError) -> Iterator[Segmentation]:
        total = len(images) if hasattr(images, "__len__") else 1
        items = enumerate(self._readable(images, evaluation_workers(segmenter.device), on_error))
        done: dict[int, Segmentation | None] = {}
        following = 0
        for batch in segmenter.batches(items, lambda item: item[1].pixels.shape[1:], batch_size):
            results = self._attempt(segmenter, [item for _, item in batch], total, on_error)
            done.update(zip((number for number, _ in batch), results, strict=True))
            while following in done:
                result = done.pop(following)
                following += 1
                if result is not None:
                    yield result
        if on_error == "raise" and self.errors:
            raise next(iter(self.errors.values()))

    def _attempt(self, segmenter: Segmenter, batch: list[Loaded], total: int, on_error: OnError) -> list[Any]:
        """Segment a batch; if that fails, for want of memory most often, one by one, with None for an image that fails."""
        try:
            return segmenter.segment_loaded(batch, total)
        except DataError as error:
            if len(batch) > 1:
                return [self._attempt(segmenter, [item], total, on_error)[0] for item in batch]
            if on_error == "raise":
                raise
            self.errors[batch[0].key] = error
            return [None]

    def _readable(self, images: Iterable[Any], threads: int, on_error: OnError) -> Iterator[Loaded]:
        for key, item in read_ahead(load_or_error, enumerate(images), threads):
            if isinstance(item, Loaded):
                yield item
                continue
            self.errors[key] = item
            if on_error == "raise":
                return  # the results of the images before it come first
