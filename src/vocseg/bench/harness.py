"""Time several cases in turn in one process, and measure the memory of each in a separate process."""

from __future__ import annotations

import multiprocessing
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import partial
from timeit import timeit
from typing import Any, NamedTuple

from vocseg.errors import ModelError
from vocseg.utils.progress import bar
from vocseg.utils.system import find_device, find_precision, keep_freed_memory, peak_memory, resident_memory
from vocseg.utils.user_code import import_user_code, imported_user_code

Runner = Callable[[], Any]
"""Do the work once: segment the image, or take a training step."""

PAUSE = 0.01
"""Seconds between two cases: the threads of some engines keep spinning for a while after their work."""

QUICK = 0.25
"""Seconds of work below which a case gets one untimed run in each round.

The case before it has evicted the caches, and its threads may spin for longer than the pause.
"""


@dataclass(frozen=True)
class Case:
    """One way to do the work. ``make`` prepares it, and can be pickled for another process."""

    peer: str
    """``vocseg``, or the name that ``--against`` has for it."""
    precision: str
    make: Callable[[], Runner]

    @property
    def name(self) -> str:
        """Peer and precision."""
        return f"{self.peer} {self.precision}"


def beside_ours(make: Callable[[str], Runner], precision: str, device: str, others: list[Case]) -> list[Case]:
    """Return our case, which ``make`` prepares in a precision, and then the others.

    With precision ``auto``, ours also takes part in the other precision, float32 or bfloat16, if one of the others has it.
    """
    ours = [str(find_precision(precision, find_device(device))).removeprefix("torch.")]
    if precision == "auto":
        theirs = {other.precision for other in others}
        ours += [name for name in ("float32", "bfloat16") if name in theirs and name not in ours]
    return [Case("vocseg", name, partial(make, name)) for name in ours] + others


class Timing(NamedTuple):
    """Seconds of each round of a case, and the seconds that preparing it took, its first run included."""

    case: Case
    prepare: float
    seconds: list[float]

    @property
    def p95(self) -> float:
        """Seconds that 95 % of the rounds do not exceed."""
        return sorted(self.seconds)[-(-95 * len(self.seconds) // 100) - 1]

    def times_slower(self, other: Timing) -> float:
        """Return how many times slower this is than ``other``: the median over the rounds of the ratio in one round."""
        return statistics.median(mine / theirs for mine, theirs in zip(self.seconds, other.seconds, strict=True))


def run(cases: Sequence[Case], rounds: int) -> list[Timing]:
    """Prepare every case, then let each do the work once per round, in turn."""
    runners: list[tuple[Runner, bool]] = []
    timings: list[Timing] = []
    for case in bar(cases, desc="prepare", unit="case"):
        start = time.perf_counter()
        _tune(case)
        runner = case.make()
        runner()
        timings.append(Timing(case, time.perf_counter() - start, []))
        runners.append((runner, timeit(runner, number=1) < QUICK))
    for _ in bar(range(rounds), desc="rounds", unit="round"):
        for timing, (runner, quick) in zip(timings, runners, strict=True):
            time.sleep(PAUSE)
            _tune(timing.case)
            if quick:
                runner()
            timing.seconds.append(timeit(runner, number=1))
    return timings


def _tune(case: Case) -> None:
    """Give each case the memory allocator that its users have: every verb tunes ours."""
    keep_freed_memory(case.peer == "vocseg")


def measure_memory(cases: Sequence[Case]) -> list[int | None]:
    """Measure the peak bytes that preparing each case and running it three times adds to a process with torch imported.

    None if the system does not report it. Raises ModelError if a process is killed.
    """
    peaks = []
    for case in bar(cases, desc="memory", unit="case"):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            try:
                peaks.append(pool.submit(_added_memory, case, imported_user_code()).result())
            except BrokenProcessPool as error:
                raise ModelError(f"the process that runs {case.name} was killed; is there too little memory?") from error
    return peaks


def _added_memory(case: Case, user_code: Sequence[str]) -> int | None:
    for target in user_code:
        import_user_code(target)
    before = resident_memory()
    _tune(case)
    runner = case.make()
    for _ in range(3):
        runner()
    after = peak_memory()
    return None if before is None or after is None else after - before


def report(timings: Sequence[Timing], memory: Sequence[int | None], images: int = 1) -> dict[str, Any]:
    """Return the figures of runs on so many ``images`` each, ready for JSON.

    The first case, ours as users get it, is what the others are compared with. ``ratios``: peer -> how many times
    faster ours is than the fastest of its cases. ``same_precision``: peer's case -> how many times faster ours of that
    precision is, if it took part.
    """
    ours = {timing.case.precision: timing for timing in timings if timing.case.peer == "vocseg"}
    ratios: dict[str, float] = {}
    same: dict[str, float] = {}
    rows = []
    for timing, peak in zip(timings, memory, strict=True):
        case, ratio, median = timing.case, round(timing.times_slower(timings[0]), 3), statistics.median(timing.seconds)
        rows.append(
            {
                "name": case.name,
                "p50_ms": round(1000 * median, 2),
                "p95_ms": round(1000 * timing.p95, 2),
                "images_per_second": round(images / median, 2),
                "prepare_s": round(timing.prepare, 2),
                "peak_mb": None if peak is None else round(peak / 1e6),
                "ratio": ratio,
            }
        )
        if case.peer != "vocseg":
            ratios[case.peer] = min(ratio, ratios.get(case.peer, ratio))
            if case.precision in ours:
                same[case.name] = round(timing.times_slower(ours[case.precision]), 3)
    return {"results": rows, "ratios": ratios, "same_precision": same}
