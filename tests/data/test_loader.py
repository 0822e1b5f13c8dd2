from __future__ import annotations

import multiprocessing
import os
import signal
from collections import Counter
from itertools import islice
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from maps import MaskCopy
from vocseg.data import loader as loading
from vocseg.data.dataset import Batch, Sample, SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loader import sample_seed, samples, training_batches
from vocseg.data.pack import pack
from vocseg.data.transforms.geometry import training_transform
from vocseg.data.transforms.mixing import Mixing
from vocseg.errors import DataError, VocsegError
from vocseg.utils.system import SIGNALS


@pytest.fixture
def train_set(synth: Path) -> SplitDataset:
    return SplitDataset(VocFolder.find(synth), "train", training_transform("scale-crop", 32))


@pytest.mark.parametrize("workers", [0, 1])
def test_samples_come_in_order_and_own_size(val_set: SplitDataset, workers: int) -> None:
    got = list(samples(val_set, workers))
    assert [sample.name for sample in got] == val_set.names
    for sample, direct in zip(got, (val_set[index] for index in range(4)), strict=True):
        assert torch.equal(sample.image, direct.image)
        assert torch.equal(sample.mask, direct.mask)


def test_every_batch_is_full_and_every_image_seen_equally_often(train_set: SplitDataset) -> None:
    batches = list(islice(training_batches(train_set, 4, 0, seed=1), 9))  # 36 places: six passes over six images
    assert all(batch.images.shape == (4, 3, 32, 32) and batch.masks.shape == (4, 32, 32) for batch in batches)
    names = [name for batch in batches for name in batch.names]
    assert set(Counter(names).values()) == {6}
    for start in range(0, 36, 6):
        assert len(set(names[start : start + 6])) == 6


def test_workers_and_the_point_of_start_change_nothing(train_set: SplitDataset) -> None:
    plain = list(islice(training_batches(train_set, 4, 0, seed=1), 6))
    for other in (
        list(islice(training_batches(train_set, 4, 2, seed=1), 6)),
        plain[:3] + list(islice(training_batches(train_set, 4, 0, seed=1, start=3), 3)),
    ):
        for one, two in zip(plain, other, strict=True):
            assert one.names == two.names
            assert torch.equal(one.images, two.images)
            assert torch.equal(one.masks, two.masks)


def test_mixing_depends_on_the_position_of_the_batch_alone(train_set: SplitDataset) -> None:
    def batches(workers: int, start: int, count: int, shard: tuple[int, int] = (0, 1)) -> list[Batch]:
        return list(islice(training_batches(train_set, 4, workers, 1, start, shard, mixing=Mixing(0.6, 0.2)), count))

    plain = batches(0, 0, 6)
    unmixed = list(islice(training_batches(train_set, 4, 0, seed=1), 6))
    assert any(not torch.equal(one.masks, two.masks) for one, two in zip(plain, unmixed, strict=True))
    for one, two, three in zip(plain, batches(2, 0, 6), plain[:3] + batches(0, 3, 3), strict=True):
        assert one.names == two.names == three.names
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.masks, two.masks)
        assert torch.equal(one.images, three.images)
    shares = [batches(0, 0, 1, (rank, 2))[0] for rank in range(2)]
    assert all(share.images.shape[0] == 2 for share in shares)


def test_extra_maps_are_stacked(train_set: SplitDataset) -> None:
    def read(index: int) -> Sample:
        sample = SplitDataset.read(train_set, index)
        return sample._replace(maps={"copy": MaskCopy(sample.mask)})

    train_set.read = read  # type: ignore[method-assign]
    batch = next(training_batches(train_set, 4, 0, seed=1, mixing=Mixing(0.6)))
    assert torch.equal(batch.maps["copy"], batch.masks)
    assert not next(training_batches(SplitDataset(train_set.folder, "train", train_set.transform), 4, 0, seed=1)).maps


def test_seeds_differ(train_set: SplitDataset) -> None:
    orders = {tuple(next(training_batches(train_set, 6, 0, seed=seed)).names) for seed in range(5)}
    assert len(orders) > 1
    assert len({sample_seed(seed, position) for seed in range(30) for position in range(300)}) == 9000
    assert all(0 <= sample_seed(seed, 7) < 2**63 for seed in range(100))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_workers_data_error_arrives_whole(damaged: Path, workers: int) -> None:
    path = damaged / "JPEGImages" / "synth_000007.jpg"
    path.write_bytes(path.read_bytes()[:300])
    dataset = SplitDataset(VocFolder.find(damaged), "val")
    with pytest.raises(DataError, match=r"^cannot decode image .*synth_000007\.jpg: [^\n]*$") as kept:
        list(samples(dataset, workers))
    assert kept.value.__traceback__ is not None
    assert not multiprocessing.active_children()  # though the traceback keeps the generator
    train = SplitDataset(VocFolder.find(damaged), "val", training_transform("center-square", 16))
    with pytest.raises(DataError, match=r"^cannot decode image .*synth_000007\.jpg: [^\n]*$"):
        list(islice(training_batches(train, 4, workers, seed=0), 1))


def test_repeated_images_come_in_proportion(train_set: SplitDataset) -> None:
    repeats = torch.tensor([1.0, 3.0, 1.0, 1.0, 2.5, 1.0])
    batches = list(islice(training_batches(train_set, 6, 0, seed=1, repeats=repeats), 200))
    counts = Counter(name for batch in batches for name in batch.names)
    for name, repeat in zip(train_set.names, repeats.tolist(), strict=True):
        expected = repeat / float(repeats.sum()) * 6
        assert counts[name] / 200 == pytest.approx(expected, abs=0.08)
        in_an_epoch = {Counter(batch.names)[name] for batch in batches}
        assert in_an_epoch <= {int(expected), int(expected) + 1}
    alike = list(islice(training_batches(train_set, 6, 0, seed=1, repeats=torch.full((6,), 1.7)), 5))
    assert all(set(batch.names) == set(train_set.names) for batch in alike)


@pytest.mark.parametrize(
    ("cores", "device", "workers"), [(1, "cpu", 0), (2, "cpu", 0), (3, "cpu", 1), (2, "cuda", 1), (64, "cpu", 8), (64, "cuda", 8)]
)
def test_an_evaluation_on_two_cores_reads_by_itself(cores: int, device: str, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loading, "cores", lambda: cores)
    assert loading.evaluation_workers(torch.device(device)) == workers


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (RuntimeError("unable to allocate shared memory(shm): No space left on device (28)"), "no room in /dev/shm"),
        (OSError("AF_UNIX path too long"), "TMPDIR is too long for a socket"),
        (OSError(24, "Too many open files"), "Too many open files"),
    ],
)  # fmt: skip
def test_batches_that_cannot_be_handed_over_are_an_error(
    train_set: SplitDataset, monkeypatch: pytest.MonkeyPatch, error: Exception, said: str
) -> None:
    """The queue of a loader process would drop them, and the main process wait for them forever."""

    def full(_storage: object) -> None:
        raise error

    monkeypatch.setattr(torch.UntypedStorage, "_share_fd_cpu_", full)  # loader processes are forked
    with pytest.raises(VocsegError, match=rf"^loader processes cannot hand over batches: {said}.*; or .*--workers 0$"):
        next(training_batches(train_set, 4, 1, seed=1))


def test_loader_processes_that_cannot_be_made_are_an_error(train_set: SplitDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    def full() -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multiprocessing, "Queue", full)
    with pytest.raises(VocsegError, match="no room in /dev/shm"):
        next(training_batches(train_set, 4, 1, seed=1))


@pytest.fixture
def packed_set(synth: Path, tmp_path: Path) -> SplitDataset:
    """The ten images of ``synth``, in four shards."""
    folder = VocFolder.find(pack(synth, tmp_path / "shards", images_per_shard=3).folder)
    return SplitDataset(folder, "trainval", training_transform("scale-crop", 32))


@pytest.mark.skipif(not hasattr(signal, "pthread_sigmask"), reason="no masks of signals")
@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_a_signal_to_the_group_while_a_loader_process_starts(
    val_set: SplitDataset, number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    handling = torch.utils.data._utils.signal_handling
    set_handlers = handling._set_worker_signal_handlers

    def set_and_receive() -> None:
        set_handlers()
        os.kill(os.getpid(), number)

    monkeypatch.setattr(handling, "_set_worker_signal_handlers", set_and_receive)
    assert [sample.name for sample in samples(val_set, 1)] == val_set.names


def test_packed_data_come_in_the_order_of_the_folder(packed_set: SplitDataset, synth: Path) -> None:
    plain = SplitDataset(VocFolder.find(synth), "trainval", packed_set.transform)
    for one, two in islice(zip(*(training_batches(data, 4, 1, 1) for data in (plain, packed_set)), strict=True), 6):
        assert one.names == two.names
        assert torch.equal(one.images, two.images)
        assert torch.equal(one.masks, two.masks)


@pytest.mark.parametrize("buffer", [1, 3, 99])
def test_a_shuffle_buffer_gives_every_image_once_an_epoch(packed_set: SplitDataset, buffer: int) -> None:
    """Whatever the workers, the processes and the point of start."""

    def names(start: int, count: int, workers: int = 0, shard: tuple[int, int] = (0, 1)) -> list[str]:
        batches = training_batches(packed_set, 4, workers, 1, start, shard, shuffle_buffer=buffer)
        return [name for batch in islice(batches, count) for name in batch.names]

    order = names(0, 10)
    for epoch in range(0, 40, 10):
        assert sorted(order[epoch : epoch + 10]) == sorted(packed_set.names)
    assert order[:10] != order[10:20]
    assert names(0, 10, workers=2) == order
    assert order[:12] + names(3, 7, workers=1) == order
    halves = names(0, 10, shard=(0, 2)), names(0, 10, shard=(1, 2))
    assert [name for at in range(0, 20, 2) for half in halves for name in half[at : at + 2]] == order


@given(st.lists(st.integers(0, 4), min_size=1, max_size=40), st.integers(1, 50), st.integers(0, 99), st.booleans())
def test_a_shuffle_buffer_reads_shards_in_sequence(shards: list[int], buffer: int, seed: int, repeated: bool) -> None:
    """From their beginnings, and never further ahead than the buffer is long."""
    offsets = torch.randperm(len(shards), generator=torch.Generator().manual_seed(seed))
    places = torch.stack([torch.tensor(shards), offsets], 1)
    drawn = torch.arange(len(shards)) // (2 if repeated else 1)
    given_order = loading.Window(places, buffer).shuffled(drawn, torch.Generator().manual_seed(seed))
    assert sorted(given_order) == drawn.tolist()
    if repeated:
        return
    ranks = torch.randperm(max(shards) + 1, generator=torch.Generator().manual_seed(seed)).tolist()
    queue = sorted(range(len(shards)), key=lambda image: (ranks[shards[image]], int(offsets[image])))
    steps = {image: step for step, image in enumerate(given_order)}
    for position, image in enumerate(queue):
        assert steps[image] >= position - buffer + 1  # the buffer never holds more


def test_a_large_shuffle_buffer_shuffles_evenly() -> None:
    places = torch.tensor([[number // 2, number] for number in range(6)])
    counts = torch.zeros(6, 6)
    for seed in range(2000):
        for step, image in enumerate(loading.Window(places, 6).shuffled(torch.arange(6), torch.Generator().manual_seed(seed))):
            counts[step, image] += 1
    assert counts.min() > 260  # of 333 expected, four standard deviations
    assert counts.max() < 405
