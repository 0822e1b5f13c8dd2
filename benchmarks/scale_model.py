"""Model runs of `vocseg predict` over many images on many workers: how long, what it costs, and what is the bottleneck.

    python benchmarks/scale_model.py [DATA --split val --images 40] [--forward-ms 2 ...]

First measures what an image costs on one core here: reading, decoding, the network, encoding its mask, and an id in a list.
Then simulates workers that take shards one after another, event by event: some are slow, some die and resume, and all share
an object store with limits of requests and bytes a second. Prices and limits are options; the defaults are public list prices
and limits of a large provider (2025), rounded.

The images are objects of their own; or packed, read from tar files in ranges; or packed in parts, data sets of 10 million
images that are one command each. Masks are written as objects. Every shard lists the ids of its whole data set.
"""

from __future__ import annotations

import argparse
import heapq
import io
import math
import time
from collections import Counter
from dataclasses import dataclass, fields, replace

import numpy as np

RANGE = 8e6
"""Bytes of a request that reads from a tar file."""
PART = 10**7
"""Images of a part of a data set in parts."""
KEYS = 1000
"""Names that a request for a listing returns."""


@dataclass(frozen=True)
class Model:
    """Costs of an image and of its worker, limits, faults and prices; each is an option of the script."""

    read_ms: float = 0.03
    decode_ms: float = 2.5
    forward_ms: float = 60.0
    encode_ms: float = 1.5
    id_us: float = 3.0  # to read an id from a list or an index and to find out whose it is
    image_bytes: float = 100e3
    mask_bytes: float = 3e3
    start_s: float = 5.0  # of a process: imports and the network
    shards_per_worker: float = 4
    spread: float = 0.1  # standard deviation of the logarithm of the workers' speeds
    slow_share: float = 0.01  # of shards that run slow_factor times slower
    slow_factor: float = 3.0
    hours_to_failure: float = 72.0  # mean, of a worker
    restart_s: float = 120.0
    gets: float = 5500  # a second, of one prefix
    puts: float = 3500
    list_ms: float = 100  # of a request for the next KEYS names
    prefixes: float = 1
    store_gb: float = 12.5  # GB/s of all workers: 100 Gbit/s
    worker_gb: float = 0.125  # GB/s of a worker: 1 Gbit/s
    dollars_hour: float = 0.04  # of a worker: one core
    dollars_gets: float = 0.0004  # a thousand
    dollars_puts: float = 0.005  # a thousand; listings too

    @property
    def compute(self) -> float:
        """Seconds of a worker for an image, whose bytes arrive meanwhile."""
        own = (self.read_ms + self.decode_ms + self.forward_ms + self.encode_ms) / 1000
        return max(own, self.image_bytes / (self.worker_gb * 1e9))

    def gets_of(self, source: str) -> float:
        """Requests that read an image."""
        return 1.0 if source == "objects" else self.image_bytes / RANGE

    def limits(self, source: str) -> dict[str, float]:
        """Images a second that the object store serves, by what limits them."""
        return {
            "requests that read": self.gets * self.prefixes / self.gets_of(source),
            "requests that write": self.puts * self.prefixes,
            "bandwidth": self.store_gb * 1e9 / (self.image_bytes + self.mask_bytes),
        }

    def listing(self, images: float, source: str) -> float:
        """Seconds that a shard takes to list the ids of its data set."""
        length = min(images, PART) if source == "parts" else images
        return length * (self.id_us / 1e6 + (self.list_ms / 1000 / KEYS if source == "objects" else 0))


@dataclass
class Run:
    """A simulated run: wall time, dollars, seconds of all workers by what they were spent on, failures."""

    seconds: float
    dollars: float
    spent: Counter[str]
    failures: int

    @property
    def bottleneck(self) -> tuple[str, float]:
        """What most of the workers' time was spent on, and its share."""
        name, seconds = self.spent.most_common(1)[0]
        return name, seconds / self.spent.total()


class Simulation:
    """Workers that take shards one after another. An event is the end of a worker's shard, or its death, after which it resumes.

    If the workers demand more than the store serves, all are slowed down by the same factor: the queue of events is in
    unslowed time, and real time passes slower.
    """

    def __init__(self, model: Model, images: float, workers: int, source: str, seed: int) -> None:
        self.model, self.random = model, np.random.default_rng(seed)
        self.shards = int(max(workers * model.shards_per_worker, math.ceil(images / PART) if source == "parts" else 1))
        self.size, self.listing = images / self.shards, model.listing(images, source) + model.start_s
        self.speeds = np.exp(model.spread * self.random.standard_normal(workers))
        self.rates = np.zeros(workers)  # images a second that each demands
        self.queue: list[tuple[float, int, float]] = []  # unslowed time, worker, work that is then left of its shard
        self.spent: Counter[str] = Counter()
        self.waiting, self.failures, self.seconds = self.shards, 0, 0.0

    def take(self, worker: int, now: float) -> None:
        """Have a worker begin the next shard."""
        self.waiting -= 1
        slow = self.model.slow_factor if self.random.random() < self.model.slow_share else 1.0
        work = self.size * self.model.compute * slow / self.speeds[worker]
        self.rates[worker] = self.size / (work + self.listing)
        self.begin(worker, now, work, 0.0)

    def begin(self, worker: int, now: float, work: float, pause: float) -> None:
        """Start or resume a shard: it is listed, then computed, until it is done or the worker dies."""
        death, whole = self.random.exponential(self.model.hours_to_failure * 3600), pause + self.listing + work
        reached = min(death, whole)
        done = max(0.0, reached - pause - self.listing)
        self.spent["restarts"] += min(reached, pause)
        self.spent["listing"] += min(max(reached - pause, 0), self.listing)
        self.spent["compute"] += done
        heapq.heappush(self.queue, (now + reached, worker, 0.0 if whole <= death else work - done))

    def run(self, limit_name: str, limit: float) -> None:
        """Run to the end, with a store that serves ``limit`` images a second."""
        workers, unslowed = len(self.rates), 0.0
        for worker in range(min(workers, self.shards)):
            self.take(worker, 0.0)
        while self.queue:
            now, worker, left = heapq.heappop(self.queue)
            slowdown, busy = max(1.0, self.rates.sum() / limit), np.count_nonzero(self.rates)
            self.seconds += (now - unslowed) * slowdown
            self.spent[limit_name] += (now - unslowed) * (slowdown - 1) * busy
            self.spent["idle at the end"] += (now - unslowed) * slowdown * (workers - busy)
            unslowed = now
            if left > 0:
                self.failures += 1
                self.begin(worker, now, left, self.model.restart_s)
            elif self.waiting:
                self.take(worker, now)
            else:
                self.rates[worker] = 0


def simulate(model: Model, images: float, workers: int, source: str, seed: int = 0) -> Run:
    """Simulate a run of so many images, which are ``objects``, ``packed`` or packed in ``parts``."""
    simulation = Simulation(model, images, workers, source, seed)
    simulation.run(*min(model.limits(source).items(), key=lambda item: item[1]))
    listings = simulation.shards + simulation.failures
    dollars = _dollars(model, images, workers * simulation.seconds, listings, source)
    return Run(simulation.seconds, dollars, simulation.spent, simulation.failures)


def _dollars(model: Model, images: float, worker_seconds: float, listings: float, source: str) -> float:
    lists = listings * images / KEYS if source == "objects" else 0
    requests = images * model.gets_of(source) * model.dollars_gets + (images + lists) * model.dollars_puts
    return worker_seconds / 3600 * model.dollars_hour + requests / 1000


WARM_UP = 110
"""Calls after which a network runs as long runs run it."""


def measure(data: str | None, split: str, images: int) -> dict[str, float]:
    """Return what an image costs in processor time of one core here, and its bytes: means over images of a split."""
    import torch

    from vocseg import Segmenter, draw
    from vocseg.data.dataset import SplitDataset
    from vocseg.data.image_io import read_image
    from vocseg.data.layout import VocFolder
    from vocseg.data.packed import read_bytes
    from vocseg.data.samples import photographs
    from vocseg.utils.shards import Shard

    torch.set_num_threads(1)
    dataset = photographs() if data is None else SplitDataset(VocFolder.find(data), split)
    segment = Segmenter("vocseg-s", device="cpu")
    for _ in range(WARM_UP):
        segment(dataset[0].image)
    totals: Counter[str] = Counter()
    for name in dataset.names[:images]:
        times = [time.process_time()]
        content = read_bytes(dataset.folder.image(name))
        times.append(time.process_time())
        image = read_image(io.BytesIO(content))
        times.append(time.process_time())
        mask = segment(image).mask
        times.append(time.process_time())
        written = draw.encoded(draw.palette_image(torch.as_tensor(mask)))
        times.append(time.process_time())
        totals += Counter(dict(zip(("read_ms", "decode_ms", "forward_ms", "encode_ms"), 1000 * np.diff(times), strict=True)))
        totals += Counter({"image_bytes": len(content), "mask_bytes": len(written)})
    lines = "".join(f"{number:012d}\n" for number in range(100_000))
    start = time.process_time()
    sum(Shard(1, 8).holds(line) for line in lines.split())
    found = {key: float(value) / len(dataset.names[:images]) for key, value in totals.items()}
    return found | {"id_us": 1e6 * (time.process_time() - start) / 100_000}


def duration(seconds: float) -> str:
    for limit, unit, name in ((120, 1, "s"), (7200, 60, "min"), (172_800, 3600, "h"), (86_400 * 730, 86_400, "days")):
        if seconds < limit:
            return f"{seconds / unit:.0f} {name}"
    return f"{seconds / 86_400 / 365:.0f} years"


def table(model: Model, counts: list[float], workers: list[int]) -> None:
    print("| images | workers | they are | wall time | dollars | images/s | bottleneck: share of the workers' time | failures |")
    print("|---:|---:|---|---:|---:|---:|---|---:|")
    for images in counts:
        for count in workers:
            for source in ("objects", "packed", "parts") if images > PART else ("objects", "packed"):
                run = simulate(model, images, count, source)
                name, share = run.bottleneck
                cells = (f"10^{math.log10(images):.0f}", f"{count:,}", source, duration(run.seconds), f"{run.dollars:,.0f}")
                more = (f"{images / run.seconds:,.0f}", f"{name}: {share:.0%}", f"{run.failures:,}")
                print(f"| {' | '.join(cells + more)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", nargs="?", help="data set to measure on; default: the photographs of the package")
    parser.add_argument("--split", default="val")
    parser.add_argument("--images", type=int, default=40, help="images to measure on; 0 measures nothing")
    parser.add_argument("--counts", type=float, nargs="+", default=[1e6, 1e8, 1e10])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 10, 100, 1000])
    for field in fields(Model):
        parser.add_argument(f"--{field.name.replace('_', '-')}", type=float)
    options = vars(parser.parse_args())
    model = Model()
    if options["images"]:
        from vocseg.utils.system import machine

        measured = measure(options["data"], options["split"], options["images"])
        print(f"measured on {machine()}: " + ", ".join(f"{key} {value:,.3g}" for key, value in measured.items()))
        model = replace(model, **measured)
    model = replace(model, **{field.name: options[field.name] for field in fields(Model) if options[field.name] is not None})
    print(f"\n{1 / model.compute:,.1f} images a second a worker\n")
    table(model, options["counts"], options["workers"])


if __name__ == "__main__":
    main()
