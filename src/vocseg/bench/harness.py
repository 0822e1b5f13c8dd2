"""Contestants timed in turn in one process, and the memory of each in a process of its own."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from typing import Any

from vocseg.errors import ModelError
from vocseg.utils.progress import bar
from vocseg.utils.system import keep_freed_memory, peak_memory, resident_memory
from vocseg.utils.user_code import import_user_code, imported_user_code

Runner = Callable[[], Any]
"""Does the work once: segments the image, or takes a training step."""

PAUSE = 0.01
"""Seconds between two contestants: the threads of some engines go on spinning for a while after their work."""

QUICK = 0.25
"""Seconds of work below which a contestant does it once untimed in each round: it pays for the caches that the one before
left to it, and for threads of that one that spin on for longer than the pause."""


@dataclass(frozen=True)
class Contestant:
    """One way of doing the work. ``make`` prepares it; it can be pickled, for another process to make it too."""

    peer: str
    """``vocseg``, or whom it belongs to as ``--against`` names it."""
    precision: str
    make: Callable[[], Runner]

    @property
    def name(self) -> str:
        """Peer and precision."""
        return f"{self.peer} {self.precision}"


@dataclass(frozen=True)
class Timing:
    """Seconds of each round of a contestant, and the seconds it took to make it ready, its first run included."""

    contestant: Contestant
    prepare: float
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Seconds of the middle round."""
        return statistics.median(self.seconds)

    @property
    def p95(self) -> float:
        """Seconds that 95 % of the rounds do not exceed."""
        return sorted(self.seconds)[-(-95 * len(self.seconds) // 100) - 1]

    def times_slower(self, other: Timing) -> float:
        """How many times slower than ``other``: median over the rounds of what each took in the same round."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))


def run(contestants: Sequence[Contestant], rounds: int) -> list[Timing]:
    """Make every contestant ready, then let each do the work once a round, in turn."""
    runners: list[Runner] = []
    prepare: list[float] = []
    quick: list[bool] = []
    for contestant in bar(contestants, desc="prepare", unit="contestant"):
        start = time.perf_counter()
        _tune(contestant)
        runner = contestant.make()
        runner()
        runners.append(runner)
        prepare.append(time.perf_counter() - start)
        quick.append(timed(runner) < QUICK)
    seconds: list[list[float]] = [[] for _ in runners]
    for _ in bar(range(rounds), desc="rounds", unit="round"):
        for contestant, runner, warm, times in zip(contestants, runners, quick, seconds, strict=True):
            time.sleep(PAUSE)
            _tune(contestant)
            if warm:
                runner()
            times.append(timed(runner))
    return [Timing(who, ready, tuple(times)) for who, ready, times in zip(contestants, prepare, seconds, strict=True)]


def _tune(contestant: Contestant) -> None:
    """Let each contestant have the memory allocator that its users have: ours is tuned by every verb."""
    keep_freed_memory(contestant.peer == "vocseg")


def timed(runner: Runner) -> float:
    """Return the seconds that the work takes."""
    start = time.perf_counter()
    runner()
    return time.perf_counter() - start


def measure_memory(contestants: Sequence[Contestant]) -> list[int | None]:
    """Bytes that making each contestant ready and running it three times adds, at the most, to a process in which torch and
    vocseg are imported; None where the system does not tell. Raises ModelError where a process ends before its time."""
    return [_in_fresh_process(contestant) for contestant in bar(contestants, desc="memory", unit="contestant")]


def _in_fresh_process(contestant: Contestant) -> int | None:
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, _import_all, (imported_user_code(),)) as pool:
        try:
            return pool.submit(_added_memory, contestant).result()
        except BrokenProcessPool as error:
            raise ModelError(f"the process that runs {contestant.name} was ended by the system: too little memory?") from error


def _import_all(targets: Sequence[str]) -> None:
    for target in targets:
        import_user_code(target)


def _added_memory(contestant: Contestant) -> int | None:
    before = resident_memory()
    _tune(contestant)
    runner = contestant.make()
    for _ in range(3):
        runner()
    after = peak_memory()
    return None if before is None or after is None else after - before


def report(timings: Sequence[Timing], memory: Sequence[int | None], images: int = 1) -> dict[str, Any]:
    """JSON-ready figures of work on so many ``images`` a run.

    The first contestant, ours as a user gets it, is what the others are compared with. ``ratios``: peer -> how many times
    faster ours is than the fastest of its contestants. ``same_precision``: peer's contestant -> how many times faster ours of
    that precision is, where there is one.
    """
    ours = {timing.contestant.precision: timing for timing in timings if timing.contestant.peer == "vocseg"}
    ratios: dict[str, float] = {}
    same: dict[str, float] = {}
    rows = []
    for timing, peak in zip(timings, memory, strict=True):
        contestant, ratio = timing.contestant, round(timing.times_slower(timings[0]), 3)
        rows.append(_row(timing, peak, images) | {"ratio": ratio})
        if contestant.peer != "vocseg":
            ratios[contestant.peer] = min(ratio, ratios.get(contestant.peer, ratio))
            if contestant.precision in ours:
                same[contestant.name] = round(timing.times_slower(ours[contestant.precision]), 3)
    return {"results": rows, "ratios": ratios, "same_precision": same}


def _row(timing: Timing, memory: int | None, images: int) -> dict[str, Any]:
    return {
        "name": timing.contestant.name,
        "p50_ms": round(1000 * timing.median, 2),
        "p95_ms": round(1000 * timing.p95, 2),
        "images_per_second": round(images / timing.median, 2),
        "prepare_s": round(timing.prepare, 2),
        "peak_mb": None if memory is None else round(memory / 1e6),
    }
