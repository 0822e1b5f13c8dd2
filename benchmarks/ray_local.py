"""Images a second of ``vocseg predict --ray local`` with 2 actors against 2 processes with a shard and a core each.

The time of starting is left out by the difference of a long and a short list: seconds of all minus seconds of few.
"""

from __future__ import annotations

import argparse
import itertools
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of images")
    parser.add_argument("--images", type=int, nargs=2, default=(200, 600), metavar=("FEW", "ALL"), help="lengths of the lists")
    parser.add_argument("--model", default="vocseg-s")
    arguments = parser.parse_args()
    images = sorted(itertools.islice(arguments.folder.glob("*.jpg"), max(arguments.images)))
    print("| how | start, s | images/s after it |")
    print("|---|---:|---:|")
    for name, measure in (("2 processes", shards), ("Ray, 2 actors", on_ray)):
        few, many = (measure(images[:count], arguments.model) for count in arguments.images)
        each = (many - few) / (arguments.images[1] - arguments.images[0])
        print(f"| {name} | {few - each * arguments.images[0]:.1f} | {1 / each:.1f} |", flush=True)


def shards(images: list[Path], model: str) -> float:
    return seconds(images, model, [["taskset", "-c", str(core)] for core in (0, 1)], [["--shard", f"{one}/2"] for one in (1, 2)])


def on_ray(images: list[Path], model: str) -> float:
    return seconds(images, model, [[]], [["--ray", "local", "--actors", "2"]])


def seconds(images: list[Path], model: str, before: list[list[str]], after: list[list[str]]) -> float:
    """Return how long it takes until all processes have ended."""
    with tempfile.TemporaryDirectory() as folder:
        names = Path(folder, "images.txt")
        names.write_text("".join(f"{image.absolute()}\n" for image in images))
        command = [sys.executable, "-m", "vocseg", "predict", str(names), "--model", model, "--device", "cpu", "--engine", "torch"]
        command += ["--no-overlay", "--out", f"{folder}/masks"]
        start, environment = time.perf_counter(), os.environ | {"OMP_NUM_THREADS": "1"}
        running = [
            subprocess.Popen([*first, *command, *last], env=environment, stdout=subprocess.DEVNULL)
            for first, last in zip(before, after, strict=True)
        ]
        codes = [process.wait() for process in running]
        if any(codes):
            raise SystemExit("a process failed")
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
