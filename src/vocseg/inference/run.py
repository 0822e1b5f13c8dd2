"""Send images through a Segmenter, and the results to sinks."""

from __future__ import annotations

import errno
import logging
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import chain, groupby
from pathlib import Path
from typing import Any, cast

import torch

from vocseg.data.image_io import read_mask
from vocseg.errors import DataError, OutputError, reason
from vocseg.inference.clip_writer import is_clip_of
from vocseg.inference.folders import is_prediction
from vocseg.inference.predictions import Prediction, Predictions
from vocseg.inference.reading import expected, one_by_one
from vocseg.inference.segmenter import Segmentation, Segmenter
from vocseg.inference.sinks import MASK, OVERLAY, CollectingSink, Sink
from vocseg.inference.sources import Item
from vocseg.inference.stream import Stream
from vocseg.inference.tiled_run import predict_refused, predict_tiled
from vocseg.inference.video import Reading
from vocseg.inference.video_sink import ClipSink
from vocseg.models import ModelInfo
from vocseg.utils.progress import progress
from vocseg.utils.staging import pulled, staging_of, upload
from vocseg.utils.stand_ins import published
from vocseg.utils.text import shares

log = logging.getLogger("vocseg.predict")
WAITING = 2
"""How many results may wait to be written."""


class Run:
    """A call of ``predict``: ``rows`` of what was written, ``errors`` of what was skipped, and how many were ``existing``.

    ``places``: of the rows, those of their images in the source.

    ``total``: how many images the engine is chosen for, if not for those that are passed.
    ``options``: of :meth:`Segmenter.stream`. ``tile``, ``overlap``: of :meth:`Segmenter.segment_tiled`, if that is wanted.
    """

    def __init__(
        self, segmenter: Segmenter, info: ModelInfo, sinks: Sequence[Sink], errors: dict[Any, DataError],
        options: dict[str, Any], skip_existing: bool, tile: int | None = None, overlap: int | None = None,
        total: int | None = None,
    ) -> None:  # fmt: skip
        self.segmenter, self.info, self.sinks, self.errors, self.options = segmenter, info, sinks, errors, options
        self.skip_existing, self.rows, self.places, self.existing = skip_existing, list[Prediction](), list[int](), 0
        self.tile, self.overlap, self.total = tile, overlap, total
        self._collecting = [sink for sink in sinks if isinstance(sink, CollectingSink)]

    def predict(self, items: Sequence[Item], title: str | None, log_each: bool = False) -> None:
        """Segment the images and write their results; an image that fails goes to ``errors``."""
        if self.tile:
            predict_tiled(self, items, self.tile, self.overlap, title)
            return
        images = _Remaining(self, items) if self.skip_existing else items
        needs_logits = any(sink.needs_logits for sink in self.sinks)
        stream = Stream(
            self.segmenter, images, self.options["batch_size"], "skip", self.reading(), needs_logits, self.total, self.errors
        )
        with closing(stream):
            results = ((result, cast(Item, stream.item)) for result in progress(stream, len(items), title))
            for row in self._written(results):
                if log_each and row is not None:
                    log.info("%s: %s", row.name, ", ".join(shares(row.areas)))
                    self.errors.pop(row.image, None)  # of the file as it was before
        predict_refused(self, items, title)

    def result(self, model: str, shared: Sequence[Path]) -> Predictions:
        """Return what was done so far."""
        files = tuple(map(published, shared))
        return Predictions(model, tuple(self.rows), self.errors, len(self.rows) + len(self.errors), self.existing, files)

    def _written(self, results: Iterable[tuple[Segmentation, Item]]) -> Iterator[Prediction | None]:
        """Write results in a thread, in order, while the network is at the next images; those it has done are always written."""
        waiting: deque[Future[Prediction | None]] = deque()
        with ThreadPoolExecutor(1) as pool:
            for result in results:
                waiting.append(pool.submit(self._write, *result))
                if len(waiting) > WAITING:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()

    def _write(self, result: Segmentation, item: Item) -> Prediction | None:
        """Write the files of an image; what only this image cannot do becomes one of the ``errors``."""
        result = replace(result, info=self.info)
        try:
            for sink in self.sinks:
                sink.write(result, item)
            areas = result.areas()
        except (OutputError, OSError) as error:
            number = getattr(error, "errno", None) or getattr(error.__cause__, "errno", None)
            if number not in (errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ):
                raise  # a full disk, say
            self.errors[item.key] = DataError(f"image {item.key} has no output: {reason(error)}")
        except (MemoryError, RuntimeError, ValueError) as error:
            self.errors[item.key] = DataError(f"image {item.key} has no output: {type(error).__name__}: {error}")
        except DataError as error:
            self.errors[item.key] = error
        else:
            upload(self._files(item).values())
            files = {suffix: published(file) for suffix, file in self._files(item).items()}
            mask, overlay = files.pop(MASK, None), files.pop(OVERLAY, None)
            size = result.network_size if result.shrunk else None
            row = Prediction(item.key, str(item.relative), mask, overlay, result.seconds, areas, size, result.notes)
            return self.add(replace(row, files=tuple(files.values())), item)
        return None

    def add(self, row: Prediction, item: Item) -> Prediction:
        """Note what was written for an image."""
        self.rows.append(row)
        self.places.append(item.place)
        return row

    def reading(self) -> Reading:
        """Return which images of files with several are read."""
        return Reading(**{name: value for name, value in self.options.items() if name != "batch_size"})

    def remaining_frames(self, item: Item) -> Iterator[Item]:
        """Yield the frames of a video that have no results yet; all of them, if a video is made of them."""
        frames, reading = partial(one_by_one, [item], self.reading()), self.reading()
        clips = [sink.file(item) for sink in self.sinks if isinstance(sink, ClipSink)]
        if not clips:
            yield from (frame for frame in frames() if not self.is_done(frame))
            return
        done: list[Item] = []
        if not item.is_live and all(is_clip_of(clip, reading) for clip in clips):
            for frame in frames():
                if not self.exists(frame):
                    break
                done.append(frame._replace(read=None, frame=frame.frame and frame.frame._replace(picture=None)))
            else:
                for frame in done:
                    self.is_done(frame)
                return
        yield from frames()

    def exists(self, item: Item) -> bool:
        """Tell whether all files of an image are there, and sinks of shared files can read its mask."""
        files = self._files(item)
        mask = files[MASK]
        if staging := staging_of(mask):  # listed once; a file is not opened
            return all(map(staging.has, files.values()))
        return (
            all(file.is_file() for file in files.values()) and is_prediction(mask) and (mask.suffix == MASK or not self._collecting)
        )

    def _files(self, item: Item) -> dict[str, Path]:
        return {sink.suffix: sink.file(item) for sink in self.sinks if sink.suffix}

    def is_done(self, item: Item) -> bool:
        """Tell whether an earlier call wrote all files of an image; its mask then goes to the sinks of shared files."""
        if not self.exists(item):
            return False
        if self._collecting:
            try:
                with pulled(self._files(item)[MASK]) as file:
                    mask = read_mask(file, len(self.info.classes))
            except DataError:
                return False  # of another model
            for sink in self._collecting:
                sink.write(Segmentation(torch.empty(3, 0, 0, dtype=torch.uint8), mask, self.info, item.key), item)
        self.existing += 1
        return True


class _Remaining:
    """The images that have no results yet; archives, pages and videos are opened to find theirs."""

    def __init__(self, run: Run, items: Sequence[Item]) -> None:
        self._run, self._items = run, [item for item in items if item.is_video or not run.is_done(item)]
        self._outputs = {item.output for item in items}

    def __len__(self) -> int:
        return expected(self._items, self._run.reading())

    def __iter__(self) -> Iterator[Item]:
        for is_video, group in groupby(self._items, key=lambda item: item.is_video):
            if is_video:
                yield from chain.from_iterable(map(self._run.remaining_frames, group))
                continue
            for item in one_by_one(group, self._run.reading()):
                is_page = item.output not in self._outputs
                if not is_page or not self._run.is_done(item):
                    yield item
