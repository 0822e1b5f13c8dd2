"""The network behind a bounded queue, in threads: several images at a time, each by its share of the processors."""

from __future__ import annotations

import asyncio
import logging
import math
import sys
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import torch
from starlette.exceptions import HTTPException

from vocseg.app.serve.limits import Limits
from vocseg.data.image_io import FORMATS, HEAD, image_format, open_image
from vocseg.errors import DataError, ImageError
from vocseg.inference.engines import MANY
from vocseg.inference.images import NamedBytes
from vocseg.inference.result import Segmentation
from vocseg.inference.segmenter import Segmenter
from vocseg.inference.sources import Item
from vocseg.inference.stream import Loaded, load
from vocseg.utils.text import counted

Answer = TypeVar("Answer")
Render = Callable[[Segmentation, "Stopwatch"], Answer]

WARM_SIZE = 375, 500
"""Height and width of the image that is segmented before the service says that it is ready."""
MAX_SIDE = 1 << 14
"""Pixels of an image's side: the work for a thin strip grows with the square of its length."""
CLIENT_GONE = 499
"""Status, in the log, of a request whose client closed the connection."""


log = logging.getLogger("vocseg.serve")


class Stopwatch:
    """Times of the stages of an image, ``ms``: wait, decode, network, encode."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, stage: str) -> None:
        """End a stage."""
        now = time.perf_counter()
        self.ms[stage] = round(self.ms.get(stage, 0.0) + 1000 * (now - self._last), 2)
        self._last = now


class Upload(NamedTuple):
    """The content of an image file, and what names it in errors."""

    content: bytes
    name: str = "upload"


class Job(Generic[Answer]):
    """An image on its way; ``render`` makes the answer of its mask."""

    def __init__(self, upload: Upload, render: Render[Answer]) -> None:
        self.upload: Upload | None = upload
        self.render = render
        self.watch = Stopwatch()
        self.started = False


class Service:
    """Segments uploads in threads. Used from one event loop.

    ``is_warm``: whether the network has run once. ``is_ending``: whether new work is refused.
    """

    def __init__(self, segmenter: Segmenter, limits: Limits) -> None:
        self.segmenter, self.limits = segmenter, limits
        self.is_warm = self.is_ending = False
        self.taken = 0
        """Images that wait or are segmented."""
        self.running = 0
        self.buffered = 0
        """Bytes of uploads that arrive."""
        self.on_times: Callable[[dict[str, float]], None] = lambda times: None
        self._turn = threading.Condition()
        self._decoded: list[Job[Any]] = []
        self._seconds = 0.5  # of an image, a moving mean
        # As many again decode and encode while all workers are in the network, so that there is an image for it.
        self._pool = ThreadPoolExecutor(2 * limits.workers, "vocseg-serve", torch.set_num_threads, (limits.threads,))

    @property
    def capacity(self) -> int:
        return self.limits.workers + self.limits.queue

    @property
    def waiting(self) -> int:
        return self.taken - self.running

    def check_room(self, images: int = 1) -> None:
        """Raise 503 if the service ends, 429 if the queue has no room for so many images."""
        if self.is_ending:
            raise HTTPException(503, "the server is ending; ask another one, or later", {"Retry-After": "5"})
        if self.taken + images > self.capacity:
            seconds = max(1, math.ceil(self.taken * self._seconds / self.limits.workers))
            message = f"the queue is full: {counted(self.waiting, 'image')} wait; try again later"
            raise HTTPException(429, message, {"Retry-After": str(seconds)})

    async def run(
        self, uploads: Sequence[Upload], render: Render[Answer], gone: Coroutine[Any, Any, None]
    ) -> list[Answer | HTTPException]:  # fmt: skip
        """Segment uploads, and return their answers in order, or what is wrong with each.

        ``gone`` ends when the client has closed the connection; what still waits then leaves the queue. Raises 429, 503
        and 504 (:class:`HTTPException`) if there is no room or no time.
        """
        watcher = asyncio.ensure_future(gone)
        jobs: list[Job[Answer]] = []
        futures: list[Future[Answer]] = []
        try:
            self.check_room(len(uploads))
            jobs = [Job(upload, render) for upload in uploads]
            futures = [self._submit(job) for job in jobs]
            done = asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
            either: set[asyncio.Future[Any]] = {done, watcher}
            await asyncio.wait(either, timeout=self.limits.timeout, return_when=asyncio.FIRST_COMPLETED)
            if done.done():
                return [_told(answer) for answer in done.result()]
            done.add_done_callback(lambda ended: ended.cancelled() or ended.exception())  # else asyncio logs it
            done.cancel()
            if watcher.done():
                raise HTTPException(CLIENT_GONE, "the client has closed the connection")
            if any(job.started for job in jobs):
                raise HTTPException(504, f"no mask within {self.limits.timeout:g} s; send a smaller image")
            raise HTTPException(503, f"no free worker within {self.limits.timeout:g} s; try again later", {"Retry-After": "1"})
        finally:
            watcher.cancel()
            with self._turn:
                for job, future in zip(jobs, futures, strict=False):
                    if future.cancel() or not job.started:
                        job.upload = None  # the pool holds the job until its turn
                self._turn.notify_all()

    def _submit(self, job: Job[Answer]) -> Future[Answer]:
        with self._turn:
            self.taken += 1
        future = self._pool.submit(self._work, job)
        future.add_done_callback(self._leave)
        return future

    def _leave(self, future: Future[Any]) -> None:
        with self._turn:
            self.taken -= 1

    def _work(self, job: Job[Answer]) -> Answer:
        upload, watch = job.upload, job.watch
        if upload is None:
            raise CancelledError
        watch.lap("wait")
        loaded = self._load(upload)
        watch.lap("decode")
        with self._network(job):
            watch.lap("wait")
            [result] = self.segmenter.segment_loaded([loaded], total=MANY, keep_logits=True)
        watch.lap("network")
        answer = job.render(result, watch)
        if "encode" not in watch.ms:
            watch.lap("encode")
        self.is_warm = True
        self.on_times(watch.ms)
        self._seconds += ((sum(watch.ms.values()) - watch.ms["wait"]) / 1000 - self._seconds) / 16
        return answer

    @contextmanager
    def _network(self, job: Job[Any]) -> Iterator[None]:
        """Wait for a worker; raise CancelledError if the client leaves before."""
        with self._turn:
            self._decoded.append(job)
            try:
                self._turn.wait_for(lambda: job.upload is None or (self.running < self.limits.workers and self._decoded[0] is job))
            finally:
                self._decoded.remove(job)
                self._turn.notify_all()
            if job.upload is None:
                raise CancelledError
            job.started = True
            self.running += 1
        try:
            yield
        finally:
            with self._turn:
                self.running -= 1
                self._turn.notify_all()

    def _load(self, upload: Upload) -> Loaded:
        """Decode an upload, unless it has too many pixels or is of another format: 413, 415, 422."""
        file = NamedBytes(upload.content, upload.name)
        try:
            if upload.content and image_format(upload.content[:HEAD]) is None:
                known = ", ".join(FORMATS)
                raise HTTPException(415, f"{upload.name} is not an image, or in a format that is not read ({known} are)")
        except ValueError as error:
            raise HTTPException(415, f"{upload.name} cannot be read: {error}") from error
        try:
            # The limit of files names an option of the server's, which a client cannot set.
            with open_image(file, decode=False, most=sys.maxsize) as image:
                width, height = image.size
            if width * height > self.limits.max_pixels or max(width, height) > MAX_SIDE:
                limit = f"{self.limits.max_pixels / 1e6:g} million, at most {MAX_SIDE:,} a side"
                text = f"it has {width} x {height} pixels, and this server takes {limit}; send a smaller copy"
                raise HTTPException(413, f"cannot read image {upload.name}: {text}")
            return load(0, Item(Path(upload.name), Path(upload.name), lambda: file))
        except ImageError as error:
            raise HTTPException(422, str(error)) from error

    async def warm(self) -> None:
        """Run the network once."""
        height, width = WARM_SIZE
        image = Loaded(torch.zeros(3, height, width, dtype=torch.uint8), 0, 0.0, [])
        try:
            await asyncio.wrap_future(self._pool.submit(self.segmenter.segment_loaded, [image], total=MANY))
            self.is_warm = True
        except Exception:
            log.exception("the network does not run")

    def end(self) -> None:
        """Refuse new work from now on."""
        self.is_ending = True

    async def idle(self) -> None:
        """Wait until all work is done."""
        while self.taken:
            await asyncio.sleep(0.02)

    def close(self) -> None:
        """End the threads, after what they are at."""
        self.end()
        self._pool.shutdown(wait=True, cancel_futures=True)


def _told(answer: Answer | BaseException) -> Answer | HTTPException:
    """Return what a client is told of an error; one that is not of the client's making is raised."""
    if isinstance(answer, DataError):
        return HTTPException(500, str(answer))
    if isinstance(answer, BaseException) and not isinstance(answer, HTTPException):
        raise answer
    return answer
