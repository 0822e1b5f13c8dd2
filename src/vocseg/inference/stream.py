"""Many images, one after another, in bounded memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from itertools import chain, islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from torch import Tensor

from vocseg.data.loader import evaluation_workers
from vocseg.download.content import is_url
from vocseg.errors import DataError, reason, shown
from vocseg.inference.images import NamedBytes, read_ahead, to_pixels
from vocseg.inference.reading import expected, one_by_one
from vocseg.inference.result import Segmentation
from vocseg.inference.sources import Item, find_images
from vocseg.inference.video import Reading
from vocseg.utils.urls import is_remote

if TYPE_CHECKING:
    from vocseg.inference.segmenter import Segmenter

OnError = Literal["raise", "skip"]

LARGE = 1 << 25
"""Pixels of an image above which it is segmented while no other large one is, which bounds the memory."""


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


class Done(NamedTuple):
    """What became of an image of a stream; its file, or its number, and its item."""

    key: Path | str | int
    item: Item | None
    result: Segmentation | DataError


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
    if is_url(image) or is_remote(image):
        return shown(image)
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

    ``errors``: of the images before the last result that could not be read, by file or address, or by position in the source.
    ``item``: of the last result, if the source has :class:`Item`. ``total``: how many images the engine is
    chosen for; by default those of the source.
    """

    def __init__(
        self, segmenter: Segmenter, sources: Any, batch_size: int | None, on_error: OnError, reading: Reading,
        keep_logits: bool = False, total: int | None = None, errors: dict[Any, DataError] | None = None,
    ) -> None:  # fmt: skip
        self.errors: dict[Path | str | int, DataError] = {} if errors is None else errors
        self.item: Item | None = None
        if isinstance(sources, str | Path):
            sources = find_images(sources, skipped=self.errors)
        self._reading = reading
        self._results: Any = self._segment(segmenter, sources, batch_size, on_error, keep_logits, total)

    def __next__(self) -> Segmentation:
        self.item, result = next(self._results)
        return result

    def close(self) -> None:
        """Stop reading ahead; the stream ends."""
        self._results.close()

    def _segment(
        self, segmenter: Segmenter, images: Any, batch_size: int | None, on_error: OnError, keep_logits: bool, total: int | None
    ) -> Iterator[Any]:
        total = expected(images, self._reading) if total is None else total
        done: dict[int, Done] = {}  # by the image's number
        loaded = self._readable(images, max(1, evaluation_workers(segmenter.device)), on_error, done)
        batches = segmenter.batches(loaded, lambda image: image[1].pixels.shape[1:], batch_size)
        first = list(islice(batches, segmenter.images_at_once(total)))
        threads = len(first) if len(first) > 1 else 0
        segment = partial(_segmented, partial(segmenter.segment_loaded, total=total, keep_logits=keep_logits), Lock())
        segmented = read_ahead(segment, chain(first, batches), threads, each=1, share=True)
        following = 0
        for results in chain(segmented, [()]):  # errors of the last images may follow the last results
            done.update(results)
            while following in done:
                key, item, result = done.pop(following)
                following += 1
                if isinstance(result, Segmentation):
                    yield item, result
                elif on_error == "raise":
                    raise result
                else:
                    self.errors[key] = result
        if on_error == "raise" and self.errors:  # of finding the images
            raise next(iter(self.errors.values()))

    def _readable(
        self, images: Iterable[Any], threads: int, on_error: OnError, failed: dict[int, Done]
    ) -> Iterator[tuple[int, Loaded]]:
        """Yield the images that can be read, with their numbers; the errors of the others go to ``failed``."""
        numbered = enumerate(one_by_one(images, self._reading))
        for number, (key, image) in enumerate(read_ahead(load_or_error, numbered, threads)):
            if isinstance(image, Loaded):
                yield number, image
                continue
            failed[number] = Done(key, None, image)
            if on_error == "raise":
                return  # the results of the images before it come first


def _segmented(
    segment: Callable[[list[Loaded]], list[Segmentation]], large: Lock, batch: list[tuple[int, Loaded]]
) -> list[tuple[int, Done]]:
    """Segment a batch; if that fails, for want of memory most often, one by one; large images one at a time in any case."""
    images = [image for _, image in batch]
    results: Sequence[Segmentation | DataError]
    try:
        with large if images[0].pixels.numel() > 3 * LARGE else nullcontext():
            results = segment(images)
    except DataError as error:
        if len(batch) > 1:
            return [_segmented(segment, large, [numbered])[0] for numbered in batch]
        results = [error]
    return [(number, Done(image.key, image.item, result)) for (number, image), result in zip(batch, results, strict=True)]
