"""Load samples and batches in background processes with torch's DataLoader."""

from __future__ import annotations

import signal
from collections.abc import Callable, Generator, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vocseg.data.dataset import Batch, Sample, SplitDataset
from vocseg.errors import DataError, VocsegError
from vocseg.utils.system import cores

BatchTransform = Callable[[Sequence[Sample], torch.Generator], Sequence[Sample]]
"""Takes and returns the samples of a batch; all its randomness comes from the generator."""


def default_workers() -> int:
    """Return how many loader processes to start: half the cores, one to eight; the network needs the others."""
    return max(1, min(8, cores() // 2))


def evaluation_workers(device: torch.device) -> int:
    """Return how many loader processes an evaluation starts: none on a CPU with at most two cores.

    The network uses both cores there, and reading an image costs less than handing it over from a process that
    competes.
    """
    return 0 if device.type == "cpu" and cores() <= 2 else default_workers()


def samples(dataset: SplitDataset, workers: int, indices: Sequence[int] | None = None) -> Generator[Sample]:
    """Yield the samples of a data set, or those at ``indices``, in order.

    Close the generator if you do not take all of them: that ends the loader processes.
    """
    order = range(len(dataset)) if indices is None else indices
    yield from _load(
        DataLoader(
            _Guarded(dataset),
            batch_size=None,
            sampler=order,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            worker_init_fn=_outlive_one_sigterm,
        )
    )


def training_batches(
    dataset: SplitDataset,
    batch_size: int,
    workers: int,
    seed: int,
    start: int = 0,
    shard: tuple[int, int] = (0, 1),
    repeats: Tensor | None = None,
    mixing: BatchTransform | None = None,
) -> Generator[Batch]:
    """Yield shuffled batches of transformed samples without end, from iteration ``start`` on.

    Close the generator to end the loader processes. ``shard`` (rank, count) selects this process's part of each batch.

    The order is one seeded permutation of the data set after another, cut into batches across their ends: every batch
    is full and every image is seen equally often. The position in that order, not the worker or the time, seeds each
    sample's transform, so that a run resumed at an iteration sees the batches it would have seen.

    ``repeats`` (one number an image) draws as many images, each in proportion to its number, rounded up or down at
    random. ``mixing``, such as :class:`vocseg.data.transforms.cutmix.Mixing`, mixes the samples of a batch in the
    loader's processes, with a generator seeded by the batch's position.

    Raises DataError, as the data set does, and if the images of a batch differ in size.
    """
    order = _EndlessBatches(len(dataset), batch_size, seed, start, shard, repeats)
    loader: DataLoader[Any] = DataLoader(
        _Guarded(dataset), batch_sampler=order, num_workers=workers, collate_fn=_Collate(mixing),  # type: ignore[arg-type]
        pin_memory=torch.cuda.is_available(),
        worker_init_fn=_outlive_one_sigterm,
    )  # fmt: skip
    yield from _load(loader)


class _EndlessBatches:
    """Sample batches from endless permutations: lists of ``(index, sample seed)``."""

    def __init__(
        self, length: int, batch_size: int, seed: int, start: int, shard: tuple[int, int], repeats: Tensor | None = None
    ) -> None:
        self.repeats = repeats
        self.length, self.batch_size, self.seed, self.start = length, batch_size, seed, start
        self.rank, self.count = shard

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        position = self.start * self.batch_size
        while True:
            batch = []
            for _ in range(self.batch_size):
                epoch, within = divmod(position, self.length)
                if within == 0 or position == self.start * self.batch_size:
                    permutation = self._permutation(_generator(self.seed, epoch))
                batch.append((permutation[within], sample_seed(self.seed, position)))
                position += 1
            share = self.batch_size // self.count
            yield batch[self.rank * share : (self.rank + 1) * share]

    def _permutation(self, generator: torch.Generator) -> list[int]:
        if self.repeats is None:
            return torch.randperm(self.length, generator=generator).tolist()
        # Systematic sampling: evenly spaced points on the images' intervals laid end to end.
        ends = self.repeats.double().cumsum(0)
        points = (torch.arange(self.length) + torch.rand((), generator=generator, dtype=torch.float64)) * (ends[-1] / self.length)
        drawn = torch.searchsorted(ends, points, right=True).clamp(max=self.length - 1)
        return drawn[torch.randperm(self.length, generator=generator)].tolist()


def sample_seed(seed: int, position: int) -> int:
    """Return the seed of the sample at a position of the training order, uncorrelated between neighbors."""
    # splitmix64's finalizer (Steele et al., "Fast splittable pseudorandom number generators", OOPSLA 2014)
    mixed = (seed * 0x9E3779B97F4A7C15 + (position + 1) * 0xD1B54A32D192ED03) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9) & 0xFFFFFFFFFFFFFFFF
    mixed = ((mixed ^ mixed >> 27) * 0x94D049BB133111EB) & 0xFFFFFFFFFFFFFFFF
    return (mixed ^ mixed >> 31) >> 1


def _generator(seed: int, epoch: int) -> torch.Generator:
    return torch.Generator().manual_seed(sample_seed(~seed & 0xFFFFFFFF, epoch))


def _outlive_one_sigterm(_worker: int) -> None:
    """Let a loader process ignore the first SIGTERM, which the main process obeys: it goes to the whole process group.

    A second one ends the process: torch and multiprocessing send it to a process that does not end by itself.
    """
    signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))
    signal.signal(signal.SIGINT, signal.SIG_IGN)


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


class _Collate:
    """Mix the samples of a batch and stack them; return an error among them instead."""

    def __init__(self, mixing: BatchTransform | None) -> None:
        self.mixing = mixing

    def __call__(self, seed_and_items: tuple[int, list[Any]]) -> Batch | VocsegError:
        seed, items = seed_and_items
        for item in items:
            if isinstance(item, VocsegError):
                return item
        if error := _size_error(items):
            return error
        if self.mixing is not None:
            items = list(self.mixing(items, torch.Generator().manual_seed(sample_seed(seed, 0))))
        images, masks, names, maps = zip(*items, strict=True)
        stacked = {key: torch.stack([sample[key].tensor for sample in maps]) for key in maps[0]}
        return Batch(torch.stack(images), torch.stack(masks), list(names), stacked)


def _size_error(samples: list[Sample]) -> DataError | None:
    first = samples[0]
    for sample in samples:
        if sample.image.shape != first.image.shape:
            sizes = [f"{one.name} {one.image.shape[1]}x{one.image.shape[2]}" for one in (first, sample)]
            return DataError(
                f"images of a batch differ in size: {sizes[0]}, {sizes[1]}. End the transform with a crop or resize to one size"
            )
    return None


def _load(loader: DataLoader[Any]) -> Generator[Any]:
    items = iter(loader)
    try:
        for item in items:
            if isinstance(item, VocsegError):
                raise item
            yield item
    finally:
        # End the loader processes now: an error's traceback may keep this frame, and so the processes, alive.
        del items
