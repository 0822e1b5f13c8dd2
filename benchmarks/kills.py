"""Kill shards of `vocseg predict` and `vocseg evaluate` (-9) at random times, start them again, and compare with one run.

    python benchmarks/kills.py data --images 1600 --kills 20

A line for each verb says how many masks were written twice, how many files were left half-written, and which files of the
merged result differ from those of one run that nobody disturbed.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from vocseg.data.layout import VocFolder

SHARDS = 2


def content(folder: Path) -> dict[str, bytes]:
    """Return the files of a result by name, without the times in them and without folders of shards."""
    found = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_file() and not name.startswith("shard-"):
            found[name] = b"\n".join(line for line in path.read_bytes().splitlines() if b'"seconds"' not in line)
    return found


class Shards:
    """The shards of a verb, in processes that are started until each has finished."""

    def __init__(self, command: Sequence[str], out: Path) -> None:
        self.command, self.out = [sys.executable, "-m", "vocseg", *command], out
        self.running: dict[int, subprocess.Popen[bytes]] = {}
        self.finished: set[int] = set()

    def start(self) -> None:
        for shard in range(1, SHARDS + 1):
            if shard not in self.running and shard not in self.finished:
                options = ["--out", str(self.out), "--shard", f"{shard}/{SHARDS}"]
                environment = os.environ | {"OMP_NUM_THREADS": "1"}
                self.running[shard] = subprocess.Popen([*self.command, *options], env=environment, stdout=subprocess.DEVNULL)

    def kill_one(self, randomness: random.Random) -> bool:
        """Kill a process; tell whether it was still at work."""
        process = self.running.pop(randomness.choice([*self.running]))
        process.kill()
        return process.wait() != 0

    def note_finished(self) -> None:
        for shard, process in [*self.running.items()]:
            if process.poll() is not None:
                if process.returncode:
                    raise SystemExit(f"shard {shard} ended with {process.returncode}")
                self.finished.add(shard)
                del self.running[shard]


def trial(name: str, command: Sequence[str], keeps: bool, kills: int, longest: float, folder: Path) -> str:
    """Run a verb with kills, then without; ``keeps``: finished masks of a shard that is not finished are not made again."""
    shards, randomness, out = Shards(command, folder / "many"), random.Random(0), folder / "many"
    done, twice, first = 0, 0, dict[str, int]()
    while len(shards.finished) < SHARDS:
        shards.start()
        time.sleep(randomness.uniform(0.3, longest) if done < kills else 0.2)
        shards.note_finished()
        if done < kills and shards.running:
            done += shards.kill_one(randomness)
            for path in out.glob("*.png"):
                time_of_change = path.stat().st_mtime_ns
                if first.setdefault(path.name, time_of_change) == time_of_change:
                    continue
                twice += 1
                first[path.name] = time_of_change
    for path in out.rglob("*.png"):
        Image.open(path).load()
    half = [*out.rglob(".*.part")]
    run = [sys.executable, "-m", "vocseg"]
    subprocess.run([*run, "merge", str(out), "--out", str(out)], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*run, *command, "--out", str(folder / "one")], check=True, stdout=subprocess.DEVNULL)
    many, one = content(out), content(folder / "one")
    different = sorted(key for key in many.keys() | one.keys() if many.get(key) != one.get(key))
    repeated = f"{twice} masks written twice, " if keeps else ""
    return f"{name}: {done} kills, {repeated}{len(half)} half-written, {len(one)} files, different: {different[:5] or 'none'}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="a data set in VOC layout")
    parser.add_argument("--split", default="val")
    parser.add_argument("--model", default="vocseg-s")
    parser.add_argument("--images", type=int, default=1600, help="images of predict; evaluate scores the split")
    parser.add_argument("--kills", type=int, default=20, help="of each verb")
    parser.add_argument("--longest", type=float, default=3.2, help="most seconds between two kills")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        images = Path(top) / "images.txt"
        files = sorted((VocFolder.find(given.data).root / "JPEGImages").resolve().glob("*.jpg"))[: given.images]
        images.write_text("".join(f"{file}\n" for file in files))
        formats = ["--format=mask", "--format=areas", "--skip-existing"]
        commands = {
            "predict": ["predict", str(images), "--model", given.model, "--engine=torch", *formats],
            "evaluate": ["evaluate", given.model, "--data", str(given.data), "--split", given.split, "--engine=torch"],
        }
        for name, command in commands.items():
            folder = Path(top) / name
            folder.mkdir()
            print(trial(name, command, name == "predict", given.kills, given.longest, folder), flush=True)
            shutil.rmtree(folder)


if __name__ == "__main__":
    main()
