"""Load samples and batches in background processes with torch's DataLoader."""

from __future__ import annotations

import itertools
import multiprocessing.queues
import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vocseg.data.dataset import Batch, Sample, SplitDataset, size_text
from vocseg.errors import DataError, VocsegError, reason
from vocseg.utils.system import SIGNALS, cores, max_pixels, set_max_pixels

BatchTransform = Callable[[Sequence[Sample], torch.Generator], Sequence[Sample]]
"""Takes and returns the samples of a batch; all its randomness comes from the generator."""


def default_workers() -> int:
    """Return how many loader processes to start: half the cores, one to eight; the network needs the others."""
    return max(1, min(8, cores() // 2))


def evaluation_workers(device: torch.device) -> int:
    """Return how many loader processes an evaluation starts: none on a CPU with at most two cores."""
    # The network uses both, and reading an image costs less than handing it over from a process that competes.
    return 0 if device.type == "cpu" and cores() <= 2 else default_workers()


def samples(dataset: SplitDataset, workers: int, indices: Sequence[int] | None = None) -> Generator[Sample]:
    """Yield the samples of a data set, or those at ``indices``, in order.

    Close the generator if you do not take all of them: that ends the loader processes.
    """
    order = range(len(dataset)) if indices is None else indices
    prefetch = 4 if workers else None
    yield from _load(_Guarded(dataset), batch_size=None, sampler=order, num_workers=workers, prefetch_factor=prefetch)


def training_batches(
    dataset: SplitDataset,
    batch_size: int,
    workers: int,
    seed: int,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
    repeats: Tensor | None = None,
    mixing: BatchTransform | None = None,
    shuffle_buffer: int = 0,
) -> Generator[Batch]:
    """Yield shuffled batches of transformed samples without end, from iteration ``start`` on.

    Close the generator to end the loader processes. ``shard`` (rank, count) selects this process's part of each batch.

    The order is one seeded permutation of the data set after another, cut into batches across their ends: every batch
    is full and every image is seen equally often. The position in that order, not the worker or the time, seeds each
    sample's transform, so that a run resumed at an iteration sees the batches it would have seen.

    ``repeats`` (one number an image) draws as many images, each in proportion to its number, rounded up or down at
    random. ``mixing``, such as :class:`vocseg.data.transforms.mixing.Mixing`, mixes the samples of a batch in the
    loader's processes, with a generator seeded by the batch's position. ``shuffle_buffer`` reads a packed data set one
    shard after another, in random order, and draws from that many images that come next; otherwise, from all images.

    Raises DataError, as the data set does, and if the images of a batch differ in size.
    """
    window = Window(places, shuffle_buffer) if shuffle_buffer and (places := dataset.places) is not None else None
    order = _endless_order(len(dataset), seed, start * batch_size, repeats, window)
    rank, count = shard
    share = slice(rank * (batch_size // count), (rank + 1) * (batch_size // count))
    yield from _load(
        _Guarded(dataset),
        batch_sampler=(list(itertools.islice(order, batch_size))[share] for _ in itertools.count()),
        num_workers=workers,
        collate_fn=partial(_collate, mixing),
        pin_memory=torch.cuda.is_available(),
    )


class Window(NamedTuple):
    """How to shuffle images that are read in sequence: their places (shard and offset, N x 2), and how many are drawn from."""

    places: Tensor
    buffer: int

    def shuffled(self, drawn: Tensor, generator: torch.Generator) -> list[int]:
        """Return images shard by shard, in random order, each drawn from the ``buffer`` images that come next."""
        ranks = torch.randperm(int(self.places[:, 0].max()) + 1, generator=generator)
        order = drawn[self.places[drawn, 1].argsort(stable=True)]
        queue = order[ranks[self.places[order, 0]].argsort(stable=True)].tolist()
        held, coming = queue[: self.buffer], queue[self.buffer :]
        given = []
        for place, image in zip(torch.randint(len(held), (len(coming),), generator=generator).tolist(), coming, strict=True):
            given.append(held[place])
            held[place] = image
        return given + [held[place] for place in torch.randperm(len(held), generator=generator).tolist()]


def _endless_order(length: int, seed: int, start: int, repeats: Tensor | None, window: Window | None) -> Iterator[tuple[int, int]]:
    """Yield the index and the seed of each sample, in one permutation after another, from position ``start`` on."""
    for epoch in itertools.count(start // length):
        permutation = _permutation(length, torch.Generator().manual_seed(sample_seed(~seed & 0xFFFFFFFF, epoch)), repeats, window)
        for within in range(max(0, start - epoch * length), length):
            yield permutation[within], sample_seed(seed, epoch * length + within)


def _permutation(length: int, generator: torch.Generator, repeats: Tensor | None, window: Window | None) -> list[int]:
    drawn = torch.arange(length)
    if repeats is not None:
        # Systematic sampling: evenly spaced points on the images' intervals laid end to end.
        ends = repeats.double().cumsum(0)
        points = (torch.arange(length) + torch.rand((), generator=generator, dtype=torch.float64)) * (ends[-1] / length)
        drawn = torch.searchsorted(ends, points, right=True).clamp(max=length - 1)
    return window.shuffled(drawn, generator) if window is not None else drawn[torch.randperm(length, generator=generator)].tolist()


def sample_seed(seed: int, position: int) -> int:
    """Return the seed of the sample at a position of the training order, uncorrelated between neighbors."""
    # splitmix64's finalizer (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014)
    mixed = (seed * 0x9E3779B97F4A7C15 + (position + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ mixed >> 31) >> 1


def _start_worker(pixels: int, _worker: int) -> None:
    """Set the limit of pixels in a loader process, report batches that it cannot send, and ignore the first SIGTERM.

    The main process obeys that one, which goes to the whole process group. A second one ends the process: torch and
    multiprocessing send it to a process that does not end by itself.
    """
    set_max_pixels(pixels)
    # Its queue would drop what it cannot send, and the main process would wait for it forever.
    multiprocessing.queues.Queue._on_queue_feeder_error = _send_error_instead  # type: ignore[attr-defined]
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    if hasattr(signal, "pthread_sigmask"):  # not on Windows
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)


@contextmanager
def _held_signals() -> Iterator[None]:
    """Hold signals back in the block, and in loader processes until :func:`_start_worker`: torch's handler would end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _send_error_instead(queue: Any, error: Exception, item: tuple[int, Any]) -> None:
    queue.put((item[0], _no_handover(error)))


def _no_handover(error: Exception) -> VocsegError:
    """Return the error of loader processes that cannot hand over their batches."""
    cause = reason(error)
    if "AF_UNIX" in cause:
        cause = "TMPDIR is too long for a socket"
    elif "No space left" in cause:
        cause = "no room in /dev/shm (docker run --shm-size 2g makes more)"
    return VocsegError(f"loader processes cannot hand over batches: {cause}; or load in the main process: --workers 0")


class _Guarded(Dataset[Any]):
    """Return a VocsegError instead of raising it: DataLoader would bury its one line in a worker's traceback."""

    def __init__(self, dataset: SplitDataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int | tuple[int, int]) -> Sample | VocsegError:
        try:
            return self.dataset[index]
        except VocsegError as error:
            return error

    def __getitems__(self, places: list[tuple[int, int]]) -> tuple[int, list[Sample | VocsegError]]:
        """Return the seed of a batch's first sample and the samples."""
        return places[0][1], [self[place] for place in places]


def _collate(mixing: BatchTransform | None, seed_and_items: tuple[int, list[Any]]) -> Batch | VocsegError:
    """Mix the samples of a batch and stack them; return an error among them instead."""
    seed, items = seed_and_items
    for item in items:
        if isinstance(item, VocsegError):
            return item
        if item.image.shape != items[0].image.shape:
            one, other = (f"{sample.name} {size_text(sample.image)}" for sample in (items[0], item))
            todo = "End the transform with a crop or resize to one size"
            return DataError(f"images of a batch differ in size: {one}, {other}. {todo}")
    if mixing is not None:
        items = list(mixing(items, torch.Generator().manual_seed(sample_seed(seed, 0))))
    images, masks, names, maps = zip(*items, strict=True)
    stacked = {key: torch.stack([sample[key].tensor for sample in maps]) for key in maps[0]}
    return Batch(torch.stack(images), torch.stack(masks), list(names), stacked)


def _load(dataset: _Guarded, **options: Any) -> Generator[Any]:
    if options["num_workers"]:
        try:
            multiprocessing.Queue().close()  # what the loader needs, which reports a failure of its own badly
        except OSError as error:
            raise _no_handover(error) from error
    with _held_signals():
        items = iter(DataLoader(dataset, worker_init_fn=partial(_start_worker, max_pixels()), **options))
    try:
        for item in items:
            if isinstance(item, VocsegError):
                raise item
            yield item
    finally:
        # End the loader processes now: an error's traceback may keep this frame, and so the processes, alive.
        del items
