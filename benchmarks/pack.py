"""Time reading a packed data set against its folder, in turn, and count the files that are opened.

    python benchmarks/pack.py FOLDER_WITH_VOCdevkit [--split train --images 400 --rounds 5 --workers 2]

Both are in the page cache: a file system that takes time to open a file, as networks do, gains more. Processor time is that
of one process that reads and decodes; images a second are those of the loader's processes; "bytes" is reading alone.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from vocseg.data.dataset import SplitDataset
from vocseg.data.layout import VocFolder
from vocseg.data.loader import samples
from vocseg.data.pack import pack
from vocseg.data.packed import read_bytes
from vocseg.utils.system import machine

ROW = "| {:<44} | {:>10} | {:>10} | {:>6} |"


def open_names(folder: Path) -> list[str]:
    """Return a list that gets the name of every file below ``folder`` that this process opens from now on."""
    names: list[str] = []

    def note(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and str(arguments[0]).startswith(str(folder)):
            names.append(str(arguments[0]))

    sys.addaudithook(note)
    return names


def in_turn(datasets: list[SplitDataset], indices: list[int], work: Callable[[SplitDataset, int], object]) -> list[float]:
    """Return processor milliseconds an image of this process; every image of both in turn, so that they see the same load."""
    seconds = [0.0, 0.0]
    for number, index in enumerate(indices):
        for which in (0, 1) if number % 2 else (1, 0):
            start = time.process_time()
            work(datasets[which], index)
            seconds[which] += time.process_time() - start
    return [1000 * total / len(indices) for total in seconds]


def read_both(dataset: SplitDataset, index: int) -> tuple[bytes, bytes]:
    """Read an image and its mask without decoding."""
    name = dataset.names[index]
    return read_bytes(dataset.folder.image(name)), read_bytes(dataset.folder.mask(name))


def rate(dataset: SplitDataset, indices: list[int], workers: int) -> float:
    """Return images a second of the loader's processes, after the first, which waits for them to start."""
    read = samples(dataset, workers, [*indices[:workers], *indices])
    next(read)
    start = time.perf_counter()
    count = sum(1 for _ in read)
    return count / (time.perf_counter() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--split", default="train")
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        start = time.perf_counter()
        packed = pack(options.data, Path(temporary) / "shards", splits=[options.split], shard_size=16)
        seconds = time.perf_counter() - start
        datasets = [SplitDataset(VocFolder.find(data), options.split) for data in (options.data, packed.folder)]
        order = [index * 7919 % len(datasets[0]) for index in range(min(options.images, len(datasets[0])))]
        print(f"{machine()}; {len(order)} images of {options.split}, {options.rounds} rounds in turn")
        print(f"packed: {packed.files} files into {packed.shards} shards of 16 MB, {packed.bytes / 1e6:.0f} MB, in {seconds:.1f} s")
        opened = [open_names(dataset.folder.root) for dataset in datasets]
        print(ROW.format("", "folder", "packed", "ratio"))
        print("|---|---:|---:|---:|")
        costs = in_turn(datasets, order * options.rounds, SplitDataset.read)
        opens = [len(names) for names in opened]
        rounds = []
        for number in range(options.rounds):
            turn = [rate(dataset, order, options.workers) for dataset in (datasets if number % 2 else datasets[::-1])]
            rounds.append(turn if number % 2 else turn[::-1])
        rates = list(map(statistics.median, zip(*rounds, strict=True)))
        plain = in_turn(datasets, order * options.rounds, read_both)
        for what, (one, two), better in (
            (f"images a second, {options.workers} loader processes", rates, "more"),
            ("read and decode, processor ms an image", costs, "less"),
            ("read bytes, processor ms an image", plain, "less"),
        ):
            ratio = two / one if better == "more" else one / two
            print(ROW.format(what, f"{one:.3f}", f"{two:.3f}", f"{ratio:.2f}"))
        print(ROW.format(f"opened files, {options.rounds} passes", *opens, f"{opens[0] / max(1, opens[1]):.0f}"))


if __name__ == "__main__":
    main()
