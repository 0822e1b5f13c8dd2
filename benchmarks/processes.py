"""Images a second of `vocseg predict` in one process on a core, in a process on each core, and on a local Ray cluster, in turn.

    pip install 'vocseg[ray]'
    python benchmarks/processes.py data/VOCdevkit/VOC2012/JPEGImages --images 300

The rate is that of the masks between the first fifth and the last, by the times of their files, so that starting processes
does not count. `two` of `one` is of twice the mean of the two cores, each alone.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

ENGINE = ("--engine", "torch", "--no-overlay")


def rate(times: Sequence[float]) -> float:
    """Return the files a second between the first fifth and the last.

    >>> rate([0.5 * number for number in range(100)])
    2.0
    """
    ordered = sorted(times)
    first, last = len(ordered) // 5, len(ordered) - 1 - len(ordered) // 5
    return (last - first) / (ordered[last] - ordered[first])


def run(commands: Sequence[tuple[list[int], list[str]]], images: Path) -> float:
    """Run `vocseg predict` with options, each on some cores, at the same time; return the masks a second of all."""
    with tempfile.TemporaryDirectory() as out:
        started = []
        for cores, options in commands:
            command = [sys.executable, "-m", "vocseg", "predict", str(images), "--out", out, *ENGINE, *options]
            pin = None if not cores else lambda cores=cores: os.sched_setaffinity(0, cores)
            threads = {"OMP_NUM_THREADS": str(len(cores))} if cores else {}
            started.append(subprocess.Popen(command, env=os.environ | threads, preexec_fn=pin, stdout=subprocess.DEVNULL))
        if any(process.wait() for process in started):
            raise SystemExit("vocseg predict failed")
        return rate([path.stat().st_mtime for path in Path(out).glob("*.png")])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="a folder of JPEG files")
    parser.add_argument("--images", type=int, default=300)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--ray", action="store_true", help="also a local Ray cluster")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        images = Path(folder) / "images.txt"
        files = sorted(given.folder.resolve().glob("*.jpg"))[: given.images]
        images.write_text("".join(f"{file}\n" for file in files))
        ways = {"core 0": [([0], [])], "core 1": [([1], [])], "two": [([0], ["--shard", "1/2"]), ([1], ["--shard", "2/2"])]}
        if given.ray:
            ways["ray"] = [([], ["--ray", "local"])]
        found: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(given.rounds):
            for name, commands in ways.items():
                found[name].append(run(commands, images))
            print(", ".join(f"{name} {values[-1]:.1f}" for name, values in found.items()), "images/s", flush=True)
    ones = [a + b for a, b in zip(found["core 0"], found["core 1"], strict=True)]
    for name in ("two", "ray"):
        if name in found:
            shares = [value / one for value, one in zip(found[name], ones, strict=True)]
            share = statistics.median(shares)
            print(f"{name}: {statistics.median(found[name]):.1f} images/s, {share:.3f} of one process on each core, alone")


if __name__ == "__main__":
    main()
