"""Many images, one after another, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from vocseg.data.loader import evaluation_workers
from vocseg.download.content import is_url
from vocseg.errors import DataError, reason
from vocseg.inference.images import NamedBytes, read_ahead, to_pixels
from vocseg.inference.reading import one_by_one
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item, find_images
from vocseg.inference.video import Reading

if TYPE_CHECKING:
    from vocseg.inference.segmenter import Segmenter

OnError = Literal["raise", "skip"]


class Loaded(NamedTuple):
    """An image in memory, uint8 RGB, 3 x H x W; its file, or its number; the seconds that reading took; notes; its item."""

    pixels: Tensor
    key: Path | str | int
    seconds: float
    notes: list[str]
    item: Item | None = None

    @property
    def source(self) -> Path | str | None:
        return None if isinstance(self.key, int) else self.key


def load(number: int, image: Any) -> Loaded:
    start, notes = time.perf_counter(), list[str]()
    item = image if isinstance(image, Item) else None
    content = image if item is None else item.path if item.read is None else item.read()
    if item is not None and isinstance(content, bytes):
        content = NamedBytes(content, str(item.key))
    pixels = to_pixels(content, notes)
    return Loaded(pixels, _key(number, image), time.perf_counter() - start, notes, item)


def _key(number: int, image: Any) -> Path | str | int:
    if isinstance(image, Item):
        return image.key
    if is_url(image):
        return str(image)
    return Path(image) if isinstance(image, str | Path) else number


def load_or_error(numbered: tuple[int, Any]) -> tuple[Path | str | int, Loaded | DataError]:
    number, image = numbered
    key = _key(number, image)
    try:
        return key, load(number, image)
    except DataError as error:
        return key, error
    except Exception as error:  # one image never ends a stream
        return key, DataError(f"cannot read image {key}: {type(error).__name__}: {reason(error)}")


class Stream(Iterator[Segmentation]):
    """Results in the order of the images, made by :meth:`Segmenter.stream`.

    ``errors``: of the images that could not be read so far, by file or address, or by position in the source.
    ``item``: of the last result, if the source has :class:`Item`.
    """

    def __init__(self, segmenter: Segmenter, sources: Any, batch_size: int | None, on_error: OnError, reading: Reading) -> None:
        self.errors: dict[Path | str | int, DataError] = {}
        self.item: Item | None = None
        if isinstance(sources, str | Path):
            sources = find_images(sources, skipped=self.errors)
        self._reading = reading
        self._results: Any = self._segment(segmenter, sources, batch_size, on_error)

    def __next__(self) -> Segmentation:
        self.item, result = next(self._results)
        return result

    def close(self) -> None:
        """Stop reading ahead; the stream ends."""
        self._results.close()

    def _segment(self, segmenter: Segmenter, images: Any, batch_size: int | None, on_error: OnError) -> Iterator[Any]:
        total = len(images) if hasattr(images, "__len__") else 1
        items = enumerate(self._readable(images, max(1, evaluation_workers(segmenter.device)), on_error))
        done: dict[int, tuple[Item | None, Segmentation | None]] = {}
        following = 0
        for batch in segmenter.batches(items, lambda item: item[1].pixels.shape[1:], batch_size):
            results = self._attempt(segmenter, [item for _, item in batch], total, on_error)
            done.update({number: (item.item, result) for (number, item), result in zip(batch, results, strict=True)})
            while following in done:
                item, result = done.pop(following)
                following += 1
                if result is not None:
                    yield item, result
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
        for key, item in read_ahead(load_or_error, enumerate(one_by_one(images, self._reading)), threads):
            if isinstance(item, Loaded):
                yield item
                continue
            self.errors[key] = item
            if on_error == "raise":
                return  # the results of the images before it come first
